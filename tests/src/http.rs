//! One HTTP request, one answer.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::wait::within;

#[derive(Debug)]
pub struct Response {
    pub status: u16,
    /// The status line and the headers.
    pub head: String,
    pub body: String,
}

impl Response {
    /// The value of the header `name`.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// Asks for `path`; the connection ends with the answer.
pub async fn get(address: SocketAddr, path: &str) -> Response {
    request(
        address,
        &format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"),
    )
    .await
}

/// Sends `request` as it is and reads the answer.
pub async fn request(address: SocketAddr, request: &str) -> Response {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await.expect("the node accepts");
        stream
            .write_all(request.as_bytes())
            .await
            .expect("the node reads");
        response(&mut stream).await
    };
    within("an HTTP answer", exchange).await
}

/// Reads one answer: its head, and as much body as the head says.
pub async fn response(stream: &mut TcpStream) -> Response {
    let mut bytes = Vec::new();
    loop {
        if let Some(response) = whole(&bytes) {
            return response;
        }
        let read = stream.read_buf(&mut bytes).await;
        let text = String::from_utf8_lossy(&bytes);
        assert!(
            read.is_ok_and(|read| read > 0),
            "the answer ended early: {text:?}"
        );
    }
}

fn whole(bytes: &[u8]) -> Option<Response> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let response = Response {
        status,
        head: head.to_owned(),
        body: body.to_owned(),
    };
    let length = response.header("content-length").map_or(Ok(0), str::parse);
    (body.len() >= length.expect("a length is a number")).then_some(response)
}
