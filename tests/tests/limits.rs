//! Every limit answers with its error, and the session lives.

use natter_tests::client::error_code;
use natter_tests::wait::until_some;
use natter_tests::{Client, NO_RATES, Node};
use serde_json::{Value, json};

const MIB: usize = 1024 * 1024;

fn is_too_many(reply: &Value) -> bool {
    reply.get("error").is_some() && error_code(reply) == 111
}

#[tokio::test]
async fn a_session_joins_128_rooms_and_no_more() {
    let node = Node::start(&[]).await;
    let mut client = Client::connect(&node).await;
    for number in 0..128 {
        client.subscribe(&format!("room {number}")).await;
    }
    assert_eq!(
        client
            .refused("subscribe", json!({"channel": "one more"}))
            .await,
        106
    );
    client
        .ask("unsubscribe", json!({"channel": "room 5"}))
        .await;
    client.subscribe("one more").await;
}

#[tokio::test]
async fn a_session_joins_128_rooms_with_long_tokens_in_one_frame() {
    let node = Node::start(&[]).await;
    let mut client = Client::open(&node).await;
    let token = "t".repeat(600);
    let connect = json!({"id": client.next_id(), "connect": {}});
    let subscribes = (0..128).map(|room| {
        let id = client.next_id();
        json!({"id": id, "subscribe": {"channel": format!("room {room}"), "token": token}})
    });
    let commands: Vec<_> = [connect]
        .into_iter()
        .chain(subscribes)
        .map(|it| it.to_string())
        .collect();
    client.send(commands.join("\n")).await;
    for id in 1..=129 {
        let reply = client.reply(id).await;
        assert_eq!(reply.get("error"), None, "{reply}");
    }
    client.publish("room 127", json!("hi")).await;
    assert_eq!(client.push().await["channel"], "room 127");
}

