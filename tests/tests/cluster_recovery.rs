//! Rooms over NATS: one order on every node, and recovery however long somebody was away.

use natter_tests::{Client, Cluster, Nats, Publication};
use serde_json::{Value, json};

/// One server and two nodes that hold only the newest 50 events, so that what is older is read from the stream.
async fn cluster() -> Cluster {
    let cluster = Cluster::with(1, 2).shards(1);
    cluster
        .flags(&["--nats-shard-log-messages", "50"])
        .start()
        .await
}

/// Publishes `numbers` to `room` by a session of node `node`, and returns the room's epoch.
async fn write(cluster: &Cluster, node: usize, room: &str, numbers: std::ops::Range<u64>) -> Value {
    let mut client = Client::connect(&cluster.nodes[node]).await;
    let epoch = client.subscribe(room).await["epoch"].clone();
    for number in numbers {
        client.publish(room, json!(number)).await;
    }
    epoch
}

/// What a session that comes to node `node` and was at `offset` is told.
async fn resume(cluster: &Cluster, node: usize, room: &str, offset: u64, epoch: &Value) -> Value {
    let mut client = Client::connect(&cluster.nodes[node]).await;
    client.resume(room, offset, epoch).await
}

fn numbers(reply: &Value) -> Vec<u64> {
    let list = Publication::list(reply);
    list.iter()
        .map(|it| it.data.as_u64().expect("a number"))
        .collect()
}

#[tokio::test]
async fn members_on_all_nodes_see_one_order() {
    let cluster = Cluster::start(1, 3).await;
    let mut readers = Vec::new();
    for node in &cluster.nodes {
        readers.push(Client::join(node, "room").await);
    }
    let writers = cluster
        .nodes
        .iter()
        .enumerate()
        .map(async |(number, node)| {
            let mut writer = Client::join(node, "room").await;
            for n in 0..50 {
                writer.publish("room", json!(format!("{number}/{n}"))).await;
            }
        });
    futures_util::future::join_all(writers).await;
    let mut orders = Vec::new();
    for reader in &mut readers {
        let mut order = Vec::new();
        while order.len() < 150 {
            order.push(reader.publication().await);
        }
        orders.push(order);
    }
    assert!(orders[0].is_sorted_by(|a, b| a.offset < b.offset));
    assert_eq!(orders[0], orders[1]);
    assert_eq!(orders[0], orders[2]);
}

