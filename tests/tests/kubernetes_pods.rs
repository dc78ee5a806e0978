//! Chat nodes and NATS servers as pods of a real Kubernetes, by hand-written manifests: what the images promise to whoever runs them,
//! the operator first of all. `make e2e` runs these.

use natter_tests::kubernetes::{ClientPod, DEADLINE, Namespace, PAUSE};
use natter_tests::wait::until_some_within;
use natter_tests::{Client, Publication, command};
use serde_json::json;
use tempfile::TempDir;

const NODES: &str = "app=lobby";

/// Sessions that are opened while all nodes are replaced.
const KNOCKS: u32 = 10_000;

/// Three NATS servers and three nodes, ready.
async fn lobby(what: &str) -> Namespace {
    let namespace = Namespace::new(what).await;
    let users = TempDir::new().expect("there is a place for temporary files");
    command::make_users(users.path(), 2).await;
    let file = |name: &str| format!("--from-file={}", users.path().join(name).display());
    let accounts = [
        "create",
        "secret",
        "generic",
        "lobby-accounts",
        &file("accounts.conf"),
    ];
    namespace.kubectl(&accounts).await.succeeded();
    let keys = [
        "create",
        "secret",
        "generic",
        "lobby-keys",
        &file("node.nk"),
        &file("operator.nk"),
    ];
    namespace.kubectl(&keys).await.succeeded();
    let nats = namespace
        .apply(include_str!("../manifests/nats.yaml"))
        .await;
    // A warning would say what the standard *restricted* does not allow.
    assert_eq!(nats.stderr, "");
    nats.succeeded();
    let nodes = namespace
        .apply(include_str!("../manifests/nodes.yaml"))
        .await;
    assert_eq!(nodes.stderr, "");
    nodes.succeeded();
    namespace.rolled_out("statefulset", "lobby-nats").await;
    namespace.rolled_out("deployment", "lobby").await;
    namespace
}

/// Connections of each node now.
async fn connections(namespace: &Namespace) -> Vec<u64> {
    let mut counts = Vec::new();
    for pod in namespace.pods(NODES).await {
        let metrics = namespace.ask_pod(&pod, 9090, "/metrics").await;
        let count = metrics
            .lines()
            .find_map(|line| line.strip_prefix("natter_connections{transport=\"websocket\"} "))
            .unwrap_or("0");
        counts.push(count.parse::<f64>().expect("a count is a number") as u64);
    }
    counts
}

#[tokio::test]
#[ignore = "needs a Kubernetes: make e2e"]
async fn clients_on_different_nodes_share_a_room_and_its_history() {
    let namespace = lobby("chat").await;
    let pod = ClientPod::start(&namespace, "client", "lobby-any:80").await;
    let mut clients = Vec::new();
    while connections(&namespace)
        .await
        .iter()
        .filter(|count| **count > 0)
        .count()
        < 3
    {
        assert!(
            clients.len() < 60,
            "60 connections did not reach three nodes"
        );
        let client = Client::join_at(pod.address, "news").await;
        clients.push(client);
    }
    clients[0].publish("news", json!({"text": "hello"})).await;
    for client in &mut clients {
        assert_eq!(client.publication().await.data, json!({"text": "hello"}));
    }
    drop(clients);

    // All nodes at once, without a drain: what was acknowledged is there when others take their place.
    let before = namespace.pods(NODES).await;
    namespace.kill_pods(NODES).await;
    let what = "nodes in the place of those that were killed";
    until_some_within(DEADLINE, PAUSE, what, async || {
        let pods = namespace.pods(NODES).await;
        let is_new = |pod: &String| !before.contains(pod);
        (pods.len() == 3 && pods.iter().all(is_new)).then_some(())
    })
    .await;
    namespace.rolled_out("deployment", "lobby").await;
    pod.reaches(&namespace, "lobby-any:80").await;
    let mut client = Client::join_at(pod.address, "news").await;
    let kept = client.last_messages("news").await;
    assert_eq!(kept, [json!({"text": "hello"})]);
}

#[tokio::test]
#[ignore = "needs a Kubernetes: make e2e"]
async fn one_client_address_keeps_its_node() {
    let namespace = lobby("affinity").await;
    for name in ["one", "two", "three", "four"] {
        let pod = ClientPod::start(&namespace, name, "lobby:80").await;
        let mut held = Vec::new();
        for _ in 0..10 {
            held.push(Client::connect_at(pod.address).await);
        }
        let mut counts = connections(&namespace).await;
        counts.sort_unstable();
        assert_eq!(counts, [0, 0, 10], "connections of the nodes for {name}");
        drop(held);
        let what = "the sessions to be gone";
        until_some_within(DEADLINE, PAUSE, what, async || {
            let counts = connections(&namespace).await;
            counts.iter().all(|count| *count == 0).then_some(())
        })
        .await;
    }
}

#[tokio::test]
#[ignore = "needs a Kubernetes: make e2e"]
async fn a_rollout_refuses_nobody_and_loses_nothing() {
    let namespace = lobby("rollout").await;
    let pod = ClientPod::start(&namespace, "client", "lobby-any:80").await;
    let mut members = Vec::new();
    for _ in 0..12 {
        let mut member = Client::connect_at(pod.address).await;
        let joined = member.subscribe("news").await;
        members.push((
            member,
            joined["offset"].as_u64().unwrap_or(0),
            joined["epoch"].clone(),
        ));
    }
    let before = namespace.pods(NODES).await;

    let rollout = async {
        let restart = ["rollout", "restart", "deployment/lobby"];
        namespace.kubectl(&restart).await.succeeded();
        namespace.rolled_out("deployment", "lobby").await;
        // Somebody says something while the nodes of before still drain.
        let mut speaker = Client::join_at(pod.address, "news").await;
        speaker.publish("news", json!({"text": "meanwhile"})).await;
    };
    // Longer than preStop, drain and all.
    let knocking = pod.knock(&namespace, "lobby-any:80", KNOCKS, 45);
    let (knocked, ()) = tokio::join!(knocking, rollout);
    eprintln!("{knocked}");
    assert_eq!(knocked["failures"], json!({}), "{knocked}");
    assert_eq!(knocked["opened"], KNOCKS, "{knocked}");

    for name in &before {
        namespace.gone("pod", name).await;
    }
    // Everyone was told to come back, which SDKs do at once, and finds what it missed.
    for (mut member, offset, epoch) in members {
        let close = member.closed().await;
        assert_eq!((close.code, &*close.reason), (3001, "shutdown"));
        let heard: Vec<_> = member.take_unread();
        let mut again = Client::connect_at(pod.address).await;
        let resumed = again.resume("news", offset, &epoch).await;
        assert_eq!(resumed["recovered"], true, "{resumed}");
        let missed = Publication::list(&resumed);
        assert_eq!(missed.len(), 1, "{resumed}, heard before: {heard:?}");
    }
}
