//! ChatServices in a test's namespace: applied as a user does it, waited for, asked how they are.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Namespace, Said, operator};

/// How long a ChatService may take from nothing to ready.
pub const READY: Duration = Duration::from_secs(60);

/// The pods of the chat nodes, and those of the NATS servers.
pub const NODES: &str = "app.kubernetes.io/component=nodes";
pub const SERVERS: &str = "app.kubernetes.io/component=nats";

/// One server and one node, for tests that need no more.
pub const SMALL: &str = "replicas: 1, nats: {managed: {replicas: 1}}";

impl Namespace {
    /// Applies a ChatService in which anyone may chat; `more` are fields of its spec.
    pub async fn apply_chat_service(&self, name: &str, more: &str) -> Said {
        let comma = if more.is_empty() { "" } else { ", " };
        let yaml = format!(
            "apiVersion: natter.dev/v1alpha1
kind: ChatService
metadata: {{name: {name}}}
spec: {{auth: {{allowAnonymous: true}}{comma}{more}}}
"
        );
        self.apply(&yaml).await
    }

    /// Installs the operator if need be, applies a ChatService, and returns how long it took to be ready.
    pub async fn chat_service(&self, name: &str, more: &str) -> Duration {
        operator::installed().await;
        let begun = Instant::now();
        self.apply_chat_service(name, more).await.succeeded();
        self.until_within(READY, "chatservice", name, "ready", is_ready)
            .await;
        begun.elapsed()
    }

    /// Changes fields of a ChatService's spec, as `kubectl patch` does.
    pub async fn patch_chat_service(&self, name: &str, spec: &Value) {
        let patch = serde_json::json!({"spec": spec}).to_string();
        let words = ["patch", "chatservice", name, "--type=merge", "--patch"];
        self.kubectl(&[&words[..], &[&patch]].concat())
            .await
            .succeeded();
    }

    /// Waits until a condition of a ChatService has this reason, and returns its message.
    pub async fn until_reason(&self, name: &str, kind: &str, reason: &str) -> String {
        let what = format!("{kind} by {reason}");
        let has = |service: &Value| {
            condition(service, kind)["reason"] == reason && is_current(service, kind)
        };
        let service = self.until("chatservice", name, &what, has).await;
        let message = condition(&service, kind)["message"].as_str();
        message.unwrap_or_default().to_owned()
    }

    /// Waits until there is an event of a ChatService with this reason, and returns what it says.
    pub async fn until_event(&self, name: &str, reason: &str) -> String {
        let selector =
            format!("involvedObject.kind=ChatService,involvedObject.name={name},reason={reason}");
        let words = [
            "get",
            "events",
            "--field-selector",
            &selector,
            "--output",
            "jsonpath={.items[*].message}",
        ];
        let what = format!("an event {reason} of chatservice/{name}");
        super::until_some(&what, async || {
            let said = self.kubectl(&words).await.succeeded();
            (!said.is_empty()).then_some(said)
        })
        .await
    }
}

/// A condition of a ChatService, or of a pod; null if it has none of this type.
pub fn condition<'a>(service: &'a Value, kind: &str) -> &'a Value {
    let conditions = service["status"]["conditions"].as_array();
    let mut conditions = conditions.into_iter().flatten();
    conditions
        .find(|it| it["type"] == kind)
        .unwrap_or(&Value::Null)
}

fn is_current(service: &Value, kind: &str) -> bool {
    condition(service, kind)["observedGeneration"] == service["metadata"]["generation"]
}

/// It is ready as it was asked for last.
pub fn is_ready(service: &Value) -> bool {
    condition(service, "Ready")["status"] == "True" && is_current(service, "Ready")
}
