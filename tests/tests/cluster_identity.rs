//! Identity over NATS: whoever a session is on one node it is on every node.

use natter_tests::tokens::{SECRET, token};
use natter_tests::{Client, Cluster, Node, Publication};
use serde_json::{Value, json};
use tempfile::NamedTempFile;

async fn cluster() -> (Cluster, NamedTempFile) {
    let keys = NamedTempFile::new().expect("there is a place for temporary files");
    std::fs::write(keys.path(), SECRET).expect("the file can be written to");
    let path = keys.path().to_str().expect("a path in UTF-8");
    let cluster = Cluster::with(1, 3).flags(&["--jwt-key-file", path]);
    (cluster.start().await, keys)
}

async fn connected(node: &Node, claims: Value) -> (Client, Value) {
    let mut client = Client::open(node).await;
    let reply = client.ask("connect", json!({"token": token(claims)})).await;
    (client, reply)
}

#[tokio::test]
async fn who_said_it_is_known_on_every_node() {
    let (cluster, _keys) = cluster().await;
    let mut readers = Vec::new();
    for node in &cluster.nodes {
        let (mut reader, _) = connected(node, json!({"sub": "bob"})).await;
        let epoch = reader.subscribe("room").await["epoch"].clone();
        readers.push((reader, epoch));
    }
    let (mut ann, reply) = connected(
        &cluster.nodes[0],
        json!({"sub": "ann", "info": {"name": "Ann ü"}}),
    )
    .await;
    let pass = token(json!({"sub": "ann", "channel": "room", "info": [7]}));
    ann.ask("subscribe", json!({"channel": "room", "token": pass}))
        .await;
    ann.publish("room", json!("hello")).await;
    let info = json!({
        "user": "ann", "client": reply["client"], "conn_info": {"name": "Ann ü"}, "chan_info": [7],
    });
    for (reader, epoch) in &mut readers {
        assert_eq!(reader.push().await["pub"]["info"], info);
        let page = reader
            .ask("history", json!({"channel": "room", "limit": -1}))
            .await;
        assert_eq!(page["publications"][0]["info"], info);
        reader.ask("unsubscribe", json!({"channel": "room"})).await;
        let reply = reader.resume("room", 0, epoch).await;
        assert_eq!(reply["publications"][0]["info"], info);
    }
}

#[tokio::test]
async fn rooms_that_were_given_are_recovered_on_another_node() {
    let (cluster, _keys) = cluster().await;
    let claims = || json!({"sub": "ann", "channels": ["news", "other"]});
    let (ann, first) = connected(&cluster.nodes[0], claims()).await;
    ann.leave().await;
    let (mut bob, _) = connected(
        &cluster.nodes[1],
        json!({"sub": "bob", "channels": ["news"]}),
    )
    .await;
    for n in 0..20 {
        bob.publish("news", json!(n)).await;
    }
    let subs: serde_json::Map<_, _> = ["news", "other"]
        .map(|room| {
            let sub = &first["subs"][room];
            let resume = json!({"recover": true, "offset": sub["offset"], "epoch": sub["epoch"]});
            (room.to_owned(), resume)
        })
        .into_iter()
        .collect();
    let mut ann = Client::open(&cluster.nodes[2]).await;
    let connect = json!({"token": token(claims()), "subs": subs});
    let reply = ann.ask("connect", connect).await;
    let missed: Vec<_> = Publication::list(&reply["subs"]["news"])
        .into_iter()
        .map(|publication| publication.data)
        .collect();
    assert_eq!(missed, (0..20).map(|n| json!(n)).collect::<Vec<_>>());
    for room in ["news", "other"] {
        assert_eq!(reply["subs"][room]["recovered"], true, "{room}");
    }
    bob.publish("news", json!("live")).await;
    assert_eq!(ann.publication().await.data, json!("live"));
}
