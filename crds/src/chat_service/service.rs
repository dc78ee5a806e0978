//! The Service that clients connect to; its fields are those of a Kubernetes Service.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use crate::shape::{empty, int};

/// The Service that clients connect to.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Service {
    /// ClusterIP, NodePort or LoadBalancer.
    #[serde(default, rename = "type")]
    pub type_: ServiceType,
    /// Annotations of the Service; load balancers are told by them what to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<BTreeMap<String, String>>,
    /// Which load balancer answers for the Service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load_balancer_class: Option<String>,
    /// Local keeps clients' addresses, and sends traffic only to Kubernetes nodes that have a pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_traffic_policy: Option<ExternalTrafficPolicy>,
    /// ClientIP: a client that reconnects soon comes back to the same pod.
    #[serde(default)]
    pub session_affinity: SessionAffinity,
    /// How long a client's address is remembered.
    #[serde(default)]
    #[schemars(extend("default" = {}))]
    pub session_affinity_config: ClientIpAffinity,
}

#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ServiceType {
    #[default]
    ClusterIP,
    NodePort,
    LoadBalancer,
}

#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExternalTrafficPolicy {
    Cluster,
    Local,
}

#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SessionAffinity {
    #[default]
    ClientIP,
    None,
}

/// How long a client's address is remembered.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub struct ClientIpAffinity {
    /// For sessionAffinity: ClientIP.
    #[serde(default, rename = "clientIP")]
    #[schemars(extend("default" = {}))]
    pub client_ip: ClientIpConfig,
}

/// How long a client's address is remembered.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ClientIpConfig {
    /// Seconds after the last new connection. Long times keep new pods empty.
    #[serde(default = "int::<60>")]
    #[schemars(range(min = 1, max = 86_400))]
    pub timeout_seconds: i32,
}

impl Default for ClientIpConfig {
    fn default() -> Self {
        empty()
    }
}
