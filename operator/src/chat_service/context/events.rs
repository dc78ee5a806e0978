//! Events: what was done and what changed, for every question that a human would ask.

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Resource as _;
use kube::runtime::events::{Event, EventType};
use natter_crds::{ChatService, ChatServiceStatus, ConditionType, Reason};
use tracing::{info, warn};

use super::Context;
use crate::chat_service::apply::Action;
use crate::chat_service::status::Report;

impl Context {
    /// Tells of what was made, changed and removed.
    pub async fn announce_actions(&self, service: &ChatService, actions: &[Action]) {
        for reason in ["Created", "Updated", "Deleted"] {
            let of_reason = |action: &Action| {
                let (done, kind, name) = action.parts();
                (done == reason).then(|| (kind.to_string(), format!("{kind} {name}")))
            };
            let (kinds, names): (Vec<_>, Vec<_>) = actions.iter().filter_map(of_reason).unzip();
            for kind in &kinds {
                self.metrics.wrote(kind);
            }
            if !names.is_empty() {
                let note = names.join(", ");
                self.publish(service, EventType::Normal, reason, "Apply", note)
                    .await;
            }
        }
    }

    /// Tells that a NATS server is restarted.
    pub async fn announce_restart(
        &self,
        service: &ChatService,
        pod: ObjectReference,
        note: String,
    ) {
        self.metrics.wrote("Pod");
        // With the pod in it, the next server's restart is an event of its own.
        self.publish_about(
            service,
            EventType::Normal,
            "Restarting",
            "Rollout",
            note,
            Some(pod),
        )
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
        for (level, condition) in changes(before, status) {
            let note = condition.message.clone();
            self.publish(service, level, &condition.reason, "Reconcile", note)
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
        note: String,
    ) {
        self.publish_about(service, type_, reason, action, note, None)
            .await;
    }

    async fn publish_about(
        &self,
        service: &ChatService,
        type_: EventType,
        reason: &str,
        action: &str,
        mut note: String,
        secondary: Option<ObjectReference>,
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
            secondary,
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

/// The conditions that became others, as far as they are news.
fn changes<'a>(
    before: Option<&ChatServiceStatus>,
    now: &'a ChatServiceStatus,
) -> Vec<(EventType, &'a Condition)> {
    fn of(status: &ChatServiceStatus, type_: ConditionType) -> Option<&Condition> {
        let mut conditions = status.conditions.iter();
        conditions.find(|it| it.type_ == type_.to_string())
    }
    let told = [
        ConditionType::Ready,
        ConditionType::Progressing,
        ConditionType::Degraded,
    ];
    let ready = of(now, ConditionType::Ready).map(|ready| &ready.reason);
    let news = told.into_iter().filter_map(|type_| {
        let new = of(now, type_)?;
        let old = before.and_then(|before| of(before, type_));
        let is_same =
            old.is_some_and(|old| (&old.status, &old.reason) == (&new.status, &new.reason));
        let holds = new.status == "True";
        let (is_news, is_good) = match type_ {
            ConditionType::Ready => (true, holds),
            // What Ready says is not said twice.
            ConditionType::Progressing => (ready != Some(&new.reason), true),
            _ => (ready != Some(&new.reason) && holds, false),
        };
        let level = match is_good {
            true => EventType::Normal,
            false => EventType::Warning,
        };
        (is_news && !is_same).then_some((level, new))
    });
    news.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Conditions as `Type=Status:Reason`.
    fn status(conditions: &[&str]) -> ChatServiceStatus {
        let condition = |text: &&str| {
            let (type_, rest) = text.split_once('=').unwrap();
            let (status, reason) = rest.split_once(':').unwrap();
            let condition = serde_json::json!({
                "type": type_, "status": status, "reason": reason, "message": "",
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            });
            serde_json::from_value(condition).unwrap()
        };
        ChatServiceStatus {
            conditions: conditions.iter().map(condition).collect(),
            ..ChatServiceStatus::default()
        }
    }

    const WELL: [&str; 3] = [
        "Ready=True:AllNodesReady",
        "Progressing=False:Complete",
        "Degraded=False:AsExpected",
    ];

    fn told(before: &[&str], now: &[&str]) -> Vec<(bool, String)> {
        let (before, now) = (status(before), status(now));
        let changes = changes(Some(&before), &now).into_iter();
        let told =
            changes.map(|(level, it)| (matches!(level, EventType::Normal), it.reason.clone()));
        told.collect()
    }

    #[test]
    fn a_rollout_is_told_step_by_step_and_its_failure_is_a_warning() {
        let canary = [WELL[0], "Progressing=True:Canary", WELL[2]];
        assert_eq!(told(&WELL, &canary), [(true, "Canary".to_owned())]);
        let stuck = [
            WELL[0],
            "Progressing=True:Canary",
            "Degraded=True:PodsFailing",
        ];
        assert_eq!(told(&canary, &stuck), [(false, "PodsFailing".to_owned())]);
        assert_eq!(told(&stuck, &canary), [], "a trouble that is over");
        assert_eq!(told(&canary, &WELL), [(true, "Complete".to_owned())]);
    }

    #[test]
    fn one_trouble_is_one_event() {
        let invalid = [
            "Ready=False:Invalid",
            "Progressing=False:Invalid",
            "Degraded=True:Invalid",
        ];
        assert_eq!(told(&WELL, &invalid), [(false, "Invalid".to_owned())]);
        assert_eq!(told(&invalid, &invalid), []);
    }
}
