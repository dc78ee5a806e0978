//! Commands that wait for the broker: what becomes of them harms nobody else.

use natter_tests::raw::{Raw, TEXT, frame};
use natter_tests::{Client, Cluster};
use serde_json::json;

#[tokio::test]
async fn a_client_that_is_closed_while_its_publishes_wait_holds_up_nobody() {
    let cluster = Cluster::with(1, 1).flags(&["--workers", "1"]).start().await;
    let node = &cluster.nodes[0];
    let mut other = Client::join(node, "other").await;
    let mut raw = Raw::connected(node).await;
    let join = json!({"id": 2, "subscribe": {"channel": "room"}}).to_string();
    raw.send(&frame(TEXT, join.as_bytes())).await;
    raw.text().await;

    cluster.nats[0].freeze().await;
    // The second waits behind the first, and the first for a server that does not answer.
    let publish = |id: u32| json!({"id": id, "publish": {"channel": "room", "data": id}});
    let publishes = format!("{}\n{}", publish(3), publish(4));
    raw.send(&frame(TEXT, publishes.as_bytes())).await;
    // No command: the node closes, and the client does not answer the close.
    raw.send(&frame(TEXT, b"nonsense")).await;
    assert_eq!(raw.closed().await.code, 3501);
    cluster.nats[0].thaw();
    other.publish("other", json!("hi")).await;
    other.is_alive().await;
    Client::connect(node).await.is_alive().await;
}
