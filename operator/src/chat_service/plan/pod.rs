//! A pod, as far as plans go by it.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::{self as core, ContainerStatus};
use k8s_openapi::jiff::Timestamp;

use crate::chat_service::build::metadata::{
    COMPONENT, Component, LIVE_HASH, RESTART_HASH, ROUTES_HASH,
};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    pub name: String,
    pub uid: String,
    /// The label that says which set it is of.
    pub component: String,
    pub ip: Option<IpAddr>,
    pub restart_hash: String,
    /// Of the password of a server; empty: it is none, or of a time before this was noted.
    pub routes_hash: String,
    /// Of the settings that it was told of last; empty: of none yet.
    pub live_hash: String,
    pub is_terminating: bool,
    pub ready_since: Option<Timestamp>,
    /// Why it is not ready, if it does not look as if it would be soon.
    pub trouble: Option<String>,
}

impl Pod {
    /// `None`: it has ended, and is nobody's any more.
    pub fn read(pod: &core::Pod) -> Option<Self> {
        let status = pod.status.clone().unwrap_or_default();
        if matches!(status.phase.as_deref(), Some("Failed" | "Succeeded")) {
            return None;
        }
        let text = |map: &Option<std::collections::BTreeMap<String, String>>, key: &str| {
            let value = map.as_ref().and_then(|map| map.get(key));
            value.cloned().unwrap_or_default()
        };
        let condition = |type_: &str| {
            let conditions = status.conditions.iter().flatten();
            conditions.into_iter().find(|it| it.type_ == type_)
        };
        let ready = condition("Ready").filter(|ready| ready.status == "True");
        Some(Self {
            name: pod.metadata.name.clone().unwrap_or_default(),
            uid: pod.metadata.uid.clone().unwrap_or_default(),
            component: text(&pod.metadata.labels, COMPONENT),
            ip: status.pod_ip.as_ref().and_then(|ip| ip.parse().ok()),
            restart_hash: text(&pod.metadata.annotations, RESTART_HASH),
            routes_hash: text(&pod.metadata.annotations, ROUTES_HASH),
            live_hash: text(&pod.metadata.annotations, LIVE_HASH),
            is_terminating: pod.metadata.deletion_timestamp.is_some(),
            // A time that is missing is long ago.
            ready_since: ready.map(|ready| {
                let since = ready.last_transition_time.as_ref();
                since.map_or(Timestamp::UNIX_EPOCH, |since| since.0)
            }),
            trouble: match ready {
                Some(_) => None,
                None => {
                    let unscheduled = condition("PodScheduled").filter(|it| it.status == "False");
                    unscheduled
                        .map(|it| {
                            let why = it.message.as_deref().unwrap_or("no node has room for it");
                            format!("cannot be scheduled: {why}")
                        })
                        .or_else(|| trouble(&status))
                }
            },
        })
    }

    /// As events name it.
    pub fn reference(&self, namespace: &str) -> core::ObjectReference {
        core::ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Pod".to_owned()),
            name: Some(self.name.clone()),
            namespace: Some(namespace.to_owned()),
            uid: Some(self.uid.clone()),
            ..core::ObjectReference::default()
        }
    }

    pub fn is_ready(&self) -> bool {
        self.ready_since.is_some()
    }

    pub fn is_of(&self, component: Component) -> bool {
        self.component == component.name()
    }

    /// What a person reads: the name, and what is wrong.
    pub fn why_not_ready(&self) -> String {
        match &self.trouble {
            Some(trouble) => format!("{} {trouble}", self.name),
            None => format!("{} is not ready yet", self.name),
        }
    }
}

/// What keeps containers from running. Texts that change from moment to moment are left out: they would be written into
/// the status each time.
fn trouble(status: &core::PodStatus) -> Option<String> {
    let first = status.init_container_statuses.iter().flatten();
    let all = first.chain(status.container_statuses.iter().flatten());
    all.filter(|container| !container.ready)
        .find_map(of_container)
}

