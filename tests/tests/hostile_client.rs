//! A broken or hostile client harms only itself: others keep receiving promptly, the node's memory stays bounded.

use std::time::{Duration, Instant};

use natter_tests::raw::{Raw, TEXT, frame};
use natter_tests::{Client, NO_RATES, Node};
use serde_json::json;

/// Passes ten messages through a room and checks that each is there soon.
async fn room_is_prompt(writer: &mut Client, reader: &mut Client) {
    for number in 0..10 {
        let begun = Instant::now();
        writer.publish("good room", json!(number)).await;
        assert_eq!(reader.publication().await.data, number);
        writer.publication().await;
        assert!(
            begun.elapsed() < Duration::from_secs(1),
            "waited {:?}",
            begun.elapsed()
        );
    }
}

async fn good_clients(node: &Node) -> (Client, Client) {
    (
        Client::join(node, "good room").await,
        Client::join(node, "good room").await,
    )
}

/// A frame's beginning that promises 1 MiB.
const PROMISE: [u8; 14] = [TEXT, 0xff, 0, 0, 0, 0, 0, 0x10, 0, 0, 1, 2, 3, 4];

#[tokio::test]
async fn promises_of_long_frames_cost_no_memory() {
    let node = Node::start(&[]).await;
    let (mut writer, mut reader) = good_clients(&node).await;
    let mut hostile = Vec::new();
    for _ in 0..100 {
        hostile.push(Raw::connected(&node).await);
    }
    let before = node.resident_bytes();
    for raw in &mut hostile {
        raw.send(&PROMISE).await;
        raw.send(b"{").await;
    }
    room_is_prompt(&mut writer, &mut reader).await;
    let grown = node.resident_bytes().saturating_sub(before);
    assert!(grown < 32 << 20, "{grown} bytes more");
}

#[tokio::test]
async fn a_reset_in_the_middle_of_a_frame_harms_nobody() {
    let node = Node::start(&[]).await;
    let (mut writer, mut reader) = good_clients(&node).await;
    for _ in 0..20 {
        let mut raw = Raw::connected(&node).await;
        raw.send(&frame(
            TEXT,
            br#"{"id":2,"subscribe":{"channel":"good room"}}"#,
        ))
        .await;
        raw.text().await;
        raw.send(&PROMISE).await;
        raw.reset();
    }
    room_is_prompt(&mut writer, &mut reader).await;
    node.metric_becomes(r#"natter_connections{transport="websocket"}"#, 2.0)
        .await;
    node.metric_becomes("natter_members", 2.0).await;
    node.metric_becomes("natter_sessions", 2.0).await;
}

#[tokio::test]
async fn clients_that_send_one_byte_at_a_time_harm_nobody() {
    let node = Node::start(&[]).await;
    let (mut writer, mut reader) = good_clients(&node).await;
    let mut slow = Vec::new();
    for _ in 0..10 {
        slow.push(Raw::connected(&node).await);
    }
    let command = frame(TEXT, br#"{"id":2,"ping":{}}"#);
    for byte in &command[..command.len() - 1] {
        for raw in &mut slow {
            raw.send(&[*byte]).await;
        }
    }
    room_is_prompt(&mut writer, &mut reader).await;
    for raw in &mut slow {
        raw.send(&command[command.len() - 1..]).await;
        assert_eq!(raw.text().await, r#"{"id":2,"ping":{}}"#);
    }
}

#[tokio::test]
async fn a_client_that_asks_much_and_reads_nothing_costs_bounded_memory() {
    let node = Node::start(&NO_RATES).await;
    let (mut writer, mut reader) = good_clients(&node).await;
    let mut other = Client::join(&node, "big room").await;
    for _ in 0..10 {
        other.publish("big room", json!("x".repeat(50_000))).await;
    }
    let mut hostile = Raw::connected(&node).await;
    hostile
        .send(&frame(
            TEXT,
            br#"{"id":2,"subscribe":{"channel":"big room"}}"#,
        ))
        .await;
    hostile.text().await;
    let before = node.resident_bytes();
    // 500 KB for each of 2,000 pages: a gigabyte, if the node made them all.
    let page = r#"{"id":3,"history":{"channel":"big room","limit":-1}}"#;
    let pages = frame(TEXT, vec![page; 200].join("\n").as_bytes());
    for _ in 0..10 {
        let sent = tokio::time::timeout(Duration::from_millis(100), hostile.try_send(&pages));
        if sent.await.is_err() {
            break;
        }
    }
    room_is_prompt(&mut writer, &mut reader).await;
    let grown = node.resident_bytes().saturating_sub(before);
    assert!(grown < 32 << 20, "{grown} bytes more");
}

#[tokio::test]
async fn a_client_that_pings_much_and_reads_nothing_costs_bounded_memory() {
    let node = Node::start(&["--pong-timeout", "20s"]).await;
    let (mut writer, mut reader) = good_clients(&node).await;
    let mut hostile = Raw::upgraded_with_small_buffer(&node).await;
    hostile.connect().await;
    let before = node.resident_bytes();
    // A hundred megabytes of pongs, if the node kept them all.
    let pings = frame(0x89, &[b'x'; 125]).repeat(800);
    for _ in 0..1000 {
        let sent = tokio::time::timeout(Duration::from_millis(200), hostile.try_send(&pings));
        if !matches!(sent.await, Ok(true)) {
            break;
        }
    }
    room_is_prompt(&mut writer, &mut reader).await;
    let grown = node.resident_bytes().saturating_sub(before);
    assert!(grown < 32 << 20, "{grown} bytes more");
}

#[tokio::test]
async fn a_flood_of_bad_clients_harms_nobody() {
    let node = Node::start(&[]).await;
    let (mut writer, mut reader) = good_clients(&node).await;
    for round in 0..100_u8 {
        let mut raw = Raw::upgraded(&node).await;
        raw.send(&[round, round.wrapping_mul(7), 0xff, 0x00, 0x81, 0x85])
            .await;
        if round % 2 == 0 {
            raw.reset();
        }
    }
    room_is_prompt(&mut writer, &mut reader).await;
    node.metric_becomes(r#"natter_connections{transport="websocket"}"#, 2.0)
        .await;
}

#[tokio::test]
async fn a_frozen_node_goes_on_where_it_was() {
    let node = Node::start(&[]).await;
    let (mut writer, mut reader) = good_clients(&node).await;
    node.freeze().await;
    let id = writer
        .command("publish", json!({"channel": "good room", "data": "frozen"}))
        .await;
    reader.hears_nothing_for(natter_tests::wait::QUIET).await;
    node.signal(natter_tests::node::Signal::Continue);
    writer.reply(id).await;
    assert_eq!(reader.publication().await.data, "frozen");
    assert_eq!(writer.publication().await.data, "frozen");
    room_is_prompt(&mut writer, &mut reader).await;
}
