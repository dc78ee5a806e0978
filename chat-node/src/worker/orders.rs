//! What the server says about sessions: end them, put them into a room or take them out, let them go on.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_local;

use crate::ids::{RoomName, SessionId, UserId};
use crate::protocol::push::Unsubscribed;
use crate::protocol::reply::Subscribed;
use crate::protocol::{CloseReason, Push, Refusal};
use crate::session::given::{Entrance, Put};
use crate::socket::ConnectionKey;

use super::Worker;
use super::missed::Missed;

/// What to do with which sessions.
pub struct Order {
    pub of: Chosen,
    pub what: What,
}

pub enum What {
    Close(CloseReason),
    /// Be in the room, and hear of it.
    Enter(Arc<Entrance>),
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

/// What came of an order.
#[derive(Debug, Default)]
pub struct Outcome {
    /// How many sessions it was done to.
    pub sessions: usize,
    /// Why it could not be done to one of the others.
    pub refusal: Option<Refusal>,
}

impl Worker {
    /// Obeys, and says so when it is done.
    pub(super) fn obey(&mut self, order: &Order, done: oneshot::Sender<Outcome>) {
        let chosen = self.choose(&order.of);
        let count = chosen.len();
        let (told, outcomes) = mpsc::unbounded_channel();
        for key in chosen {
            match &order.what {
                What::Enter(entrance) => {
                    let (entrance, told) = (entrance.clone(), told.clone());
                    self.put(key, Put { entrance, told });
                }
                // What was sent to it before goes out first.
                What::Close(reason) => {
                    self.queue_waiting(key);
                    self.close_with(key, reason);
                }
                What::Leave(room) => self.leave_room(key, room),
                What::Refresh(expires_at) => self.refresh(key, *expires_at),
            }
        }
        if let What::Enter(_) = order.what {
            drop(told);
            spawn_local(async move {
                // Whoever asked may have given up.
                let _ = done.send(gathered(outcomes).await);
            });
            return;
        }
        let _ = done.send(Outcome {
            sessions: count,
            refusal: None,
        });
    }

    /// Puts the session into a room, once what it has asked about the room is answered.
    fn put(&mut self, key: ConnectionKey, put: Put) {
        let connection = self.connections.get_mut(key);
        if let Some(put) = connection.and_then(|connection| connection.put_behind(put)) {
            self.put_now(key, put);
        }
    }

    pub(super) fn put_now(&mut self, key: ConnectionKey, put: Put) {
        self.with_session(key, 0, |session, desk| session.put(put, desk));
    }

    /// Tells the client of a room that its session is in, and then what it missed there.
    pub(super) fn entered(&mut self, key: ConnectionKey, mut subscribed: Subscribed) {
        self.send_replies(key);
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        let missed = Missed::split_off(&mut subscribed, 0);
        let push = connection.wire.push(&Push::Subscribe(&subscribed));
        let queue = connection.missed.get_or_insert_default();
        queue.push_back(missed);
        self.send(key, &push);
        self.send_missed(key);
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
        let Some((connection, mut desk)) = self.desk(key) else {
            return;
        };
        if connection.session.take_out(room, &mut desk) {
            self.tell_left(key, room, Unsubscribed::ByServer);
        }
        self.resume_input(key);
    }

    /// Tells the client of a room that its session is not in any more.
    pub(super) fn tell_left(&mut self, key: ConnectionKey, room: &RoomName, why: Unsubscribed) {
        self.forget_missed(key, room);
        if let Some(connection) = self.connections.get(key) {
            let push = connection.wire.push(&Push::Unsubscribe(room, why));
            self.send(key, &push);
        }
    }
}

/// All outcomes as one. A session that has ended meanwhile has none.
async fn gathered(mut outcomes: mpsc::UnboundedReceiver<Result<(), Refusal>>) -> Outcome {
    let mut all = Outcome::default();
    while let Some(outcome) = outcomes.recv().await {
        match outcome {
            Ok(()) => all.sessions += 1,
            Err(refusal) => all.refusal = Some(refusal),
        }
    }
    all
}
