//! What a session was given beside its user: by its token, or by the backend.

use bytes::Bytes;
use http::HeaderMap;

use crate::auth::{GivenRoom, Identity, RoomPass};
use crate::ids::RoomName;

/// Boxed where it is kept: sessions that were given nothing pay one word for it.
#[derive(Debug, Default)]
pub struct Grant {
    pub info: Option<Bytes>,
    /// Seconds since 1970; `None`: never.
    pub expires_at: Option<u64>,
    rooms: Vec<RoomGrant>,
    /// The client can show another token before the session expires.
    is_refreshable: bool,
    /// Headers of the client's request, until it is known who it is.
    pub headers: HeaderMap,
    /// When the worker looks at what has expired; entries of its wheel for other ticks are stale.
    pub due: u32,
    /// Some time of expiry is new, and the worker has not been told.
    pub is_changed: bool,
}

/// What goes for one room.
#[derive(Clone, Debug)]
pub struct RoomGrant {
    pub room: RoomName,
    pub info: Option<Bytes>,
    pub expires_at: Option<u64>,
    /// The session was put into the room, and cannot leave it.
    pub is_given: bool,
}

impl RoomGrant {
    pub fn of_pass(room: RoomName, pass: RoomPass) -> Self {
        Self {
            room,
            info: pass.info,
            expires_at: pass.expires_at,
            is_given: false,
        }
    }

    pub fn of_given(room: RoomName, given: &GivenRoom) -> Self {
        Self {
            room,
            info: given.info.clone(),
            expires_at: given.expires_at,
            is_given: true,
        }
    }
}

impl Grant {
    /// `None` where there is nothing to keep.
    pub fn of(identity: &Identity) -> Option<Box<Self>> {
        let Identity {
            user: _,
            info,
            expires_at,
            rooms: _,
            data: _,
            is_refreshable,
        } = identity;
        (info.is_some() || expires_at.is_some()).then(|| {
            Box::new(Self {
                info: info.clone(),
                expires_at: *expires_at,
                is_refreshable: *is_refreshable,
                is_changed: expires_at.is_some(),
                ..Self::default()
            })
        })
    }

    /// What there is of a session before it connects.
    pub fn to_be(headers: HeaderMap) -> Self {
        Self {
            headers,
            ..Self::default()
        }
    }

    /// The session goes on until then with a new token.
    pub fn renew(&mut self, info: Option<Bytes>, expires_at: Option<u64>) {
        self.info = info;
        self.expires_at = expires_at;
        self.is_refreshable = true;
        self.is_changed = true;
    }

    /// When the session is over. Where no refresh can come none is waited for.
    fn ends_at(&self, grace: u64) -> Option<u64> {
        let grace = if self.is_refreshable { grace } else { 0 };
        self.expires_at.map(|at| at.saturating_add(grace))
    }

    pub fn room(&self, room: &str) -> Option<&RoomGrant> {
        self.rooms.iter().find(|grant| grant.room.as_str() == room)
    }

    /// Keeps what goes for a room, in place of what went before.
    pub fn keep(&mut self, grant: RoomGrant) {
        self.is_changed |= grant.expires_at.is_some();
        self.forget(grant.room.as_str());
        self.rooms.push(grant);
    }

    pub fn forget(&mut self, room: &str) {
        self.rooms.retain(|grant| grant.room.as_str() != room);
    }

    /// When the next thing expires, the session's `grace` and its rooms' included.
    pub fn next_expiry(&self, grace: u64) -> Option<u64> {
        let rooms = self.rooms.iter().filter_map(|grant| grant.expires_at);
        let rooms = rooms.map(|at| at.saturating_add(grace));
        rooms.chain(self.ends_at(grace)).min()
    }

    /// The rooms whose time is over at `now`.
    pub fn expired_rooms(&self, now: u64, grace: u64) -> Vec<RoomGrant> {
        let is_over = |grant: &&RoomGrant| is_over(grant.expires_at, now, grace);
        self.rooms.iter().filter(is_over).cloned().collect()
    }

    pub fn is_over(&self, now: u64, grace: u64) -> bool {
        self.ends_at(grace).is_some_and(|at| at <= now)
    }
}

fn is_over(expires_at: Option<u64>, now: u64, grace: u64) -> bool {
    expires_at.is_some_and(|at| at.saturating_add(grace) <= now)
}

/// For how many seconds a client has nothing to do: one that is told 0 would be at it at once, and always; one that is
/// told more than 32 bits hold would understand nothing, or something else.
pub fn ttl(expires_at: Option<u64>, now: u64) -> Option<u64> {
    expires_at.map(|at| at.saturating_sub(now).clamp(1, i32::MAX as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(name: &str, expires_at: Option<u64>) -> RoomGrant {
        RoomGrant {
            room: RoomName::parse(name, 255).unwrap(),
            info: None,
            expires_at,
            is_given: false,
        }
    }

    #[test]
    fn what_expires_first_is_looked_at_first() {
        let mut grant = Grant::default();
        assert_eq!(grant.next_expiry(5), None);
        grant.renew(None, Some(100));
        grant.keep(room("a", Some(50)));
        grant.keep(room("b", None));
        assert_eq!(grant.next_expiry(5), Some(55));
        assert!(grant.expired_rooms(54, 5).is_empty());
        assert_eq!(grant.expired_rooms(55, 5).len(), 1);
        grant.keep(room("a", Some(200)));
        assert_eq!(grant.next_expiry(5), Some(105));
        assert!(!grant.is_over(104, 5) && grant.is_over(105, 5));
        grant.is_refreshable = false;
        assert!(grant.is_over(100, 5), "nobody can refresh it");
        grant.forget("a");
        assert!(grant.room("a").is_none() && grant.room("b").is_some());
    }

    #[test]
    fn nobody_is_told_to_refresh_at_once() {
        assert_eq!(ttl(None, 10), None);
        assert_eq!(ttl(Some(15), 10), Some(5));
        assert_eq!(ttl(Some(10), 10), Some(1));
        assert_eq!(ttl(Some(5), 10), Some(1));
        assert_eq!(ttl(Some(u64::MAX), 10), Some(2_147_483_647));
    }
}
