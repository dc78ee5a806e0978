//! Follows one shard: feed, audits and reads -> the shard's log -> rooms with members on this node.
//!
//! The feed may lose anything at any time without a word, so nothing is believed complete until the leader's last
//! sequence has been compared; what is missing is read from the stream.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_nats::{Message, Subscriber};
use futures_util::{FutureExt, StreamExt};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use super::api::StreamInfo;
use super::batch::Stored;
use super::connection::Connection;
use super::event;
use super::health::{Health, Trouble};
use super::link::Link;
use super::reads::{AtLeader, Info, Reads, info, number, parse_time, text};
use super::shard::Shard;
use super::shard_log::{Caps, Entry, Offered, ShardLog};
use super::streams;
use super::subject::{self, shard_of};
use super::times::Times;
use crate::broker::Feed;

/// How long a sequence that somebody has seen may take to come by the feed.
const HINT_PATIENCE: Duration = Duration::from_millis(50);
/// How long the feed may take to bring what an audit has shown.
const FEED_PATIENCE: Duration = Duration::from_millis(20);
/// After so many audits without an answer the server counts as cut off from the others.
const FAILED_AUDITS: u32 = 4;
/// Between two reads that bring nothing.
const RETRY: Duration = Duration::from_millis(20);
/// Messages read from the leader before the replicas are asked again.
const READ_AT_LEADER: usize = 100;
/// Messages taken from the feed before they are delivered.
const TAKEN_AT_ONCE: usize = 256;
/// A clock that is off by more is told of.
const CLOCK_SKEW: Duration = Duration::from_secs(5);

pub struct Follower {
    pub shard: Arc<Shard>,
    pub shards: u16,
    pub message_bytes: usize,
    pub caps: Caps,
    pub link: Arc<Link>,
    pub reads: Reads,
    pub feed: Arc<dyn Feed>,
    pub health: Arc<Health>,
    pub times: Times,
    /// Changes when the client library has dropped messages.
    pub dropped: watch::Receiver<u64>,
    /// Audits in a row without an answer.
    pub failed_audits: u32,
    /// Since when the leader has been behind this node.
    pub backwards: Option<Instant>,
    /// Since when no replica has given what is missing.
    pub stuck_since: Option<Instant>,
    /// The epoch of a stream that has used sequences again: nothing of it is believed before it has another one.
    pub distrusted: Option<String>,
}

impl Follower {
    /// Follows the shard whenever it is used, for ever.
    pub async fn run(mut self) {
        loop {
            while !self.shard.is_used() {
                self.shard.wake.notified().await;
            }
            self.health.metrics().followed.inc();
            self.follow().await;
            self.health.metrics().followed.dec();
            let nothing = ShardLog::new(0, 0, self.caps);
            let shard = &self.shard;
            shard.change(|state| {
                // Who came at the last moment reads this very log: it stays.
                if !shard.is_used() {
                    state.ready = false;
                    state.log = nothing;
                    state.epoch = "".into();
                }
            });
            self.show_log();
        }
    }

    /// Follows until nobody uses the shard.
    async fn follow(&mut self) {
        while self.shard.is_used() {
            let connected = self.link.connected();
            let Ok(connection) = tokio::time::timeout(self.times.audit, connected).await else {
                continue;
            };
            if let Some(live) = connection.subscribe(subject::live(self.shard.index)).await {
                self.follow_over(&connection, live).await;
            }
        }
    }

    /// Follows over one connection, until there is another one or nobody uses the shard.
    async fn follow_over(&mut self, connection: &Arc<Connection>, mut live: Subscriber) {
        let link = self.link.clone();
        let replaced = link.replaced(connection);
        tokio::pin!(replaced);
        let mut audit_at = Instant::now();
        let mut looked_for_at = None;
        loop {
            tokio::select! {
                message = live.next() => match message {
                    Some(message) => self.take(message, &mut live),
                    None => return,
                },
                () = sleep_until(audit_at) => {
                    if !self.shard.is_used() {
                        return;
                    }
                    let until_next = self.audit(connection).await;
                    self.await_feed(&mut live).await;
                    audit_at = Instant::now() + until_next;
                }
                () = self.shard.wake.notified() => {
                    looked_for_at.get_or_insert_with(|| Instant::now() + HINT_PATIENCE);
                }
                () = sleep_until(looked_for_at.unwrap_or(audit_at)), if looked_for_at.is_some() => {
                    looked_for_at = None;
                    // Most of what an acknowledgement has named is here by now.
                    if self.shard.is_behind() {
                        audit_at = Instant::now();
                    }
                }
                _ = self.dropped.changed() => audit_at = Instant::now(),
                () = &mut replaced => return,
            }
            if self.shard.lock().log.has_gap() {
                self.fill(connection).await;
            }
        }
    }

