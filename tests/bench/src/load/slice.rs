//! One slice of load on one target: inject at the given pace, read, wait for the last message, report.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde::Serialize;

use super::command::{Pace, SlicePlan};
use super::envelope::Envelope;
use super::target::Target;
use crate::histogram::{Histogram, Quantiles};
use crate::message;
use crate::stopwatch::Stopwatch;

/// A server that delivers nothing for so long will not deliver the rest.
const PATIENCE_NS: u64 = 3_000_000_000;

#[derive(Serialize)]
pub(crate) struct Report {
    published: u64,
    acknowledged: u64,
    deliveries: u64,
    /// Messages that came out of sequence: lost, repeated or reordered before them.
    gaps: u64,
    /// Deliveries and acknowledgements that never came.
    missing: u64,
    bytes: u64,
    reads: u64,
    /// From the first message to the last delivery.
    seconds: f64,
    /// How much of that came after injection ended.
    drain_seconds: f64,
    /// The share of the time in which the client had something to do.
    client_busy: f64,
    latency_us: Quantiles,
}

pub(crate) fn run(
    target: &mut Target,
    plan: &SlicePlan,
    envelope: &Envelope,
    clock: &Stopwatch,
) -> Result<Report> {
    ensure!(
        plan.message_bytes >= message::MIN_BYTES,
        "a message has at least {} bytes",
        message::MIN_BYTES
    );
    let before = target.tally.clone();
    let start = clock.elapsed_ns();
    let end = start + (plan.seconds * 1e9) as u64;
    let pause = Duration::from_micros(plan.pause_us);
    let mut injector = Injector::new(plan, start);
    let mut latency = Histogram::new();
    // In lock-step the latency only repeats the throughput, and reading the clock would cost the client time.
    let timed = matches!(plan.pace, Pace::PerSecond(_));
    let mut idle_ns = 0;
    let mut last_progress = start;
    target.completed.clear();

    loop {
        let now = clock.elapsed_ns();
        if now < end {
            injector.inject(target, now, envelope)?;
        } else if target.is_drained() || now > last_progress + PATIENCE_NS {
            break;
        }
        target.flush()?;
        if target.pump(clock, timed.then_some(&mut latency))? {
            last_progress = now;
        } else {
            let idle_since = clock.elapsed_ns();
            while clock.elapsed_ns() < idle_since + pause.as_nanos() as u64 {
                std::hint::spin_loop();
            }
            idle_ns += clock.elapsed_ns() - now;
        }
    }

    let duration = last_progress.max(end.min(clock.elapsed_ns())) - start;
    let after = &target.tally;
    Ok(Report {
        published: after.published - before.published,
        acknowledged: after.acknowledged - before.acknowledged,
        deliveries: after.delivered - before.delivered,
        gaps: after.gaps - before.gaps,
        missing: after.expected.saturating_sub(after.delivered) + target.missing_acks(),
        bytes: after.bytes - before.bytes,
        reads: after.reads - before.reads,
        seconds: duration as f64 / 1e9,
        drain_seconds: last_progress.saturating_sub(end) as f64 / 1e9,
        client_busy: 1.0 - (idle_ns as f64 / (clock.elapsed_ns() - start) as f64).min(1.0),
        latency_us: latency.quantiles(),
    })
}

/// Decides which room gets its next message, and when.
struct Injector<'a> {
    plan: &'a SlicePlan,
    start_ns: u64,
    published: u64,
    next_room: u32,
}

impl<'a> Injector<'a> {
    fn new(plan: &'a SlicePlan, start_ns: u64) -> Self {
        Self {
            plan,
            start_ns,
            published: 0,
            next_room: 0,
        }
    }

    fn inject(&mut self, target: &mut Target, now_ns: u64, envelope: &Envelope) -> Result<()> {
        let first = self.published == 0;
        let rooms = target.rooms();
        match self.plan.pace {
            Pace::InFlightPerRoom(window) => {
                if first {
                    target.completed.extend((0..window).flat_map(|_| 0..rooms));
                }
                while let Some(room) = target.completed.pop() {
                    self.publish(target, room, now_ns, envelope)?;
                }
            }
            Pace::InFlight(window) => {
                let free = if first {
                    window
                } else {
                    target.completed.len() as u32
                };
                target.completed.clear();
                for _ in 0..free {
                    let room = self.take_turn(rooms);
                    self.publish(target, room, now_ns, envelope)?;
                }
            }
            Pace::PerSecond(rate) => {
                target.completed.clear();
                loop {
                    let due_ns = self.start_ns + (self.published as f64 / rate * 1e9) as u64;
                    if due_ns > now_ns {
                        break;
                    }
                    let room = self.take_turn(rooms);
                    self.publish(target, room, due_ns, envelope)?;
                }
            }
        }
        Ok(())
    }

    fn take_turn(&mut self, rooms: u32) -> u32 {
        let room = self.next_room;
        self.next_room = (room + 1) % rooms;
        room
    }

    fn publish(
        &mut self,
        target: &mut Target,
        room: u32,
        due_ns: u64,
        envelope: &Envelope,
    ) -> Result<()> {
        self.published += 1;
        target.publish(room, due_ns, self.plan.message_bytes, envelope)
    }
}
