//! A client that writes its own bytes: handshakes and frames as no library would send them.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::check::{Close, MAX_FRAME_BYTES};
use crate::http::{self, Response};
use crate::node::Node;
use crate::wait::within;

pub const TEXT: u8 = 0x81;
pub const PING: u8 = 0x89;
pub const PONG: u8 = 0x8a;
pub const CLOSE: u8 = 0x88;

/// The command that every session begins with.
pub const CONNECT: &[u8] = br#"{"id":1,"connect":{}}"#;

pub struct Raw {
    pub stream: TcpStream,
    /// Read, but not taken yet.
    unread: Vec<u8>,
}

/// A frame from the node.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame {
    /// The first byte: the last fragment's bit and the opcode.
    pub first: u8,
    pub payload: Vec<u8>,
}

impl Raw {
    /// Opens a TCP connection and sends nothing.
    pub async fn open(node: &Node) -> Self {
        Self::of(
            TcpSocket::new_v4().expect("there are sockets"),
            node.address,
        )
        .await
    }

    /// Like `upgraded`, with as small a receive buffer as the system allows: the sender soon feels it when nothing is read.
    pub async fn upgraded_with_small_buffer(node: &Node) -> Self {
        let socket = TcpSocket::new_v4().expect("there are sockets");
        socket
            .set_recv_buffer_size(4096)
            .expect("a small buffer is allowed");
        let mut raw = Self::of(socket, node.address).await;
        raw.upgrade(node).await;
        raw
    }

    /// Opens a WebSocket.
    pub async fn upgraded(node: &Node) -> Self {
        let mut raw = Self::open(node).await;
        raw.upgrade(node).await;
        raw
    }

    /// Opens a WebSocket and connects.
    pub async fn connected(node: &Node) -> Self {
        let mut raw = Self::upgraded(node).await;
        raw.connect().await;
        raw
    }

    async fn of(socket: TcpSocket, address: SocketAddr) -> Self {
        let stream = within("a connection", socket.connect(address)).await;
        let stream = stream.expect("the node accepts");
        stream.set_nodelay(true).expect("the socket is open");
        Self {
            stream,
            unread: Vec::new(),
        }
    }

    async fn upgrade(&mut self, node: &Node) {
        self.send(handshake(node, &[]).as_bytes()).await;
        let head = self.upgrade_answer().await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        let accept = "sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
        assert!(head.lines().any(|line| line == accept), "{head}");
    }

    /// The head of a handshake's answer; what follows it are frames.
    pub async fn upgrade_answer(&mut self) -> String {
        let read = async {
            loop {
                let end = self
                    .unread
                    .windows(4)
                    .position(|bytes| bytes == b"\r\n\r\n");
                if let Some(end) = end {
                    let rest = self.unread.split_off(end + 4);
                    let head = std::mem::replace(&mut self.unread, rest);
                    return String::from_utf8(head).expect("a head is text");
                }
                let read = self.stream.read_buf(&mut self.unread).await;
                assert!(read.is_ok_and(|read| read > 0), "the handshake ended early");
            }
        };
        within("the handshake's answer", read).await
    }

