//! An HTTP answer without an end, read message by message.

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::node::Node;
use crate::wait::within;

pub struct Stream {
    tcp: TcpStream,
    /// Status line and headers.
    pub head: String,
    /// Read, but not taken yet.
    unread: Vec<u8>,
}

impl Stream {
    /// Sends `request`, which must be answered by 200.
    pub async fn open(node: &Node, request: &str) -> Self {
        let tcp = within("a connection", TcpStream::connect(node.address)).await;
        let mut tcp = tcp.expect("the node accepts");
        let sent = within("a request", tcp.write_all(request.as_bytes())).await;
        sent.expect("the node reads");
        let mut stream = Self {
            tcp,
            head: String::new(),
            unread: Vec::new(),
        };
        stream.head = stream.upto("\r\n\r\n").await;
        assert!(stream.head.starts_with("HTTP/1.1 200 "), "{}", stream.head);
        stream
    }

    /// The next line, which must be JSON.
    pub async fn line(&mut self) -> Value {
        let line = self.upto("\n").await;
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line:?}: {error}"))
    }

    /// The next event's data, which must be JSON.
    pub async fn event(&mut self) -> Value {
        let event = self.upto("\n\n").await;
        let data = event.strip_prefix("data: ").expect("an event of one line");
        serde_json::from_str(data).unwrap_or_else(|error| panic!("{data:?}: {error}"))
    }

    /// The next message behind its length, of less than 128 bytes or with two bytes of length.
    pub async fn delimited(&mut self) -> Vec<u8> {
        self.read_upto(|bytes| {
            let (first, rest) = bytes.split_first()?;
            let (length, rest) = match first {
                0..0x80 => (usize::from(*first), rest),
                _ => {
                    let (second, rest) = rest.split_first()?;
                    (usize::from(first & 0x7f) | usize::from(*second) << 7, rest)
                }
            };
            let message = rest.get(..length)?.to_vec();
            Some((message, bytes.len() - rest.len() + length))
        })
        .await
    }

    /// Waits until the node ends the stream; nothing more may come.
    pub async fn ended(&mut self) {
        let mut rest = std::mem::take(&mut self.unread);
        let read = within("the end", self.tcp.read_to_end(&mut rest)).await;
        assert!(read.is_ok() && rest.is_empty(), "{rest:?}");
    }

    async fn upto(&mut self, end: &str) -> String {
        let bytes = self
            .read_upto(|bytes| {
                let mut windows = bytes.windows(end.len());
                let at = windows.position(|window| window == end.as_bytes())?;
                Some((bytes[..at].to_vec(), at + end.len()))
            })
            .await;
        String::from_utf8(bytes).expect("the node writes UTF-8")
    }

    /// Reads until `take` finds something; it says how many bytes that took.
    async fn read_upto(&mut self, take: impl Fn(&[u8]) -> Option<(Vec<u8>, usize)>) -> Vec<u8> {
        loop {
            if let Some((found, used)) = take(&self.unread) {
                self.unread.drain(..used);
                return found;
            }
            let read = within("more of a stream", self.tcp.read_buf(&mut self.unread)).await;
            let text = String::from_utf8_lossy(&self.unread);
            assert!(
                read.is_ok_and(|read| read > 0),
                "the stream ended after {text:?}"
            );
        }
    }
}
