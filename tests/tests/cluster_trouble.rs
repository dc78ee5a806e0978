//! Nodes whose NATS is away, wrong, or somebody else: what clients see, what operators read.

use std::time::{Duration, Instant};

use natter_tests::cluster::ready;
use natter_tests::node::Signal;
use natter_tests::wait::until;
use natter_tests::{Client, Cluster, Nats, Node, Publication, http};
use serde_json::{Value, json};

async fn not_ready(node: &Node, because: &str) {
    until(&format!("/readyz to say '{because}'"), async || {
        let answer = http::get(node.admin, "/readyz").await;
        answer.status == 503 && answer.body.contains(because)
    })
    .await;
}

/// How often the log has a line with `text`.
fn lines(node: &Node, text: &str) -> usize {
    node.log()
        .lines()
        .filter(|line| line.contains(text))
        .count()
}

#[tokio::test]
async fn a_node_waits_for_nats_and_says_so() {
    let mut cluster = Cluster::start(1, 0).await;
    cluster.nats[0].kill();
    let node = cluster.node(0, &[""; 0]).waiting().await;
    not_ready(&node, "no NATS server could be reached").await;
    assert_eq!(http::get(node.admin, "/healthz").await.status, 200);
    cluster.nats[0].restart().await;
    ready(&node).await;
    let mut client = Client::join(&node, "room").await;
    client.publish("room", json!(1)).await;
}

