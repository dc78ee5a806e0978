//! What a reconcile found and did -> `.status`. `of` is pure; `update` writes only what changed.

mod conditions;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use natter_crds::{ChatService, ChatServiceStatus, NatsStatus, Reason};
use serde_json::{Value, json};

use super::build::metadata::{Component, MANAGED_BY};
use super::plan::Pod;
use super::plan::rollout::Rollout;
use super::servers::Rolling;

/// What a reconcile found and did.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// What keeps the ChatService from being carried out.
    pub problem: Option<(Reason, String)>,
    pub paused: bool,
    pub nodes: Option<Workload>,
    pub nats: Nats,
    /// How far a rollout of nodes may go.
    pub rollout: Rollout,
    /// Clients' connections, if they are known.
    pub connections: Option<i64>,
    /// NATS servers that are given new settings.
    pub rolling: Option<Rolling>,
    /// Release of nats-server, if it was asked for.
    pub nats_version: Option<String>,
    /// What keeps a node, and what keeps a server, from being ready.
    pub troubles: Troubles,
    /// Why streams are not as they should be; `None` if they are, or were not looked at because servers are not ready.
    pub streams: Option<String>,
    /// What is asked for and not done, a sentence each.
    pub unsupported: Vec<String>,
    /// Labels of the nodes' pods, as autoscalers want them.
    pub selector: Option<String>,
}

/// What keeps pods from being ready: of each component the first that is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Troubles {
    pub nodes: Option<String>,
    pub servers: Option<String>,
}

impl Troubles {
    pub fn read(pods: &[Pod]) -> Self {
        let first = |component| {
            let mut pods = pods
                .iter()
                .filter(|pod| pod.is_of(component) && !pod.is_terminating);
            let pod = pods.find(|pod| pod.trouble.is_some());
            pod.map(Pod::why_not_ready)
        };
        Self {
            nodes: first(Component::Nodes),
            servers: first(Component::Nats),
        }
    }
}

#[derive(Clone, Debug, Default)]
pub enum Nats {
    #[default]
    Unknown,
    Managed(Workload),
    External,
}

/// A Deployment or StatefulSet, in numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Workload {
    pub wanted: i32,
    pub there: i32,
    pub ready: i32,
    pub updated: i32,
    pub terminating: i32,
    /// The numbers are of what was applied last.
    pub current: bool,
    /// Why pods cannot even be made.
    pub failure: Option<String>,
    pub image: String,
}

impl Workload {
    /// Reads the body of a Deployment or StatefulSet.
    pub fn read(generation: Option<i64>, body: &Value) -> Self {
        let (spec, status) = (&body["spec"], &body["status"]);
        let number = |value: &Value| {
            value
                .as_i64()
                .and_then(|number| i32::try_from(number).ok())
                .unwrap_or(0)
        };
        let conditions = status["conditions"].as_array().into_iter().flatten();
        let mut failures =
            conditions.filter(|it| it["type"] == "ReplicaFailure" && it["status"] == "True");
        let failure = failures.next().and_then(|it| it["message"].as_str());
        let image = spec["template"]["spec"]["containers"][0]["image"].as_str();
        Self {
            wanted: number(&spec["replicas"]),
            there: number(&status["replicas"]),
            ready: number(&status["readyReplicas"]),
            updated: number(&status["updatedReplicas"]),
            terminating: number(&status["terminatingReplicas"]),
            current: status["observedGeneration"].as_i64() >= generation,
            failure: failure.map(str::to_owned),
            image: image.unwrap_or_default().to_owned(),
        }
    }

    /// Whether as many serve as should, with whatever settings: each step of a rollout would be an outage otherwise.
    pub fn is_ready(&self) -> bool {
        self.ready >= self.wanted
    }

    /// Whether enough servers are ready to store anything.
    pub fn has_quorum(&self) -> bool {
        self.ready > 0 && self.ready > self.wanted / 2
    }
}

/// The status of `service`; what is as before keeps the time at which it became so.
pub fn of(service: &ChatService, report: &Report, now: Timestamp) -> ChatServiceStatus {
    let before = service.status.clone().unwrap_or_default();
    let generation = service.metadata.generation;
    let conditions = conditions::all(report).into_iter().map(|new| {
        let type_ = new.type_.to_string();
        let status = if new.holds { "True" } else { "False" };
        let old = before
            .conditions
            .iter()
            .find(|old| old.type_ == type_ && old.status == status);
        Condition {
            last_transition_time: old.map_or(Time(now), |old| old.last_transition_time.clone()),
            message: new.message,
            observed_generation: generation,
            reason: new.reason.to_string(),
            status: status.to_owned(),
            type_,
        }
    });
    let nodes = report.nodes.as_ref();
    ChatServiceStatus {
        observed_generation: generation,
        replicas: nodes
            .map(|nodes| nodes.there)
            .or(before.replicas)
            .or(Some(0)),
        ready_replicas: nodes
            .map(|nodes| nodes.ready)
            .or(before.ready_replicas)
            .or(Some(0)),
        selector: report.selector.clone().or(before.selector),
        image: nodes.map(|nodes| nodes.image.clone()).or(before.image),
        connections: report.connections.or(before.connections),
        nats: match &report.nats {
            Nats::Managed(servers) => Some(NatsStatus {
                replicas: Some(servers.wanted),
                ready_replicas: Some(servers.ready),
                version: report
                    .nats_version
                    .clone()
                    .or(before.nats.and_then(|nats| nats.version)),
                operation: report.rolling.as_ref().map(|rolling| {
                    let Rolling { updated, text } = rolling;
                    format!("Rollout {updated}/{}: {text}", servers.wanted)
                }),
            }),
            Nats::External => None,
            Nats::Unknown => before.nats,
        },
        conditions: conditions.collect(),
    }
}

/// Writes the status if it changed. True: it did.
pub async fn update(
    client: &Client,
    service: &ChatService,
    status: &ChatServiceStatus,
) -> Result<bool, kube::Error> {
    if service.status.as_ref() == Some(status) {
        return Ok(false);
    }
    let api: Api<ChatService> =
        Api::namespaced(client.clone(), &service.namespace().unwrap_or_default());
    let patch = json!({
        "apiVersion": format!("{}/{}", natter_crds::GROUP, natter_crds::VERSION),
        "kind": "ChatService",
        "status": status,
    });
    let params = PatchParams::apply(MANAGED_BY).force();
    api.patch_status(&service.name_any(), &params, &Patch::Apply(patch))
        .await?;
    Ok(true)
}

#[cfg(test)]
mod tests;
