//! HTTP/2 without TLS: many streams on one connection, each a client of its own.

use std::time::Duration;

use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::{Method, Request, StatusCode};
use natter_tests::wait::within;
use natter_tests::{Client, NO_RATES, Node};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

struct Http2 {
    requests: SendRequest<&'static [u8]>,
    connection: JoinHandle<Result<(), h2::Error>>,
}

type Body = SendStream<&'static [u8]>;

impl Http2 {
    async fn to(node: &Node) -> Self {
        let tcp = TcpStream::connect(node.address)
            .await
            .expect("the node accepts");
        // As browsers have it: one stream that is not read leaves room for the others.
        let handshake = h2::client::Builder::new()
            .initial_connection_window_size(1 << 24)
            .handshake(tcp);
        let (requests, connection) = within("an HTTP/2 connection", handshake)
            .await
            .expect("HTTP/2 goes on");
        Self {
            requests,
            connection: tokio::spawn(connection),
        }
    }

    async fn send(&mut self, method: Method, path: &str, body: Option<String>) -> ResponseFuture {
        let mut requests = self.requests.clone().ready().await.expect("HTTP/2 goes on");
        let request = Request::builder()
            .method(method)
            .uri(format!("http://natter{path}"));
        let (response, mut stream): (_, Body) = requests
            .send_request(request.body(()).expect("HTTP/2 goes on"), body.is_none())
            .expect("HTTP/2 goes on");
        if let Some(body) = body {
            stream
                .send_data(body.leak().as_bytes(), true)
                .expect("HTTP/2 goes on");
        }
        response
    }

    /// Begins a stream and reads its connect reply.
    async fn connected(&mut self) -> (Messages, String, String) {
        let connect = r#"{"id":1,"connect":{}}"#.to_owned();
        let response = self
            .send(Method::POST, "/connection/http_stream", Some(connect))
            .await;
        let response = within("an answer", response).await.expect("HTTP/2 goes on");
        assert_eq!(response.status(), StatusCode::OK);
        let mut messages = Messages {
            body: response.into_body(),
            unread: Vec::new(),
        };
        let connect = messages.next().await["connect"].clone();
        let text = |name: &str| connect[name].as_str().expect("HTTP/2 goes on").to_owned();
        (messages, text("session"), text("node"))
    }

    async fn emulate(&mut self, session: &str, node: &str, data: &str) -> StatusCode {
        let body = json!({"session": session, "node": node, "data": data}).to_string();
        let response = self.send(Method::POST, "/emulation", Some(body)).await;
        within("an answer", response)
            .await
            .expect("an answer")
            .status()
    }
}

/// One stream's lines.
struct Messages {
    body: RecvStream,
    unread: Vec<u8>,
}

impl Messages {
    async fn next(&mut self) -> Value {
        loop {
            if let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
                let line: Vec<_> = self.unread.drain(..=end).collect();
                return serde_json::from_slice(&line).expect("HTTP/2 goes on");
            }
            let chunk = within("more of a stream", self.body.data()).await;
            let chunk = chunk.expect("not the end").expect("HTTP/2 goes on");
            self.body
                .flow_control()
                .release_capacity(chunk.len())
                .expect("HTTP/2 goes on");
            self.unread.extend_from_slice(&chunk);
        }
    }
}

#[tokio::test]
async fn many_clients_share_a_connection() {
    let node = Node::start(&NO_RATES).await;
    let mut http2 = Http2::to(&node).await;
    let mut clients = Vec::new();
    for _ in 0..50 {
        let (mut messages, session, name) = http2.connected().await;
        let subscribe = r#"{"id":2,"subscribe":{"channel":"r"}}"#;
        let taken = http2.emulate(&session, &name, subscribe).await;
        assert_eq!(taken, StatusCode::NO_CONTENT);
        assert_eq!(messages.next().await["id"], 2);
        clients.push(messages);
    }
    node.metric_becomes(r#"natter_connections{transport="http_stream"}"#, 50.0)
        .await;
    let mut writer = Client::connect(&node).await;
    writer.subscribe("r").await;
    for n in 0..20 {
        writer.publish("r", json!(n)).await;
    }
    for client in &mut clients {
        for n in 0..20 {
            assert_eq!(client.next().await["push"]["pub"]["data"], n);
        }
    }
    // One stream that ends takes no other with it.
    drop(clients.pop());
    node.metric_becomes(r#"natter_connections{transport="http_stream"}"#, 49.0)
        .await;
    writer.publish("r", json!("after")).await;
    for client in &mut clients {
        assert_eq!(client.next().await["push"]["pub"]["data"], "after");
    }
}

/// Flow control is one client's: who does not read its stream is closed, and the others on the connection go on before
/// and after.
#[tokio::test]
async fn a_stream_that_is_not_read_is_a_slow_client() {
    let flags = [&NO_RATES[..], &["--backlog-bytes", "100000"]].concat();
    let node = Node::start(&flags).await;
    let mut http2 = Http2::to(&node).await;
    let (mut slow, session, name) = http2.connected().await;
    let subscribe = r#"{"id":2,"subscribe":{"channel":"r"}}"#;
    http2.emulate(&session, &name, subscribe).await;
    assert_eq!(slow.next().await["id"], 2);
    let (mut other, session, name) = http2.connected().await;
    let subscribe = r#"{"id":2,"subscribe":{"channel":"quiet"}}"#;
    http2.emulate(&session, &name, subscribe).await;
    assert_eq!(other.next().await["id"], 2);
    let mut writer = Client::connect(&node).await;
    writer.subscribe("r").await;
    writer.subscribe("quiet").await;
    let text = "x".repeat(50_000);
    let mut round = 0;
    while node.metric("natter_slow_clients_total").await < 1.0 {
        writer.publish("r", json!(text)).await;
        // Nobody waits for the one that does not read.
        round += 1;
        writer.publish("quiet", json!(round)).await;
        assert_eq!(other.next().await["push"]["pub"]["data"], round);
    }
    writer.publish("quiet", json!("still here")).await;
    assert_eq!(other.next().await["push"]["pub"]["data"], "still here");
}

#[tokio::test]
async fn pages_and_refusals_are_the_same_as_ever() {
    let node = Node::start(&[]).await;
    let mut http2 = Http2::to(&node).await;
    for (method, path, expected) in [
        (Method::GET, "/", 200),
        (Method::GET, "/nothing", 404),
        (Method::GET, "/connection/websocket", 426),
        (Method::GET, "/connection/sse", 400),
        (Method::GET, "/emulation", 405),
    ] {
        let response = http2.send(method, path, None).await;
        let response = within("an answer", response).await.unwrap();
        assert_eq!(response.status(), expected, "{path}");
    }
    assert_eq!(http2.emulate("x", "y", "{}").await, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_connection_that_asks_for_nothing_is_let_go() {
    let node = Node::start(&["--handshake-timeout", "1s"]).await;
    let mut busy = Http2::to(&node).await;
    let (_messages, ..) = busy.connected().await;
    let idle = Http2::to(&node).await;
    let ended = tokio::time::timeout(Duration::from_secs(10), idle.connection).await;
    drop(idle.requests);
    assert!(ended.is_ok(), "an idle connection ends");
    assert!(!busy.connection.is_finished(), "one with a stream stays");
}