#[tokio::test]
async fn an_outage_stops_publishes_and_nothing_else() {
    let mut cluster = Cluster::start(1, 1).await;
    let mut member = Client::connect(&cluster.nodes[0]).await;
    let epoch = member.subscribe("room").await["epoch"].clone();
    member.publish("room", json!(1)).await;
    let first = member.publication().await.offset;
    cluster.nats[0].kill();
    let node = &cluster.nodes[0];
    node.metric_becomes(r#"natter_nats_connected{connection="publish"}"#, 0.0)
        .await;

    // What the node holds can be read and joined.
    let mut other = Client::connect(node).await;
    let reply = other.resume("room", first - 1, &epoch).await;
    assert_eq!(Publication::list(&reply).len(), 1, "{reply}");
    let page = other
        .ask("history", json!({"channel": "room", "limit": 10}))
        .await;
    assert_eq!(Publication::list(&page).len(), 1, "{page}");

    // SDKs stop listening after 5 s. Other rooms do not wait, and what follows in the room is not tried.
    let begun = Instant::now();
    let unknown = member
        .command("publish", json!({"channel": "room", "data": 2}))
        .await;
    let behind = member
        .command("publish", json!({"channel": "room", "data": 3}))
        .await;
    member.is_alive().await;
    assert!(begun.elapsed() < Duration::from_secs(2));
    for id in [unknown, behind] {
        let reply = member.reply(id).await;
        assert_eq!(reply["error"]["code"], 100, "{reply}");
        assert_eq!(reply["error"]["temporary"], true, "{reply}");
    }
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert_eq!(http::get(node.admin, "/readyz").await.status, 200);

    cluster.nats[0].restart().await;
    let node = &cluster.nodes[0];
    node.metric_becomes(r#"natter_nats_connected{connection="publish"}"#, 1.0)
        .await;
    until("a publish to be acknowledged", async || {
        let reply = other
            .request("publish", json!({"channel": "room", "data": 4}))
            .await;
        reply.get("publish").is_some()
    })
    .await;
    node.metric_becomes(r#"natter_nats_troubles{kind="publish"}"#, 0.0)
        .await;
    assert_eq!(lines(node, "acknowledged nothing within"), 1);
    assert_eq!(lines(node, "are acknowledged again"), 1);
}

#[tokio::test]
async fn a_missing_stream_is_named_with_what_makes_it() {
    let cluster = Cluster::start(1, 0).await;
    Nats::connect(&cluster.nats)
        .await
        .delete_stream("C_3")
        .await;
    let node = cluster.node(0, &[""; 0]).waiting().await;
    not_ready(
        &node,
        "stream C_3 is missing; create it with `chat-node nats init`",
    )
    .await;
    cluster.init(&["--recreate-missing"]).await;
    let begun = Instant::now();
    ready(&node).await;
    assert!(begun.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn another_number_of_shards_is_refused_with_both() {
    let cluster = Cluster::with(1, 0).shards(4).start().await;
    let node = cluster.node(0, &["--shards", "3"]).waiting().await;
    not_ready(
        &node,
        "is one of 4 shards, but history.shards (--shards) of this node is 3",
    )
    .await;
}

#[tokio::test]
async fn credentials_that_are_not_known_are_told() {
    let cluster = Cluster::start(1, 0).await;
    let elsewhere = tempfile::tempdir().unwrap();
    natter_tests::command::make_users(elsewhere.path(), 8).await;
    let key = elsewhere.path().join("node.nk").display().to_string();
    let node = cluster
        .node(0, &["--nats-credentials", &key])
        .waiting()
        .await;
    not_ready(&node, "do not know the user U").await;
}

#[tokio::test]
async fn what_the_servers_refuse_is_told_by_its_subject() {
    let cluster = Cluster::start(1, 0).await;
    let key = cluster.nats.key("moderator").unwrap().display().to_string();
    let node = cluster
        .node(0, &["--nats-credentials", &key])
        .waiting()
        .await;
    // Everything but the moderator's own subjects is refused; one of them is shown at a time.
    not_ready(&node, "refuses this node something").await;
    not_ready(&node, " to \"c.").await;
}

#[tokio::test]
async fn a_new_stream_makes_members_start_afresh() {
    let cluster = Cluster::with(1, 2).shards(1).start().await;
    let mut member = Client::connect(&cluster.nodes[0]).await;
    let epoch = member.subscribe("room").await["epoch"].clone();
    for number in 0..5 {
        member.publish("room", json!(number)).await;
        assert_eq!(member.publication().await.data, json!(number));
    }
    Nats::connect(&cluster.nats)
        .await
        .delete_stream("C_0")
        .await;
    for node in &cluster.nodes {
        node.logged("stream C_0 is missing").await;
    }
    cluster.init(&["--recreate-missing"]).await;
    let close = member.closed().await;
    assert_eq!(
        (close.code, close.reason.as_str()),
        (3010, "insufficient state")
    );
    for node in &cluster.nodes {
        ready(node).await;
        let mut member = Client::connect(node).await;
        let reply = member.resume("room", 3, &epoch).await;
        assert_eq!(reply["recovered"], false, "{reply}");
        assert_ne!(reply["epoch"], epoch);
        member.publish("room", json!("new")).await;
        assert_eq!(member.publication().await.data, json!("new"));
    }
}

#[tokio::test]
async fn nodes_know_of_each_other_until_they_leave() {
    let mut cluster = Cluster::start(1, 3).await;
    let known = async |node: &Node| -> Vec<Value> {
        let answer = http::get(node.admin, "/nodes").await;
        serde_json::from_str(&answer.body).expect("JSON")
    };
    let names = async |node: &Node| -> Vec<String> {
        let nodes = known(node).await;
        nodes
            .iter()
            .map(|it| it["node"].as_str().unwrap().to_owned())
            .collect()
    };
    let _client = Client::connect(&cluster.nodes[1]).await;
    until("all nodes and the connection to be known", async || {
        let nodes = known(&cluster.nodes[0]).await;
        nodes.len() == 3 && nodes[1]["connections"] == 1 && nodes[1]["state"] == "serving"
    })
    .await;
    cluster.nodes[2].signal(Signal::Terminate);
    cluster.nodes[2].exit().await;
    until("the one that left to be forgotten", async || {
        names(&cluster.nodes[0]).await == ["node-0", "node-1"]
    })
    .await;
    let node = &cluster.nodes[0];
    node.metric_becomes("natter_cluster_nodes", 2.0).await;
}
