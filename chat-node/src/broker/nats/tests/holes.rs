//! Every hole through which a message could be lost, doubled or overtaken, forced open: the rules close it.
//!
//! Each test has a liar for a server, tells it when to lie, and looks at what members would get.

mod always;
mod epoch;
mod feed;
mod publish;
mod reads;
mod resume;
mod servers;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::super::account::{Account, Role};
use super::super::event;
use super::super::subject::{self, Kind, RoomToken};
use super::super::times::Times;
use super::super::{Caps, Nats, Settings};
use super::liar::Liar;
use super::server::until;
use crate::broker::contract::node::{self, Node, message, offsets, room_named};
use crate::broker::{Author, Broker, Error, Feed, Joined, Message, Position, Publication};
use crate::config::{ServerUrl, Servers};
use crate::ids::{RoomName, SessionId, UserId};
use crate::metrics::Metrics;

/// Longer than any test: what would otherwise hide the rule that is tested.
const NEVER: Duration = Duration::from_secs(600);

/// How a node of a test is set up.
#[derive(Clone)]
struct Setup {
    shards: u16,
    log: Caps,
    patience: Duration,
    times: Times,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            shards: 1,
            log: Caps {
                entries: 20_000,
                bytes: 16 << 20,
            },
            patience: Duration::from_secs(4),
            times: Times {
                audit: Duration::from_millis(100),
                ask_leader: Duration::from_millis(200),
                backwards: Duration::from_millis(300),
                attempt: Duration::from_millis(300),
                young: Duration::ZERO,
                ..Times::default()
            },
        }
    }
}

impl Setup {
    /// Audits take place only when something else causes them.
    fn without_audits() -> Self {
        let mut setup = Self::default();
        setup.times.audit = NEVER;
        setup
    }

    /// The log holds so many messages: older ones are read from the stream.
    fn with_log_of(entries: usize) -> Self {
        let mut setup = Self::default();
        setup.log.entries = entries;
        setup
    }

    /// A client is told soon that the broker cannot be reached.
    fn impatient() -> Self {
        Self {
            patience: Duration::from_millis(400),
            ..Self::default()
        }
    }

    async fn start(self) -> Rig {
        let rig = self.join(Liar::start(self.shards).await).await;
        rig.is_ready().await;
        rig
    }

    /// Starts a node and does not wait for it.
    async fn join(&self, liar: Liar) -> Rig {
        let recorder = Arc::new(node::Recorder::default());
        self.join_feeding(liar, recorder.clone(), recorder).await
    }

    /// The same with a feed that leads to `recorder`.
    async fn join_feeding(
        &self,
        liar: Liar,
        feed: Arc<dyn Feed>,
        recorder: Arc<node::Recorder>,
    ) -> Rig {
        let metrics = Metrics::new(1).unwrap();
        let url = |port: &u16| ServerUrl {
            tls: false,
            host: "127.0.0.1".to_owned(),
            port: *port,
        };
        let servers = Servers {
            urls: liar.ports.iter().map(url).collect(),
            ..Servers::default()
        };
        let settings = Settings {
            account: Account::new(&servers, Role::Node).unwrap(),
            moderator: None,
            node: "test".to_owned(),
            shards: self.shards,
            message_bytes: 65_536,
            log: self.log,
            patience: self.patience,
        };
        let (counted, times) = (metrics.nats().unwrap(), self.times);
        let nats = Nats::start_with(times, settings, feed, recorder.clone(), counted);
        let node = Node {
            broker: nats.clone(),
            feed: recorder,
        };
        Rig {
            liar,
            nats,
            node,
            metrics,
        }
    }
}

/// A node among liars.
struct Rig {
    liar: Liar,
    nats: Arc<Nats>,
    node: Node,
    metrics: Metrics,
}

impl Rig {
    async fn is_ready(&self) {
        let ready = async || self.nats.readiness().is_ok();
        until("the broker to be ready", ready).await;
    }

    /// Opens a room and returns where it is.
    async fn open(&self, name: &str) -> (RoomName, Position) {
        let room = room_named(name);
        self.nats.open(&room);
        let position = self.node.join(&room, None).await.position;
        (room, position)
    }

    /// Other nodes publish so many messages; returns their offsets.
    fn others_publish(&self, room: &RoomName, count: usize) -> Vec<u64> {
        let publish = |n| self.liar.publish(room, &format!("other {n}"));
        (0..count).map(publish).collect()
    }

    /// The room's publications after `since`, as shard 0 keeps them.
    fn kept(&self, room: &RoomName, since: u64) -> Vec<Publication> {
        let token = RoomToken::of(room.as_str());
        let subject = subject::messages(0, room);
        self.liar.stream(|stream| {
            let messages = stream.messages.range(since + 1..);
            let of_room = messages.filter(|(_, kept)| kept.subject == subject);
            let publications = of_room.filter_map(|(sequence, kept)| {
                let payload = kept.payload.clone();
                let event = event::decode(token, Kind::Message, *sequence, payload);
                Some((*event.ok()??.publication).clone())
            });
            publications.collect()
        })
    }

    /// Waits until all that is kept of the room after `since` has been delivered; it came once and in order.
    async fn is_delivered(&self, room: &RoomName, since: u64) {
        let kept = self.kept(room, since);
        let newest = kept.last().expect("something to deliver").offset;
        self.node.feed.wait_for(room, newest).await;
        assert_eq!(self.delivered(room, since), kept);
    }

    fn delivered(&self, room: &RoomName, since: u64) -> Vec<Publication> {
        let delivered = self.node.feed.of(room);
        let delivered = delivered.iter().map(|publication| (**publication).clone());
        delivered.filter(|p| p.offset > since).collect()
    }

    /// Waits until the node's log has come to `sequence`.
    async fn has_come_to(&self, sequence: u64) {
        let room = room_named("any");
        until("the log to go on", async || {
            self.node.join(&room, None).await.position.offset >= sequence
        })
        .await;
    }

    /// Resumes from `position`: all that is kept after it is recovered, nothing else.
    async fn recovers(&self, room: &RoomName, position: &Position) -> Joined {
        let joined = self.node.join(room, Some(position.clone())).await;
        assert!(joined.recovered, "{joined:?}");
        let recovered: Vec<_> = joined.publications.iter().map(|p| (**p).clone()).collect();
        let mut kept = self.kept(room, position.offset);
        kept.retain(|publication| publication.offset <= joined.position.offset);
        assert_eq!(recovered, kept);
        joined
    }

    /// Resumes from `position`, from where it cannot be told what was missed.
    async fn does_not_recover(&self, room: &RoomName, position: &Position) {
        let joined = self.node.join(room, Some(position.clone())).await;
        assert!(!joined.recovered, "{joined:?}");
        assert!(joined.publications.is_empty());
    }

    /// The value of a metric, its labels summed up.
    fn metric(&self, name: &str) -> u64 {
        let text = self.metrics.render().unwrap();
        let values = text.lines().filter_map(|line| {
            let (key, value) = line.split_once(' ')?;
            let key = key.split('{').next()?.strip_prefix("natter_")?;
            (key == name).then(|| value.parse::<f64>().unwrap() as u64)
        });
        values.sum()
    }
}
