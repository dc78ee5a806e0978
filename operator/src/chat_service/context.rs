//! What reconciles share: the client, and what is remembered of each ChatService between them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

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
use crate::metrics::Metrics;

/// Streams are looked at again after this, in case somebody changed them.
const STREAMS_AGAIN: Duration = Duration::from_secs(3600);

pub struct Context {
    pub client: Client,
    pub images: Images,
    pub metrics: Metrics,
    pub written: Written,
    recorder: Recorder,
    memory: Mutex<HashMap<String, Memory>>,
}

/// What is remembered of one ChatService. Losing it costs a few requests.
#[derive(Default)]
struct Memory {
    failures: u32,
    /// When streams were as they should be, and for which settings.
    streams: Option<(String, Instant)>,
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
        let (credentials, ca) = (
            observed.external_secret.as_ref(),
            observed.ca_secret.as_ref(),
        );
        let result = streams::set_up(service, credentials, ca).await;
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

    /// Tells of a change of Ready, and once for each generation of what is not done.
    pub async fn announce_status(
        &self,
        service: &ChatService,
        status: &ChatServiceStatus,
        report: &Report,
    ) {
        let before = service.status.as_ref();
        let ready = |status: &ChatServiceStatus| {
            let condition = status
                .conditions
                .iter()
                .find(|condition| condition.type_ == "Ready");
            condition.map(|condition| {
                (
                    condition.status.clone(),
                    condition.reason.clone(),
                    condition.message.clone(),
                )
            })
        };
        let old = before.and_then(ready);
        if let Some((is_ready, reason, message)) = ready(status)
            && old.is_none_or(|(was_ready, was, _)| {
                (was_ready, was) != (is_ready.clone(), reason.clone())
            })
        {
            let type_ = match is_ready == "True" {
                true => EventType::Normal,
                false => EventType::Warning,
            };
            self.publish(service, type_, &reason, "Reconcile", message)
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
