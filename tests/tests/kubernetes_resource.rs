//! The ChatService resource as a real API server takes it: defaults, rules, scale. `make e2e` runs these.
//!
//! `crds/` tests every rule without a cluster; what only a cluster can say is that it accepts the whole, its cost included.

use natter_tests::kubernetes::{Namespace, Said, kubectl, operator};
use serde_json::json;

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

#[tokio::test]
#[ignore = "needs a Kubernetes: make e2e"]
async fn what_cannot_work_is_refused_with_what_to_do() {
    let namespace = installed("rules").await;
    let refused = [
        ("lobby", "{auth: {}}", "nobody could connect"),
        (
            "lobby-nats",
            "{auth: {allowAnonymous: true}}",
            "not end in -nats",
        ),
        (
            "lobby",
            "{auth: {allowAnonymous: true}, nats: {managed: {storage: {size: 1Gi}}}}",
            "must be at least 1.5 x",
        ),
        (
            "lobby",
            "{auth: {allowAnonymous: true}, autoscaling: {minReplicas: 5, maxReplicas: 2}}",
            "minReplicas must not exceed maxReplicas",
        ),
        (
            "lobby",
            "{auth: {allowAnonymous: true}, nats: {managed: {}, external: {urls: ['nats://n']}}}",
            "exactly one of managed and external",
        ),
        (
            "lobby",
            "{auth: {allowAnonymous: true}, limits: {conections: 5}}",
            "unknown field",
        ),
    ];
    for (name, spec, reason) in refused {
        let why = apply(&namespace, name, spec).await.refused();
        assert!(why.contains(reason), "{spec}: {why}");
    }

    let paused = "{auth: {allowAnonymous: true}, paused: true}";
    apply(&namespace, "lobby", paused).await.succeeded();
    let refused = [
        (
            r#"{"spec":{"history":{"shards":4}}}"#,
            "shards cannot change",
        ),
        (
            r#"{"spec":{"nats":{"managed":{"storage":{"size":"10Gi"}}}}}"#,
            "volumes cannot shrink",
        ),
        (
            r#"{"spec":{"nats":{"managed":{"replicas":1}}}}"#,
            "cannot change between 1 and more servers",
        ),
    ];
    for (change, reason) in refused {
        let patch = ["patch", "chat/lobby", "--type=merge", "--patch", change];
        let why = namespace.kubectl(&patch).await.refused();
        assert!(why.contains(reason), "{change}: {why}");
    }
}
