//! What the server says about sessions: end them, take them out of a room.

use crate::ids::{RoomName, SessionId, UserId};
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
    Leave {
        room: RoomName,
        code: u32,
        reason: String,
    },
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
                What::Leave { room, code, reason } => self.leave_room(key, room, *code, reason),
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

    fn leave_room(&mut self, key: ConnectionKey, room: &RoomName, code: u32, reason: &str) {
        let Some((_, desk)) = self.desk(key) else {
            return;
        };
        let Some(place) = desk.rooms.find(key, room.as_str()) else {
            return;
        };
        // What was published before belongs to the member still.
        self.queue_waiting(key);
        let Some((connection, desk)) = self.desk(key) else {
            return;
        };
        if let Some(left) = desk.rooms.leave(key, place) {
            desk.shared.leave(desk.worker, &left);
        }
        let push = connection
            .wire
            .push(&Push::Unsubscribe { room, code, reason });
        self.send(key, &push);
    }
}
