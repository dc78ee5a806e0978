//! A ChatService on a real Kubernetes: what `kubectl apply` promises, from the chart to the chat. `make e2e` runs these.

use std::time::{Duration, Instant};

use natter_tests::kubernetes::{ClientPod, Namespace, operator};
use natter_tests::{Client, Publication};
use serde_json::{Value, json};

/// How long a ChatService may take from nothing to ready.
const READY: Duration = Duration::from_secs(60);

const NODES: &str = "app.kubernetes.io/component=nodes";

fn chat_service(name: &str, more: &str) -> String {
    format!(
        "
apiVersion: natter.dev/v1alpha1
kind: ChatService
metadata: {{name: {name}}}
spec:
  auth: {{allowAnonymous: true}}
{more}"
    )
}

fn condition<'a>(service: &'a Value, kind: &str) -> &'a Value {
    let conditions = service["status"]["conditions"].as_array();
    let mut conditions = conditions.into_iter().flatten();
    conditions
        .find(|it| it["type"] == kind)
        .unwrap_or(&Value::Null)
}

fn is_ready(service: &Value) -> bool {
    let ready = condition(service, "Ready");
    ready["status"] == "True" && ready["observedGeneration"] == service["metadata"]["generation"]
}

/// Applies a ChatService, and waits until it is ready.
async fn applied(namespace: &Namespace, name: &str, more: &str) -> Duration {
    operator::installed().await;
    let begun = Instant::now();
    namespace.apply(&chat_service(name, more)).await.succeeded();
    namespace
        .until_within(READY, "chatservice", name, "ready", is_ready)
        .await;
    begun.elapsed()
}

#[tokio::test]
#[ignore = "needs a Kubernetes: make e2e"]
async fn apply_is_all_it_takes() {
    let namespace = Namespace::new("apply").await;
    let took = applied(&namespace, "lobby", "").await;
    eprintln!("ready after {took:?}");
    let table = namespace
        .kubectl(&["get", "chatservices"])
        .await
        .succeeded();
    let words: Vec<Vec<&str>> = table
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(words[0][..3], ["NAME", "READY", "REASON"], "{table}");
    assert_eq!(words[1][..2], ["lobby", "True"], "{table}");

    // One address keeps its node, so clients on two nodes are clients of several addresses.
    let mut clients = Vec::new();
    let mut pods = Vec::new();
    while busy_nodes(&namespace).await < 2 {
        assert!(pods.len() < 12, "12 addresses all reached one node");
        let pod =
            ClientPod::start(&namespace, &format!("client-{}", pods.len()), "lobby:8080").await;
        for _ in 0..3 {
            let before = busy_nodes(&namespace).await;
            let mut client = Client::connect_at(pod.address).await;
            client.subscribe("news").await;
            clients.push(client);
            let fresh = clients.len() % 3 == 1;
            assert!(
                fresh || busy_nodes(&namespace).await == before,
                "an address changed its node"
            );
        }
        pods.push(pod);
    }
    clients[0].publish("news", json!({"text": "hello"})).await;
    for client in &mut clients {
        assert_eq!(client.publication().await.data, json!({"text": "hello"}));
    }
    drop(clients);

    let kill = [
        "delete",
        "pods",
        "--selector",
        NODES,
        "--grace-period=0",
        "--force",
    ];
    namespace.kubectl(&kill).await.succeeded();
    namespace.rolled_out("deployment", "lobby-nodes").await;
    let mut client = Client::connect_at(pods[0].address).await;
    client.subscribe("news").await;
    let history = client
        .ask("history", json!({"channel": "news", "limit": 10}))
        .await;
    assert_eq!(Publication::list(&history).len(), 1, "{history}");
}

/// How many nodes have connections.
async fn busy_nodes(namespace: &Namespace) -> usize {
    let mut busy = 0;
    for pod in namespace.pods(NODES).await {
        let metrics = namespace.ask_pod(&pod, 9090, "/metrics").await;
        let mut lines = metrics.lines();
        let count = lines
            .find_map(|line| line.strip_prefix("natter_connections{transport=\"websocket\"} "));
        busy += usize::from(count.is_some_and(|count| count != "0"));
    }
    busy
}