    /// Takes a message of the feed and those that came with it.
    fn take(&mut self, first: Message, live: &mut Subscriber) {
        // Nothing can be told of its place: it would look like the end of a gap that is the whole stream.
        if self.is_distrusted() || self.shard.lock().epoch.is_empty() {
            return;
        }
        let mut next = Some(first);
        let mut taken = 0;
        while let Some(message) = next {
            if self.offer_live(message) {
                // What follows is of the same kind, and is told from what was expected by nothing.
                self.distrust("it has used sequences again");
                break;
            }
            taken += 1;
            next = match taken < TAKEN_AT_ONCE {
                true => live.next().now_or_never().flatten(),
                false => None,
            };
        }
        self.deliver();
    }

    /// True if the message shows that the stream uses its sequences again.
    fn offer_live(&self, message: Message) -> bool {
        let time = text(&message, "Nats-Time-Stamp").and_then(parse_time);
        let (Some(sequence), Some(time)) = (number(&message, "Nats-Sequence"), time) else {
            return false;
        };
        let entry = match subject::parse_event(&message.subject) {
            Some((room, kind)) => self.entry(Stored {
                sequence,
                room,
                kind,
                time,
                payload: message.payload,
            }),
            None => Entry { time, event: None },
        };
        self.shard.change(|state| state.log.offer(sequence, entry)) == Offered::Reused
    }

    /// What the log keeps of a stored event: nothing but its place if it can be given to nobody.
    fn entry(&self, stored: Stored) -> Entry {
        let Stored {
            sequence,
            room,
            kind,
            time,
            payload,
        } = stored;
        let event = event::decode(room, kind, sequence, payload).unwrap_or_else(|error| {
            self.health.metrics().undeliverable.inc();
            let stream = streams::stream_name(self.shard.index);
            tracing::warn!("NATS: message {sequence} of stream {stream} is skipped: {error}");
            None
        });
        Entry { time, event }
    }

    /// Hands on what the log has newly got.
    fn deliver(&self) {
        if self.is_distrusted() {
            return;
        }
        loop {
            let Some(event) = self.shard.lock().log.next_delivery() else {
                break;
            };
            self.feed.deliver(&event.room, &event.publication);
        }
        let is_pinned = self.shard.is_pinned();
        self.shard.lock().log.evict(is_pinned);
    }

    /// Compares the log with what the leader has. Returns when to do so again.
    async fn audit(&mut self, connection: &Arc<Connection>) -> Duration {
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
        self.times.audit
    }

    async fn compare(&mut self, connection: &Arc<Connection>, info: &StreamInfo) -> Duration {
        if let Err(text) = streams::check_for_node(
            &info.config,
            self.shard.index,
            self.shards,
            self.message_bytes,
        ) {
            self.stop(text);
            return self.times.audit;
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
                return self.times.audit;
            }
            self.begin(connection, info, epoch).await;
            // What the feed brought before could not be placed, and may be newer than what the leader said.
            return HINT_PATIENCE;
        }
        if self.is_distrusted() {
            return self.times.audit;
        }
        if last < pos {
            let since = *self.backwards.get_or_insert_with(Instant::now);
            if since.elapsed() >= self.times.backwards {
                self.distrust(&format!("it ends at {last} and was at {pos} before"));
            }
            return self.times.audit;
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
        self.times.audit
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

    fn is_distrusted(&self) -> bool {
        self.distrusted.is_some()
    }

    fn distrust(&mut self, what: &str) {
        self.distrusted = Some(self.shard.lock().epoch.to_string());
        let stream = streams::stream_name(self.shard.index);
        self.stop(format!(
            "stream {stream} is not what it was: {what}; if it was restored or recreated, run \
             `chat-node nats init --renew-epochs`"
        ));
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

    /// Gives the feed a moment to bring what exists, so that it need not be read.
    async fn await_feed(&mut self, live: &mut Subscriber) {
        let until = Instant::now() + FEED_PATIENCE;
        while self.shard.lock().log.has_gap()
            && let Ok(Some(message)) = timeout_at(until, live.next()).await
        {
            self.take(message, live);
        }
    }

    /// Reads what is missing, until nothing is, this connection is over, or an audit should tell what is going on.
    async fn fill(&mut self, connection: &Connection) {
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

    fn show_log(&self) {
        let bytes = self.shard.lock().log.bytes();
        self.health.metrics().log_bytes(self.shard.index, bytes);
    }
}