fn of_container(container: &ContainerStatus) -> Option<String> {
    let name = &container.name;
    let state = container.state.clone().unwrap_or_default();
    let last = container.last_state.clone().unwrap_or_default();
    let ended = state.terminated.or(last.terminated);
    if let Some(ended) = ended.filter(|ended| ended.exit_code != 0) {
        let code = ended.exit_code;
        return Some(format!(
            "does not stay up: {name} ended with exit code {code} (kubectl logs --previous)"
        ));
    }
    match state.waiting?.reason.as_deref()? {
        "ContainerCreating" | "PodInitializing" => None,
        "ErrImagePull" | "ImagePullBackOff" => {
            let image = &container.image;
            Some(format!("does not start: image {image} cannot be pulled"))
        }
        reason => Some(format!("does not start: {name} waits, {reason}")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(metadata: &Value, status: &Value) -> Option<Pod> {
        let pod = json!({"metadata": metadata, "status": status});
        Pod::read(&serde_json::from_value(pod).unwrap())
    }

    fn trouble_of(status: &Value) -> Option<String> {
        read(&json!({"name": "a"}), status).unwrap().trouble
    }

    #[test]
    fn a_pod_is_what_its_labels_and_conditions_say() {
        let metadata = json!({
            "name": "lobby-nodes-a", "uid": "u", "labels": {"app.kubernetes.io/component": "nodes"},
            "annotations": {"natter.dev/restart-hash": "1", "natter.dev/live-hash": "2"},
        });
        let ready = json!({"type": "Ready", "status": "True", "lastTransitionTime": "2026-11-21T10:00:00Z"});
        let status = json!({"phase": "Running", "podIP": "10.0.0.7", "conditions": [ready]});
        let pod = read(&metadata, &status).unwrap();
        assert!(pod.is_ready() && pod.is_of(Component::Nodes) && !pod.is_terminating);
        assert_eq!(pod.ip, Some([10, 0, 0, 7].into()));
        assert_eq!(
            (pod.restart_hash.as_str(), pod.live_hash.as_str()),
            ("1", "2")
        );
        assert_eq!(pod.ready_since, "2026-11-21T10:00:00Z".parse().ok());
    }

    #[test]
    fn a_pod_that_ended_counts_for_nothing() {
        assert_eq!(
            read(&json!({"name": "a"}), &json!({"phase": "Failed"})),
            None
        );
    }

    #[test]
    fn what_keeps_a_pod_from_being_ready_is_said_in_words() {
        let unscheduled = json!({"conditions": [{"type": "PodScheduled", "status": "False", "message": "0/3 nodes"}]});
        assert_eq!(
            trouble_of(&unscheduled).unwrap(),
            "cannot be scheduled: 0/3 nodes"
        );
        let container = |state: Value, last: Value| {
            json!({"containerStatuses": [{"name": "chat-node", "image": "no:1", "imageID": "", "ready": false,
                                          "restartCount": 0, "state": state, "lastState": last}]})
        };
        let waiting = |reason: &str| container(json!({"waiting": {"reason": reason}}), json!({}));
        for reason in ["ErrImagePull", "ImagePullBackOff"] {
            let text = trouble_of(&waiting(reason)).unwrap();
            assert_eq!(text, "does not start: image no:1 cannot be pulled");
        }
        assert_eq!(trouble_of(&waiting("ContainerCreating")), None);
        let crashed = json!({"terminated": {"exitCode": 2}});
        let again = container(json!({"running": {}}), crashed);
        let text = trouble_of(&again).unwrap();
        assert!(text.contains("chat-node ended with exit code 2"), "{text}");
    }

    #[test]
    fn a_pod_that_is_ready_has_no_trouble() {
        let status = json!({
            "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [{"name": "a", "image": "a", "imageID": "", "ready": true, "restartCount": 1,
                                   "lastState": {"terminated": {"exitCode": 137}}}],
        });
        assert_eq!(trouble_of(&status), None);
    }
}
