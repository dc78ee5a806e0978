//! Leaving without hurting anybody: accept a little longer, close sessions spread over time, let them flush.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::node::Shared;
use crate::worker::{Event, Inbox};

/// Time between two batches.
const PACE: Duration = Duration::from_millis(100);
/// So many reconnects at once hurt nobody: no need to spread them.
const FEW: usize = 50;
/// How long closed connections may take to read the end of what was sent to them.
const FLUSH: Duration = Duration::from_secs(5);

/// Drains the node. `stop_accepting` is called once new connections have had `accept` to stop coming.
pub async fn drain<T>(
    shared: &Arc<Shared>,
    inboxes: &[Inbox],
    accept: Duration,
    stop_accepting: impl FnOnce() -> T,
) {
    let timeout = shared.config.shutdown.drain_timeout;
    shared.metrics.draining.set(1);
    tracing::info!(
        connections = open(inboxes),
        "shutting down: accepting for {accept:?} more, then closing within {timeout:?}"
    );
    sleep(accept).await;
    stop_accepting();

    let counts: Vec<_> = inboxes.iter().map(connections).collect();
    let batches = batches(counts.iter().sum(), timeout);
    let begun = Instant::now();
    for batch in 0..batches {
        for (inbox, count) in inboxes.iter().zip(&counts) {
            let connections = share(*count, batch + 1, batches) - share(*count, batch, batches);
            if connections > 0 {
                inbox.send(Event::Drain { connections });
            }
        }
        let next = begun + PACE * (batch as u32 + 1);
        if batch + 1 < batches {
            sleep(next.saturating_duration_since(Instant::now())).await;
        }
    }
    // Whoever slipped in while the counts were taken, or is still in its handshake.
    for inbox in inboxes {
        inbox.send(Event::DrainAll);
    }
    let deadline = Instant::now() + FLUSH;
    while open(inboxes) > 0 && Instant::now() < deadline {
        sleep(PACE / 10).await;
    }
    match open(inboxes) {
        0 => tracing::info!("shut down: every client was told"),
        left => tracing::warn!(left, "shut down: some clients had not read everything"),
    }
}

fn connections(inbox: &Inbox) -> usize {
    inbox.load().connections.load(Relaxed)
}

fn open(inboxes: &[Inbox]) -> usize {
    inboxes.iter().map(connections).sum()
}

/// In how many batches so many sessions are closed.
fn batches(sessions: usize, timeout: Duration) -> usize {
    if sessions <= FEW {
        return 1;
    }
    let fitting = timeout.as_millis() / PACE.as_millis();
    (fitting as usize).clamp(1, sessions)
}

/// How many of `count` are closed after `done` of `batches`: evenly spread, all in the end.
fn share(count: usize, done: usize, batches: usize) -> usize {
    count * done / batches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_sessions_close_at_once_and_many_evenly_over_the_timeout() {
        assert_eq!(batches(FEW, Duration::from_secs(30)), 1);
        assert_eq!(batches(30_000, Duration::from_secs(30)), 300);
        assert_eq!(batches(100, Duration::from_secs(30)), 100);
        assert_eq!(batches(30_000, Duration::ZERO), 1);
        let closed: Vec<_> = (0..300)
            .map(|n| share(30_001, n + 1, 300) - share(30_001, n, 300))
            .collect();
        assert_eq!(closed.iter().sum::<usize>(), 30_001);
        assert!(closed.iter().all(|batch| (100..=101).contains(batch)));
    }
}
