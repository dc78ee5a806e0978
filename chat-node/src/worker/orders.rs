//! What the server says about sessions: end them, take them out of a room, let them go on.

use crate::ids::{RoomName, SessionId, UserId};
use crate::protocol::push::Unsubscribed;
use crate::protocol::{CloseReason, Push};
use crate::socket::ConnectionKey;

use super::Worker;

/// What to do with which sessions.
pub struct Order {
    pub of: Chosen,
    pub what: What,
}

pub enum What {
    Close(CloseReason),
    /// Leave the room, and hear why.
    Leave(RoomName),
    /// Expire at another time, in seconds since 1970; `None`: never.
    Refresh(Option<u64>),
}

/// Sessions of one user. Anonymous ones are chosen by their id alone.
pub struct Chosen {
    pub user: UserId,
    /// Only this one.
    pub client: Option<SessionId>,
    /// Not these.
    pub except: Vec<SessionId>,
}

impl Worker {
    /// Obeys, and returns with how many sessions it had to do.
    pub(super) fn obey(&mut self, order: &Order) -> usize {
        let chosen = self.choose(&order.of);
        let count = chosen.len();
        for key in chosen {
            match &order.what {
                // What was sent to it before goes out first.
                What::Close(reason) => {
                    self.queue_waiting(key);
                    self.close_with(key, reason);
                }
                What::Leave(room) => self.leave_room(key, room),
                What::Refresh(expires_at) => self.refresh(key, *expires_at),
            }
        }
        count
    }

    fn choose(&self, of: &Chosen) -> Vec<ConnectionKey> {
        let is_meant = |key: &ConnectionKey| {
            self.connections.get(*key).is_some_and(|connection| {
                let session = &connection.session;
                session.is_connected()
                    && *session.user() == of.user
                    && of.client.is_none_or(|client| client == session.id)
                    && !of.except.contains(&session.id)
            })
        };
        if of.user == UserId::ANONYMOUS {
            // Nobody keeps a list of them, and few are ever asked for.
            let all = self.connections.keys().filter(is_meant);
            return all.filter(|_| of.client.is_some()).collect();
        }
        self.users.of(&of.user).filter(is_meant).collect()
    }

    fn refresh(&mut self, key: ConnectionKey, expires_at: Option<u64>) {
        if let Some(connection) = self.connections.get_mut(key) {
            connection.session.expire_at(expires_at);
            self.schedule_new_expiry(key);
        }
    }

    fn leave_room(&mut self, key: ConnectionKey, room: &RoomName) {
        if self.rooms.find(key, room.as_str()).is_none() {
            return;
        }
        // What was published before belongs to the member still.
        self.queue_waiting(key);
        self.forget_missed(key, room);
        let Some((connection, mut desk)) = self.desk(key) else {
            return;
        };
        if connection.session.take_out(room, &mut desk) {
            let push = Push::Unsubscribe(room, Unsubscribed::ByServer);
            let push = connection.wire.push(&push);
            self.send(key, &push);
        }
        self.resume_input(key);
    }
}
