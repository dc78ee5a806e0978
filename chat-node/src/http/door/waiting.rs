//! Connections whose first request has not come, or not all of it: each has the same time for it.

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use mio::{Interest, Registry, Token};
use slotmap::{Key, KeyData, SlotMap};

use super::Guest;

slotmap::new_key_type! {
    struct GuestKey;
}

pub struct Waiting {
    guests: SlotMap<GuestKey, Guest>,
    /// In the order of arrival, which is that of the deadlines. Who is gone may still stand here.
    deadlines: VecDeque<(Instant, GuestKey)>,
    timeout: Duration,
}

impl Waiting {
    pub fn new(timeout: Duration) -> Self {
        Self {
            guests: SlotMap::with_key(),
            deadlines: VecDeque::new(),
            timeout,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.guests.is_empty()
    }

    /// Has the guest's token reported when there is more to read.
    pub fn add(&mut self, guest: Guest, registry: &Registry) -> io::Result<()> {
        let deadline = guest.peer.since + self.timeout;
        let key = self.guests.insert(guest);
        let stream = &mut self.guests[key].stream;
        if let Err(error) = registry.register(stream, token(key), Interest::READABLE) {
            self.guests.remove(key);
            return Err(error);
        }
        self.deadlines.push_back((deadline, key));
        Ok(())
    }

    pub fn get_mut(&mut self, token: Token) -> Option<&mut Guest> {
        self.guests.get_mut(key(token))
    }

    /// Takes a guest out. Its token is reported until the stream is deregistered or closed.
    pub fn remove(&mut self, token: Token) -> Option<Guest> {
        self.guests.remove(key(token))
    }

    /// When the next guest is out of time.
    pub fn next_deadline(&mut self) -> Option<Instant> {
        while let Some((deadline, key)) = self.deadlines.front() {
            if self.guests.contains_key(*key) {
                return Some(*deadline);
            }
            self.deadlines.pop_front();
        }
        None
    }

    /// Closes the connections that are out of time.
    pub fn dismiss_late(&mut self, now: Instant) {
        while self.next_deadline().is_some_and(|deadline| deadline <= now)
            && let Some((_, key)) = self.deadlines.pop_front()
            && let Some(guest) = self.guests.remove(key)
        {
            super::lost(guest.peer, &io::ErrorKind::TimedOut.into());
        }
    }
}

/// Never a token of the door's own: the upper half of a key's number is above 0.
fn token(key: GuestKey) -> Token {
    Token(key.data().as_ffi() as usize)
}

fn key(token: Token) -> GuestKey {
    KeyData::from_ffi(token.0 as u64).into()
}
