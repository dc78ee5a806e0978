//! What happens to a session by itself when its time, or its stay in a room, is over.

use crate::auth::unix_now;
use crate::ids::RoomName;
use crate::protocol::CloseReason;

use super::subscribe::leave;
use super::{Desk, Session};

/// What the worker has to tell the client.
pub enum Expired {
    Nothing,
    Close(CloseReason),
    /// The session is not in these rooms any more.
    Rooms(Vec<RoomName>),
}

impl Session {
    /// Has the session end at another time, in seconds since 1970, because a backend says so; `None`: it does not.
    pub fn expire_at(&mut self, at: Option<u64>) {
        if at.is_some() || self.grant.is_some() {
            let grant = self.grant.get_or_insert_default();
            grant.expires_at = at;
            grant.is_changed = true;
        }
    }

    /// When to look at what has expired, in seconds since 1970, if that is news.
    pub fn new_expiry(&mut self, grace: u64) -> Option<u64> {
        let grant = self.grant.as_mut()?;
        let is_news = std::mem::take(&mut grant.is_changed);
        is_news.then(|| grant.next_expiry(grace)).flatten()
    }

    pub fn next_expiry(&self, grace: u64) -> Option<u64> {
        self.grant.as_ref()?.next_expiry(grace)
    }

    /// Remembers at which tick the worker looks.
    pub fn expiry_is_due(&mut self, tick: u32) {
        if let Some(grant) = &mut self.grant {
            grant.due = tick;
        }
    }

    /// Whether the worker's look at `tick` is the one that was scheduled last.
    pub fn is_expiry_due(&self, tick: u32) -> bool {
        self.grant.as_ref().is_some_and(|grant| grant.due == tick)
    }

    /// Takes from the session what its time is over for.
    pub fn expire(&mut self, grace: u64, desk: &mut Desk<'_>) -> Expired {
        let (now, Some(grant)) = (unix_now(), &mut self.grant) else {
            return Expired::Nothing;
        };
        if grant.is_over(now, grace) {
            return Expired::Close(CloseReason::EXPIRED);
        }
        let over = grant.expired_rooms(now, grace);
        // A client cannot come back to a room by itself that it was put into: it connects anew.
        if over.iter().any(|room| room.is_given) {
            return Expired::Close(CloseReason::SUBSCRIPTION_EXPIRED);
        }
        let mut left = Vec::new();
        for room in over {
            grant.forget(room.room.as_str());
            if let Some(key) = desk.rooms.find(desk.connection, room.room.as_str()) {
                leave(key, desk);
                left.push(room.room);
            }
        }
        match left.is_empty() {
            true => Expired::Nothing,
            false => Expired::Rooms(left),
        }
    }
}
