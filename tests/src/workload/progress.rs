//! How far a run is: what its parts wait for, and what tells faults when to happen.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::checker::Name;

use super::Workload;
use super::closer::Last;

pub struct Progress {
    begun: Instant,
    sessions: usize,
    publishers: usize,
    messages: usize,
    joined: AtomicUsize,
    sent: AtomicUsize,
    acked: AtomicUsize,
    published: AtomicUsize,
    finished: AtomicUsize,
    faults_over: AtomicBool,
    /// When the last acknowledgement came, and the longest time between two, in microseconds.
    last_ack: AtomicU64,
    longest_pause: AtomicU64,
    /// The longest since somebody asked.
    longest_of_late: AtomicU64,
}

/// What sessions do now.
#[derive(Clone)]
pub(super) enum Stage {
    /// Be in all rooms.
    Join,
    /// Publish, read, come and go.
    Publish,
    /// Stay until the last message of each room has come.
    Finish(Arc<HashMap<Name, Last>>),
    /// Hand over what there is.
    Stop,
}

const PAUSE: Duration = Duration::from_millis(10);

impl Progress {
    pub(super) fn new(workload: &Workload) -> Self {
        Self {
            begun: Instant::now(),
            sessions: workload.sessions,
            publishers: workload.publishers,
            messages: workload.messages,
            joined: 0.into(),
            sent: 0.into(),
            acked: 0.into(),
            published: 0.into(),
            finished: 0.into(),
            faults_over: false.into(),
            last_ack: 0.into(),
            longest_pause: 0.into(),
            longest_of_late: 0.into(),
        }
    }

    /// The run's own time.
    pub fn now(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Waits until this share of all messages, from 0 to 1, was sent.
    pub async fn reaches(&self, share: f64) {
        let wanted = (self.messages as f64 * share) as usize;
        self.until(|| self.sent.load(Relaxed) >= wanted).await;
    }

    /// Waits until a few more messages were acknowledged than by now.
    pub async fn goes_on(&self) {
        let wanted = self.acked.load(Relaxed) + 20;
        self.until(|| self.acked.load(Relaxed) >= wanted).await;
    }

    /// The longest time without an acknowledgement since this was last asked, that of now too.
    pub fn take_longest_pause(&self) -> Duration {
        let now = self.micros().saturating_sub(self.last_ack.load(Relaxed));
        Duration::from_micros(self.longest_of_late.swap(0, Relaxed).max(now))
    }

    pub(super) fn faults_are_over(&self) -> bool {
        self.faults_over.load(Relaxed)
    }

    pub(super) fn note_faults_over(&self) {
        self.faults_over.store(true, Relaxed);
    }

    pub(super) async fn joined(&self) {
        self.until(|| self.joined.load(Relaxed) == self.sessions)
            .await;
        self.last_ack.store(self.micros(), Relaxed);
    }

    pub(super) async fn published(&self) {
        self.until(|| self.published.load(Relaxed) == self.publishers)
            .await;
    }

    pub(super) async fn finished(&self) {
        self.until(|| self.finished.load(Relaxed) == self.sessions)
            .await;
    }

    pub(super) fn note_joined(&self) {
        self.joined.fetch_add(1, Relaxed);
    }

    pub(super) fn note_sent(&self) {
        self.sent.fetch_add(1, Relaxed);
    }

    pub(super) fn note_acked(&self) {
        self.acked.fetch_add(1, Relaxed);
        let now = self.micros();
        let pause = now.saturating_sub(self.last_ack.swap(now, Relaxed));
        self.longest_pause.fetch_max(pause, Relaxed);
        self.longest_of_late.fetch_max(pause, Relaxed);
    }

    pub(super) fn note_published(&self) {
        self.published.fetch_add(1, Relaxed);
    }

    pub(super) fn note_finished(&self) {
        self.finished.fetch_add(1, Relaxed);
    }

    pub(super) fn longest_pause(&self) -> Duration {
        Duration::from_micros(self.longest_pause.load(Relaxed))
    }

    fn micros(&self) -> u64 {
        self.now().as_micros() as u64
    }

    async fn until(&self, check: impl Fn() -> bool) {
        while !check() {
            tokio::time::sleep(PAUSE).await;
        }
    }
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} of {} sessions joined, {} of {} messages sent, {} acknowledged, {} of {} publishers done, {} sessions finished",
            self.joined.load(Relaxed),
            self.sessions,
            self.sent.load(Relaxed),
            self.messages,
            self.acked.load(Relaxed),
            self.published.load(Relaxed),
            self.publishers,
            self.finished.load(Relaxed),
        )
    }
}
