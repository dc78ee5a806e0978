//! What a session publishes, and what became of it.

use std::time::Duration;

use tokio::time::Instant;

use crate::checker::{Attempt, Id, Name, Outcome};

use super::Workload;

pub(super) struct Publisher {
    number: u32,
    sent: u32,
    /// It sends so many at least.
    wanted: u32,
    /// Between two messages, on average.
    interval: Duration,
    due: Instant,
    window: usize,
    in_flight: usize,
    /// Which connection it is.
    connection: usize,
    pub attempts: Vec<Attempt>,
}

impl Publisher {
    pub(super) fn new(number: usize, workload: &Workload) -> Self {
        let (messages, publishers) = (workload.messages, workload.publishers);
        Self {
            number: number as u32,
            sent: 0,
            wanted: messages.div_ceil(publishers) as u32,
            interval: Duration::from_secs_f64(publishers as f64 / workload.messages_per_second),
            due: Instant::now(),
            window: workload.in_flight,
            in_flight: 0,
            connection: 0,
            attempts: Vec::new(),
        }
    }

    /// When the next message is to be sent, if there is another one. None: not before something is settled.
    pub(super) fn due(&self) -> Option<Instant> {
        (self.in_flight < self.window).then_some(self.due)
    }

    /// Notes that the next message is sent now; returns the attempt's place and the message's id.
    pub(super) fn send(&mut self, room: Name, now: Duration) -> (usize, Id) {
        let id = Id {
            publisher: self.number,
            number: self.sent,
        };
        self.sent += 1;
        self.in_flight += 1;
        // What was held up is not made up for: a fault would end in a burst.
        self.due = Instant::now() + self.interval.mul_f64(0.5 + fastrand::f64());
        self.attempts.push(Attempt {
            id,
            room,
            connection: self.connection,
            sent: now,
            outcome: Outcome::Unknown,
        });
        (self.attempts.len() - 1, id)
    }

    /// Notes what became of an attempt.
    pub(super) fn settle(&mut self, attempt: usize, outcome: Outcome) {
        self.in_flight -= 1;
        self.attempts[attempt].outcome = outcome;
    }

    /// What was not settled yet will not be.
    pub(super) fn lose_connection(&mut self) {
        self.in_flight = 0;
        self.connection += 1;
    }

    /// Has it sent all that it had to?
    pub(super) fn has_sent_all(&self) -> bool {
        self.sent >= self.wanted
    }

    /// Is everything settled that was sent?
    pub(super) fn is_settled(&self) -> bool {
        self.in_flight == 0
    }
}