    /// Sends the connect command and takes its reply.
    pub async fn connect(&mut self) {
        self.send(&frame(TEXT, CONNECT)).await;
        let reply = self.text().await;
        assert!(reply.starts_with(r#"{"id":1,"connect":{"#), "{reply}");
    }

    /// Sends bytes as they are.
    pub async fn send(&mut self, bytes: &[u8]) {
        within("bytes to be taken", self.stream.write_all(bytes))
            .await
            .expect("the node reads");
    }

    /// Sends bytes unless the node has closed.
    pub async fn try_send(&mut self, bytes: &[u8]) -> bool {
        within("bytes to be taken", self.stream.write_all(bytes))
            .await
            .is_ok()
    }

    /// The next frame, or `None` at the end of the stream.
    pub async fn frame(&mut self) -> Option<Frame> {
        let read = async {
            loop {
                if let Some((frame, bytes)) = parse(&self.unread) {
                    self.unread.drain(..bytes);
                    return Some(frame);
                }
                let read = self.stream.read_buf(&mut self.unread).await;
                if !read.is_ok_and(|read| read > 0) {
                    return None;
                }
            }
        };
        within("a frame", read).await
    }

    /// The next text frame's payload.
    pub async fn text(&mut self) -> String {
        let frame = self.frame().await.expect("a text frame, not the end");
        assert_eq!(
            frame.first,
            TEXT,
            "{:?}",
            String::from_utf8_lossy(&frame.payload)
        );
        String::from_utf8(frame.payload).expect("text is UTF-8")
    }

    /// Reads on until the close frame. Whatever comes before it is dropped.
    pub async fn closed(&mut self) -> Close {
        loop {
            let frame = self.frame().await.expect("a close frame before the end");
            if let Some(close) = frame.close() {
                return close;
            }
        }
    }

    /// Reads on until the stream ends, as the node closes or resets it.
    pub async fn ended(&mut self) {
        let ended = async {
            let mut bytes = [0; 4096];
            while self
                .stream
                .read(&mut bytes)
                .await
                .is_ok_and(|read| read > 0)
            {}
        };
        within("the end of the connection", ended).await;
    }

    /// Ends the connection with a reset instead of an orderly end.
    pub fn reset(self) {
        self.stream.set_zero_linger().expect("the socket is open");
    }

    /// Sends an HTTP request's bytes and reads the answer.
    pub async fn http(&mut self, request: &str) -> Response {
        self.send(request.as_bytes()).await;
        within("an HTTP answer", http::response(&mut self.stream)).await
    }
}

impl Frame {
    /// The close that this frame is, if it is one.
    pub fn close(&self) -> Option<Close> {
        if self.first != CLOSE {
            return None;
        }
        let (code, reason) = self
            .payload
            .split_first_chunk()
            .expect("a close frame has a code");
        let reason = str::from_utf8(reason).expect("a reason is UTF-8");
        Some(Close::checked(u16::from_be_bytes(*code), reason))
    }
}

/// A handshake; `instead` replaces headers by name, an empty value leaves the header out.
pub fn handshake(node: &Node, instead: &[(&str, &str)]) -> String {
    let host = node.address.to_string();
    let mut headers = vec![
        ("Host", host.as_str()),
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    for (name, value) in instead {
        headers.retain(|(known, _)| known != name);
        if !value.is_empty() {
            headers.push((name, value));
        }
    }
    let lines: String = headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    format!("GET /connection/websocket HTTP/1.1\r\n{lines}\r\n")
}

/// A client's frame, masked.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x5a, 0x01, 0xc3, 0x7f];
    let mut bytes = vec![first];
    match payload.len() {
        length @ 0..126 => bytes.push(0x80 | length as u8),
        length @ 126..0x1_0000 => {
            bytes.push(0x80 | 126);
            bytes.extend((length as u16).to_be_bytes());
        }
        length => {
            bytes.push(0x80 | 127);
            bytes.extend((length as u64).to_be_bytes());
        }
    }
    bytes.extend(MASK);
    bytes.extend(
        payload
            .iter()
            .zip(MASK.iter().cycle())
            .map(|(byte, mask)| byte ^ mask),
    );
    bytes
}

/// A whole frame at the start of `bytes`, and its length.
fn parse(bytes: &[u8]) -> Option<(Frame, usize)> {
    let (&first, &second) = (bytes.first()?, bytes.get(1)?);
    let (length, start) = match second {
        126 => (
            u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?).into(),
            4,
        ),
        127 => (
            u64::from_be_bytes(*bytes.get(2..)?.first_chunk()?) as usize,
            10,
        ),
        length => (length.into(), 2),
    };
    assert!(length <= MAX_FRAME_BYTES, "a frame of {length} bytes");
    let payload = bytes.get(start..start + length)?.to_vec();
    Some((Frame { first, payload }, start + length))
}
