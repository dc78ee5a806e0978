//! A class may narrow what of its rooms' history is readable and recoverable; what is kept stays as it is.

use std::time::Duration;

use natter_tests::wait::until;
use natter_tests::{Client, Node, Publication};
use serde_json::{Value, json};

const CLASSES: &str =
    "roomClasses: [{prefix: few, historyMaxMessages: 3}, {prefix: young, historyMaxAge: 2s}]";

/// A member of `room` that has published ten messages, whose offsets are their numbers, and the room's epoch.
async fn ten(node: &Node, room: &str) -> (Client, Value) {
    let mut client = Client::connect(node).await;
    let epoch = client.subscribe(room).await["epoch"].clone();
    for number in 1..=10 {
        client.publish(room, json!(number)).await;
        client.publication().await;
    }
    (client, epoch)
}

async fn page(client: &mut Client, room: &str, mut query: Value) -> Vec<u64> {
    query["channel"] = json!(room);
    let page = client.ask("history", query).await;
    assert_eq!(page["offset"], 10, "the room's end: {page}");
    Publication::list(&page)
        .iter()
        .map(|it| it.offset)
        .collect()
}

/// What a resume from `offset` recovers, if it does.
async fn resume(node: &Node, room: &str, offset: u64, epoch: &Value) -> Option<Vec<u64>> {
    let mut client = Client::connect(node).await;
    let reply = client.resume(room, offset, epoch).await;
    let publications = Publication::list(&reply);
    let offsets = publications.iter().map(|it| it.offset).collect::<Vec<_>>();
    assert_eq!(reply["recoverable"], true);
    if reply["recovered"] == true {
        return Some(offsets);
    }
    assert!(offsets.is_empty(), "{reply}");
    assert_eq!(
        (&reply["recovered"], &reply["offset"]),
        (&json!(false), &json!(10))
    );
    None
}

#[tokio::test]
async fn only_the_newest_are_readable_where_the_class_says_how_many() {
    let node = Node::with(&[]).config(CLASSES).start().await;
    let (mut client, epoch) = ten(&node, "few:a").await;
    let since = |offset: u64, reverse: bool| json!({"since": {"offset": offset, "epoch": epoch}, "limit": -1, "reverse": reverse});
    let mut read = async |query| page(&mut client, "few:a", query).await;
    assert_eq!(read(json!({"limit": -1})).await, [8, 9, 10]);
    assert_eq!(read(json!({"limit": 2})).await, [8, 9]);
    assert_eq!(
        read(json!({"limit": -1, "reverse": true})).await,
        [10, 9, 8]
    );
    assert_eq!(read(since(2, false)).await, [8, 9, 10]);
    assert_eq!(read(since(9, false)).await, [10]);
    assert_eq!(read(since(9, true)).await, [8]);
    assert_eq!(read(since(8, true)).await, [0; 0]);
    assert_eq!(read(json!({"limit": 0})).await, [0; 0]);
    // Another class reads all that is kept.
    let (mut other, _) = ten(&node, "all").await;
    assert_eq!(
        page(&mut other, "all", json!({"limit": -1})).await.len(),
        10
    );
}

#[tokio::test]
async fn what_was_missed_is_recovered_only_if_all_of_it_is_readable() {
    let node = Node::with(&[]).config(CLASSES).start().await;
    let (_client, epoch) = ten(&node, "few:a").await;
    assert_eq!(resume(&node, "few:a", 10, &epoch).await, Some(vec![]));
    assert_eq!(
        resume(&node, "few:a", 7, &epoch).await,
        Some(vec![8, 9, 10])
    );
    assert_eq!(resume(&node, "few:a", 6, &epoch).await, None);
    assert_eq!(resume(&node, "few:a", 0, &epoch).await, None);
}

#[tokio::test]
async fn what_is_too_old_for_its_class_is_neither_read_nor_recovered() {
    let node = Node::with(&[]).config(CLASSES).start().await;
    let (mut client, epoch) = ten(&node, "young:a").await;
    assert_eq!(
        resume(&node, "young:a", 4, &epoch).await,
        Some((5..=10).collect())
    );
    until("the messages to become too old", async || {
        page(&mut client, "young:a", json!({"limit": -1}))
            .await
            .is_empty()
    })
    .await;
    assert_eq!(resume(&node, "young:a", 4, &epoch).await, None);
    assert_eq!(resume(&node, "young:a", 10, &epoch).await, Some(vec![]));
    // They are still kept: a class that narrows less shows them again.
    node.rewrite_config("roomClasses: [{prefix: young, historyMaxAge: 1h}]");
    until("the messages to be readable again", async || {
        page(&mut client, "young:a", json!({"limit": -1}))
            .await
            .len()
            == 10
    })
    .await;
    assert_eq!(
        resume(&node, "young:a", 4, &epoch).await,
        Some((5..=10).collect())
    );
    client.hears_nothing_for(Duration::from_millis(50)).await;
}
