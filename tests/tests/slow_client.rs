//! A member that reads too slowly is told to come back, costs bounded memory, and holds up nobody.

use std::time::{Duration, Instant};

use natter_tests::api::{Api, Keys};
use natter_tests::check::Close;
use natter_tests::raw::{Raw, TEXT, frame};
use natter_tests::{Client, NO_RATES, Node};
use serde_json::{Value, json};

/// A member of `room` that reads nothing from now on.
async fn stalled_member(node: &Node) -> Raw {
    let mut raw = Raw::upgraded_with_small_buffer(node).await;
    raw.connect().await;
    raw.send(&frame(TEXT, br#"{"id":2,"subscribe":{"channel":"room"}}"#))
        .await;
    assert!(raw.text().await.contains(r#""subscribe":{"#));
    raw
}

const BIG: usize = 32 * 1024;

/// Publishes numbered messages of 32 KiB, each after all others have the one before, until `done` or `most` are out.
async fn publish_in_step(
    others: &mut [Client],
    most: u64,
    mut done: impl AsyncFnMut() -> bool,
) -> u64 {
    let padding = "x".repeat(BIG);
    for number in 0..most {
        if done().await {
            return number;
        }
        let begun = Instant::now();
        others[0]
            .publish("room", json!({"number": number, "padding": padding}))
            .await;
        for other in others.iter_mut() {
            assert_eq!(other.publication().await.data["number"], number);
        }
        assert!(
            begun.elapsed() < Duration::from_secs(2),
            "others waited {:?}",
            begun.elapsed()
        );
    }
    most
}

/// Reads on after a stall: the publications up to some point, whole and in order, then the close.
async fn read_on(mut raw: Raw) -> (u64, Close) {
    let mut heard = 0;
    loop {
        let frame = raw.frame().await.expect("a close before the end");
        if let Some(close) = frame.close() {
            return (heard, close);
        }
        let push: Value = serde_json::from_slice(&frame.payload).expect("whole frames");
        assert_eq!(push["push"]["pub"]["data"]["number"], heard, "a gap");
        heard += 1;
    }
}

async fn three_members(node: &Node) -> Vec<Client> {
    let mut members = Vec::new();
    for _ in 0..3 {
        members.push(Client::join(node, "room").await);
    }
    members
}

#[tokio::test]
async fn a_member_that_stops_reading_is_closed_and_others_still_receive() {
    let flags = [&NO_RATES[..], &["--backlog-bytes", "65536"]].concat();
    let node = Node::start(&flags).await;
    let mut members = three_members(&node).await;
    let stalled = stalled_member(&node).await;
    let closed = async || node.metric("natter_slow_clients_total").await > 0.0;
    let sent = publish_in_step(&mut members, 1000, closed).await;
    assert!(sent < 1000, "nobody was closed after {sent} messages");
    publish_in_step(&mut members, 3, async || false).await;

    let (heard, close) = read_on(stalled).await;
    assert_eq!(close.code, 3008, "{close:?}");
    assert!(0 < heard && heard < sent, "heard {heard} of {sent}");
    node.metric_becomes("natter_members", 3.0).await;
    assert_eq!(
        node.metric(r#"natter_disconnects_total{code="3008"}"#)
            .await,
        1.0
    );
}

#[tokio::test]
async fn a_member_that_was_closed_as_slow_resumes_where_it_was() {
    let flags = [&NO_RATES[..], &["--backlog-bytes", "65536"]].concat();
    let node = Node::start(&flags).await;
    let mut members = three_members(&node).await;
    let stalled = stalled_member(&node).await;
    let closed = async || node.metric("natter_slow_clients_total").await > 0.0;
    let sent = publish_in_step(&mut members, 1000, closed).await;
    let (heard, _) = read_on(stalled).await;
    // Offsets of the embedded broker begin at 1, numbers at 0.
    let mut back = Client::connect(&node).await;
    let page = members[0].ask("history", json!({"channel": "room"})).await;
    let reply = back.resume("room", heard, &page["epoch"]).await;
    assert_eq!(reply["recovered"], true, "{}", reply["was_recovering"]);
    let mut numbers: Vec<_> = natter_tests::Publication::list(&reply)
        .into_iter()
        .map(|it| it.data)
        .collect();
    while numbers.len() < (sent - heard) as usize {
        numbers.push(back.publication().await.data);
    }
    assert!(
        numbers
            .iter()
            .map(|data| data["number"].as_u64())
            .eq((heard..sent).map(Some))
    );
}

#[tokio::test]
async fn a_member_that_takes_nothing_for_too_long_is_closed() {
    let flags = [
        &NO_RATES[..],
        &["--backlog-bytes", "1000000000", "--backlog-age", "1s"],
    ]
    .concat();
    let node = Node::start(&flags).await;
    let mut members = three_members(&node).await;
    let stalled = stalled_member(&node).await;
    publish_in_step(&mut members, 100, async || false).await;
    node.metric_becomes("natter_slow_clients_total", 1.0).await;
    let (_, close) = read_on(stalled).await;
    assert_eq!(close.code, 3008, "{close:?}");
    publish_in_step(&mut members, 3, async || false).await;
}

#[tokio::test]
async fn a_member_that_reads_slowly_but_keeps_up_stays() {
    let flags = [
        &NO_RATES[..],
        &["--backlog-bytes", "100000000", "--backlog-age", "10s"],
    ]
    .concat();
    let node = Node::start(&flags).await;
    let mut members = three_members(&node).await;
    let mut stalled = stalled_member(&node).await;
    publish_in_step(&mut members, 100, async || false).await;
    for number in 0..100 {
        let push: Value = serde_json::from_str(&stalled.text().await).expect("whole frames");
        assert_eq!(push["push"]["pub"]["data"]["number"], number);
    }
    stalled.send(&frame(TEXT, br#"{"id":3,"ping":{}}"#)).await;
    assert_eq!(stalled.text().await, r#"{"id":3,"ping":{}}"#);
}

#[tokio::test]
async fn stalled_members_cost_bounded_memory() {
    let flags = [&NO_RATES[..], &["--backlog-bytes", "65536"]].concat();
    let node = Node::start(&flags).await;
    let mut members = three_members(&node).await;
    let mut stalled = Vec::new();
    for _ in 0..20 {
        stalled.push(stalled_member(&node).await);
    }
    let before = node.resident_bytes();
    let closed = async || node.metric("natter_slow_clients_total").await == 20.0;
    let sent = publish_in_step(&mut members, 1000, closed).await;
    assert!(sent < 1000, "not all were closed after {sent} messages");
    let grown = node.resident_bytes().saturating_sub(before);
    assert!(grown < 64 << 20, "{grown} bytes more");
}

#[tokio::test]
async fn what_is_not_kept_is_no_backlog() {
    let keys = Keys::new("key");
    let flags = [&NO_RATES[..], &["--backlog-bytes", "262144"]].concat();
    let mut node = Node::with(&flags);
    for (name, value) in keys.variables() {
        node = node.env(name, &value);
    }
    let node = node.start().await;
    let api = Api::of(&node, "key");
    let mut reader = Client::join(&node, "room").await;
    let mut stalled = stalled_member(&node).await;
    let before = node.resident_bytes();
    // Far more than sockets hold, most of it for those who can take it now. What is kept is less than the limit.
    let padding = "x".repeat(BIG);
    let mut kept = 0;
    for number in 0..2000 {
        let is_kept = number % 1000 == 10;
        let data = json!({"number": kept, "kept": is_kept, "padding": padding});
        let params = json!({"channel": "room", "data": data, "skip_history": !is_kept});
        api.ask("publish", params).await;
        kept += u64::from(is_kept);
        assert_eq!(reader.push().await["pub"]["data"], data, "{number}");
    }
    assert_eq!(node.metric("natter_slow_clients_total").await, 0.0);
    let grown = node.resident_bytes().saturating_sub(before);
    assert!(grown < 16 << 20, "{grown} bytes for one who does not read");
    let mut heard = 0;
    while heard < kept {
        let push: Value = serde_json::from_slice(&stalled.frame().await.expect("more").payload)
            .expect("whole frames");
        let data = &push["push"]["pub"]["data"];
        if data["kept"] == true {
            assert_eq!(data["number"], heard, "in order");
            heard += 1;
        }
    }
}
