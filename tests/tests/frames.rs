//! WebSocket frames as RFC 6455 has them, and what becomes of others.

use natter_tests::Node;
use natter_tests::raw::{CONNECT, PING, PONG, Raw, TEXT, frame};

const CONTINUATION: u8 = 0x80;
const TEXT_BEGINS: u8 = 0x01;
const PING_COMMAND: &[u8] = br#"{"id":2,"ping":{}}"#;
const PING_REPLY: &str = r#"{"id":2,"ping":{}}"#;

/// Sends each piece of bytes on a session of its own, which must be closed with `code`.
async fn all_close_with(code: u16, pieces: &[Vec<u8>]) {
    let node = Node::start(&[]).await;
    let mut witness = Raw::connected(&node).await;
    for bytes in pieces {
        let mut raw = Raw::connected(&node).await;
        raw.send(bytes).await;
        let close = raw.closed().await;
        assert_eq!(close.code, code, "{bytes:02x?}: {close:?}");
    }
    witness.send(&frame(TEXT, PING_COMMAND)).await;
    assert_eq!(witness.text().await, PING_REPLY);
}

#[tokio::test]
async fn an_unmasked_frame_is_a_protocol_error() {
    let mut bytes = vec![TEXT, PING_COMMAND.len() as u8];
    bytes.extend(PING_COMMAND);
    all_close_with(1002, &[bytes]).await;
}

#[tokio::test]
async fn reserved_bits_are_a_protocol_error() {
    let with = |bits| frame(TEXT | bits, PING_COMMAND);
    all_close_with(1002, &[with(0x40), with(0x20), with(0x10)]).await;
}

#[tokio::test]
async fn a_reserved_opcode_is_a_protocol_error() {
    let pieces: Vec<_> = [0x3, 0x7, 0xb, 0xf]
        .map(|opcode| frame(0x80 | opcode, b""))
        .into();
    all_close_with(1002, &pieces).await;
}

#[tokio::test]
async fn a_long_control_frame_is_a_protocol_error() {
    all_close_with(
        1002,
        &[frame(PING, &[b'x'; 126]), frame(PONG, &[b'x'; 70_000])],
    )
    .await;
}

#[tokio::test]
async fn a_fragmented_control_frame_is_a_protocol_error() {
    all_close_with(1002, &[frame(PING & 0x7f, b"x"), frame(0x08, b"")]).await;
}

#[tokio::test]
async fn fragments_out_of_order_are_a_protocol_error() {
    let begun = [frame(TEXT_BEGINS, b"{"), frame(TEXT, b"{}")].concat();
    all_close_with(1002, &[frame(CONTINUATION, b"{}"), begun]).await;
}

#[tokio::test]
async fn a_bad_close_frame_is_a_protocol_error() {
    let close = |code: u16| frame(0x88, &code.to_be_bytes());
    all_close_with(
        1002,
        &[frame(0x88, b"x"), close(999), close(1005), close(5000)],
    )
    .await;
}

#[tokio::test]
async fn text_that_is_not_utf_8_is_refused() {
    let split = [frame(TEXT_BEGINS, b"\"\xc3"), frame(CONTINUATION, b"\"")].concat();
    all_close_with(
        1007,
        &[frame(TEXT, b"\xff"), frame(TEXT, b"\"\xc3\""), split],
    )
    .await;
}

#[tokio::test]
async fn a_binary_frame_is_a_bad_request() {
    all_close_with(3501, &[frame(0x82, PING_COMMAND), frame(0x82, b"")]).await;
}

#[tokio::test]
async fn a_client_that_closes_is_answered_and_let_go() {
    let node = Node::start(&[]).await;
    for payload in [&b""[..], b"\x03\xe8bye", b"\x0f\xa0"] {
        let mut raw = Raw::connected(&node).await;
        raw.send(&frame(0x88, payload)).await;
        assert_eq!(raw.closed().await.code, 1000);
        raw.ended().await;
    }
    node.metric_becomes(r#"natter_connections{transport="websocket"}"#, 0.0)
        .await;
}

#[tokio::test]
async fn fragments_with_pings_between_make_one_message() {
    let node = Node::start(&[]).await;
    let mut raw = Raw::connected(&node).await;
    let (one, rest) = PING_COMMAND.split_at(5);
    let (two, three) = rest.split_at(4);
    raw.send(&frame(TEXT_BEGINS, one)).await;
    for (payload, fragment) in [(&b"abc"[..], two), (&[0xff; 125], b""), (b"", b"")] {
        raw.send(&frame(PING, payload)).await;
        let pong = raw.frame().await.expect("a pong");
        assert_eq!((pong.first, pong.payload.as_slice()), (PONG, payload));
        raw.send(&frame(0x00, fragment)).await;
    }
    raw.send(&frame(CONTINUATION, three)).await;
    assert_eq!(raw.text().await, PING_REPLY);
}

#[tokio::test]
async fn a_text_character_may_be_split_between_fragments() {
    let node = Node::start(&[]).await;
    let mut raw = Raw::connected(&node).await;
    let command = r#"{"id":2,"ping":{"ü":1}}"#.as_bytes();
    let middle = command
        .iter()
        .position(|byte| *byte == 0xc3)
        .expect("ü has two bytes")
        + 1;
    raw.send(&frame(TEXT_BEGINS, &command[..middle])).await;
    raw.send(&frame(CONTINUATION, &command[middle..])).await;
    assert_eq!(raw.text().await, PING_REPLY);
}

#[tokio::test]
async fn however_the_stream_is_cut_the_frames_are_the_same() {
    let node = Node::start(&[]).await;
    let mut raw = Raw::upgraded(&node).await;
    let long = format!(r#"{{"id":2,"ping":{{"x":"{}"}}}}"#, "x".repeat(300));
    let bytes = [
        frame(TEXT, CONNECT),
        frame(PING, b"p"),
        frame(TEXT, long.as_bytes()),
    ]
    .concat();
    for piece in bytes.chunks(1) {
        raw.send(piece).await;
    }
    assert!(raw.text().await.contains("client"));
    assert_eq!(raw.frame().await.expect("a pong").first, PONG);
    assert_eq!(raw.text().await, PING_REPLY);
}

#[tokio::test]
async fn frames_right_behind_the_handshake_are_not_lost() {
    let node = Node::start(&[]).await;
    let mut raw = Raw::open(&node).await;
    let mut bytes = natter_tests::raw::handshake(&node, &[]).into_bytes();
    bytes.extend(frame(TEXT, CONNECT));
    bytes.extend(frame(TEXT, PING_COMMAND));
    raw.send(&bytes).await;
    assert!(raw.upgrade_answer().await.starts_with("HTTP/1.1 101 "));
    assert!(raw.text().await.contains("client"));
    assert_eq!(raw.text().await, PING_REPLY);
}
