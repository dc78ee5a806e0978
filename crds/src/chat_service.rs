//! ChatService: what a user asks for. Every default is here and, through the schema, in the API server.
//!
//! Names follow what users know: replicas and autoscaling from HorizontalPodAutoscaler, Service's own fields,
//! storageClassName from PersistentVolumeClaim, maxAge from NATS, paused from Deployment.

mod auth;
mod nats;
mod rooms;
mod service;
mod status;

pub use auth::{Auth, ConnectWebhook, Jwt, SecretKey};
pub use nats::{ExternalNats, ManagedNats, Nats, ReclaimPolicy, SecretName, Storage};
pub use rooms::{History, Limits, PublishAccess, ReadAccess, RoomClass, SubscribeAccess};
pub use service::{
    ClientIpAffinity, ClientIpConfig, ExternalTrafficPolicy, Service, ServiceType, SessionAffinity,
};
pub use status::{ChatServiceStatus, NatsStatus};

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use crate::shape::{anything, empty, int, quantities};

/// The state that is wanted.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "natter.dev",
    version = "v1alpha1",
    kind = "ChatService",
    plural = "chatservices",
    singular = "chatservice",
    shortname = "chat",
    category = "all",
    namespaced,
    status = "ChatServiceStatus",
    derive = "PartialEq",
    doc = "A chat service: nodes that hold clients' connections, the NATS servers that carry and keep messages, and the Services in front.",
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "Replicas", type_ = "integer", json_path = ".status.readyReplicas"),
    printcolumn(name = "Desired", type_ = "integer", json_path = ".spec.replicas"),
    printcolumn(name = "Connections", type_ = "integer", json_path = ".status.connections"),
    printcolumn(name = "NATS", type_ = "integer", json_path = ".status.nats.readyReplicas"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Image", type_ = "string", json_path = ".status.image", priority = 1),
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$') && !self.metadata.name.endsWith('-nats') && !self.metadata.name.endsWith('-nodes') && !self.metadata.name.endsWith('-api')")
        .message("metadata.name must be at most 40 characters of a-z, 0-9 and '-', start with a letter and not end in -nats, -nodes or -api: Services and pods are named after it"),
)]
#[x_kube(
    validation = Rule::new("self.auth.allowAnonymous || has(self.auth.jwt) || has(self.auth.connectWebhook)")
        .message("nobody could connect: set auth.jwt, auth.connectWebhook or auth.allowAnonymous: true"),
    validation = Rule::new("!has(self.autoscaling) || self.autoscaling.targetConnections <= self.limits.connections")
        .message("autoscaling.targetConnections must not exceed limits.connections"),
    validation = Rule::new("!has(self.nats.managed) || !isQuantity(self.nats.managed.storage.size) || !isQuantity(self.history.maxBytesPerShard) || quantity(self.nats.managed.storage.size).asInteger() >= self.history.shards * quantity(self.history.maxBytesPerShard).asInteger() * 3 / 2")
        .message("nats.managed.storage.size must be at least 1.5 x history.shards x history.maxBytesPerShard"),
)]
pub struct ChatServiceSpec {
    /// Image of the chat nodes. Absent: the operator's own release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,
    /// How many chat-node pods run. Written through /scale by `kubectl scale`, an HorizontalPodAutoscaler, KEDA or,
    /// when autoscaling is set, the operator: then leave it out of your manifests.
    #[serde(default = "int::<2>")]
    #[schemars(range(min = 0, max = 1000))]
    pub replicas: i32,
    /// Present: the operator scales on connections. Absent: replicas counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autoscaling: Option<Autoscaling>,
    /// How planned disconnects are paced: rollouts, scale-down, drains of Kubernetes nodes, rebalancing.
    #[serde(default)]
    #[schemars(extend("default" = {}))]
    pub disruption: Disruption,
    /// The Service that clients connect to; it has the ChatService's name.
    #[serde(default)]
    #[schemars(extend("default" = {}))]
    pub service: Service,
    /// What is kept of messages, and for how long.
    #[serde(default)]
    #[schemars(extend("default" = {}))]
    pub history: History,
    /// Who may do what in rooms named `prefix:…`. A room without a prefix is of class `default`, which always exists
    /// and may stand here to be changed. A room whose prefix is not listed cannot be used.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["prefix".into()]))]
    pub room_classes: Vec<RoomClass>,
    /// What clients may use up.
    #[serde(default)]
    #[schemars(extend("default" = {}))]
    pub limits: Limits,
    /// Who gets in. At least one of allowAnonymous, jwt and connectWebhook.
    #[serde(default)]
    #[schemars(extend("default" = {}))]
    pub auth: Auth,
    /// The NATS servers that carry and keep messages: run by the operator, or your own.
    #[serde(default)]
    #[schemars(extend("default" = {"managed": {}}))]
    #[x_kube(validation = Rule::new("has(self.managed) != has(self.external)").message("set exactly one of managed and external; they cannot be exchanged later"))]
    #[x_kube(validation = Rule::new("has(self.managed) == has(oldSelf.managed)").message("managed and external cannot be exchanged: history would stay behind"))]
    pub nats: Nats,
    /// CPU and memory of a chat-node container. Absent: requests that suit 20000 connections, and no limits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// A PodTemplateSpec that is merged over the operator's for chat nodes (strategic merge; the node's container is
    /// `chat-node`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "anything")]
    pub pod_template: Option<serde_json::Value>,
    /// While true the operator changes nothing; nodes go on serving.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<bool>,
}

