//! ChatServices that cannot be carried out, or not at once: each says so in its conditions and events, and recovers
//! when it is cured. `make e2e` runs these.

use natter_tests::kubernetes::chat_service::{NODES, SERVERS, SMALL, condition, is_ready};
use natter_tests::kubernetes::{Namespace, operator};
use serde_json::{Value, json};

#[tokio::test]
#[ignore = "needs a Kubernetes: make e2e"]
async fn an_image_that_does_not_exist_takes_no_node_away() {
    let namespace = Namespace::new("image").await;
    namespace.chat_service("lobby", SMALL).await;
    let before = namespace.pods(NODES).await;
    let missing = json!({"image": "localhost:1/no-such-image:1"});
    namespace.patch_chat_service("lobby", &missing).await;
    let stuck = |service: &Value| {
        let progressing = condition(service, "Progressing");
        let message = progressing["message"].as_str().unwrap_or_default();
        progressing["reason"] == "Canary" && message.contains("1 old ones serve")
    };
    namespace
        .until("chatservice", "lobby", "trying one new node", stuck)
        .await;
    let waiting = |pods: &[Value]| {
        pods.iter().any(|pod| {
            let state = &pod["status"]["containerStatuses"][0]["state"]["waiting"];
            let reason = state["reason"].as_str().unwrap_or_default();
            matches!(reason, "ErrImagePull" | "ImagePullBackOff")
        })
    };
    natter_tests::kubernetes::until("the pull to fail", async || {
        waiting(&namespace.list("pods", NODES).await)
    })
    .await;
    let message = namespace
        .until_reason("lobby", "Degraded", "PodsFailing")
        .await;
    let why = "image localhost:1/no-such-image:1 cannot be pulled";
    assert!(message.contains(why), "{message}");
    let service = namespace.get("chatservice", "lobby").await;
    assert!(
        is_ready(&service.expect("it is there")),
        "the old node serves"
    );
    assert!(namespace.pods(NODES).await.contains(&before[0]));

    let cured = json!({"image": null});
    namespace.patch_chat_service("lobby", &cured).await;
    namespace
        .until_reason("lobby", "Progressing", "Complete")
        .await;
    assert_eq!(namespace.pods(NODES).await, before, "nothing had to move");
}

#[tokio::test]
#[ignore = "needs a Kubernetes: make e2e"]
async fn without_its_storage_class_it_waits_and_says_for_what() {
    operator::installed().await;
    let namespace = Namespace::new("storage").await;
    let class = format!("{}-class", namespace.name);
    let spec = format!(
        "replicas: 1, nats: {{managed: {{replicas: 1, storage: {{storageClassName: {class}}}}}}}"
    );
    namespace
        .apply_chat_service("lobby", &spec)
        .await
        .succeeded();
    let waits = |service: &Value| {
        let ready = condition(service, "Ready");
        let message = ready["message"].as_str().unwrap_or_default();
        let why = "0/1 NATS servers ready: lobby-nats-0 cannot be scheduled";
        ready["reason"] == "NatsNotReady" && message.starts_with(why)
    };
    namespace
        .until("chatservice", "lobby", "waiting for a volume", waits)
        .await;
    namespace
        .until_reason("lobby", "NATSReady", "NoQuorum")
        .await;
    namespace.until_event("lobby", "NatsNotReady").await;
    let claims = namespace.list("persistentvolumeclaims", SERVERS).await;
    assert_eq!(claims[0]["status"]["phase"], "Pending");

    // The class cannot be changed, so what was made by mistake is made anew.
    let delete = ["delete", "chatservice", "lobby"];
    namespace.kubectl(&delete).await.succeeded();
    let delete = ["delete", "persistentvolumeclaims", "--selector", SERVERS];
    namespace.gone("statefulset", "lobby-nats").await;
    namespace.kubectl(&delete).await.succeeded();
    namespace.chat_service("lobby", SMALL).await;
}

#[tokio::test]
#[ignore = "needs a Kubernetes: make e2e"]
async fn objects_of_others_are_left_alone() {
    operator::installed().await;
    let namespace = Namespace::new("foreign").await;
    let foreign = "
apiVersion: v1
kind: Service
metadata: {name: lobby, labels: {team: other}}
spec: {selector: {app: other}, ports: [{port: 80}]}
";
    namespace.apply(foreign).await.succeeded();
    namespace
        .apply_chat_service("lobby", SMALL)
        .await
        .succeeded();
    let message = namespace.until_reason("lobby", "Ready", "NotOwned").await;
    assert!(
        message.starts_with("Service lobby belongs to somebody else"),
        "{message}"
    );
    assert!(message.contains("rename the ChatService"), "{message}");
    let told = namespace.until_event("lobby", "NotOwned").await;
    assert!(told.contains("Service lobby belongs to"), "{told}");
    let service = namespace
        .get("service", "lobby")
        .await
        .expect("it is there");
    assert_eq!(service["spec"]["selector"], json!({"app": "other"}));
    assert_eq!(service["metadata"]["labels"], json!({"team": "other"}));

    let delete = ["delete", "service", "lobby"];
    namespace.kubectl(&delete).await.succeeded();
    namespace
        .until("chatservice", "lobby", "ready", is_ready)
        .await;
}

