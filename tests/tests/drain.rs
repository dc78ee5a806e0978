//! SIGTERM: accept a little longer, close sessions without a rush, deliver what was acknowledged, exit with 0.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use natter_tests::node::Signal;
use natter_tests::raw::{Raw, TEXT, frame};
use natter_tests::wait::until;
use natter_tests::{Client, NO_RATES, Node};
use serde_json::{Value, json};

async fn is_shut_down(client: &mut Client) {
    let close = client.closed().await;
    assert_eq!((close.code, close.reason.as_str()), (3001, "shutdown"));
}

#[tokio::test]
async fn a_few_sessions_are_told_at_once_and_the_node_exits_cleanly() {
    let mut node = Node::start(&["--drain-timeout", "10s"]).await;
    let mut clients = Vec::new();
    for _ in 0..10 {
        clients.push(Client::join(&node, "room").await);
    }
    let begun = Instant::now();
    node.signal(Signal::Terminate);
    for client in &mut clients {
        is_shut_down(client).await;
    }
    drop(clients);
    assert_eq!(node.exit().await.code(), Some(0));
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test]
async fn a_node_without_sessions_exits_at_once() {
    let mut node = Node::start(&["--drain-timeout", "10s"]).await;
    let begun = Instant::now();
    node.signal(Signal::Terminate);
    assert_eq!(node.exit().await.code(), Some(0));
    assert!(
        begun.elapsed() < Duration::from_secs(3),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test]
async fn a_draining_node_accepts_and_serves_a_little_longer() {
    let mut node = Node::start(&["--drain-accept", "1s", "--drain-timeout", "1s"]).await;
    let mut early = Client::join(&node, "room").await;
    let begun = Instant::now();
    node.signal(Signal::Terminate);
    node.metric_becomes("natter_draining", 1.0).await;
    let mut late = Client::join(&node, "room").await;
    late.publish("room", json!("hi")).await;
    assert_eq!(early.publication().await.data, "hi");
    assert_eq!(
        natter_tests::http::get(node.admin, "/readyz").await.status,
        200
    );
    is_shut_down(&mut late).await;
    is_shut_down(&mut early).await;
    assert!(
        begun.elapsed() > Duration::from_millis(900),
        "{:?}",
        begun.elapsed()
    );
    until("new connections to be refused", async || {
        tokio::net::TcpStream::connect(node.address).await.is_err()
    })
    .await;
    drop((early, late));
    assert_eq!(node.exit().await.code(), Some(0));
}

#[tokio::test]
async fn many_sessions_are_closed_spread_over_the_drain_timeout() {
    let mut node = Node::start(&["--drain-timeout", "2s"]).await;
    let mut clients = Vec::new();
    for _ in 0..200 {
        clients.push(Client::join(&node, "room").await);
    }
    node.signal(Signal::Terminate);
    let closed_at = async |mut client: Client| {
        is_shut_down(&mut client).await;
        Instant::now()
    };
    let mut times = join_all(clients.into_iter().map(closed_at)).await;
    times.sort();
    let after: Vec<_> = times
        .iter()
        .map(|time| time.duration_since(times[0]))
        .collect();
    let spread = *after.last().expect("there were sessions");
    let millis = Duration::from_millis;
    assert!((millis(1500)..millis(3000)).contains(&spread), "{spread:?}");
    // Batches come every 100 ms; the borders lie between two.
    for quarter in 0..4 {
        let border = |number: u64| millis((500 * number).saturating_sub(50));
        let closed = after
            .iter()
            .filter(|at| (border(quarter)..border(quarter + 1)).contains(at));
        let closed = closed.count();
        assert!(
            (25..=75).contains(&closed),
            "{closed} in quarter {quarter} of {after:?}"
        );
    }
    assert_eq!(node.exit().await.code(), Some(0));
}

#[tokio::test]
async fn what_was_acknowledged_is_delivered_before_the_close() {
    let mut node = Node::start(&NO_RATES).await;
    let mut readers = Vec::new();
    for _ in 0..20 {
        readers.push(Client::join(&node, "room").await);
    }
    let mut writer = Client::join(&node, "room").await;
    let mut ids = Vec::new();
    for number in 0..200 {
        ids.push(
            writer
                .command("publish", json!({"channel": "room", "data": number}))
                .await,
        );
    }
    for id in ids {
        assert_eq!(writer.reply(id).await.get("error"), None);
    }
    node.signal(Signal::Terminate);
    for reader in &mut readers {
        is_shut_down(reader).await;
        let heard = reader.take_unread();
        let numbers: Vec<_> = heard
            .iter()
            .map(|object| object["push"]["pub"]["data"].as_u64())
            .collect();
        assert_eq!(numbers, (0..200).map(Some).collect::<Vec<_>>());
    }
    drop((readers, writer));
    assert_eq!(node.exit().await.code(), Some(0));
}

#[tokio::test]
async fn what_was_acknowledged_a_moment_ago_is_delivered_to_a_crowd_before_the_close() {
    let flags = ["--workers", "1", "--drain-timeout", "0s"];
    let node = Node::start(&[&NO_RATES[..], &flags].concat()).await;
    let mut writer = Client::join(&node, "room").await;
    let mut readers = Vec::new();
    for _ in 0..600 {
        readers.push(Client::join(&node, "room").await);
    }
    // The node acknowledges before it has written to every member: the signal comes in between.
    let id = writer
        .command("publish", json!({"channel": "room", "data": "last words"}))
        .await;
    writer.reply(id).await;
    node.signal(Signal::Terminate);
    for reader in &mut readers {
        is_shut_down(reader).await;
        let heard = reader.take_unread();
        assert_eq!(heard.len(), 1, "{heard:?}");
        assert_eq!(heard[0]["push"]["pub"]["data"], "last words");
    }
}

#[tokio::test]
async fn what_was_acknowledged_reaches_a_busy_reader_before_the_close() {
    let mut node = Node::start(&[&NO_RATES[..], &["--backlog-bytes", "100000000"]].concat()).await;
    let mut reader = Raw::upgraded_with_small_buffer(&node).await;
    reader.connect().await;
    reader
        .send(&frame(TEXT, br#"{"id":2,"subscribe":{"channel":"room"}}"#))
        .await;
    assert!(reader.text().await.contains(r#""subscribe":{"#));
    // More than the kernel holds for a reader that is busy with something else.
    let mut writer = Client::join(&node, "room").await;
    for number in 0..60 {
        writer
            .publish(
                "room",
                json!({"number": number, "padding": "x".repeat(50_000)}),
            )
            .await;
    }
    node.signal(Signal::Terminate);
    is_shut_down(&mut writer).await;
    let mut heard = Vec::new();
    let close = loop {
        let frame = reader.frame().await.expect("a close before the end");
        match frame.close() {
            Some(close) => break close,
            None => {
                let push: Value = serde_json::from_slice(&frame.payload).expect("whole frames");
                heard.push(push["push"]["pub"]["data"]["number"].as_u64());
            }
        }
    };
    assert_eq!(close.code, 3001, "{close:?}");
    assert_eq!(heard, (0..60).map(Some).collect::<Vec<_>>());
    drop((reader, writer));
    assert_eq!(node.exit().await.code(), Some(0));
}

#[tokio::test]
async fn a_second_signal_ends_the_node_at_once() {
    let mut node = Node::start(&["--drain-accept", "60s"]).await;
    let _client = Client::connect(&node).await;
    node.signal(Signal::Terminate);
    node.metric_becomes("natter_draining", 1.0).await;
    let begun = Instant::now();
    node.signal(Signal::Terminate);
    node.exit().await;
    assert!(
        begun.elapsed() < Duration::from_secs(3),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test]
async fn a_client_that_reads_nothing_does_not_hold_up_the_end() {
    let mut node = Node::start(&["--drain-timeout", "1s"]).await;
    let _silent = Raw::connected(&node).await;
    let begun = Instant::now();
    node.signal(Signal::Terminate);
    assert_eq!(node.exit().await.code(), Some(0));
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test]
async fn who_gets_in_at_the_last_moment_is_told_too() {
    let mut node = Node::start(&["--drain-timeout", "1s"]).await;
    // Accepted before the signal, but upgraded after everyone else was told.
    let mut late = Raw::open(&node).await;
    let mut early = Raw::connected(&node).await;
    node.signal(Signal::Terminate);
    assert_eq!(early.closed().await.code, 3001);
    let handshake = natter_tests::raw::handshake(&node, &[]);
    if late.try_send(handshake.as_bytes()).await {
        late.upgrade_answer().await;
        late.try_send(&frame(TEXT, natter_tests::raw::CONNECT))
            .await;
        assert_eq!(late.closed().await.code, 3001);
    }
    drop((early, late));
    assert_eq!(node.exit().await.code(), Some(0));
}

#[tokio::test]
async fn the_admin_port_answers_while_sessions_are_closed() {
    let mut node = Node::start(&["--drain-timeout", "3s"]).await;
    let mut clients = Vec::new();
    for _ in 0..80 {
        clients.push(Client::connect(&node).await);
    }
    let begun = Instant::now();
    node.signal(Signal::Terminate);
    until("new connections to be refused", async || {
        tokio::net::TcpStream::connect(node.address).await.is_err()
    })
    .await;
    while begun.elapsed() < Duration::from_millis(1500) {
        assert_eq!(node.metric("natter_draining").await, 1.0);
        let ready = natter_tests::http::get(node.admin, "/readyz").await;
        assert_eq!(ready.status, 200, "{}", ready.body);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    for client in &mut clients {
        is_shut_down(client).await;
    }
    assert!(
        begun.elapsed() > Duration::from_secs(2),
        "the drain was over after {:?}",
        begun.elapsed()
    );
    drop(clients);
    assert_eq!(node.exit().await.code(), Some(0));
}
