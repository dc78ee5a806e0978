//! Filling gaps: reads what the feed did not bring, until the log is as far as the stream is known to be.

use async_nats::Subscriber;
use futures_util::StreamExt;
use tokio::time::{Duration, Instant, sleep, timeout_at};

use super::Follower;
use crate::broker::nats::batch::Stored;
use crate::broker::nats::connection::Connection;
use crate::broker::nats::reads::AtLeader;

/// How long the feed may take to bring what an audit has shown.
const FEED_PATIENCE: Duration = Duration::from_millis(20);
/// Between two reads that bring nothing.
const RETRY: Duration = Duration::from_millis(20);
/// Messages read from the leader before the replicas are asked again.
const READ_AT_LEADER: usize = 100;

impl Follower {
    /// Gives the feed a moment to bring what exists, so that it need not be read.
    pub(super) async fn await_feed(&mut self, live: &mut Subscriber) {
        let until = Instant::now() + FEED_PATIENCE;
        while self.shard.lock().log.has_gap()
            && let Ok(Some(message)) = timeout_at(until, live.next()).await
        {
            self.take(message, live);
        }
    }

    /// Reads what is missing, until nothing is, this connection is over, or an audit should tell what is going on.
    pub(super) async fn fill(&mut self, connection: &Connection) {
        let metrics = self.health.metrics().clone();
        let mut moved_at = Instant::now();
        let mut is_new = self.stuck_since.is_none();
        while !self.is_distrusted() {
            let (from, missing) = {
                let log = &self.shard.lock().log;
                (log.pos() + 1, log.target().saturating_sub(log.pos()))
            };
            if missing == 0 {
                self.stuck_since = None;
                break;
            }
            if std::mem::take(&mut is_new) {
                metrics.gap_fills.inc();
            }
            let mut moved = self.read(from, missing).await;
            if moved {
                self.stuck_since = None;
            } else {
                let since = *self.stuck_since.get_or_insert_with(Instant::now);
                if since.elapsed() >= self.times.ask_leader {
                    // Whoever answers may be cut off from the others, and not know it.
                    self.reads.suspect();
                    moved = self.read_at_leader().await;
                }
            }
            self.deliver();
            if moved {
                moved_at = Instant::now();
                continue;
            }
            if connection.has_ended() || moved_at.elapsed() >= self.times.audit {
                break;
            }
            sleep(RETRY).await;
        }
        self.show_log();
    }

    /// Reads on from `from`, where the log ends. False if that brought nothing.
    async fn read(&self, from: u64, missing: u64) -> bool {
        let Some(batch) = self.reads.next(self.shard.index, ">", from, missing).await else {
            return false;
        };
        let Some(read) = batch.read else {
            return false;
        };
        for stored in batch.events {
            let sequence = stored.sequence;
            if !self.comes_to(sequence).await {
                return self.shard.lock().log.pos() >= from;
            }
            self.append(sequence, Some(stored));
        }
        // The last ones may belong to nobody.
        self.comes_to(read + 1).await || self.shard.lock().log.pos() >= from
    }

    /// Brings the log to the place before `sequence`: what the replica has not got there was erased, unless the leader
    /// has it. False if that cannot be told.
    async fn comes_to(&self, sequence: u64) -> bool {
        loop {
            let missing = self.shard.lock().log.pos() + 1;
            if missing >= sequence {
                return true;
            }
            let next = self.reads.at_leader(self.shard.index, missing, Some(">"));
            match next.await {
                AtLeader::Stored(_, next) if next >= sequence => self.skip_to(sequence),
                AtLeader::Stored(stored, next) => self.append(next, stored),
                AtLeader::Nothing | AtLeader::Unknown => return false,
            }
        }
    }

    /// Asks the leader for what no replica gives. False if that brought nothing.
    async fn read_at_leader(&self) -> bool {
        let index = self.shard.index;
        for read in 0..READ_AT_LEADER {
            let (pos, target) = {
                let log = &self.shard.lock().log;
                (log.pos(), log.target())
            };
            if pos >= target {
                return true;
            }
            match self.reads.at_leader(index, pos + 1, Some(">")).await {
                AtLeader::Stored(stored, sequence) => self.append(sequence, stored),
                AtLeader::Nothing => match self.reads.erased_up_to(index, pos + 1).await {
                    Some(erased) => {
                        self.skip_to(erased + 1);
                        return true;
                    }
                    None => return read > 0,
                },
                AtLeader::Unknown => return read > 0,
            }
        }
        true
    }

    /// Puts what was read into the log; what stands before it was erased.
    fn append(&self, sequence: u64, stored: Option<Stored>) {
        self.skip_to(sequence);
        match stored.map(|stored| self.entry(stored)) {
            Some(entry) => {
                self.shard.change(|state| state.log.offer(sequence, entry));
                self.health.metrics().filled.inc();
            }
            // A subject that no node writes.
            None => self.skip_to(sequence + 1),
        }
    }

    /// Passes over what was erased before `sequence`.
    fn skip_to(&self, sequence: u64) {
        if self.shard.lock().log.pos() + 1 < sequence {
            // A log that begins anew behind a large gap forgets what stands before it.
            self.deliver();
            self.shard.change(|state| state.log.skip_to(sequence));
        }
    }
}
