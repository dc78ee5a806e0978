//! Protobuf over WebSocket, byte by byte: what the SDKs' own tests cannot send.

use natter_tests::raw::{Frame, Raw, TEXT, frame, handshake};
use natter_tests::{Node, http};

const BINARY: u8 = 0x82;

/// connect with id 1, then subscribe to `r` with id 2.
const HELLO: &[u8] = b"\x04\x08\x01\x22\x00\x07\x08\x02\x2a\x03\x0a\x01r";

async fn upgraded(node: &Node) -> Raw {
    let mut raw = Raw::open(node).await;
    let request = handshake(node, &[("Sec-WebSocket-Protocol", "centrifuge-protobuf")]);
    raw.send(request.as_bytes()).await;
    let head = raw.upgrade_answer().await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    let echoed = "sec-websocket-protocol: centrifuge-protobuf";
    assert!(head.lines().any(|line| line == echoed), "{head}");
    raw
}

/// Reads until the payloads together hold `bytes`.
async fn reads(raw: &mut Raw, bytes: &[u8]) {
    let mut read = Vec::new();
    while !read.windows(bytes.len()).any(|window| window == bytes) {
        let frame = raw.frame().await.expect("a frame, not the end");
        let Frame { first, payload } = frame;
        assert_eq!(first, BINARY, "{payload:?}");
        read.extend(payload);
    }
}

#[tokio::test]
async fn json_clients_are_offered_no_subprotocol() {
    let node = Node::start(&[]).await;
    for instead in [vec![], vec![("Sec-WebSocket-Protocol", "chat, other")]] {
        let answer = http::request(node.address, &handshake(&node, &instead)).await;
        assert_eq!(answer.status, 101);
        assert_eq!(answer.header("sec-websocket-protocol"), None);
    }
}

#[tokio::test]
async fn data_that_is_not_json_fails_its_publish_alone() {
    let node = Node::start(&[]).await;
    let mut raw = upgraded(&node).await;
    raw.send(&frame(BINARY, HELLO)).await;
    // Both publish to `r`: with id 3 `hello`, with id 4 `"ok"`.
    let bad = b"\x0e\x08\x03\x3a\x0a\x0a\x01r\x12\x05hello";
    let good = b"\x0d\x08\x04\x3a\x09\x0a\x01r\x12\x04\"ok\"";
    raw.send(&frame(BINARY, &[&bad[..], good].concat())).await;
    // The error's code is 107, and the other one is published.
    reads(&mut raw, b"\x08\x03\x12").await;
    reads(&mut raw, b"\x22\x04\"ok\"").await;
    assert_eq!(
        node.metric(r#"natter_command_errors_total{code="107"}"#)
            .await,
        1.0
    );
}

#[tokio::test]
async fn what_is_no_protobuf_is_a_bad_request() {
    let node = Node::start(&[]).await;
    let frames = [
        frame(TEXT, b"{\"id\":1,\"connect\":{}}"),
        frame(BINARY, b"{\"id\":1,\"connect\":{}}"),
        frame(BINARY, b""),
        frame(BINARY, b"\x7f\x08\x01"),
    ];
    for bytes in frames {
        let mut raw = upgraded(&node).await;
        raw.send(&bytes).await;
        let close = raw.closed().await;
        assert_eq!(close.code, 3501, "{bytes:?}");
        assert!(close.reason.contains("expected"), "{}", close.reason);
    }
}
