//! What reconciles share: the client, and what is remembered of each ChatService between them.

mod events;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kube::runtime::events::{Recorder, Reporter};
use kube::{Client, ResourceExt};
use natter_crds::ChatService;
use tracing::{info, warn};

use super::apply::Written;
use super::build::metadata::MANAGED_BY;
use super::children::Children;
use super::connections::Nodes;
use super::fetch::Observed;
use super::streams;
use super::validate::{Images, ValidatedService};
use crate::ask::Ask;
use crate::metrics::Metrics;

/// Streams are looked at again after this, in case somebody changed them.
const STREAMS_AGAIN: Duration = Duration::from_secs(3600);

pub struct Context {
    pub client: Client,
    pub images: Images,
    pub metrics: Metrics,
    pub children: Children,
    pub written: Written,
    pub ask: Ask,
    recorder: Recorder,
    memory: Mutex<HashMap<String, Memory>>,
}

/// What is remembered of one ChatService. Losing it costs a few requests.
#[derive(Default)]
struct Memory {
    failures: u32,
    /// When streams were as they should be, and for which settings.
    streams: Option<(String, Instant)>,
    /// Since when all NATS servers have been well, and which pods they were.
    well: Option<(String, Instant)>,
    /// Where the nodes are, and how many connections they had.
    nodes: Option<Nodes>,
    /// Release of the NATS servers, and for which template it was asked.
    nats_version: Option<(String, String)>,
}

impl Context {
    pub fn new(client: Client, images: Images, metrics: Metrics, identity: &str) -> Arc<Self> {
        let reporter = Reporter {
            controller: MANAGED_BY.to_owned(),
            instance: Some(identity.to_owned()),
        };
        Arc::new(Self {
            recorder: Recorder::new(client.clone(), reporter),
            client,
            images,
            metrics,
            children: Children::default(),
            written: Written::default(),
            ask: Ask::default(),
            memory: Mutex::default(),
        })
    }

    fn memory(&self) -> MutexGuard<'_, HashMap<String, Memory>> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn forget(&self, uid: &str) {
        self.memory().remove(uid);
        self.written.forget(uid);
    }

    /// Forgets ChatServices that are gone: no reconcile tells of those that went without a finalizer.
    pub fn forget_others(&self, there: &[String]) {
        let known: Vec<_> = self.memory().keys().cloned().collect();
        for uid in known.iter().filter(|uid| !there.contains(uid)) {
            self.forget(uid);
        }
    }

    pub fn succeeded(&self, uid: &str) {
        self.metrics.succeeded();
        self.memory().entry(uid.to_owned()).or_default().failures = 0;
    }

    /// How many failures in a row there were before this one.
    pub fn failed(&self, uid: &str) -> u32 {
        let mut memory = self.memory();
        let failures = &mut memory.entry(uid.to_owned()).or_default().failures;
        let before = *failures;
        *failures += 1;
        before
    }

    /// How long the NATS servers have been well: these pods, by their uids, without a break. `None`: they are not.
    pub fn well_for(&self, uid: &str, pods: Option<String>) -> Duration {
        let mut memory = self.memory();
        let well = &mut memory.entry(uid.to_owned()).or_default().well;
        *well = match (well.take(), pods) {
            (Some((before, since)), Some(now)) if before == now => Some((now, since)),
            (_, now) => now.map(|now| (now, Instant::now())),
        };
        well.as_ref()
            .map_or(Duration::ZERO, |(_, since)| since.elapsed())
    }

    /// Remembers where the nodes of `service` are.
    pub fn remember_nodes(&self, service: &ChatService, addresses: Vec<IpAddr>) {
        let uid = service.uid().unwrap_or_default();
        let mut memory = self.memory();
        let nodes = &mut memory.entry(uid.clone()).or_default().nodes;
        let before = service.status.as_ref().and_then(|it| it.connections);
        *nodes = Some(Nodes {
            uid,
            namespace: service.namespace().unwrap_or_default(),
            name: service.name_any(),
            addresses,
            connections: nodes.take().and_then(|it| it.connections).or(before),
        });
    }

    /// Every service that has nodes.
    pub fn nodes(&self) -> Vec<Nodes> {
        let memory = self.memory();
        memory.values().filter_map(|it| it.nodes.clone()).collect()
    }

    pub fn remember_connections(&self, uid: &str, connections: i64) {
        let mut memory = self.memory();
        if let Some(nodes) = memory.get_mut(uid).and_then(|it| it.nodes.as_mut()) {
            nodes.connections = Some(connections);
        }
    }

    /// How many there were lately.
    pub fn connections(&self, uid: &str) -> Option<i64> {
        self.memory().get(uid)?.nodes.as_ref()?.connections
    }

    /// Release of the NATS servers, if it was asked for servers of this template.
    pub fn nats_version(&self, uid: &str, hash: &str) -> Option<String> {
        let known = self.memory().get(uid)?.nats_version.clone()?;
        (known.0 == hash).then_some(known.1)
    }

    pub fn remember_nats_version(&self, uid: &str, hash: &str, version: &str) {
        let mut memory = self.memory();
        let memory = memory.entry(uid.to_owned()).or_default();
        memory.nats_version = Some((hash.to_owned(), version.to_owned()));
    }

    /// Sets streams up unless they were seen as they should be lately. Errors: text for the user.
    pub async fn set_up_streams(
        &self,
        service: &ValidatedService,
        observed: &Observed,
    ) -> Result<(), String> {
        let hash = streams::hash(service);
        let uid = &service.owner.uid;
        let seen = self
            .memory()
            .get(uid)
            .and_then(|memory| memory.streams.clone());
        if seen.is_some_and(|(seen, since)| seen == hash && since.elapsed() < STREAMS_AGAIN) {
            return Ok(());
        }
        let result = streams::set_up(service, &observed.secrets).await;
        match &result {
            Ok(()) => info!("streams are as they should be"),
            Err(problem) => warn!(problem, "streams are not as they should be"),
        }
        let streams = result.is_ok().then(|| (hash, Instant::now()));
        self.memory().entry(uid.clone()).or_default().streams = streams;
        result
    }
}
