//! The ChatService resource as a real API server takes it: defaults, rules, scale. `make e2e` runs these.
//!
//! `crds/` tests every rule without a cluster; what only a cluster can say is that it accepts the whole, its cost included.

use std::collections::BTreeSet;

use natter_tests::kubernetes::{Namespace, Said, kubectl, operator, parsed};
use serde_json::{Value, json};

async fn installed(what: &str) -> Namespace {
    operator::installed().await;
    Namespace::new(what).await
}

async fn apply(namespace: &Namespace, name: &str, spec: &str) -> Said {
    let yaml = format!(
        "{{apiVersion: natter.dev/v1alpha1, kind: ChatService, metadata: {{name: {name}}}, spec: {spec}}}"
    );
    namespace.apply(&yaml).await
}

#[tokio::test]
#[ignore = "needs a Kubernetes: make e2e"]
async fn the_smallest_chat_service_gets_every_default_and_scales() {
    let namespace = installed("defaults").await;
    let paused = "{auth: {allowAnonymous: true}, paused: true}";
    apply(&namespace, "lobby", paused).await.succeeded();
    let lobby = namespace.get("chatservice", "lobby").await;
    let spec = &lobby.expect("it was applied")["spec"];
    assert_eq!(spec["replicas"], 2);
    assert_eq!(spec["service"]["sessionAffinity"], "ClientIP");
    assert_eq!(spec["nats"]["managed"]["replicas"], 3);
    assert_eq!(spec["nats"]["managed"]["storage"]["size"], "20Gi");
    assert_eq!(spec["history"]["shards"], 8);
    assert_eq!(spec["disruption"]["drainSeconds"], 480);

    let scale = ["scale", "chat/lobby", "--replicas", "5"];
    namespace.kubectl(&scale).await.succeeded();
    let lobby = namespace.get("chat", "lobby").await;
    assert_eq!(lobby.expect("it is there")["spec"]["replicas"], json!(5));

    let explained = kubectl(&["explain", "chatservice.spec.replicas"]).await;
    let explained = explained.succeeded();
    assert!(explained.contains("pods"), "{explained}");
}

/// A spec that is refused, what is to be in the refusal.
const REFUSED: [(&str, &str); 12] = [
    (
        "{auth: {}}",
        "nobody could connect: set auth.jwt, auth.connectWebhook or auth.allowAnonymous: true",
    ),
    (
        "{auth: {connectWebhook: {url: 'not a url'}}}",
        "must be a URL",
    ),
    (
        "{auth: {jwt: {jwksURL: 'ftp://id.example.com/k'}}}",
        "must be an http(s) URL",
    ),
    (
        "{auth: {jwt: {issuer: me}}}",
        "set exactly one of jwksURL and keySecretRef",
    ),
    (
        "{auth: {allowAnonymous: true}, autoscaling: {minReplicas: 5, maxReplicas: 2}}",
        "minReplicas must not exceed maxReplicas",
    ),
    (
        "{auth: {allowAnonymous: true}, autoscaling: {maxReplicas: 2, spareReplicas: 2}}",
        "spareReplicas must be below maxReplicas",
    ),
    (
        "{auth: {allowAnonymous: true}, autoscaling: {maxReplicas: 4, targetConnections: 30001}}",
        "autoscaling.targetConnections must not exceed limits.connections",
    ),
    (
        "{auth: {allowAnonymous: true}, history: {maxBytesPerShard: 512MB}}",
        "must be a quantity such as 512Mi",
    ),
    (
        "{auth: {allowAnonymous: true}, nats: {managed: {storage: {size: much}}}}",
        "must be a quantity such as 20Gi",
    ),
    (
        "{auth: {allowAnonymous: true}, nats: {managed: {storage: {size: 1Gi}}}}",
        "nats.managed.storage.size must be at least 1.5 x history.shards x history.maxBytesPerShard",
    ),
    (
        "{auth: {allowAnonymous: true}, nats: {managed: {}, external: {urls: ['nats://n']}}}",
        "set exactly one of managed and external; they cannot be exchanged later",
    ),
    (
        "{auth: {allowAnonymous: true}, limits: {conections: 5}}",
        "unknown field",
    ),
];

/// A change that is refused, and what is to be in the refusal.
const NOT_CHANGED: [(&str, &str); 5] = [
    (
        r#"{"spec":{"history":{"shards":4}}}"#,
        "shards cannot change: it decides where every room is stored",
    ),
    (
        r#"{"spec":{"nats":{"managed":{"storage":{"size":"10Gi"}}}}}"#,
        "volumes cannot shrink",
    ),
    (
        r#"{"spec":{"nats":{"managed":{"storage":{"storageClassName":"fast"}}}}}"#,
        "storageClassName cannot change",
    ),
    (
        r#"{"spec":{"nats":{"managed":{"replicas":1}}}}"#,
        "cannot change between 1 and more servers: create a new ChatService",
    ),
    (
        r#"{"spec":{"nats":{"managed":null,"external":{"urls":["nats://n"]}}}}"#,
        "managed and external cannot be exchanged: history would stay behind",
    ),
];

#[tokio::test]
#[ignore = "needs a Kubernetes: make e2e"]
async fn every_rule_refuses_what_cannot_work_and_says_what_to_do() {
    let namespace = installed("rules").await;
    for (spec, reason) in REFUSED {
        let why = apply(&namespace, "lobby", spec).await.refused();
        assert!(why.contains(reason), "{spec}: {why}");
    }
    let paused = "{auth: {allowAnonymous: true}, paused: true}";
    let reason = "metadata.name must be at most 40 characters";
    let why = apply(&namespace, "lobby-nats", paused).await.refused();
    assert!(why.contains(reason), "{why}");

    apply(&namespace, "lobby", paused).await.succeeded();
    for (change, reason) in NOT_CHANGED {
        let patch = ["patch", "chat/lobby", "--type=merge", "--patch", change];
        let why = namespace.kubectl(&patch).await.refused();
        assert!(why.contains(reason), "{change}: {why}");
    }

    // There is no rule that was not tried.
    let crd = ["get", "crd", "chatservices.natter.dev", "--output", "json"];
    let rules = rules(&parsed(&kubectl(&crd).await.succeeded()));
    let tried = REFUSED
        .iter()
        .chain(&NOT_CHANGED)
        .map(|(_, reason)| *reason);
    let tried: Vec<_> = tried.chain([reason]).collect();
    let is_tried = |rule: &&String| tried.iter().any(|reason| rule.starts_with(reason));
    let untried: Vec<_> = rules.iter().filter(|rule| !is_tried(rule)).collect();
    assert!(
        untried.is_empty() && rules.len() == tried.len() - 1,
        "{untried:?}"
    );
}

/// The messages of all rules in a schema.
fn rules(schema: &Value) -> BTreeSet<String> {
    let inner: Vec<&Value> = match schema {
        Value::Object(fields) => fields.values().collect(),
        Value::Array(items) => items.iter().collect(),
        _ => Vec::new(),
    };
    let own = schema["x-kubernetes-validations"].as_array();
    let own = own.into_iter().flatten();
    let own = own.filter_map(|rule| rule["message"].as_str().map(str::to_owned));
    own.chain(inner.into_iter().flat_map(rules)).collect()
}
