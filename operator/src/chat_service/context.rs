//! What reconciles share: the client, and what is remembered of each ChatService between them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Client, Resource};
use natter_crds::{ChatService, ChatServiceStatus, Reason};
use tracing::{info, warn};

use super::apply::{Action, Written};
use super::build::Kind;
use super::build::metadata::MANAGED_BY;
use super::fetch::Observed;
use super::status::Report;
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

    /// Tells of what was made, changed and removed.
    pub async fn announce_actions(&self, service: &ChatService, actions: &[Action]) {
        type Choice = fn(&Action) -> Option<(Kind, &String)>;
        let kinds: [(&str, Choice); 3] = [
            ("Created", |action| match action {
                Action::Created(kind, name) => Some((*kind, name)),
                _ => None,
            }),
            ("Updated", |action| match action {
                Action::Updated(kind, name) => Some((*kind, name)),
                _ => None,
            }),
            ("Deleted", |action| match action {
                Action::Deleted(kind, name) => Some((*kind, name)),
                _ => None,
            }),
        ];
        for (reason, choice) in kinds {
            let objects: Vec<_> = actions.iter().filter_map(choice).collect();
            for (kind, _) in &objects {
                self.metrics.wrote(&kind.to_string());
            }
            let names: Vec<_> = objects
                .iter()
                .map(|(kind, name)| format!("{kind} {name}"))
                .collect();
            if !names.is_empty() {
                self.publish(
                    service,
                    EventType::Normal,
                    reason,
                    "Apply",
                    names.join(", "),
                )
                .await;
            }
        }
    }

    /// Tells that a NATS server is restarted.
    pub async fn announce_restart(&self, service: &ChatService, note: String) {
        self.metrics.wrote("Pod");
        self.publish(service, EventType::Normal, "Restarting", "Rollout", note)
            .await;
    }

    /// Tells that running nodes take new settings over.
    pub async fn announce_settings(&self, service: &ChatService, nodes: usize) {
        let note = format!("{nodes} running nodes take new settings over; nothing restarts");
        self.publish(service, EventType::Normal, "SettingsChanged", "Apply", note)
            .await;
    }

    /// Tells of changes of the conditions that a human asks about, and once for each generation of what is not done.
    pub async fn announce_status(
        &self,
        service: &ChatService,
        status: &ChatServiceStatus,
        report: &Report,
    ) {
        let before = service.status.as_ref();
        for type_ in ["Ready", "Progressing", "Degraded"] {
            let condition = |status: &ChatServiceStatus| {
                let mut conditions = status.conditions.iter();
                conditions
                    .find(|condition| condition.type_ == type_)
                    .cloned()
            };
            let Some(new) = condition(status) else {
                continue;
            };
            let old = before.and_then(condition);
            let is_same = |old: Condition| (&old.status, &old.reason) == (&new.status, &new.reason);
            // What Ready says already is not said twice.
            let is_said = type_ != "Ready" && status.conditions[0].reason == new.reason;
            if old.is_some_and(is_same) || is_said || (type_ == "Degraded" && new.status != "True")
            {
                continue;
            }
            let is_good = match type_ {
                "Ready" => new.status == "True",
                _ => type_ == "Progressing",
            };
            let level = match is_good {
                true => EventType::Normal,
                false => EventType::Warning,
            };
            self.publish(service, level, &new.reason, "Reconcile", new.message)
                .await;
        }
        let is_new =
            before.and_then(|before| before.observed_generation) != status.observed_generation;
        if is_new && !report.unsupported.is_empty() {
            let reason = Reason::NotSupported.to_string();
            let note = report.unsupported.join("; ");
            self.publish(service, EventType::Warning, &reason, "Reconcile", note)
                .await;
        }
    }

    async fn publish(
        &self,
        service: &ChatService,
        type_: EventType,
        reason: &str,
        action: &str,
        mut note: String,
    ) {
        info!(reason, note, "event");
        // The API server takes no longer ones.
        let end = (0..=1000.min(note.len()))
            .rev()
            .find(|&end| note.is_char_boundary(end));
        note.truncate(end.unwrap_or(0));
        let event = Event {
            type_,
            reason: reason.to_owned(),
            note: Some(note),
            action: action.to_owned(),
            secondary: None,
        };
        if let Err(error) = self
            .recorder
            .publish(&event, &service.object_ref(&()))
            .await
        {
            warn!(%error, reason, "failed to publish an event");
        }
    }
}
