//! Clients that only listen: one connect request, then pushes.

use natter_tests::raw::{Raw, TEXT, frame, handshake};
use natter_tests::stream::Stream;
use natter_tests::tokens::{SECRET, now, token};
use natter_tests::{Client, Node, http};
use serde_json::{Value, json};

fn post(path: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: natter\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn is_connect(push: &Value) {
    let connect = &push["connect"];
    assert!(connect["client"].is_string(), "{push}");
    assert_eq!(connect["ping"], 1, "{push}");
    for absent in ["pong", "session", "node"] {
        assert!(connect.get(absent).is_none(), "{push}");
    }
    assert!(
        push.get("id").is_none() && push.get("push").is_none(),
        "{push}"
    );
}

const FAST_PINGS: [&str; 4] = ["--ping-interval", "1s", "--pong-timeout", "100ms"];

#[tokio::test]
async fn who_only_listens_is_pinged_and_need_not_answer() {
    let node = Node::start(&FAST_PINGS).await;
    let mut lines = Stream::open(&node, &post("/connection/uni_http_stream", "{}")).await;
    is_connect(&lines.line().await);
    let mut events = Stream::open(
        &node,
        "GET /connection/uni_sse?cf_connect=%7B%22name%22%3A%22a%22%7D HTTP/1.1\r\nHost: natter\r\n\r\n",
    )
    .await;
    is_connect(&events.event().await);
    for _ in 0..3 {
        assert_eq!(lines.line().await, json!({}));
        assert_eq!(events.event().await, json!({}));
    }
    for transport in ["uni_http_stream", "uni_sse"] {
        let series = format!("natter_connections{{transport=\"{transport}\"}}");
        node.metric_becomes(&series, 1.0).await;
    }
}

#[tokio::test]
async fn a_bare_event_source_needs_no_connect_request() {
    let node = Node::start(&FAST_PINGS).await;
    let mut events = Stream::open(
        &node,
        "GET /connection/uni_sse HTTP/1.1\r\nHost: natter\r\n\r\n",
    )
    .await;
    is_connect(&events.event().await);
}

#[tokio::test]
async fn over_websocket_the_connect_request_is_the_first_frame_and_nothing_else_is_heard() {
    let node = Node::start(&FAST_PINGS).await;
    let mut raw = Raw::open(&node).await;
    let request =
        handshake(&node, &[]).replace("/connection/websocket", "/connection/uni_websocket");
    raw.send(request.as_bytes()).await;
    let head = raw.upgrade_answer().await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    raw.send(&frame(TEXT, b"{\"name\":\"listener\"}")).await;
    is_connect(&serde_json::from_str(&raw.text().await).unwrap());
    raw.send(&frame(TEXT, br#"{"id":2,"subscribe":{"channel":"r"}}"#))
        .await;
    for _ in 0..2 {
        assert_eq!(raw.text().await, "{}", "pings and no reply");
    }
    node.metric_becomes(r#"natter_connections{transport="uni_websocket"}"#, 1.0)
        .await;
    assert_eq!(node.metric("natter_members").await, 0.0);
}

#[tokio::test]
async fn who_cannot_connect_is_told_by_the_end() {
    let node = Node::start(&["--connections", "1"]).await;
    let mut first = Stream::open(&node, &post("/connection/uni_http_stream", "{}")).await;
    assert!(first.line().await["connect"].is_object());
    let mut second = Stream::open(&node, &post("/connection/uni_http_stream", "{}")).await;
    let disconnect = second.line().await["disconnect"].clone();
    assert_eq!(disconnect["code"], 3000, "it may come again: {disconnect}");
    second.ended().await;
    let mut raw = Raw::open(&node).await;
    let request =
        handshake(&node, &[]).replace("/connection/websocket", "/connection/uni_websocket");
    raw.send(request.as_bytes()).await;
    raw.upgrade_answer().await;
    raw.send(&frame(TEXT, b"hello")).await;
    assert_eq!(raw.closed().await.code, 3501);
    let protobuf = handshake(&node, &[("Sec-WebSocket-Protocol", "centrifuge-protobuf")])
        .replace("/connection/websocket", "/connection/uni_websocket");
    assert_eq!(http::request(node.address, &protobuf).await.status, 400);
}

/// A node that knows the tests' secret.
async fn node_with_tokens() -> Node {
    let keys = tempfile::NamedTempFile::new().expect("there is a place for temporary files");
    std::fs::write(keys.path(), SECRET).expect("the file can be written to");
    let path = keys.path().to_str().expect("a path in UTF-8");
    Node::start(&["--jwt-key-file", path, "--allow-anonymous"]).await
}

/// Where a query has a connect request.
fn sse(request: &Value) -> String {
    let text = request.to_string();
    let escaped: String = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
    format!("GET /connection/uni_sse?cf_connect={escaped} HTTP/1.1\r\nHost: natter\r\n\r\n")
}

#[tokio::test]
async fn rooms_come_from_the_token_and_what_was_missed_by_subs() {
    let node = node_with_tokens().await;
    let listening = token(json!({"sub": "ann", "channels": ["news"]}));
    let mut events = Stream::open(&node, &sse(&json!({"token": listening}))).await;
    let connect = events.event().await["connect"].clone();
    let news = &connect["subs"]["news"];
    assert_eq!(news["recoverable"], true, "{connect}");
    let mut writer = Client::connect(&node).await;
    writer.subscribe("news").await;
    writer.publish("news", json!({"n": 1})).await;
    let push = events.event().await;
    assert_eq!(push["channel"], "news");
    assert_eq!(push["pub"]["data"], json!({"n": 1}));
    let offset = push["pub"]["offset"].clone();
    drop(events);
    writer.publish("news", json!({"n": 2})).await;

    let resume = json!({"recover": true, "offset": offset, "epoch": news["epoch"]});
    let request = json!({"token": listening, "subs": {"news": resume}});
    let again = post("/connection/uni_http_stream", &request.to_string());
    let mut lines = Stream::open(&node, &again).await;
    let news = lines.line().await["connect"]["subs"]["news"].clone();
    assert_eq!(news["recovered"], true, "{news}");
    assert_eq!(news["publications"][0]["data"], json!({"n": 2}));
    writer.publish("news", json!({"n": 3})).await;
    assert_eq!(lines.line().await["pub"]["data"], json!({"n": 3}));
}

#[tokio::test]
async fn bad_and_expired_tokens_end_by_their_codes() {
    let node = node_with_tokens().await;
    let expired = token(json!({"sub": "ann", "exp": now() - 100}));
    for (token, code) in [("nonsense".to_owned(), 3500), (expired, 3005)] {
        let mut events = Stream::open(&node, &sse(&json!({"token": token}))).await;
        let disconnect = events.event().await["disconnect"].clone();
        assert_eq!(disconnect["code"], code, "{disconnect}");
        events.ended().await;
    }
}
