//! A ChatService on a real Kubernetes: what `kubectl apply` promises, from the chart to the chat. `make e2e` runs these.

use std::time::{Duration, Instant};

use natter_tests::Client;
use natter_tests::kubernetes::chat_service::{NODES, READY, SERVERS, SMALL, is_ready};
use natter_tests::kubernetes::{ClientPod, Namespace, operator};
use serde_json::json;

/// Sessions that each client's address opens.
const OF_EACH_ADDRESS: usize = 3;

#[tokio::test]
#[ignore = "needs a Kubernetes: make e2e"]
async fn apply_is_all_it_takes() {
    operator::installed().await;
    let namespace = Namespace::new("apply").await;
    let begun = Instant::now();
    namespace.apply(&of_the_readme()).await.succeeded();
    namespace
        .until_within(READY, "chatservice", "lobby", "ready", is_ready)
        .await;
    let took = begun.elapsed();
    eprintln!("a ChatService of two nodes and three servers was ready after {took:?}");
    let table = namespace
        .kubectl(&["get", "chatservices"])
        .await
        .succeeded();
    let words: Vec<Vec<&str>> = table
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    let columns = ["NAME", "READY", "REASON", "REPLICAS", "DESIRED"];
    assert_eq!(words[0][..5], columns, "{table}");
    let values = ["lobby", "True", "AllNodesReady", "2", "2"];
    assert_eq!(words[1][..5], values, "{table}");

    // One address keeps its node, so clients on two nodes are clients of several addresses.
    let mut clients = Vec::new();
    let mut pods = Vec::new();
    while connections(&namespace).await.contains(&0) {
        assert!(pods.len() < 12, "12 addresses all reached one node");
        let name = format!("client-{}", pods.len());
        let pod = ClientPod::start(&namespace, &name, "lobby:8080").await;
        // Who says nothing for long is closed.
        for client in &mut clients {
            Client::is_alive(client).await;
        }
        let before = connections(&namespace).await;
        for _ in 0..OF_EACH_ADDRESS {
            let client = Client::join_at(pod.address, "news").await;
            clients.push(client);
        }
        let after = connections(&namespace).await;
        let more = before.iter().zip(&after).map(|(old, new)| new - old);
        let mut more: Vec<_> = more.collect();
        more.sort_unstable();
        assert_eq!(more, [0, OF_EACH_ADDRESS], "an address changed its node");
        pods.push(pod);
    }
    clients[0].publish("news", json!({"text": "hello"})).await;
    for client in &mut clients {
        assert_eq!(client.publication().await.data, json!({"text": "hello"}));
    }
    drop(clients);

    // All nodes at once, and without a drain.
    let before = namespace.pods(NODES).await;
    namespace.kill_pods(NODES).await;
    let others = async || {
        let pods = namespace.pods(NODES).await;
        pods.len() == 2 && pods.iter().all(|pod| !before.contains(pod))
    };
    natter_tests::kubernetes::until("other nodes", others).await;
    namespace.rolled_out("deployment", "lobby-nodes").await;
    pods[0].reaches(&namespace, "lobby:8080").await;
    let mut client = Client::join_at(pods[0].address, "news").await;
    let kept = client.last_messages("news").await;
    assert_eq!(kept, [json!({"text": "hello"})]);
}

/// What the README tells people to apply.
fn of_the_readme() -> String {
    let readme = include_str!("../../README.md");
    let (_, after) = readme
        .split_once("kubectl apply -f - <<END\n")
        .expect("the README applies a ChatService");
    let (yaml, _) = after.split_once("\nEND\n").expect("it ends");
    yaml.to_owned()
}

/// Connections of each node.
async fn connections(namespace: &Namespace) -> Vec<usize> {
    let mut counts = Vec::new();
    for pod in namespace.pods(NODES).await {
        let metrics = namespace.ask_pod(&pod, 9090, "/metrics").await;
        let mut lines = metrics.lines();
        let count = lines
            .find_map(|line| line.strip_prefix("natter_connections{transport=\"websocket\"} "));
        let count = count.unwrap_or_else(|| panic!("{pod} counts no WebSockets"));
        counts.push(count.parse().expect("a count is a number"));
    }
    counts
}

#[tokio::test]
#[ignore = "needs a Kubernetes: make e2e"]
async fn services_do_not_see_each_other() {
    let one = Namespace::new("apart").await;
    let other = Namespace::new("apart").await;
    let mut pods = Vec::new();
    for (namespace, name) in [(&one, "lobby"), (&one, "foyer"), (&other, "lobby")] {
        namespace.chat_service(name, SMALL).await;
        let target = format!("{name}:8080");
        pods.push(ClientPod::start(namespace, &format!("client-{name}"), &target).await);
    }
    // Nobody answers pings for them: they connect when all is there.
    let mut clients = Vec::new();
    for pod in pods {
        clients.push((Client::join_at(pod.address, "news").await, pod));
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
    let secrets = [
        one.list("secrets", SERVERS).await,
        other.list("secrets", SERVERS).await,
    ]
    .concat();
    assert_eq!(secrets.len(), 3, "one for each service");
    for key in ["operator.nk", "node.nk", "moderator.nk", "route-password"] {
        let mut values: Vec<_> = secrets
            .iter()
            .map(|secret| {
                secret["data"][key]
                    .as_str()
                    .expect("a Secret has every key")
            })
            .collect();
        values.sort_unstable();
        values.dedup();
        assert_eq!(values.len(), 3, "two services have the same {key}");
    }
    // A Service leads to nodes of its own.
    for name in ["lobby", "foyer"] {
        let endpoints = one
            .list(
                "endpointslices",
                &format!("kubernetes.io/service-name={name}"),
            )
            .await;
        let mut pods = Vec::new();
        for slice in &endpoints {
            for endpoint in slice["endpoints"].as_array().into_iter().flatten() {
                pods.push(endpoint["targetRef"]["name"].as_str().unwrap_or_default());
            }
        }
        assert_eq!(pods.len(), 1, "{endpoints:?}");
        assert!(pods[0].starts_with(&format!("{name}-nodes-")), "{pods:?}");
    }
}
