//! HTTP streaming, SSE and `/emulation`, request by request: what SDKs never send, and what browsers need to hear.

use natter_tests::stream::Stream;
use natter_tests::{Cluster, Node, http};
use serde_json::{Value, json};

const CONNECT: &str = r#"{"id":1,"connect":{}}"#;

/// `{"id":1,"connect":{}}` as a query has it.
const SSE_CONNECT: &str = "/connection/sse?cf_connect=%7B%22id%22%3A1%2C%22connect%22%3A%7B%7D%7D";

fn post(path: &str, headers: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: natter\r\nContent-Length: {}\r\n{headers}\r\n{body}",
        body.len()
    )
}

fn emulation(session: &str, node: &str, data: &str) -> String {
    let body = json!({"session": session, "node": node, "data": data}).to_string();
    post(
        "/emulation",
        "Connection: close\r\nContent-Type: application/json\r\n",
        &body,
    )
}

/// A session over `http_stream`, and what its commands have to name.
async fn connected(node: &Node) -> (Stream, String, String) {
    let mut stream = Stream::open(node, &post("/connection/http_stream", "", CONNECT)).await;
    let connect = stream.line().await["connect"].clone();
    let text = |name: &str| connect[name].as_str().expect("a string").to_owned();
    (stream, text("session"), text("node"))
}

async fn status(node: &Node, request: &str) -> u16 {
    http::request(node.address, request).await.status
}

#[tokio::test]
async fn commands_beside_a_stream_are_answered_on_it() {
    let node = Node::start(&[]).await;
    let (mut stream, session, name) = connected(&node).await;
    assert!(
        stream.head.contains("content-type: application/json"),
        "{}",
        stream.head
    );
    let commands = "{\"id\":2,\"subscribe\":{\"channel\":\"r\"}}\n{\"id\":3,\"publish\":{\"channel\":\"r\",\"data\":1}}";
    assert_eq!(
        status(&node, &emulation(&session, &name, commands)).await,
        204
    );
    assert_eq!(stream.line().await["id"], 2);
    let mut rest = [stream.line().await, stream.line().await];
    rest.sort_by_key(|message| message.get("push").is_some());
    assert_eq!(rest[0], json!({"id": 3, "publish": {}}));
    assert_eq!(rest[1]["push"]["pub"]["data"], 1);
    let series = r#"natter_connections{transport="http_stream"}"#;
    node.metric_becomes(series, 1.0).await;
    drop(stream);
    node.metric_becomes(series, 0.0).await;
}

