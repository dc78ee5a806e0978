//! The NATS servers: run by the operator, or the user's own.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Resources, SecretKey};
use crate::shape::{anything, empty, int, text};

/// The NATS servers that carry and keep messages: exactly one of managed and external.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct Nats {
    /// Servers that the operator runs for this ChatService alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub managed: Option<ManagedNats>,
    /// Servers that you run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external: Option<ExternalNats>,
}

/// Servers that the operator runs for this ChatService alone.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ManagedNats {
    /// Image of nats-server, 2.15 or newer. Absent: the one that this release of the operator was tested with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,
    /// Servers: 3 or 5, or 1 where losing everything is no harm.
    #[serde(default = "int::<3>")]
    #[schemars(extend("enum" = [1, 3, 5]))]
    #[x_kube(validation = Rule::new("(self == 1) == (oldSelf == 1)").message("cannot change between 1 and more servers: create a new ChatService"))]
    pub replicas: i32,
    /// The volume of each server.
    #[serde(default)]
    #[schemars(extend("default" = {}))]
    pub storage: Storage,
    /// CPU and memory of a server. Absent: requests that suit a small service, and no limits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// A PodTemplateSpec that is merged over the operator's for servers (strategic merge; the server's container is
    /// `nats`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "anything")]
    pub pod_template: Option<serde_json::Value>,
}

/// The volume of each server.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.storageClassName) == has(oldSelf.storageClassName) && (!has(self.storageClassName) || self.storageClassName == oldSelf.storageClassName)").message("storageClassName cannot change"))]
pub struct Storage {
    /// Size of the volume; at least 1.5 x history.shards x history.maxBytesPerShard. It can only grow.
    #[serde(default = "size")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = Rule::new("isQuantity(self)").message("must be a quantity such as 20Gi"))]
    #[x_kube(validation = Rule::new("!isQuantity(self) || !isQuantity(oldSelf) || quantity(self).compareTo(quantity(oldSelf)) >= 0").message("volumes cannot shrink"))]
    pub size: String,
    /// Class of the volumes, best with fast fsync. Absent: the cluster's default. It cannot be changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub storage_class_name: Option<String>,
    /// What becomes of the volumes when the ChatService is deleted.
    #[serde(default)]
    pub reclaim_policy: ReclaimPolicy,
}

fn size() -> String {
    text("20Gi")
}

#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReclaimPolicy {
    #[default]
    Retain,
    Delete,
}

/// Servers that you run: nats-server 2.15 or newer with JetStream, and an account for this ChatService alone.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ExternalNats {
    /// Where the servers are: nats://host:4222, or tls://host:4222 for TLS.
    #[schemars(
        length(min = 1, max = 16),
        inner(length(max = 512), regex(pattern = "^(nats|tls)://"))
    )]
    pub urls: Vec<String>,
    /// The Secret with the nkey seeds node.nk, moderator.nk and operator.nk, made by `chat-node nats users`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_secret_ref: Option<SecretName>,
    /// The authorities that signed the servers' certificates, as PEM; implies TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret_ref: Option<SecretKey>,
    /// Servers that hold each stream.
    #[serde(default = "int::<3>")]
    #[schemars(extend("enum" = [1, 3, 5]))]
    pub stream_replicas: i32,
}

/// A Secret in the same namespace.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct SecretName {
    /// The Secret's name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

impl Default for Nats {
    fn default() -> Self {
        Self {
            managed: Some(ManagedNats::default()),
            external: None,
        }
    }
}

impl Default for ManagedNats {
    fn default() -> Self {
        empty()
    }
}

impl Default for Storage {
    fn default() -> Self {
        empty()
    }
}
