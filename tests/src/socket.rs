//! A WebSocket to a node that may break: text frames, checked on entry (`check`), and the way in which it ended.

use std::fmt;

use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use crate::check::Close;
use crate::entrance::Entrance;

pub struct Socket {
    stream: WebSocketStream<TcpStream>,
}

/// How a socket ended.
#[derive(Debug)]
pub enum End {
    /// By the node's close frame.
    Closed(Close),
    /// Without one.
    Broken(String),
}

impl Socket {
    /// Connects, and opens the WebSocket.
    pub async fn open(entrance: impl Into<Entrance>) -> Result<Self, End> {
        let entrance = entrance.into();
        let stream = entrance.connect().await;
        let stream = stream.map_err(|error| End::Broken(error.to_string()))?;
        // Commands are small, and a test may have hundreds of sockets.
        let config = WebSocketConfig::default().read_buffer_size(16 * 1024);
        let url = format!("ws://{}/connection/websocket", entrance.address);
        let opened = tokio_tungstenite::client_async_with_config(url, stream, Some(config)).await;
        let (stream, _) = opened.map_err(|error| End::Broken(error.to_string()))?;
        Ok(Self { stream })
    }

    /// Sends a text frame.
    pub async fn send(&mut self, text: impl Into<String>) -> Result<(), End> {
        let sent = self.stream.send(Message::text(text.into())).await;
        sent.map_err(|error| End::Broken(error.to_string()))
    }

    /// The next text frame. Nothing is lost when the future is dropped.
    pub async fn read(&mut self) -> Result<String, End> {
        loop {
            match self.stream.next().await {
                Some(Ok(Message::Text(text))) => return Ok(text.as_str().to_owned()),
                Some(Ok(Message::Close(Some(frame)))) => {
                    // Let tungstenite answer, so that the node need not wait for it.
                    let _ = self.stream.flush().await;
                    let close = Close::checked(frame.code.into(), &frame.reason);
                    return Err(End::Closed(close));
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(message)) => {
                    return Err(End::Broken(format!("unexpected: {message:?}")));
                }
                Some(Err(error)) => return Err(End::Broken(error.to_string())),
                None => return Err(End::Broken("the stream ended".to_owned())),
            }
        }
    }

    /// Says goodbye; the node's answer ends what `read` brings.
    pub async fn close(&mut self) -> Result<(), End> {
        let closed = self.stream.close(None).await;
        closed.map_err(|error| End::Broken(error.to_string()))
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed(Close { code, reason }) => write!(f, "closed with {code} {reason}"),
            Self::Broken(why) => write!(f, "broken: {why}"),
        }
    }
}
