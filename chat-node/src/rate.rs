//! Rates in eight bytes a counter, as every session has one: the generic cell rate algorithm with a burst of one second.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use foldhash::fast::RandomState;

use crate::ids::RoomName;

const SECOND: u64 = 1_000_000_000;

/// Allows `per_second` events a second, and as many at once after a second's rest.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rate {
    /// When the bucket is full again, in nanoseconds of the node's clock.
    full_at: u64,
}

impl Rate {
    /// Counts one event at `now` (time since the node's start), or refuses it.
    pub fn allow(&mut self, now: Duration, per_second: u32) -> bool {
        let now = now.as_nanos() as u64;
        let interval = SECOND / u64::from(per_second.max(1));
        let full_at = self.full_at.max(now);
        if full_at - now > SECOND - interval {
            return false;
        }
        self.full_at = full_at + interval;
        true
    }

    fn is_full(self, now: Duration) -> bool {
        self.full_at <= now.as_nanos() as u64
    }
}

/// The publish rates of rooms. A room that rests is forgotten: it may burst again, as a new one may.
#[derive(Default)]
pub struct RoomRates {
    busy: Mutex<Busy>,
}

#[derive(Default)]
struct Busy {
    rooms: HashMap<RoomName, Rate, RandomState>,
    sweep_at: usize,
}

impl RoomRates {
    pub fn allow(&self, room: &RoomName, now: Duration, per_second: u32) -> bool {
        let mut busy = self.busy.lock().expect("no panic holds this lock");
        if let Some(rate) = busy.rooms.get_mut(room) {
            return rate.allow(now, per_second);
        }
        if busy.rooms.len() >= busy.sweep_at {
            busy.rooms.retain(|_, rate| !rate.is_full(now));
            busy.sweep_at = (busy.rooms.len() * 2).max(1024);
        }
        let rate = busy.rooms.entry(room.clone()).or_default();
        rate.allow(now, per_second)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rested_rate_allows_one_seconds_worth_and_then_its_pace() {
        let mut rate = Rate::default();
        let mut allowed_at = |millis| {
            let now = Duration::from_secs(9) + Duration::from_millis(millis);
            (0..200).filter(|_| rate.allow(now, 50)).count()
        };
        assert_eq!(allowed_at(0), 50);
        assert_eq!(allowed_at(0), 0);
        assert_eq!(allowed_at(100), 5);
        assert_eq!(allowed_at(5_000), 50);
    }

    #[test]
    fn resting_rooms_are_forgotten() {
        let rates = RoomRates::default();
        for number in 0..5_000 {
            let room = RoomName::parse(&format!("r{number}"), 255).unwrap();
            let now = Duration::from_secs(number);
            assert!(rates.allow(&room, now, 1));
            assert!(!rates.allow(&room, now, 1));
        }
        assert!(rates.busy.lock().unwrap().rooms.len() <= 1025);
    }
}
