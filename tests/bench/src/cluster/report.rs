//! What a slice came to: counts that must agree, and how long acknowledgements and deliveries took.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde::Serialize;
use tokio::time::sleep;

use crate::histogram::{Histogram, Quantiles};
use crate::stopwatch::Stopwatch;

/// Nothing that is missing so long will come.
const PATIENCE: Duration = Duration::from_secs(8);

/// Filled by the tasks that read.
pub(crate) struct Tally {
    acknowledged: Histogram,
    delivered: Histogram,
    acknowledgements: u64,
    deliveries: u64,
    /// Messages that came out of sequence.
    pub(crate) gaps: u64,
    /// Why a task ended.
    pub(crate) failure: Option<String>,
}

/// Shared by the tasks of one way.
pub(crate) type Shared = Rc<RefCell<Tally>>;

#[derive(Serialize)]
pub(crate) struct Report {
    published: u64,
    deliveries: u64,
    gaps: u64,
    /// Acknowledgements and deliveries that never came.
    missing: u64,
    seconds: f64,
    acknowledged_us: Quantiles,
    delivered_us: Quantiles,
}

impl Tally {
    pub(crate) fn new() -> Self {
        Self {
            acknowledged: Histogram::new(),
            delivered: Histogram::new(),
            acknowledgements: 0,
            deliveries: 0,
            gaps: 0,
            failure: None,
        }
    }

    pub(crate) fn acknowledged(&mut self, sent_ns: u64, clock: &Stopwatch) {
        self.acknowledgements += 1;
        self.acknowledged.add(clock.elapsed_ns() - sent_ns);
    }

    pub(crate) fn delivered(&mut self, sent_ns: u64, clock: &Stopwatch) {
        self.deliveries += 1;
        self.delivered.add(clock.elapsed_ns() - sent_ns);
    }

    pub(crate) fn acknowledgements(&self) -> u64 {
        self.acknowledgements
    }

    fn seen(&self) -> (u64, u64) {
        (self.acknowledgements, self.deliveries)
    }
}

/// Waits until everything that was published since `start` is acknowledged and delivered, and begins a new tally.
pub(crate) async fn finish(tally: &Shared, published: u64, start: Instant) -> Result<Report> {
    let mut before = (0, 0);
    let mut progress = Instant::now();
    let seconds = loop {
        if let Some(failure) = &tally.borrow().failure {
            bail!("{failure}");
        }
        let seen = tally.borrow().seen();
        if seen != before {
            (before, progress) = (seen, Instant::now());
        }
        if seen == (published, published) || progress.elapsed() > PATIENCE {
            break start.elapsed().as_secs_f64();
        }
        sleep(Duration::from_millis(1)).await;
    };
    let tally = tally.replace(Tally::new());
    Ok(Report {
        published,
        deliveries: tally.deliveries,
        gaps: tally.gaps,
        missing: published.saturating_sub(tally.acknowledgements)
            + published.saturating_sub(tally.deliveries),
        seconds,
        acknowledged_us: tally.acknowledged.quantiles(),
        delivered_us: tally.delivered.quantiles(),
    })
}
