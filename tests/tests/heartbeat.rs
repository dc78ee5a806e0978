//! Pings and pongs: who answers stays, who does not goes.

use std::time::{Duration, Instant};

use natter_tests::{Client, Node};
use serde_json::json;

const FAST: [&str; 4] = ["--ping-interval", "1s", "--pong-timeout", "500ms"];

#[tokio::test]
async fn the_connect_reply_announces_pings_and_asks_for_pongs() {
    let node = Node::start(&[]).await;
    let mut client = Client::open(&node).await;
    let reply = client.ask("connect", json!({})).await;
    assert_eq!(
        (&reply["ping"], &reply["pong"]),
        (&json!(25), &json!(true)),
        "{reply}"
    );
    assert!(
        reply["version"]
            .as_str()
            .is_some_and(|text| text.contains("natter")),
        "{reply}"
    );
}

#[tokio::test]
async fn a_client_that_does_not_pong_is_closed() {
    let node = Node::start(&FAST).await;
    let mut client = Client::open(&node).await;
    client.answers_pings = false;
    client.ask("connect", json!({})).await;
    client.ping().await;
    let pinged = Instant::now();
    let close = client.closed().await;
    assert_eq!(close.code, 3012, "{close:?}");
    assert!(
        pinged.elapsed() > Duration::from_millis(350),
        "{:?}",
        pinged.elapsed()
    );
}

#[tokio::test]
async fn a_client_that_says_other_things_than_pong_is_closed() {
    let node = Node::start(&FAST).await;
    let mut client = Client::open(&node).await;
    client.answers_pings = false;
    client.ask("connect", json!({})).await;
    client.ping().await;
    client.is_alive().await;
    assert_eq!(client.closed().await.code, 3012);
}

#[tokio::test]
async fn a_client_that_pongs_stays() {
    let node = Node::start(&FAST).await;
    let mut client = Client::connect(&node).await;
    for _ in 0..3 {
        client.ping().await;
    }
    client.is_alive().await;
}

#[tokio::test]
async fn pings_go_out_under_traffic_too() {
    let node = Node::start(&FAST).await;
    let mut reader = Client::join(&node, "room").await;
    let mut writer = Client::join(&node, "elsewhere").await;
    writer.subscribe("room").await;
    let traffic = tokio::spawn(async move {
        let mut tick = tokio::time::interval(Duration::from_millis(50));
        loop {
            tick.tick().await;
            writer.publish("room", json!("noise")).await;
        }
    });
    let begun = Instant::now();
    for _ in 0..2 {
        reader.ping().await;
    }
    assert!(
        begun.elapsed() < Duration::from_secs(4),
        "{:?}",
        begun.elapsed()
    );
    traffic.abort();
}
