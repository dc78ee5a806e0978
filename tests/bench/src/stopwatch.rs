//! The client's clock.

use std::time::Instant;

/// Time since the client started: due times in messages count from there.
#[derive(Clone, Copy)]
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn elapsed_ns(&self) -> u64 {
        self.0.elapsed().as_nanos() as u64
    }
}
