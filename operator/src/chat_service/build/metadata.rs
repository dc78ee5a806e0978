//! Names, labels, selectors, owner references.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference};

use crate::chat_service::validate::ValidatedService;

pub const MANAGED_BY: &str = "natter-operator";

const NAME: &str = "app.kubernetes.io/name";
const INSTANCE: &str = "app.kubernetes.io/instance";
pub const COMPONENT: &str = "app.kubernetes.io/component";
const MANAGED: &str = "app.kubernetes.io/managed-by";

/// Labels that a user's template may not set.
pub const LABELS: [&str; 4] = [NAME, INSTANCE, COMPONENT, MANAGED];

/// The hash of a pod's template and of the settings that it reads at its start only: another one needs another pod.
pub const RESTART_HASH: &str = "natter.dev/restart-hash";

/// The hash of the settings that a node takes over while it runs. On pods, not in their template: when it changes, the
/// kubelet looks at the pod again, and brings the ConfigMap.
pub const LIVE_HASH: &str = "natter.dev/live-hash";

/// The hash of the password by which NATS servers know each other: with another one a server is alone.
pub const ROUTES_HASH: &str = "natter.dev/routes-hash";

/// By which labels every object of ChatService `name` is found.
pub fn selector_of_all(name: &str) -> String {
    format!("{NAME}=natter,{INSTANCE}={name},{MANAGED}={MANAGED_BY}")
}

/// Whether an object that the operator manages has the labels of ChatService `name`.
pub fn is_of(labels: &BTreeMap<String, String>, name: &str) -> bool {
    let has = |label: &str, value: &str| labels.get(label).is_some_and(|it| it == value);
    has(NAME, "natter") && has(INSTANCE, name)
}

/// How many servers a StatefulSet was made for.
pub const SERVERS: &str = "natter.dev/servers";

/// The ChatService as its objects name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    pub api_version: String,
    pub kind: String,
    pub name: String,
    pub uid: String,
}

/// One of the two sets of pods of a ChatService.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Component {
    Nodes,
    Nats,
}

impl Component {
    pub fn name(self) -> &'static str {
        match self {
            Self::Nodes => "nodes",
            Self::Nats => "nats",
        }
    }

    /// The name of the component's objects: `lobby-nodes` for ChatService `lobby`.
    pub fn object_name(self, service: &str) -> String {
        format!("{service}-{}", self.name())
    }
}

impl ValidatedService {
    pub fn name_of(&self, component: Component) -> String {
        component.object_name(&self.name)
    }

    /// Labels by which the component's pods are found; they never change.
    pub fn selector(&self, component: Component) -> BTreeMap<String, String> {
        let labels = [
            (NAME, "natter"),
            (INSTANCE, &self.name),
            (COMPONENT, component.name()),
        ];
        labels
            .map(|(label, value)| (label.to_owned(), value.to_owned()))
            .into()
    }

    pub fn label_selector(&self, component: Component) -> LabelSelector {
        LabelSelector {
            match_labels: Some(self.selector(component)),
            ..LabelSelector::default()
        }
    }

    /// Labels of the component's objects.
    pub fn labels(&self, component: Component) -> BTreeMap<String, String> {
        let mut labels = self.selector(component);
        labels.insert(MANAGED.to_owned(), MANAGED_BY.to_owned());
        labels
    }

    /// Metadata of an object that goes when the ChatService goes.
    pub fn metadata(&self, name: &str, component: Component) -> ObjectMeta {
        let Owner {
            api_version,
            kind,
            name: owner,
            uid,
        } = self.owner.clone();
        ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(self.namespace.clone()),
            labels: Some(self.labels(component)),
            owner_references: Some(vec![OwnerReference {
                api_version,
                kind,
                name: owner,
                uid,
                controller: Some(true),
                block_owner_deletion: Some(true),
            }]),
            ..ObjectMeta::default()
        }
    }
}