/// Commands of exactly `bytes` bytes in all, the last of them a ping.
fn frame_of(bytes: usize) -> String {
    let ping = r#"{"id":9,"ping":{}}"#;
    let send = |padding: usize| format!(r#"{{"send":{{"data":"{}"}}}}"#, "x".repeat(padding));
    let empty = send(0).len() + 1;
    let mut text = String::new();
    while text.len() + ping.len() < bytes {
        let left = bytes - text.len() - ping.len();
        let padding = match left {
            ..40_000 => left - empty,
            _ => 20_000,
        };
        text.push_str(&send(padding));
        text.push('\n');
    }
    text.push_str(ping);
    assert_eq!(text.len(), bytes);
    text
}

#[tokio::test]
async fn a_frame_of_1_mib_is_taken_and_a_longer_one_refused() {
    let node = Node::start(&[]).await;
    let mut client = Client::connect(&node).await;
    client.send(frame_of(MIB)).await;
    client.reply(9).await;
    client.send(frame_of(MIB + 1)).await;
    let close = client.closed().await;
    assert_eq!(close.code, 3501, "{close:?}");
    assert!(close.reason.contains("1048576"), "{close:?}");
}

#[tokio::test]
async fn fragments_count_together_towards_the_longest_frame() {
    use natter_tests::raw::{Raw, frame};
    let node = Node::start(&[]).await;
    let mut raw = Raw::connected(&node).await;
    let half = vec![b' '; MIB / 2];
    for (first, payload) in [(0x01, &half[..]), (0x00, &half[..]), (0x00, b" ")] {
        raw.send(&frame(first, payload)).await;
    }
    assert_eq!(raw.closed().await.code, 3501);
}

#[tokio::test]
async fn a_message_of_64_kib_is_taken_and_a_longer_one_refused() {
    let node = Node::start(&[]).await;
    let mut client = Client::join(&node, "room").await;
    // Two quotes belong to the message.
    client.publish("room", json!("x".repeat(65_534))).await;
    let longer = json!({"channel": "room", "data": "x".repeat(65_535)});
    assert_eq!(client.refused("publish", longer).await, 106);
    let much_longer = json!({"channel": "room", "data": "x".repeat(500_000)});
    assert_eq!(client.refused("publish", much_longer).await, 106);
    client.publication().await;
    client.publish("room", json!("after")).await;
    assert_eq!(client.publication().await.data, "after");
}

#[tokio::test]
async fn message_bytes_sets_the_longest_message() {
    let node = Node::start(&["--message-bytes", "100"]).await;
    let mut client = Client::join(&node, "room").await;
    client.publish("room", json!("x".repeat(98))).await;
    let longer = json!({"channel": "room", "data": "x".repeat(99)});
    assert_eq!(client.refused("publish", longer).await, 106);
}

/// Publishes `count` messages in one frame and returns the replies.
async fn publish_at_once(client: &mut Client, count: usize) -> Vec<Value> {
    let ids: Vec<_> = (0..count).map(|_| client.next_id()).collect();
    let commands: Vec<_> = ids
        .iter()
        .map(|id| json!({"id": id, "publish": {"channel": "room", "data": id}}).to_string())
        .collect();
    client.send(commands.join("\n")).await;
    let mut replies = Vec::new();
    for id in ids {
        replies.push(client.reply(id).await);
    }
    replies
}

#[tokio::test]
async fn a_session_publishes_50_messages_at_once_and_has_to_wait_then() {
    let node = Node::start(&[]).await;
    let mut client = Client::join(&node, "room").await;
    let replies = publish_at_once(&mut client, 60).await;
    let refused = replies
        .iter()
        .position(is_too_many)
        .expect("60 at once are too many");
    assert!((50..55).contains(&refused), "{refused} were allowed");
    until_some("the session's next publish", async || {
        let reply = client
            .request("publish", json!({"channel": "room", "data": "later"}))
            .await;
        (!is_too_many(&reply)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_room_takes_its_rate_from_all_sessions_together() {
    let node = Node::start(&["--publishes-per-second-per-room", "10"]).await;
    let mut one = Client::join(&node, "room").await;
    let mut other = Client::join(&node, "room").await;
    let allowed = |replies: Vec<Value>| replies.iter().filter(|reply| !is_too_many(reply)).count();
    let first = allowed(publish_at_once(&mut one, 6).await);
    let second = allowed(publish_at_once(&mut other, 20).await);
    assert_eq!(first, 6);
    assert!((4..8).contains(&second), "{second} more were allowed");
    other.subscribe("quiet room").await;
    other.publish("quiet room", json!(1)).await;
}

#[tokio::test]
async fn who_comes_when_the_node_is_full_is_asked_to_try_again() {
    let node = Node::start(&["--connections", "2"]).await;
    let first = Client::connect(&node).await;
    let mut second = Client::connect(&node).await;
    let mut third = Client::open(&node).await;
    let refused = third.request("connect", json!({})).await;
    assert!(is_too_many(&refused), "{refused}");
    first.leave().await;
    until_some("a free place", async || {
        let mut again = Client::open(&node).await;
        let reply = again.request("connect", json!({})).await;
        reply.get("connect").is_some().then_some(())
    })
    .await;
    second.is_alive().await;
}

#[tokio::test]
async fn commands_behind_a_refused_connect_are_ignored() {
    let node = Node::start(&["--connections", "1"]).await;
    let _first = Client::connect(&node).await;
    let mut second = Client::open(&node).await;
    second
        .send("{\"id\":1,\"connect\":{}}\n{\"id\":2,\"subscribe\":{\"channel\":\"room\"}}")
        .await;
    assert!(is_too_many(&second.reply(1).await));
    second.hears_nothing_for(natter_tests::wait::QUIET).await;
    assert_eq!(second.take_unread(), [json!(null); 0]);
}

#[tokio::test]
async fn who_comes_with_too_many_others_is_asked_to_try_again() {
    let node = Node::start(&["--connects-per-second", "2"]).await;
    let mut waiting = Vec::new();
    for _ in 0..4 {
        waiting.push(Client::open(&node).await);
    }
    let mut replies = Vec::new();
    for client in &mut waiting {
        replies.push(client.request("connect", json!({})).await);
    }
    assert!(
        !is_too_many(&replies[0]) && is_too_many(&replies[3]),
        "{replies:?}"
    );
    until_some("a turn", async || {
        let mut again = Client::open(&node).await;
        let reply = again.request("connect", json!({})).await;
        reply.get("connect").is_some().then_some(())
    })
    .await;
}

#[tokio::test]
async fn no_rate_holds_back_a_node_that_is_told_so() {
    let node = Node::start(&NO_RATES).await;
    let mut client = Client::join(&node, "room").await;
    let replies = publish_at_once(&mut client, 1000).await;
    assert!(!replies.iter().any(is_too_many));
}

#[tokio::test]
async fn who_was_refused_is_closed_in_time_and_costs_little_whatever_it_sends() {
    use std::time::{Duration, Instant};

    use natter_tests::Raw;
    use natter_tests::raw::{CONNECT, TEXT, frame};
    let node = Node::start(&["--connections", "1"]).await;
    let mut first = Client::connect(&node).await;
    let mut refused = Raw::upgraded(&node).await;
    let begun = Instant::now();
    refused.send(&frame(TEXT, CONNECT)).await;
    let reply: Value = serde_json::from_str(&refused.text().await).expect("a reply is JSON");
    assert!(is_too_many(&reply), "{reply}");

    let before = node.resident_bytes();
    let command = "{\"id\":1}\n";
    let long = frame(
        TEXT,
        command.repeat(MIB / command.len()).trim_end().as_bytes(),
    );
    for _ in 0..4 {
        assert!(refused.try_send(&long).await, "closed at once");
    }
    let short = frame(TEXT, command.trim_end().as_bytes());
    let mut most = 0;
    let close = loop {
        most = most.max(node.resident_bytes());
        refused.try_send(&short).await;
        let read = tokio::time::timeout(Duration::from_millis(50), refused.closed());
        if let Ok(close) = read.await {
            break close;
        }
        assert!(begun.elapsed() < Duration::from_secs(12), "still open");
    };
    let took = begun.elapsed();
    assert_eq!(close.code, 3000, "{close:?}");
    assert!(
        (Duration::from_secs(2)..Duration::from_secs(10)).contains(&took),
        "{took:?}"
    );
    let grown = most.saturating_sub(before);
    assert!(grown < 50 << 20, "{grown} bytes more");
    first.is_alive().await;
}

#[tokio::test]
async fn what_follows_a_connect_that_is_too_long_is_ignored() {
    let node = Node::start(&[]).await;
    let mut client = Client::open(&node).await;
    // The longest message, what a command may have beside it, and more.
    let connect = json!({"id": 1, "connect": {"data": "x".repeat(100 * 1024)}});
    let subscribe = json!({"id": 2, "subscribe": {"channel": "room"}});
    client.send(format!("{connect}\n{subscribe}")).await;
    client.send(json!({"id": 3, "ping": {}}).to_string()).await;
    assert_eq!(error_code(&client.reply(1).await), 106);
    // A close would be a panic here.
    client.hears_nothing_for(natter_tests::wait::QUIET).await;
    assert_eq!(client.take_unread(), [json!(null); 0]);
}
