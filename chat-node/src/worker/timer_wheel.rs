//! Deadlines of many connections in one wheel: no timer of its own for anyone.
//!
//! Entries are never removed: whoever moves a deadline schedules again and ignores the old entry when it fires.

use std::time::Duration;

/// Ticks since the node's start.
pub type Tick = u32;

/// The wheel's resolution.
pub const TICK: Duration = Duration::from_millis(50);
/// One turn of the wheel is about 51 s; later deadlines go round more than once.
const SLOTS: usize = 1024;

pub struct TimerWheel<K> {
    slots: Vec<Vec<(K, Tick)>>,
    /// Every tick before this one has fired.
    next: Tick,
}

/// The first tick that is not before `time` since the node's start.
pub fn tick_of(time: Duration) -> Tick {
    time.as_millis().div_ceil(TICK.as_millis()) as Tick
}

impl<K: Copy> TimerWheel<K> {
    pub fn new(now: Duration) -> Self {
        Self {
            slots: (0..SLOTS).map(|_| Vec::new()).collect(),
            next: tick_of(now),
        }
    }

    /// Has `key` fire at the first tick not before `at`, and returns that tick.
    pub fn schedule(&mut self, key: K, at: Duration) -> Tick {
        let tick = tick_of(at).max(self.next);
        self.slots[tick as usize % SLOTS].push((key, tick));
        tick
    }

    /// Collects every entry that is due at `now`, in the order of their ticks.
    pub fn advance(&mut self, now: Duration, due: &mut Vec<(K, Tick)>) {
        let now = (now.as_millis() / TICK.as_millis()) as Tick;
        while self.next <= now {
            let tick = self.next;
            let slot = &mut self.slots[tick as usize % SLOTS];
            due.extend(slot.extract_if(.., |(_, at)| *at == tick));
            if slot.is_empty() && slot.capacity() > 64 {
                *slot = Vec::new();
            }
            self.next += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_deadline_fires_once_not_early_and_at_most_a_tick_late(
            deadlines in prop::collection::vec(0u64..200_000, 1..50),
            steps in prop::collection::vec(1u64..30_000, 1..40),
        ) {
            let mut wheel = TimerWheel::new(Duration::ZERO);
            for (key, millis) in deadlines.iter().enumerate() {
                wheel.schedule(key, Duration::from_millis(*millis));
            }
            let mut fired = vec![None; deadlines.len()];
            let (mut now, mut due) = (0, Vec::new());
            for step in steps.iter().copied().chain([300_000]) {
                let before = now;
                now += step;
                wheel.advance(Duration::from_millis(now), &mut due);
                for (key, _) in due.drain(..) {
                    prop_assert!(fired[key].replace((before, now)).is_none());
                }
            }
            for (deadline, fired) in deadlines.iter().zip(fired) {
                let (before, at) = fired.unwrap();
                prop_assert!(*deadline <= at);
                prop_assert!(before < deadline + TICK.as_millis() as u64);
            }
        }
    }
}