#[tokio::test]
async fn the_connect_command_of_sse_stands_in_the_query() {
    let node = Node::start(&[]).await;
    let request = format!("GET {SSE_CONNECT} HTTP/1.1\r\nHost: natter\r\n\r\n");
    let mut stream = Stream::open(&node, &request).await;
    assert!(
        stream.head.contains("content-type: text/event-stream"),
        "{}",
        stream.head
    );
    assert!(
        stream.head.contains("cache-control: no-store"),
        "{}",
        stream.head
    );
    let event = stream.event().await;
    assert_eq!(event["id"], 1);
    assert!(event["connect"]["session"].is_string(), "{event}");
    node.metric_becomes(r#"natter_connections{transport="sse"}"#, 1.0)
        .await;
    // It may hold a token.
    assert!(!node.log().contains("cf_connect"), "{}", node.log());
}

#[tokio::test]
async fn a_long_query_is_taken_up_to_the_limit_of_heads() {
    let node = Node::start(&["--header-bytes", "16384"]).await;
    let padded = |bytes: usize| {
        let name = "x".repeat(bytes);
        format!(
            "GET /connection/sse?cf_connect=%7B%22id%22%3A1%2C%22connect%22%3A%7B%22name%22%3A%22{name}%22%7D%7D \
             HTTP/1.1\r\nHost: natter\r\nConnection: close\r\n\r\n"
        )
    };
    let mut stream = Stream::open(&node, &padded(15_000)).await;
    assert_eq!(stream.event().await["id"], 1);
    assert_eq!(status(&node, &padded(20_000)).await, 431);
}

#[tokio::test]
async fn unknown_sessions_are_not_found_so_that_sdks_connect_anew() {
    let node = Node::start(&[]).await;
    let (stream, session, name) = connected(&node).await;
    let ping = r#"{"id":2,"ping":{}}"#;
    let mut forged = session.clone().into_bytes();
    forged[3] = if forged[3] == b'A' { b'B' } else { b'A' };
    let forged = String::from_utf8(forged).unwrap();
    for (session, node_name) in [
        (forged.as_str(), name.as_str()),
        ("", &name),
        ("x", &name),
        (&session, "elsewhere"),
    ] {
        let answer = http::request(node.address, &emulation(session, node_name, ping)).await;
        assert_eq!(answer.status, 404, "{session} at {node_name}");
        assert!(answer.body.contains("connect again"), "{}", answer.body);
    }
    assert_eq!(status(&node, &emulation(&session, &name, ping)).await, 204);
    drop(stream);
    node.metric_becomes(r#"natter_connections{transport="http_stream"}"#, 0.0)
        .await;
    assert_eq!(status(&node, &emulation(&session, &name, ping)).await, 404);
}

#[tokio::test]
async fn bad_bodies_are_told_what_was_expected() {
    let node = Node::start(&["--frame-bytes", "100000"]).await;
    let (mut stream, session, name) = connected(&node).await;
    let long = emulation(&session, &name, &"x".repeat(100_001));
    for (request, expected, word) in [
        (post("/emulation", "Connection: close\r\n", "{}"), 400, "session"),
        (post("/emulation", "Connection: close\r\n", "no JSON"), 400, "session"),
        (emulation(&session, &name, ""), 400, "commands"),
        (long, 413, "at most 100000"),
        (post("/emulation", "Connection: close\r\n", &"x".repeat(300_000)), 413, "at most 200000"),
        (post("/connection/http_stream", "Connection: close\r\n", ""), 400, "connect"),
        ("GET /connection/sse HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".to_owned(), 400, "cf_connect"),
        ("GET /connection/uni_http_stream HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".to_owned(), 405, ""),
        ("HEAD /connection/sse?cf_connect=%7B%7D HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".to_owned(), 405, ""),
        (post("/connection/uni_http_stream", "Connection: close\r\n", "[1]"), 400, "connect request"),
    ] {
        let answer = http::request(node.address, &request).await;
        assert_eq!(answer.status, expected, "{request:.200}");
        assert!(answer.body.contains(word), "{}", answer.body);
    }
    // What is no command ends the session, and the end says why.
    assert_eq!(
        status(&node, &emulation(&session, &name, "hello")).await,
        204
    );
    let disconnect = &stream.line().await["push"]["disconnect"];
    assert_eq!(disconnect["code"], 3501, "{disconnect}");
    stream.ended().await;
}

#[tokio::test]
async fn a_stream_s_end_says_why_before_it_comes() {
    let node = Node::start(&["--pong-timeout", "300ms", "--ping-interval", "1s"]).await;
    let (mut stream, session, name) = connected(&node).await;
    assert_eq!(stream.line().await, json!({}), "a ping");
    assert_eq!(status(&node, &emulation(&session, &name, "{}")).await, 204);
    assert_eq!(
        stream.line().await,
        json!({}),
        "the pong was taken, so there is a next ping"
    );
    let push = stream.line().await;
    assert_eq!(
        push,
        json!({"push": {"disconnect": {"code": 3012, "reason": "no pong"}}})
    );
    stream.ended().await;
}

#[tokio::test]
async fn protobuf_streams_as_it_does_over_websocket() {
    let node = Node::start(&[]).await;
    let kind = "Content-Type: application/octet-stream\r\n";
    let mut stream = Stream::open(
        &node,
        &post("/connection/http_stream", kind, "\x04\x08\x01\x22\x00"),
    )
    .await;
    assert!(
        stream
            .head
            .contains("content-type: application/octet-stream"),
        "{}",
        stream.head
    );
    let message = stream.delimited().await;
    assert_eq!(
        message[..3],
        [0x08, 0x01, 0x2a],
        "id 1 and a connect result: {message:?}"
    );
}

/// Allowed pages get to read every answer, others none, and programs need no origin.
#[tokio::test]
async fn pages_of_other_origins_are_let_in_by_the_list() {
    let node = Node::start(&["--allowed-origins", "https://chat.example"]).await;
    for path in [
        "/connection/http_stream",
        "/emulation",
        "/connection/uni_http_stream",
        "/connection/sse",
        "/connection/uni_sse",
    ] {
        let preflight = |origin: &str| {
            format!(
                "OPTIONS {path} HTTP/1.1\r\nHost: natter\r\nOrigin: {origin}\r\nConnection: close\r\n\
                 Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: content-type\r\n\r\n"
            )
        };
        let answer = http::request(node.address, &preflight("https://chat.example")).await;
        assert_eq!(answer.status, 204, "{path}");
        let header = |name: &str| answer.header(name).unwrap_or_default();
        assert_eq!(
            header("access-control-allow-origin"),
            "https://chat.example"
        );
        assert_eq!(header("access-control-allow-headers"), "content-type");
        assert!(header("access-control-allow-methods").contains("POST"));
        assert!(header("vary").eq_ignore_ascii_case("origin"));
        let answer = http::request(node.address, &preflight("https://evil.example")).await;
        assert_eq!(answer.status, 403, "{path}");
        assert_eq!(answer.header("access-control-allow-origin"), None);
        assert!(answer.body.contains("--allowed-origins"), "{}", answer.body);
    }
    let with = |origin: &str| {
        post(
            "/connection/http_stream",
            &format!("Origin: {origin}\r\n"),
            CONNECT,
        )
    };
    assert_eq!(status(&node, &with("https://evil.example")).await, 403);
    let stream = Stream::open(&node, &with("https://chat.example")).await;
    assert!(
        stream
            .head
            .contains("access-control-allow-origin: https://chat.example"),
        "{}",
        stream.head
    );
    assert!(
        stream.head.to_lowercase().contains("vary: origin"),
        "{}",
        stream.head
    );
    // Errors, too, as pages could not tell them from a broken network otherwise.
    let bad = post(
        "/emulation",
        "Origin: https://chat.example\r\nConnection: close\r\n",
        "{}",
    );
    let answer = http::request(node.address, &bad).await;
    assert_eq!(
        (answer.status, answer.header("access-control-allow-origin")),
        (400, Some("https://chat.example"))
    );
    let own = post(
        "/connection/http_stream",
        "Origin: http://natter\r\n",
        CONNECT,
    );
    Stream::open(&node, &own).await.line().await;
}

/// Commands of one POST stay in order, however slowly the stream is read.
#[tokio::test]
async fn the_commands_of_a_post_are_handled_in_order() {
    let node = Node::start(&[]).await;
    let (mut stream, session, name) = connected(&node).await;
    let subscribe = r#"{"id":2,"subscribe":{"channel":"r"}}"#.to_owned();
    let publishes =
        (3..43).map(|id| format!(r#"{{"id":{id},"publish":{{"channel":"r","data":{id}}}}}"#));
    let commands: Vec<_> = [subscribe].into_iter().chain(publishes).collect();
    assert_eq!(
        status(&node, &emulation(&session, &name, &commands.join("\n"))).await,
        204
    );
    let mut data = Vec::new();
    while data.len() < 40 {
        let message = stream.line().await;
        if let Some(publication) = message["push"].get("pub") {
            data.push(publication["data"].as_u64().unwrap());
        }
    }
    assert_eq!(data, (3..43).collect::<Vec<_>>());
}

/// A client that sends and does not read: its commands wait, up to the limit, and then it is told so.
#[tokio::test]
async fn what_waits_for_a_session_that_does_not_read_is_bounded() {
    let node = Node::start(&["--frame-bytes", "100000"]).await;
    let (mut stream, session, name) = connected(&node).await;
    let text = "x".repeat(60_000);
    let subscribe = r#"{"id":2,"subscribe":{"channel":"r"}}"#;
    assert_eq!(
        status(&node, &emulation(&session, &name, subscribe)).await,
        204
    );
    assert_eq!(stream.line().await["id"], 2);
    let publish = format!(r#"{{"id":3,"publish":{{"channel":"r","data":"{text}"}}}}"#);
    assert_eq!(
        status(&node, &emulation(&session, &name, &publish)).await,
        204
    );
    let history = r#"{"id":4,"history":{"channel":"r","limit":-1}}"#;
    let many = vec![history; 500].join("\n");
    let mut statuses = Vec::new();
    while statuses.last() != Some(&429) {
        statuses.push(status(&node, &emulation(&session, &name, &many)).await);
        assert!(statuses.len() < 1_000, "no end of {statuses:?}");
        assert!(matches!(statuses.last(), Some(204 | 429)), "{statuses:?}");
    }
    let _: Value = stream.line().await;
}

/// Told as too large, and not as a session that is gone: an SDK would come back and send the same for ever.
#[tokio::test]
async fn more_commands_than_go_to_another_node_at_once_are_refused() {
    let flags = ["--frame-bytes", "4194304"];
    let cluster = Cluster::with(1, 2).flags(&flags).start().await;
    let (own, other) = (&cluster.nodes[0], &cluster.nodes[1]);
    let (mut stream, session, name) = connected(own).await;
    let ping = r#"{"send":{"data":1}}"#;
    let many = vec![ping; 60_000].join("\n");
    assert_eq!(status(other, &emulation(&session, &name, &many)).await, 413);
    assert_eq!(status(own, &emulation(&session, &name, &many)).await, 204);
    let ping = r#"{"id":2,"ping":{}}"#;
    assert_eq!(status(other, &emulation(&session, &name, ping)).await, 204);
    assert_eq!(stream.line().await["id"], 2);
}
