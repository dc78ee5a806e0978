//! Clients that only listen: one connect request, then pushes.

use natter_tests::raw::{Raw, TEXT, frame, handshake};
use natter_tests::stream::Stream;
use natter_tests::{Node, http};
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
