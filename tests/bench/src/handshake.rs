//! The HTTP exchange that opens a WebSocket, both sides of it, without IO.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// What a client sends to have `path` opened.
pub(crate) fn request(host: &str, path: &str) -> Vec<u8> {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    .into_bytes()
}

/// The length of the head (request or answer) at the start of `bytes`, once it is complete.
pub(crate) fn head_length(bytes: &[u8]) -> Option<usize> {
    bytes
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .map(|at| at + 4)
}

/// Whether this answer opens the WebSocket.
pub(crate) fn is_accepted(head: &[u8]) -> bool {
    head.starts_with(b"HTTP/1.1 101")
}

/// The path that a request asks for, and the answer that opens it; `None` if it is no WebSocket request.
pub(crate) fn answer(head: &[u8]) -> Option<(&str, Vec<u8>)> {
    let head = std::str::from_utf8(head).ok()?;
    let path = head.split(' ').nth(1)?;
    let key = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("sec-websocket-key")
            .then(|| value.trim())
    })?;
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {}\r\n\r\n",
        accept_key(key)
    );
    Some((path, answer.into_bytes()))
}

fn accept_key(key: &str) -> String {
    let mut hash = Sha1::new();
    hash.update(key.as_bytes());
    hash.update(GUID);
    STANDARD.encode(hash.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_rfc_is_answered_as_the_rfc_says() {
        let request = request("localhost", "/3/1");
        let length = head_length(&request).expect("a complete head");
        let (path, answer) = answer(&request[..length]).expect("a WebSocket request");
        assert_eq!(path, "/3/1");
        assert!(is_accepted(&answer));
        assert!(
            String::from_utf8(answer)
                .expect("text")
                .contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
        );
    }
}
