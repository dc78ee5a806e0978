//! Follows one shard: feed, audits and reads -> the shard's log -> rooms with members on this node.
//!
//! The feed may lose anything at any time without a word, so nothing is believed complete until the leader's last
//! sequence has been compared; what is missing is read from the stream.

mod audit;
mod fill;

use std::sync::Arc;
use std::time::Duration;

use async_nats::{Message, Subscriber};
use futures_util::{FutureExt, StreamExt};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::batch::Stored;
use super::connection::Connection;
use super::event;
use super::health::Health;
use super::link::Link;
use super::reads::{Reads, number, parse_time, text};
use super::shard::Shard;
use super::shard_log::{Caps, Entry, Offered, ShardLog};
use super::streams;
use super::subject;
use super::times::Times;
use crate::broker::Feed;

/// How long a sequence that somebody has seen may take to come by the feed.
const HINT_PATIENCE: Duration = Duration::from_millis(50);
/// Messages taken from the feed before they are delivered.
const TAKEN_AT_ONCE: usize = 256;

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
        // When to look for which sequence.
        let mut look = None;
        self.shard.begin_look();
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
                    look.get_or_insert_with(|| self.next_look());
                }
                () = sleep_until(look.map_or(audit_at, |(at, _)| at)), if look.is_some() => {
                    self.shard.begin_look();
                    // Most of what an acknowledgement has named is here by now.
                    if look.take().is_some_and(|(_, hinted)| self.shard.is_behind(hinted)) {
                        audit_at = Instant::now();
                    } else if self.shard.is_behind(self.shard.hinted()) {
                        look = Some(self.next_look());
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

    /// When to look whether what is hinted at now has come.
    fn next_look(&self) -> (Instant, u64) {
        (Instant::now() + HINT_PATIENCE, self.shard.hinted())
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
            None => Entry {
                time,
                event: None,
                erased: None,
            },
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
        let erased = event::erasure(room, kind, &payload).map(Box::new);
        let event = event::decode(room, kind, sequence, payload).unwrap_or_else(|error| {
            self.health.metrics().undeliverable.inc();
            let stream = streams::stream_name(self.shard.index);
            tracing::warn!("NATS: message {sequence} of stream {stream} is skipped: {error}");
            None
        });
        Entry {
            time,
            event,
            erased,
        }
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

    fn show_log(&self) {
        let bytes = self.shard.lock().log.bytes();
        self.health.metrics().log_bytes(self.shard.index, bytes);
    }
}
