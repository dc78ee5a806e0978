//! What is wrong between this node and NATS: one line in the log each way, a metric, and why the node is not ready.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use super::link::LinkId;
use super::subject::ShardIndex;
use crate::metrics::NatsMetrics;

/// What can be wrong; each at most once at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Trouble {
    Connection(LinkId),
    /// A shard's stream cannot be used: missing, set up differently, gone back in time.
    Stream(ShardIndex),
    /// Publishes of a shard are not acknowledged.
    Publish(ShardIndex),
    Permission,
    ClockSkew,
}

impl Trouble {
    /// The metric's label.
    fn kind(self) -> &'static str {
        match self {
            Self::Connection(_) => "connection",
            Self::Stream(_) => "stream",
            Self::Publish(_) => "publish",
            Self::Permission => "permission",
            Self::ClockSkew => "clock_skew",
        }
    }

    fn over(self) -> String {
        match self {
            Self::Connection(link) => format!("connected to NATS again for {link}"),
            Self::Stream(shard) => format!("the stream of shard {shard} is usable"),
            Self::Publish(shard) => format!("publishes of shard {shard} are acknowledged again"),
            Self::Permission => "NATS refuses nothing any more".to_owned(),
            Self::ClockSkew => "this node's clock agrees with NATS again".to_owned(),
        }
    }
}

pub struct Health {
    troubles: Mutex<BTreeMap<Trouble, String>>,
    /// Shards that have not been followed yet. Once there are none, trouble does not make the node unready.
    unfollowed: Mutex<BTreeSet<ShardIndex>>,
    metrics: NatsMetrics,
}

impl Health {
    pub fn new(metrics: NatsMetrics, shards: u16) -> Self {
        Self {
            troubles: Mutex::default(),
            unfollowed: Mutex::new((0..shards).collect()),
            metrics,
        }
    }

    pub fn metrics(&self) -> &NatsMetrics {
        &self.metrics
    }

    /// Something is wrong, `text` says what and what to change.
    pub fn raise(&self, trouble: Trouble, text: String) {
        let mut troubles = self.troubles.lock().expect("no panic holds this lock");
        if troubles.get(&trouble) != Some(&text) {
            tracing::warn!("NATS: {text}");
            troubles.insert(trouble, text);
            self.show(trouble, &troubles);
        }
        if let Trouble::Connection(link) = trouble {
            self.metrics.connected(link.purpose.name(), false);
        }
    }

    /// It is not wrong, or not any more.
    pub fn clear(&self, trouble: Trouble) {
        let mut troubles = self.troubles.lock().expect("no panic holds this lock");
        if troubles.remove(&trouble).is_some() {
            tracing::info!("NATS: {}", trouble.over());
            self.show(trouble, &troubles);
        }
    }

    pub fn connected(&self, link: LinkId, server: &str) {
        tracing::debug!(%link, server, "NATS: connected");
        self.clear(Trouble::Connection(link));
        let troubles = self.troubles.lock().expect("no panic holds this lock");
        let is_broken = |trouble: &Trouble| matches!(trouble, Trouble::Connection(other) if other.purpose == link.purpose);
        if !troubles.keys().any(is_broken) {
            self.metrics.connected(link.purpose.name(), true);
        }
    }

    fn show(&self, changed: Trouble, troubles: &BTreeMap<Trouble, String>) {
        let kind = changed.kind();
        let count = troubles
            .keys()
            .filter(|trouble| trouble.kind() == kind)
            .count();
        self.metrics.troubles(kind, count);
    }

    /// The log of `shard` can be read.
    pub fn followed(&self, shard: ShardIndex) {
        let mut unfollowed = self.unfollowed.lock().expect("no panic holds this lock");
        if unfollowed.remove(&shard) && unfollowed.is_empty() {
            tracing::info!("NATS: joined, every shard can be read");
        }
    }

    /// What keeps the node from serving. Nothing does once it has joined.
    pub fn readiness(&self) -> Result<(), String> {
        if self
            .unfollowed
            .lock()
            .expect("no panic holds this lock")
            .is_empty()
        {
            return Ok(());
        }
        Err(match self.troubles().as_str() {
            "" => "joining NATS".to_owned(),
            troubles => format!("waiting for NATS: {troubles}"),
        })
    }

    /// What is wrong now, for a person to read.
    pub fn troubles(&self) -> String {
        let troubles = self.troubles.lock().expect("no panic holds this lock");
        let texts: Vec<&str> = troubles.values().map(String::as_str).collect();
        texts.join("; ")
    }
}
