//! What a backend erases is gone on all nodes, and nobody is told otherwise.

use natter_tests::cluster::ready;
use natter_tests::wait::until;
use serde_json::{Value, json};

use super::*;

async fn data(api: &Api, room: &str) -> Value {
    let page = api
        .ask("history", json!({"channel": room, "limit": -1}))
        .await;
    let page = page["publications"].as_array().cloned().unwrap_or_default();
    page.into_iter()
        .map(|publication| publication["data"].clone())
        .collect()
}

#[tokio::test]
async fn erased_history_is_gone_on_all_nodes_and_who_missed_it_is_told() {
    let (cluster, apis, _keys) = cluster(3).await;
    let mut member = Client::connect(&cluster.nodes[0]).await;
    member.subscribe("room").await;
    let say = |n: u64| json!({"channel": "room", "data": n});
    let first = apis[0].ask("publish", say(1)).await;
    let last = apis[1].ask("publish", say(2)).await;
    // Every node has it in its log.
    for api in &apis {
        until("the node to have both", async || {
            data(api, "room").await == json!([1, 2])
        })
        .await;
    }
    assert_eq!(
        apis[1]
            .ask("history_remove", json!({"channel": "room"}))
            .await,
        json!({})
    );
    assert_eq!(data(&apis[1], "room").await, json!([]));
    for api in &apis {
        until("the node to know", async || {
            data(api, "room").await == json!([])
        })
        .await;
    }
    apis[2].ask("publish", say(3)).await;
    for node in &cluster.nodes {
        for (position, recovered) in [(&first, false), (&last, true)] {
            let mut client = Client::connect(node).await;
            let offset = position["offset"].as_u64().expect("results have offsets");
            let reply = client.resume("room", offset, &position["epoch"]).await;
            assert_eq!(reply["recovered"], recovered, "{reply}");
            assert_eq!(reply["was_recovering"], true, "{reply}");
        }
    }
    let mut heard = Vec::new();
    while heard.len() < 3 {
        heard.push(member.publication().await.data);
    }
    assert_eq!(heard, [1, 2, 3], "who is there loses nothing");

    // A node that starts later reads it from the stream.
    let late = cluster.node(7, &[""; 0]).start().await;
    ready(&late).await;
    let mut client = Client::connect(&late).await;
    let offset = first["offset"].as_u64().expect("results have offsets");
    let reply = client.resume("room", offset, &first["epoch"]).await;
    assert_eq!(reply["recovered"], false, "{reply}");
}

#[tokio::test]
async fn the_embedded_broker_erases_too() {
    let (node, api, _keys) = node().await;
    let first = api
        .ask("publish", json!({"channel": "room", "data": 1}))
        .await;
    api.ask("history_remove", json!({"channel": "room"})).await;
    assert_eq!(data(&api, "room").await, json!([]));
    let next = api
        .ask("publish", json!({"channel": "room", "data": 2}))
        .await;
    assert_eq!(next["offset"], 2);
    for (position, recovered) in [
        (json!({"offset": 0, "epoch": first["epoch"]}), false),
        (first, true),
    ] {
        let mut client = Client::connect(&node).await;
        let offset = position["offset"].as_u64().expect("results have offsets");
        let reply = client.resume("room", offset, &position["epoch"]).await;
        assert_eq!(reply["recovered"], recovered, "{reply}");
    }
}

#[tokio::test]
async fn without_a_moderator_nothing_is_erased() {
    let (cluster, apis, keys) = cluster(1).await;
    let mut node = cluster.node(1, &[""; 0]);
    for (name, value) in keys.variables() {
        node = node.env(name, &value);
    }
    let node = node
        .env("NATTER_NATS_MODERATOR_CREDENTIALS", "")
        .start()
        .await;
    ready(&node).await;
    let api = Api::of(&node, KEY);
    apis[0]
        .ask("publish", json!({"channel": "room", "data": 1}))
        .await;
    let (code, message) = api
        .refused("history_remove", json!({"channel": "room"}))
        .await;
    assert_eq!(code, 108);
    assert!(message.contains("nats.moderatorCredentials"), "{message}");
    assert_eq!(data(&api, "room").await, json!([1]));
}