#[tokio::test]
#[ignore = "needs a Kubernetes: make e2e"]
async fn what_only_an_edit_can_cure_waits_for_the_edit() {
    operator::installed().await;
    let namespace = Namespace::new("invalid").await;
    let spec = format!("{SMALL}, history: {{maxAge: 1m}}");
    namespace
        .apply_chat_service("lobby", &spec)
        .await
        .succeeded();
    let message = namespace.until_reason("lobby", "Ready", "Invalid").await;
    assert_eq!(message, "history.maxAge is 1m, and at least 5m is needed");
    namespace.until_event("lobby", "Invalid").await;
    // A mistake in a pod template is found by the API server.
    let template = json!({
        "history": {"maxAge": "5m"},
        "podTemplate": {"spec": {"nodeSelectr": {"a": "b"}}},
    });
    namespace.patch_chat_service("lobby", &template).await;
    let message = namespace
        .until_reason("lobby", "Ready", "ApplyFailed")
        .await;
    assert!(message.contains("nodeSelectr"), "{message}");

    let cured = json!({"podTemplate": null});
    namespace.patch_chat_service("lobby", &cured).await;
    let service = namespace
        .until("chatservice", "lobby", "ready", is_ready)
        .await;
    assert_eq!(condition(&service, "Degraded")["status"], "False");
}

#[tokio::test]
#[ignore = "needs a Kubernetes: make e2e"]
async fn a_quota_is_told_and_waited_for() {
    operator::installed().await;
    let namespace = Namespace::new("quota").await;
    let quota = "
apiVersion: v1
kind: ResourceQuota
metadata: {name: small}
spec: {hard: {count/services: '1'}}
";
    namespace.apply(quota).await.succeeded();
    namespace
        .apply_chat_service("lobby", SMALL)
        .await
        .succeeded();
    let message = namespace
        .until_reason("lobby", "Ready", "ApplyFailed")
        .await;
    assert!(message.contains("exceeded quota: small"), "{message}");
    let delete = ["delete", "resourcequota", "small"];
    namespace.kubectl(&delete).await.succeeded();
    namespace
        .until("chatservice", "lobby", "ready", is_ready)
        .await;
}

#[tokio::test]
#[ignore = "needs a Kubernetes: make e2e"]
async fn a_server_that_no_machine_has_room_for_is_told_of_and_waited_for() {
    operator::installed().await;
    let namespace = Namespace::new("room").await;
    let server = json!({"replicas": 1, "resources": {"requests": {"memory": "900Ti"}}});
    let spec = format!("replicas: 1, nats: {{managed: {server}}}");
    namespace
        .apply_chat_service("lobby", &spec)
        .await
        .succeeded();
    let waits = |service: &Value| {
        let ready = condition(service, "Ready");
        let message = ready["message"].as_str().unwrap_or_default();
        let why = "0/1 NATS servers ready: lobby-nats-0 cannot be scheduled";
        ready["reason"] == "NatsNotReady"
            && message.starts_with(why)
            && message.contains("Insufficient memory")
    };
    namespace
        .until("chatservice", "lobby", "waiting for room", waits)
        .await;
    namespace
        .until_reason("lobby", "NATSReady", "NoQuorum")
        .await;
    namespace.until_event("lobby", "NatsNotReady").await;

    let cured = json!({"nats": {"managed": {"resources": null}}});
    namespace.patch_chat_service("lobby", &cured).await;
    namespace
        .until("chatservice", "lobby", "ready", is_ready)
        .await;
}

#[tokio::test]
#[ignore = "needs a Kubernetes: make e2e"]
async fn a_secret_that_is_named_and_not_there_is_told_of_and_waited_for() {
    operator::installed().await;
    let namespace = Namespace::new("named").await;
    let keys = "auth: {jwt: {keySecretRef: {name: keys, key: hmac}}}";
    let yaml = format!(
        "{{apiVersion: natter.dev/v1alpha1, kind: ChatService, metadata: {{name: lobby}}, spec: {{{keys}, {SMALL}}}}}"
    );
    namespace.apply(&yaml).await.succeeded();
    let message = namespace
        .until_reason("lobby", "Ready", "SecretNotReady")
        .await;
    assert!(message.contains("keys"), "{message}");
    let told = namespace.until_event("lobby", "SecretNotReady").await;
    assert!(told.contains("keys"), "{told}");

    // A key of another name does not help.
    let secret = async |key: &str| {
        let literal = format!("--from-literal={key}=0123456789abcdef0123456789abcdef");
        let create = ["create", "secret", "generic", "keys", &literal];
        namespace.kubectl(&create).await.succeeded();
    };
    let delete = ["delete", "secret", "keys"];
    secret("other").await;
    let lacks = |service: &Value| {
        let ready = condition(service, "Ready");
        let message = ready["message"].as_str().unwrap_or_default();
        ready["reason"] == "SecretNotReady" && message.contains("hmac")
    };
    namespace
        .until("chatservice", "lobby", "without its key", lacks)
        .await;
    namespace.kubectl(&delete).await.succeeded();
    secret("hmac").await;
    namespace
        .until("chatservice", "lobby", "ready", is_ready)
        .await;

    // Deleted again: whoever runs goes on, and whoever starts cannot.
    namespace.kubectl(&delete).await.succeeded();
    namespace.kill_pods(NODES).await;
    namespace
        .until_reason("lobby", "Ready", "SecretNotReady")
        .await;
    secret("hmac").await;
    namespace
        .until("chatservice", "lobby", "ready again", is_ready)
        .await;
}
