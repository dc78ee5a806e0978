//! Audits: what the stream's leader says of it, against the shard's log on this node.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::{Follower, HINT_PATIENCE};
use crate::broker::nats::api::StreamInfo;
use crate::broker::nats::connection::Connection;
use crate::broker::nats::health::Trouble;
use crate::broker::nats::reads::{Info, info, parse_time};
use crate::broker::nats::shard_log::ShardLog;
use crate::broker::nats::streams;
use crate::broker::nats::subject::shard_of;

/// After so many audits without an answer the server counts as cut off from the others.
const FAILED_AUDITS: u32 = 4;
/// A clock that is off by more is told of.
const CLOCK_SKEW: Duration = Duration::from_secs(5);

impl Follower {
    /// Compares the log with what the leader has. Returns when to do so again.
    pub(super) async fn audit(&mut self, connection: &Arc<Connection>) -> Duration {
        self.health.metrics().audits.inc();
        let index = self.shard.index;
        let stream = streams::stream_name(index);
        let asked = SystemTime::now();
        match info(connection, index, None).await {
            Info::Led(info) => {
                self.failed_audits = 0;
                self.check_clock(&info, asked);
                return self.compare(connection, &info).await;
            }
            Info::Missing => self.stop(format!(
                "stream {stream} is missing; create it with `chat-node nats init`"
            )),
            Info::Refused(error) => self.stop(format!("stream {stream} cannot be read: {error}")),
            Info::Leaderless | Info::Silent => {
                if !self.shard.lock().ready {
                    let text = format!("stream {stream} has no leader that answers");
                    self.health.raise(Trouble::Stream(index), text);
                }
            }
        }
        self.failed_audits += 1;
        if self.failed_audits >= FAILED_AUDITS {
            self.failed_audits = 0;
            self.link.suspect(connection);
        }
        self.until_next()
    }

    async fn compare(&mut self, connection: &Arc<Connection>, info: &StreamInfo) -> Duration {
        if let Err(text) = streams::check_for_node(
            &info.config,
            self.shard.index,
            self.shards,
            self.message_bytes,
        ) {
            self.stop(text);
            return self.until_next();
        }
        let epoch = streams::epoch(&info.created, &info.config.metadata);
        let last = info.state.last_seq;
        let (known, ready, pos) = {
            let state = self.shard.lock();
            (state.epoch.clone(), state.ready, state.log.pos())
        };
        // A node that was away until its place had been dropped knows no better what came in between than who begins.
        let was_dropped = info.state.first_seq > pos + 1 && last > pos;
        if *known != *epoch || was_dropped {
            if self.distrusted.as_deref() == Some(epoch.as_str()) {
                return self.until_next();
            }
            self.begin(connection, info, epoch).await;
            // What the feed brought before could not be placed, and may be newer than what the leader said.
            return HINT_PATIENCE;
        }
        if self.is_distrusted() {
            return self.until_next();
        }
        if last < pos {
            let since = *self.backwards.get_or_insert_with(Instant::now);
            if since.elapsed() >= self.times.backwards {
                self.distrust(&format!("it ends at {last} and was at {pos} before"));
            }
            return self.until_next();
        }
        self.backwards = None;
        if self.shard.hinted() > last {
            self.shard.forget_hints();
        }
        self.shard.change(|state| state.log.raise_target(last));
        if !ready {
            self.fill(connection).await;
            self.start();
        }
        self.until_next()
    }

    /// Begins a log of the stream as it is now.
    async fn begin(&mut self, connection: &Connection, info: &StreamInfo, epoch: String) {
        let state = &info.state;
        let last = state.last_seq;
        let bytes_each = state.bytes / state.messages.max(1) + 1;
        let fitting = (self.caps.bytes as u64 / bytes_each).min(self.caps.entries as u64);
        let low = last
            .saturating_sub(fitting)
            .max(state.first_seq.saturating_sub(1))
            .min(last);
        let log = ShardLog::new(low, last, self.caps);
        self.distrusted = None;
        self.backwards = None;
        self.stuck_since = None;
        self.shard.begin_anew();
        let before = self.shard.change(|state| {
            state.ready = false;
            state.log = log;
            std::mem::replace(&mut state.epoch, epoch.into())
        });
        if !before.is_empty() {
            let stream = streams::stream_name(self.shard.index);
            tracing::warn!(
                "NATS: stream {stream} goes on elsewhere than this node knew it: its members have to recover"
            );
            let (shard, shards) = (self.shard.index, self.shards);
            let epoch = self.shard.lock().epoch.clone();
            self.feed
                .interrupt(&|room| shard_of(room, shards) == shard, &epoch);
        }
        self.fill(connection).await;
        self.start();
    }

    /// The log is as far as the leader was: it can be read.
    fn start(&self) {
        let ready = self.shard.change(|state| {
            state.ready = !state.log.has_gap();
            state.ready
        });
        if ready {
            self.health.clear(Trouble::Stream(self.shard.index));
            self.health.followed(self.shard.index);
            self.show_log();
        }
    }

    /// Nothing can be read before `text` is cured.
    fn stop(&self, text: String) {
        self.shard.change(|state| state.ready = false);
        self.health.raise(Trouble::Stream(self.shard.index), text);
    }

    pub(super) fn is_distrusted(&self) -> bool {
        self.distrusted.is_some()
    }

    pub(super) fn distrust(&mut self, what: &str) {
        self.distrusted = Some(self.shard.lock().epoch.to_string());
        let stream = streams::stream_name(self.shard.index);
        self.stop(format!(
            "stream {stream} is not what it was: {what}; if it was restored or recreated, run \
             `chat-node nats init --renew-epochs`"
        ));
    }

    fn until_next(&self) -> Duration {
        match self.shard.has_joined() {
            true => self.times.audit,
            false => self.times.audit.min(self.times.join),
        }
    }

    fn check_clock(&self, info: &StreamInfo, asked: SystemTime) {
        let Some(theirs) = info.ts.as_deref().and_then(parse_time) else {
            return;
        };
        let skew = match theirs.duration_since(asked) {
            Ok(ahead) => ahead,
            Err(behind) => behind.duration(),
        };
        self.health.metrics().clock_skew.set(skew.as_secs_f64());
        if skew > CLOCK_SKEW {
            let text = format!(
                "this node's clock and that of NATS differ by {} s",
                skew.as_secs()
            );
            self.health.raise(Trouble::ClockSkew, text);
        } else {
            self.health.clear(Trouble::ClockSkew);
        }
    }
}
