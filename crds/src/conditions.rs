//! Condition types and their reasons, once: users' scripts and alerts go by these names.

use std::fmt;

use schemars::{Schema, SchemaGenerator, json_schema};

/// A state of a ChatService, true or false.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConditionType {
    /// Clients can connect and messages are kept: everything is as it should be.
    Ready,
    /// Something is on its way: a rollout, a change of scale, a start.
    Progressing,
    /// It serves, but with less than was asked for.
    Degraded,
    /// NATS takes and keeps messages.
    NatsReady,
    /// The operator scales on connections.
    ScalingActive,
}

impl fmt::Display for ConditionType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ready => "Ready",
            Self::Progressing => "Progressing",
            Self::Degraded => "Degraded",
            Self::NatsReady => "NATSReady",
            Self::ScalingActive => "ScalingActive",
        })
    }
}

/// Why a condition is as it is; the message beside it has the names and numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// All nodes serve.
    AllNodesReady,
    /// Fewer nodes serve than are wanted.
    NotAllNodesReady,
    /// No node serves.
    NoNodeReady,
    /// `replicas: 0` was asked for.
    ScaledToZero,
    /// The resource cannot be carried out as it is: only an edit helps.
    Invalid,
    /// A Secret that it names is missing, or lacks a key.
    SecretNotReady,
    /// An object of the name that is needed belongs to somebody else.
    NotOwned,
    /// The API server refused an object; the message says which and why.
    ApplyFailed,
    /// The operator was told to change nothing.
    Paused,
    /// NATS is not ready.
    NatsNotReady,
    /// Streams are not as they should be.
    StreamsNotReady,
    /// All servers are ready.
    AllServersReady,
    /// Fewer servers are ready than there should be, but most are.
    NotAllServersReady,
    /// So few servers are ready that nothing can be stored.
    NoQuorum,
    /// The servers are the user's own; the nodes say whether they can be used.
    External,
    /// Pods with the newest settings are being started, or old ones still end.
    RollingOut,
    /// The first pod with the newest settings is not ready; the others wait.
    Canary,
    /// A pod that should run does not.
    PodsFailing,
    /// Everything is as it was asked for.
    Complete,
    /// Nothing is wrong.
    AsExpected,
    /// `autoscaling` is absent: `replicas` counts.
    Disabled,
    /// This release does not do what is asked for yet.
    NotSupported,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The names are the variants': a CamelCase word, as Kubernetes wants it.
        fmt::Debug::fmt(self, f)
    }
}

/// The schema of conditions, as Kubernetes has it everywhere.
pub(crate) fn schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 16,
        "items": {
            "type": "object",
            "required": ["type", "status", "reason", "message", "lastTransitionTime"],
            "properties": {
                "type": {"type": "string", "maxLength": 316, "description": "What the condition is about."},
                "status": {"type": "string", "enum": ["True", "False", "Unknown"], "description": "Whether it holds."},
                "reason": {"type": "string", "minLength": 1, "maxLength": 1024, "description": "Why, as one word."},
                "message": {"type": "string", "maxLength": 32768, "description": "Why, with names and numbers, and what to do."},
                "lastTransitionTime": {"type": "string", "format": "date-time", "description": "When status changed last."},
                "observedGeneration": {"type": "integer", "format": "int64", "description": "The generation that it speaks of."},
            },
        },
    })
}
