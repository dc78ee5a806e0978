//! A ChatService that is edited, scaled, paused and deleted, and objects that somebody takes from it. `make e2e` runs these.

use std::collections::BTreeSet;

use natter_tests::kubernetes::chat_service::{NODES, SMALL, is_ready};
use natter_tests::kubernetes::{ClientPod, Namespace, until};
use natter_tests::{Client, Publication};
use serde_json::{Value, json};

/// The image of chat nodes under another name.
const OTHER_IMAGE: &str = "natter.dev/chat-node:next";

/// Whether a Deployment or a ChatService has so many pods, all of them ready.
fn has(count: u64) -> impl Fn(&Value) -> bool {
    move |object| {
        let number = |field: &str| object["status"][field].as_u64().unwrap_or(0);
        number("replicas") == count && number("readyReplicas") == count
    }
}

#[tokio::test]
#[ignore = "needs a Kubernetes: make e2e"]
async fn settings_that_nodes_take_over_restart_nobody() {
    let namespace = Namespace::new("settings").await;
    namespace.chat_service("lobby", SMALL).await;
    let before = namespace.pods(NODES).await;
    let client = ClientPod::start(&namespace, "client", "lobby:8080").await;
    let mut session = Client::join_at(client.address, "news").await;
    let unknown = json!({"channel": "chat:x"});
    assert_eq!(session.refused("subscribe", unknown).await, 102);

    let change = json!({"roomClasses": [{"prefix": "chat"}], "limits": {"roomsPerSession": 2}});
    namespace.patch_chat_service("lobby", &change).await;
    until("room class chat to be known", async || {
        let joined = session.request("subscribe", json!({"channel": "chat:x"}));
        joined.await.get("subscribe").is_some()
    })
    .await;
    let third = json!({"channel": "third"});
    assert_eq!(session.refused("subscribe", third).await, 106);
    namespace
        .until("chatservice", "lobby", "ready", is_ready)
        .await;
    assert_eq!(namespace.pods(NODES).await, before);
}

#[tokio::test]
#[ignore = "needs a Kubernetes: make e2e"]
async fn nodes_come_and_go_as_they_are_counted() {
    let namespace = Namespace::new("scale").await;
    namespace.chat_service("lobby", SMALL).await;
    let scale = ["scale", "chatservice/lobby", "--replicas", "3"];
    namespace.kubectl(&scale).await.succeeded();
    namespace
        .until("deployment", "lobby-nodes", "of three nodes", has(3))
        .await;
    let service = namespace
        .until("chatservice", "lobby", "of three replicas", has(3))
        .await;
    assert_eq!(service["spec"]["replicas"], 3);
    let labels = service["status"]["selector"].as_str().unwrap_or_default();
    assert_eq!(namespace.pods(labels).await.len(), 3, "an HPA finds them");

    // Paused: nothing follows. Not paused: everything does.
    let paused = json!({"paused": true, "replicas": 1});
    namespace.patch_chat_service("lobby", &paused).await;
    namespace
        .until_reason("lobby", "Progressing", "Paused")
        .await;
    let deployment = namespace.get("deployment", "lobby-nodes").await;
    assert_eq!(deployment.expect("it is there")["spec"]["replicas"], 3);
    let goes_on = json!({"paused": false});
    namespace.patch_chat_service("lobby", &goes_on).await;
    namespace
        .until("deployment", "lobby-nodes", "of one node", has(1))
        .await;
    namespace
        .until("chatservice", "lobby", "of one replica", has(1))
        .await;
}

#[tokio::test]
#[ignore = "needs a Kubernetes: make e2e"]
async fn another_image_replaces_the_nodes_and_keeps_the_rooms() {
    let namespace = Namespace::new("image").await;
    let spec = format!("{SMALL}, disruption: {{drainSeconds: 10}}");
    namespace.chat_service("lobby", &spec).await;
    let before = namespace.pods(NODES).await;
    let client = ClientPod::start(&namespace, "client", "lobby:8080").await;
    let mut session = Client::connect_at(client.address).await;
    let joined = session.subscribe("news").await;
    let offset = joined["offset"].as_u64().unwrap_or(0);
    session.publish("news", json!("before")).await;

    let change = json!({"image": OTHER_IMAGE});
    namespace.patch_chat_service("lobby", &change).await;
    namespace
        .until_reason("lobby", "Progressing", "Complete")
        .await;
    let service = namespace
        .until("chatservice", "lobby", "ready", is_ready)
        .await;
    assert_eq!(service["status"]["image"], OTHER_IMAGE);
    for name in &before {
        namespace.gone("pod", name).await;
    }

    let close = session.closed().await;
    assert_eq!((close.code, &*close.reason), (3001, "shutdown"));
    let mut again = Client::connect_at(client.address).await;
    let resumed = again.resume("news", offset, &joined["epoch"]).await;
    assert_eq!(resumed["recovered"], true, "{resumed}");
    assert_eq!(Publication::list(&resumed)[0].data, "before");
}

