//! Sessions, and stays in rooms, whose time is over.
//!
//! They have a timer wheel of their own, as few sessions expire and each already has a deadline for its pings.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::protocol::push::Unsubscribed;
use crate::session::Expired;
use crate::socket::ConnectionKey;

use super::Worker;
use super::timer_wheel::Tick;

/// The wheel counts in ticks of the node's clock, the time of expiry is the world's: whoever waits long looks again.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

impl Worker {
    /// Sees to it that somebody looks at the session when something of it expires, if that is news.
    pub(super) fn schedule_new_expiry(&mut self, key: ConnectionKey) {
        let grace = self.grace();
        if let Some(connection) = self.connections.get_mut(key)
            && let Some(at) = connection.session.new_expiry(grace)
        {
            self.schedule_expiry(key, at);
        }
    }

    fn grace(&self) -> u64 {
        self.shared.config.access.auth.expiry_grace.as_secs()
    }

    fn schedule_expiry(&mut self, key: ConnectionKey, at: u64) {
        let at = UNIX_EPOCH + Duration::from_secs(at.min(u64::from(u32::MAX)));
        let wait = at.duration_since(SystemTime::now()).unwrap_or_default();
        let due = self.shared.now() + wait.min(LONGEST_WAIT);
        let tick = self.expiries.schedule(key, due);
        if let Some(connection) = self.connections.get_mut(key) {
            connection.session.expiry_is_due(tick);
        }
    }

    /// Looks at those who may have something that expired; once a tick.
    pub(super) fn expire(&mut self) {
        let mut due = Vec::new();
        self.expiries.advance(self.shared.now(), &mut due);
        for (key, tick) in due {
            self.expire_one(key, tick);
        }
    }

    fn expire_one(&mut self, key: ConnectionKey, tick: Tick) {
        let grace = self.grace();
        let Some((connection, mut desk)) = self.desk(key) else {
            return;
        };
        if connection.is_closing() || !connection.session.is_expiry_due(tick) {
            return;
        }
        match connection.session.expire(grace, &mut desk) {
            Expired::Nothing => {}
            Expired::Close(reason) => return self.close(key, &reason),
            Expired::Rooms(rooms) => {
                for room in rooms {
                    self.tell_left(key, &room, Unsubscribed::Expired);
                }
                self.resume_input(key);
            }
        }
        if let Some(connection) = self.connections.get(key)
            && let Some(at) = connection.session.next_expiry(grace)
        {
            self.schedule_expiry(key, at);
        }
    }
}