#[tokio::test]
async fn who_was_away_longer_than_the_node_remembers_is_recovered() {
    let cluster = cluster().await;
    let epoch = write(&cluster, 0, "room", 1..301).await;
    for (node, offset) in [(1, 0), (1, 5), (0, 249), (1, 250), (0, 299), (1, 300)] {
        let reply = resume(&cluster, node, "room", offset, &epoch).await;
        assert_eq!(reply["recovered"], true, "from {offset}: {reply}");
        assert_eq!(numbers(&reply), (offset + 1..=300).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_quiet_room_outlives_what_others_push_out() {
    let cluster = cluster().await;
    let mut member = Client::connect(&cluster.nodes[0]).await;
    let joined = member.subscribe("quiet").await;
    let (offset, epoch) = (joined["offset"].as_u64().unwrap(), joined["epoch"].clone());
    write(&cluster, 0, "loud", 1..201).await;
    let reply = resume(&cluster, 1, "quiet", offset, &epoch).await;
    assert_eq!(
        (&reply["recovered"], numbers(&reply)),
        (&json!(true), vec![])
    );
    write(&cluster, 1, "quiet", 7..8).await;
    write(&cluster, 0, "loud", 201..301).await;
    let reply = resume(&cluster, 0, "quiet", offset, &epoch).await;
    assert_eq!(
        (&reply["recovered"], numbers(&reply)),
        (&json!(true), vec![7])
    );
}

#[tokio::test]
async fn who_missed_what_is_gone_is_told() {
    let cluster = cluster().await;
    let epoch = write(&cluster, 0, "room", 1..301).await;
    let nats = Nats::connect(&cluster.nats).await;
    nats.api("STREAM.PURGE.C_0", json!({"seq": 101})).await;
    for offset in [0, 50, 99] {
        let reply = resume(&cluster, 1, "room", offset, &epoch).await;
        assert_eq!(
            (&reply["recovered"], numbers(&reply)),
            (&json!(false), vec![])
        );
        assert_eq!(reply["offset"], 300);
    }
    let reply = resume(&cluster, 1, "room", 100, &epoch).await;
    assert_eq!(reply["recovered"], true, "{reply}");
    assert_eq!(numbers(&reply), (101..=300).collect::<Vec<_>>());
    // Nothing says whether this room had messages among those that are gone.
    let reply = resume(&cluster, 1, "other", 50, &epoch).await;
    assert_eq!(reply["recovered"], false);
    let reply = resume(&cluster, 1, "other", 100, &epoch).await;
    assert_eq!(reply["recovered"], true);
}

#[tokio::test]
async fn a_room_nobody_has_touched_is_recovered_from_its_beginning() {
    let cluster = cluster().await;
    let reply = resume(&cluster, 0, "new", 0, &json!("")).await;
    assert_eq!(
        (&reply["recovered"], numbers(&reply)),
        (&json!(true), vec![])
    );
    write(&cluster, 0, "new", 1..3).await;
    let reply = resume(&cluster, 1, "new", 0, &json!("")).await;
    assert_eq!(
        (&reply["recovered"], numbers(&reply)),
        (&json!(true), vec![1, 2])
    );
}

#[tokio::test]
async fn nodes_that_were_killed_together_recover_everybody() {
    let mut cluster = cluster().await;
    let epoch = write(&cluster, 0, "room", 1..101).await;
    for node in &mut cluster.nodes {
        node.kill();
    }
    for node in &mut cluster.nodes {
        node.restart().await;
    }
    cluster.ready().await;
    for (node, offset) in [(0, 3), (1, 3), (0, 99)] {
        let reply = resume(&cluster, node, "room", offset, &epoch).await;
        assert_eq!(reply["recovered"], true, "{reply}");
        assert_eq!(numbers(&reply), (offset + 1..=100).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn history_reads_past_what_the_node_remembers() {
    let cluster = cluster().await;
    let epoch = write(&cluster, 0, "room", 1..201).await;
    write(&cluster, 0, "loud", 1..101).await;
    let mut client = Client::join(&cluster.nodes[1], "room").await;
    let mut page = async |since: Option<u64>, limit, reverse| {
        let since = since.map(|offset| json!({"offset": offset, "epoch": epoch}));
        let parameters =
            json!({"channel": "room", "limit": limit, "reverse": reverse, "since": since});
        numbers(&client.ask("history", parameters).await)
    };
    assert_eq!(page(None, 3, false).await, [1, 2, 3]);
    assert_eq!(page(None, 3, true).await, [200, 199, 198]);
    assert_eq!(page(Some(100), 2, false).await, [101, 102]);
    assert_eq!(page(Some(100), 2, true).await, [99, 98]);
    assert_eq!(page(Some(3), 10, true).await, [2, 1]);
    assert_eq!(page(Some(1), 10, true).await, [0; 0]);
    assert_eq!(page(None, -1, false).await, (1..=200).collect::<Vec<_>>());
    let all: Vec<_> = (1..=200).rev().collect();
    assert_eq!(page(None, -1, true).await, all);
}

#[tokio::test]
async fn what_no_client_could_read_reaches_nobody_and_stops_nothing() {
    let cluster = cluster().await;
    let mut member = Client::join(&cluster.nodes[0], "room").await;
    let nats = Nats::connect(&cluster.nats).await;
    // The subject of a real message, and something else under it.
    member.publish("room", json!(1)).await;
    assert_eq!(member.publication().await.data, json!(1));
    let stored = nats.message("C_0", 1).await.expect("it is stored");
    let subject = stored["subject"].as_str().expect("a subject").to_owned();
    for garbage in ["", "no protobuf", "\u{8}\u{9}"] {
        nats.store(&subject, &[], garbage).await;
    }
    member.publish("room", json!(2)).await;
    let next = member.publication().await;
    assert_eq!((next.offset, next.data), (5, json!(2)));
    let node = &cluster.nodes[0];
    node.metric_becomes("natter_nats_undeliverable_total", 3.0)
        .await;
    node.logged("message 2 of stream C_0 is skipped").await;
    let mut late = Client::connect(&cluster.nodes[1]).await;
    let reply = late.resume("room", 0, &json!("")).await;
    assert_eq!(
        (&reply["recovered"], numbers(&reply)),
        (&json!(true), vec![1, 2])
    );
}

#[tokio::test]
async fn messages_that_were_erased_are_passed_over() {
    let mut cluster = cluster().await;
    let epoch = write(&cluster, 0, "room", 1..11).await;
    let nats = Nats::connect(&cluster.nats).await;
    for sequence in [3, 4, 10] {
        nats.erase("C_0", sequence).await;
    }
    // A node that starts now finds holes, one of them at the end.
    cluster.nodes[1].restart().await;
    cluster.ready().await;
    let reply = resume(&cluster, 1, "room", 1, &epoch).await;
    assert_eq!(reply["recovered"], true, "{reply}");
    assert_eq!(numbers(&reply), [2, 5, 6, 7, 8, 9]);
    write(&cluster, 1, "room", 11..12).await;
    let reply = resume(&cluster, 0, "room", 10, &epoch).await;
    assert_eq!(numbers(&reply), [11]);
}

#[tokio::test]
async fn rooms_are_spread_over_shards_and_all_work() {
    let cluster = Cluster::start(1, 2).await;
    let mut reader = Client::connect(&cluster.nodes[1]).await;
    let mut writer = Client::connect(&cluster.nodes[0]).await;
    for number in 0..40 {
        let room = format!("room {number}");
        reader.subscribe(&room).await;
        writer.subscribe(&room).await;
        writer.publish(&room, json!(number)).await;
        assert_eq!(reader.publication().await.data, json!(number));
    }
}