/// Scaling on connections: so many replicas that each has targetConnections while spareReplicas are lost.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.minReplicas <= self.maxReplicas").message("minReplicas must not exceed maxReplicas"),
    validation = Rule::new("self.spareReplicas < self.maxReplicas").message("spareReplicas must be below maxReplicas"),
)]
pub struct Autoscaling {
    /// Never fewer replicas than this.
    #[serde(default = "int::<2>")]
    #[schemars(range(min = 1))]
    pub min_replicas: i32,
    /// Never more replicas than this.
    #[schemars(range(min = 1, max = 1000))]
    pub max_replicas: i32,
    /// Connections that a replica should have; at most limits.connections.
    #[serde(default = "int::<20000>")]
    #[schemars(range(min = 1))]
    pub target_connections: i32,
    /// So many replicas may be lost without going above the target.
    #[serde(default = "int::<1>")]
    #[schemars(range(min = 0))]
    pub spare_replicas: i32,
    /// How replicas are taken away.
    #[serde(default)]
    #[schemars(extend("default" = {}))]
    pub scale_down: ScaleDown,
}

/// How replicas are taken away.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ScaleDown {
    /// Seconds for which fewer replicas must have been enough.
    #[serde(default = "int::<300>")]
    #[schemars(range(min = 0, max = 3600))]
    pub stabilization_window_seconds: i32,
}

/// How planned disconnects are paced.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Disruption {
    /// Clients of the whole service that are asked to reconnect in a second.
    #[serde(default = "int::<1000>")]
    #[schemars(range(min = 1))]
    pub max_reconnects_per_second: i32,
    /// Longest drain of one pod, in seconds. Above 540 the Cluster Autoscaler cuts it short.
    #[serde(default = "int::<480>")]
    #[schemars(range(min = 10, max = 3600))]
    pub drain_seconds: i32,
    /// A replica that is so far above the mean sheds connections; 0 is never.
    #[serde(default = "int::<20>")]
    #[schemars(range(min = 0, max = 1000))]
    pub rebalance_threshold_percent: i32,
}

/// CPU and memory of a container, as in a pod.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub struct Resources {
    /// What is set aside for the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "quantities")]
    pub requests: Option<BTreeMap<String, IntOrString>>,
    /// What the container may use at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "quantities")]
    pub limits: Option<BTreeMap<String, IntOrString>>,
}

impl Default for Disruption {
    fn default() -> Self {
        empty()
    }
}

impl Default for ScaleDown {
    fn default() -> Self {
        empty()
    }
}
