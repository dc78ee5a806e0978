//! One object as it is applied: only the fields that the operator owns.

use std::fmt;

use serde::Serialize;
use serde_json::Value;

/// The kinds that the operator makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    ServiceAccount,
    Secret,
    ConfigMap,
    Service,
    NetworkPolicy,
    PodDisruptionBudget,
    StatefulSet,
    Deployment,
}

impl Kind {
    pub const ALL: [Self; 8] = [
        Self::ServiceAccount,
        Self::Secret,
        Self::ConfigMap,
        Self::Service,
        Self::NetworkPolicy,
        Self::PodDisruptionBudget,
        Self::StatefulSet,
        Self::Deployment,
    ];
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// An object that is wanted.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    pub kind: Kind,
    pub name: String,
    /// With apiVersion, kind and metadata.
    pub body: Value,
}

impl Object {
    pub fn new(kind: Kind, name: &str, typed: &impl Serialize) -> Self {
        Self {
            kind,
            name: name.to_owned(),
            body: serde_json::to_value(typed).expect("objects of Kubernetes are JSON"),
        }
    }
}
