//! What tungstenite makes of a byte stream, and where the reader differs from it on purpose:
//!
//! - Headers are refused at once; tungstenite refuses most only with the payload, so it may still
//!   wait. It is then asked again with zeros behind the stream.
//! - Lengths not in their shortest form are refused (RFC 6455, 5.2); tungstenite takes them, in
//!   control frames too, which are refused as soon as they do not use the 7-bit form.
//! - Text is checked when its message ends; tungstenite fails at the first bad fragment.
//! - An invalid close code is a violation; tungstenite hands on a close with 1002 in its place.
//! - Close code 1014 is allowed, as IANA registers it; tungstenite refuses it.

use std::io::{Cursor, Read, Result, Write};

use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message, WebSocket, error::ProtocolError};

use super::{Event, MAX_CONTROL_BYTES};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The stream ended; more was expected.
    Waiting,
    Closed,
    TooBig,
    NotUtf8,
    Protocol,
}

/// What a tungstenite socket in `role` reads from `stream`.
pub(super) fn read(stream: &[u8], role: Role, max_message_bytes: usize) -> (Vec<Event>, End) {
    let config = WebSocketConfig::default()
        .read_buffer_size(1024)
        .max_frame_size(Some(max_message_bytes.max(MAX_CONTROL_BYTES)))
        .max_message_size(Some(max_message_bytes));
    let stream = ReadOnly(Cursor::new(stream));
    let mut socket = WebSocket::from_raw_socket(stream, role, Some(config));
    let mut events = Vec::new();
    loop {
        let end = match socket.read() {
            Ok(message) => {
                let close = message.is_close();
                events.push(event(message));
                if !close {
                    continue;
                }
                End::Closed
            }
            Err(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)) => End::Waiting,
            Err(Error::Protocol(_)) => End::Protocol,
            Err(Error::Capacity(_)) => End::TooBig,
            Err(Error::Utf8(_)) => End::NotUtf8,
            Err(error) => panic!("unforeseen: {error:?}"),
        };
        return (events, end);
    }
}

fn event(message: Message) -> Event {
    match message {
        Message::Text(text) => Event::Text(text.to_string()),
        Message::Binary(payload) => Event::Binary(payload.into()),
        Message::Ping(payload) => Event::Ping(payload.into()),
        Message::Pong(payload) => Event::Pong(payload.into()),
        Message::Close(reason) => {
            Event::Close(reason.map(|it| (it.code.into(), it.reason.to_string())))
        }
        Message::Frame(_) => panic!("a raw frame is never read"),
    }
}

/// A stream that swallows what tungstenite answers.
struct ReadOnly<'a>(Cursor<&'a [u8]>);

impl Read for ReadOnly<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for ReadOnly<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}
