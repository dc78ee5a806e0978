//! What backends do with sessions, wherever these are.

use std::time::{Duration, Instant};

use serde_json::json;

use super::*;

#[tokio::test]
async fn a_session_is_ended_on_whatever_node_it_is() {
    let (cluster, apis, _keys) = cluster(3).await;
    let mut clients = Vec::new();
    for node in &cluster.nodes {
        clients.push(client(node).await);
    }
    let (mut first, id) = clients.remove(0);
    apis[1]
        .ask("disconnect", json!({"user": "", "client": id}))
        .await;
    let close = first.closed().await;
    assert_eq!(
        (close.code, close.reason.as_str()),
        (3503, "force disconnect")
    );
    let (mut second, id) = clients.remove(0);
    let reason = json!({"code": 4321, "reason": "see you"});
    let params = json!({"user": "", "client": id, "disconnect": reason});
    apis[1].ask("disconnect", params).await;
    let close = second.closed().await;
    assert_eq!((close.code, close.reason.as_str()), (4321, "see you"));
    let (mut third, id) = clients.remove(0);
    let spared = json!({"user": "", "client": id, "whitelist": [id]});
    apis[0].ask("disconnect", spared).await;
    apis[0]
        .ask("disconnect", json!({"user": "ann", "client": id}))
        .await;
    third.is_alive().await;
}

#[tokio::test]
async fn a_session_is_taken_out_of_a_room_and_told_so() {
    let (cluster, apis, _keys) = cluster(3).await;
    let (mut member, id) = client(&cluster.nodes[0]).await;
    member.subscribe("room").await;
    member.subscribe("other").await;
    apis[2]
        .ask("publish", json!({"channel": "room", "data": 1}))
        .await;
    assert_eq!(member.publication().await.data, 1);
    let params = json!({"user": "", "client": id, "channel": "room"});
    apis[1].ask("unsubscribe", params.clone()).await;
    let push = member.push().await;
    let told = json!({"code": 2000, "reason": "server unsubscribe"});
    assert_eq!(push, json!({"channel": "room", "unsubscribe": told}));
    for room in ["room", "other"] {
        apis[2]
            .ask("publish", json!({"channel": room, "data": 2}))
            .await;
    }
    let push = member.push().await;
    assert_eq!(
        (&push["channel"], &push["pub"]["data"]),
        (&json!("other"), &json!(2))
    );
    // Not in the room any more: nothing to tell.
    apis[1].ask("unsubscribe", params).await;
    assert_eq!(
        member
            .refused("publish", json!({"channel": "room", "data": 1}))
            .await,
        103
    );
}

#[tokio::test]
async fn a_session_expires_when_a_backend_says_so() {
    let keys = Keys::new(KEY);
    let mut node = Node::with(&["--expiry-grace", "0s"]);
    for (name, value) in keys.variables() {
        node = node.env(name, &value);
    }
    let node = node.start().await;
    let api = Api::of(&node, KEY);
    let refresh = async |client: &str, expire_at: u64| {
        let params = json!({"user": "", "client": client, "expire_at": expire_at});
        assert_eq!(api.ask("refresh", params).await, json!({}));
    };
    let (mut ends, ends_id) = client(&node).await;
    let (mut goes_on, goes_on_id) = client(&node).await;
    let (mut expired, expired_id) = client(&node).await;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let soon = now.expect("it is later than 1970").as_secs() + 2;
    refresh(&ends_id, soon).await;
    refresh(&goes_on_id, soon).await;
    refresh(&goes_on_id, 0).await;
    let close = ends.closed().await;
    assert_eq!(
        (close.code, close.reason.as_str()),
        (3005, "connection expired")
    );
    goes_on.is_alive().await;
    let params = json!({"user": "", "client": expired_id, "expired": true});
    api.ask("refresh", params).await;
    assert_eq!(expired.closed().await.code, 3005);
}

#[tokio::test]
async fn rooms_and_nodes_are_counted_over_the_whole_cluster() {
    let (cluster, apis, _keys) = cluster(3).await;
    let mut members = Vec::new();
    for (at, node) in cluster.nodes.iter().enumerate() {
        members.push(Client::join(node, "everywhere").await);
        members.push(Client::join(node, &format!("only-{at}")).await);
    }
    let all = apis[0].ask("channels", json!({})).await;
    let one = json!({"num_clients": 1});
    let expected = json!({
        "everywhere": {"num_clients": 3}, "only-0": one, "only-1": one, "only-2": one,
    });
    assert_eq!(all["channels"], expected);
    let some = apis[2]
        .ask("channels", json!({"pattern": "only-[01]"}))
        .await;
    assert_eq!(some["channels"], json!({"only-0": one, "only-1": one}));

    let info = apis[1].ask("info", json!({})).await;
    let nodes = info["nodes"].as_array().unwrap();
    let names: Vec<_> = nodes
        .iter()
        .map(|node| node["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["node-0", "node-1", "node-2"]);
    for node in nodes {
        assert_eq!(node["num_clients"], 2, "{node}");
        assert_eq!(node["num_channels"], 2, "{node}");
        assert_eq!(node["version"], env!("CARGO_PKG_VERSION"));
        assert!(node["uptime"].is_u64() && node["uid"].is_string(), "{node}");
        assert_eq!(node["metrics"]["items"]["natter_connects_total"], 2.0);
    }
    let uids: std::collections::BTreeSet<_> = nodes.iter().map(|n| n["uid"].as_str()).collect();
    assert_eq!(uids.len(), 3);
}

#[tokio::test]
async fn a_node_that_does_not_answer_is_named_and_the_others_obey() {
    let (cluster, apis, _keys) = cluster(3).await;
    let (mut elsewhere, id) = client(&cluster.nodes[1]).await;
    cluster.nodes[2].freeze().await;
    let begun = Instant::now();
    let (code, message) = apis[0]
        .refused("disconnect", json!({"user": "", "client": id}))
        .await;
    assert_eq!(code, 100);
    assert!(
        message.contains("not done by all nodes, try again: node-2"),
        "{message}"
    );
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(elsewhere.closed().await.code, 3503);
    // Publishing needs no other node.
    apis[1]
        .ask("publish", json!({"channel": "room", "data": 1}))
        .await;
}
