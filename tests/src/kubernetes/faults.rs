//! Harm done to ChatService `lobby` while people chat: what it says of it, that they miss nothing, and that it recovers.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;

use super::chat_service::{condition, is_ready};
use super::{ClientPod, Namespace, until};
use crate::checker::Rules;
use crate::workload::{Progress, Workload};

/// A server that is cut off in the middle of storing a message may bring it later.
const LATE: Rules = Rules {
    losses: Vec::new(),
    late_unknowns: true,
};

/// A few people who chat, come and go, until the fault is over.
fn chatter() -> Workload {
    Workload {
        rooms: 6,
        sessions: 12,
        rooms_per_session: 2,
        publishers: 4,
        messages: 400,
        messages_per_second: 20.0,
        stay: Some(Duration::from_secs(6)),
        deadline: Duration::from_secs(900),
        ..Workload::default()
    }
}

/// Does harm to a service while people chat by two addresses, and checks that they missed nothing.
pub async fn survives(namespace: &Namespace, harm: impl AsyncFnOnce(&[ClientPod], &Progress)) {
    let mut clients = Vec::new();
    for name in ["one", "two"] {
        let client = ClientPod::start(namespace, name, "lobby:8080").await;
        client.reaches(namespace, "lobby:8080").await;
        clients.push(client);
    }
    let addresses: Vec<SocketAddr> = clients.iter().map(|client| client.address).collect();
    let chatter = chatter();
    let outcome = chatter.run(&addresses, async |progress: &Progress| {
        harm(&clients, progress).await;
        progress.goes_on().await;
    });
    let report = outcome.await.assert_clean(&LATE);
    assert_eq!(report.refused, 0, "{report}");
    assert!(report.recovered > 0, "{report}");
}

/// Waits until all nodes and servers are there and nothing is done to them.
pub async fn recovered(namespace: &Namespace) {
    let is_well = |service: &Value| {
        let has = |kind: &str, reason: &str| condition(service, kind)["reason"] == reason;
        is_ready(service)
            && has("NATSReady", "AllServersReady")
            && has("Progressing", "Complete")
            && has("Degraded", "AsExpected")
            && condition(service, "Progressing")["observedGeneration"]
                == service["metadata"]["generation"]
    };
    namespace
        .until("chatservice", "lobby", "as it was asked for", is_well)
        .await;
}

/// Waits until a condition has this reason and its message has this in it.
pub async fn until_said(namespace: &Namespace, kind: &str, reason: &str, part: &str) -> Value {
    let what = format!("{kind} by {reason}, with '{part}'");
    let said = |service: &Value| {
        let condition = condition(service, kind);
        let message = condition["message"].as_str().unwrap_or_default();
        condition["reason"] == reason && message.contains(part)
    };
    namespace.until("chatservice", "lobby", &what, said).await
}

/// How often an event of `lobby` with this reason has been told.
async fn times_told(namespace: &Namespace, reason: &str) -> u64 {
    let events = namespace.list("events.events.k8s.io", "").await;
    let of_reason = events
        .iter()
        .filter(|it| it["reason"] == reason && it["regarding"]["name"] == "lobby");
    of_reason
        .map(|event| event["series"]["count"].as_u64().unwrap_or(1))
        .sum()
}

/// Does something to a service, and waits until it tells of it.
pub async fn tells(namespace: &Namespace, reason: &str, harm: impl AsyncFnOnce()) {
    let before = times_told(namespace, reason).await;
    harm().await;
    until(&format!("another event {reason}"), async || {
        times_told(namespace, reason).await > before
    })
    .await;
}