#[tokio::test]
#[ignore = "needs a Kubernetes: make e2e"]
async fn an_edit_changes_what_it_says_and_nothing_else() {
    let namespace = Namespace::new("edit").await;
    applied(&namespace, "lobby", "  replicas: 2\n").await;
    let before = namespace.pods(NODES).await;

    // Another room class restarts nobody.
    let client = ClientPod::start(&namespace, "client", "lobby:8080").await;
    let mut session = Client::connect_at(client.address).await;
    assert_eq!(
        session
            .refused("subscribe", json!({"channel": "chat:x"}))
            .await,
        102
    );
    applied(
        &namespace,
        "lobby",
        "  replicas: 2\n  roomClasses: [{prefix: chat}]\n",
    )
    .await;
    natter_tests::kubernetes::until("room class chat to be known", async || {
        session
            .request("subscribe", json!({"channel": "chat:x"}))
            .await
            .get("subscribe")
            .is_some()
    })
    .await;
    assert_eq!(namespace.pods(NODES).await, before);

    // The number of nodes, as everybody scales.
    let scale = ["scale", "chatservice/lobby", "--replicas", "3"];
    namespace.kubectl(&scale).await.succeeded();
    let three = |object: &Value| object["status"]["readyReplicas"] == 3;
    namespace
        .until("deployment", "lobby-nodes", "of three nodes", three)
        .await;
    let service = namespace
        .until("chatservice", "lobby", "of three replicas", three)
        .await;
    assert_eq!(service["spec"]["replicas"], 3);

    // Paused: nothing follows. Not paused: everything does.
    let patch = |spec: &str| {
        [
            "patch",
            "chatservice/lobby",
            "--type=merge",
            "--patch",
            spec,
        ]
        .map(str::to_owned)
    };
    let patched = async |spec: &str| {
        let words = patch(spec);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        namespace.kubectl(&words).await.succeeded();
    };
    patched(r#"{"spec":{"paused":true,"replicas":1}}"#).await;
    let seen =
        |object: &Value| object["status"]["observedGeneration"] == object["metadata"]["generation"];
    namespace.until("chatservice", "lobby", "seen", seen).await;
    let deployment = namespace
        .get("deployment", "lobby-nodes")
        .await
        .expect("it is there");
    assert_eq!(deployment["spec"]["replicas"], 3);
    patched(r#"{"spec":{"paused":false}}"#).await;
    let one = |object: &Value| object["status"]["replicas"] == 1;
    namespace
        .until("deployment", "lobby-nodes", "of one node", one)
        .await;
}

#[tokio::test]
#[ignore = "needs a Kubernetes: make e2e"]
async fn what_is_deleted_comes_back_and_what_is_unwanted_goes() {
    let namespace = Namespace::new("drift").await;
    applied(&namespace, "lobby", "").await;
    let kinds = "deployment,statefulset,service,configmap,secret,serviceaccount,poddisruptionbudget,networkpolicy";
    let owned = async || -> Vec<(String, String)> {
        let mut owned = Vec::new();
        for object in namespace
            .list(kinds, "app.kubernetes.io/instance=lobby")
            .await
        {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            owned.push((text(&object["kind"]), text(&object["metadata"]["name"])));
        }
        owned
    };
    let before = owned().await;
    for kind in [
        "Deployment",
        "StatefulSet",
        "Service",
        "ConfigMap",
        "Secret",
        "ServiceAccount",
        "PodDisruptionBudget",
        "NetworkPolicy",
    ] {
        assert!(
            before.iter().any(|(it, _)| it == kind),
            "no {kind}: {before:?}"
        );
    }
    for (kind, name) in &before {
        let uid = |object: &Value| object["metadata"]["uid"].clone();
        let old = namespace.get(kind, name).await.map(|object| uid(&object));
        namespace
            .kubectl(&["delete", kind, name, "--wait=false"])
            .await
            .succeeded();
        namespace
            .until(kind, name, "there again", |object| Some(uid(object)) != old)
            .await;
    }
    namespace
        .until("chatservice", "lobby", "ready again", is_ready)
        .await;

    namespace
        .kubectl(&["delete", "chatservice", "lobby"])
        .await
        .succeeded();
    natter_tests::kubernetes::until("nothing to be left", async || owned().await.is_empty()).await;
    let volumes = namespace
        .list("persistentvolumeclaims", "app.kubernetes.io/instance=lobby")
        .await;
    assert_eq!(volumes.len(), 3, "volumes are kept");
}

#[tokio::test]
#[ignore = "needs a Kubernetes: make e2e"]
async fn services_do_not_see_each_other() {
    let one = Namespace::new("apart").await;
    let other = Namespace::new("apart").await;
    let small = "  replicas: 1\n  nats: {managed: {replicas: 1}}\n";
    let mut clients = Vec::new();
    for (namespace, name) in [(&one, "lobby"), (&one, "foyer"), (&other, "lobby")] {
        applied(namespace, name, small).await;
        let pod = ClientPod::start(
            namespace,
            &format!("client-{name}"),
            &format!("{name}:8080"),
        )
        .await;
        let mut client = Client::connect_at(pod.address).await;
        client.subscribe("news").await;
        clients.push((client, pod));
    }
    for sender in 0..clients.len() {
        let said = json!({"text": format!("by {sender}")});
        clients[sender].0.publish("news", said.clone()).await;
        for (listener, (client, _)) in clients.iter_mut().enumerate() {
            if listener == sender {
                assert_eq!(client.publication().await.data, said);
            } else {
                client.hears_nothing_for(Duration::from_secs(1)).await;
            }
        }
    }
    // The keys of one service open nothing of another's.
    let secrets = one
        .list("secrets", "app.kubernetes.io/component=nats")
        .await;
    assert_eq!(secrets.len(), 2, "one for each service");
    assert_ne!(secrets[0]["data"], secrets[1]["data"]);
}