#[tokio::test]
#[ignore = "needs a Kubernetes: make e2e"]
async fn what_is_deleted_comes_back_and_what_is_unwanted_goes() {
    let namespace = Namespace::new("drift").await;
    namespace.chat_service("lobby", "").await;
    let before = owned(&namespace).await;
    let kinds: BTreeSet<_> = before.iter().map(|(kind, _)| kind.as_str()).collect();
    let expected = [
        "ConfigMap",
        "Deployment",
        "NetworkPolicy",
        "PodDisruptionBudget",
        "Secret",
        "Service",
        "ServiceAccount",
        "StatefulSet",
    ];
    assert_eq!(kinds, BTreeSet::from(expected), "{before:?}");
    // Keys are not the same when they come back: a test of its own.
    for (kind, name) in before.iter().filter(|(kind, _)| kind != "Secret") {
        let uid = |object: &Value| object["metadata"]["uid"].clone();
        let old = namespace.get(kind, name).await.map(|object| uid(&object));
        let delete = ["delete", kind, name, "--wait=false"];
        namespace.kubectl(&delete).await.succeeded();
        namespace
            .until(kind, name, "there again", |object| Some(uid(object)) != old)
            .await;
    }
    namespace
        .until("chatservice", "lobby", "ready again", is_ready)
        .await;
    assert_eq!(owned(&namespace).await, before);

    // One node needs no budget.
    let one = json!({"replicas": 1});
    namespace.patch_chat_service("lobby", &one).await;
    namespace.gone("poddisruptionbudget", "lobby-nodes").await;

    // An edit of somebody else's is put right.
    let edit = r#"{"spec":{"sessionAffinity":"None","sessionAffinityConfig":null}}"#;
    let patch = ["patch", "service", "lobby", "--type=merge", "--patch", edit];
    namespace.kubectl(&patch).await.succeeded();
    let sticks = |service: &Value| service["spec"]["sessionAffinity"] == "ClientIP";
    namespace
        .until("service", "lobby", "sticky again", sticks)
        .await;

    let delete = ["delete", "chatservice", "lobby"];
    namespace.kubectl(&delete).await.succeeded();
    until("nothing to be left", async || {
        owned(&namespace).await.is_empty() && namespace.pods(OF_LOBBY).await.is_empty()
    })
    .await;
    let volumes = namespace.list("persistentvolumeclaims", OF_LOBBY).await;
    assert_eq!(volumes.len(), 3, "volumes are kept");
}

const OF_LOBBY: &str = "app.kubernetes.io/instance=lobby";

/// Kind and name of every object that the operator made of `lobby`.
async fn owned(namespace: &Namespace) -> Vec<(String, String)> {
    let kinds = "deployment,statefulset,service,configmap,secret,serviceaccount,poddisruptionbudget,networkpolicy";
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let objects = namespace.list(kinds, OF_LOBBY).await.into_iter();
    let objects = objects.map(|object| (text(&object["kind"]), text(&object["metadata"]["name"])));
    objects.collect()
}

#[tokio::test]
#[ignore = "needs a Kubernetes: make e2e"]
async fn volumes_go_only_if_that_is_asked_for_and_are_taken_up_again_if_not() {
    let namespace = Namespace::new("volumes").await;
    namespace.chat_service("lobby", SMALL).await;
    let client = ClientPod::start(&namespace, "client", "lobby:8080").await;
    let mut session = Client::join_at(client.address, "news").await;
    session.publish("news", json!("kept")).await;
    drop(session);
    let gone = async || {
        let delete = ["delete", "chatservice", "lobby"];
        namespace.kubectl(&delete).await.succeeded();
        namespace.gone("statefulset", "lobby-nats").await;
        until("no pods", async || {
            namespace.pods(OF_LOBBY).await.is_empty()
        })
        .await;
    };
    gone().await;

    // The same name finds what was stored, with other keys.
    let retained = "replicas: 1, nats: {managed: {replicas: 1, storage: {reclaimPolicy: Delete}}}";
    namespace.chat_service("lobby", retained).await;
    client.reaches(&namespace, "lobby:8080").await;
    let mut session = Client::join_at(client.address, "news").await;
    let query = json!({"channel": "news", "limit": 10});
    let history = session.ask("history", query).await;
    assert_eq!(Publication::list(&history)[0].data, "kept", "{history}");
    drop(session);
    gone().await;
    until("the volume's claim to be gone", async || {
        let claims = namespace.list("persistentvolumeclaims", OF_LOBBY).await;
        claims.is_empty()
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a Kubernetes: make e2e"]
async fn a_secret_that_is_lost_is_made_anew_and_taken_up_by_all() {
    let namespace = Namespace::new("secret").await;
    namespace.chat_service("lobby", SMALL).await;
    let before = namespace.pods(NODES).await;
    let keys = |object: &Value| object["data"]["node.nk"].clone();
    let old = namespace.get("secret", "lobby-nats").await;
    let old = keys(&old.expect("it is there"));
    let delete = ["delete", "secret", "lobby-nats"];
    namespace.kubectl(&delete).await.succeeded();
    namespace
        .until("secret", "lobby-nats", "there again", |it| keys(it) != old)
        .await;
    // Servers and nodes read their keys when they start: the operator starts them anew.
    // One with the old key is of no use, but takes sessions until it is gone.
    until("nodes with the new key, and no others", async || {
        let now = namespace.list("pods", NODES).await;
        let mut names = now.iter().map(|pod| pod["metadata"]["name"].as_str());
        let is_new = |name: Option<&str>| name.is_some_and(|it| before.iter().all(|old| old != it));
        !now.is_empty() && names.all(is_new)
    })
    .await;
    namespace.rolled_out("deployment", "lobby-nodes").await;
    namespace
        .until("chatservice", "lobby", "ready again", is_ready)
        .await;
    let client = ClientPod::start(&namespace, "client", "lobby:8080").await;
    let mut session = Client::join_at(client.address, "news").await;
    session.publish("news", json!("with a new key")).await;
}
