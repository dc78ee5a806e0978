//! How a connection is written to: what a message looks like, and what frames it. No IO.
//!
//! Every reply, push, ping and close for a connection goes through here, so that whoever makes one knows no transport.

use crate::frame;

use super::push::Push;
use super::reply::Reply;
use super::{CloseReason, protobuf};

/// How messages and commands are encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    Json,
    Protobuf,
}

/// An encoding, and the framing around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Wire {
    /// JSON objects in WebSocket text frames, one a line.
    WebSocketJson,
    /// Length-prefixed Protobuf messages in WebSocket binary frames.
    WebSocketProtobuf,
    /// JSON objects in an HTTP response, one a line.
    LinesJson,
    /// JSON objects in an HTTP response of server-sent events, one an event.
    EventsJson,
}

impl Wire {
    pub const ALL: [Self; 4] = [
        Self::WebSocketJson,
        Self::WebSocketProtobuf,
        Self::LinesJson,
        Self::EventsJson,
    ];

    /// The wire's place in [`Wire::ALL`].
    pub fn index(self) -> usize {
        self as usize
    }

    pub fn encoding(self) -> Encoding {
        match self {
            Self::WebSocketJson | Self::LinesJson | Self::EventsJson => Encoding::Json,
            Self::WebSocketProtobuf => Encoding::Protobuf,
        }
    }

    /// Appends the reply to command `id` to `messages`, which [`Wire::frame`] makes ready to send.
    pub fn write_reply(self, messages: &mut Vec<u8>, id: u32, reply: &Reply) {
        self.write_message(messages, |out| match self.encoding() {
            Encoding::Json => reply.write(out, id),
            Encoding::Protobuf => protobuf::write_reply(out, id, reply),
        });
    }

    /// Messages as they go to the client.
    pub fn frame(self, messages: &[u8]) -> Vec<u8> {
        let mut framed = Vec::with_capacity(messages.len() + frame::MAX_HEADER_BYTES);
        match self {
            Self::WebSocketJson => frame::write_text(&mut framed, messages),
            Self::WebSocketProtobuf => frame::write_binary(&mut framed, messages),
            Self::LinesJson | Self::EventsJson => framed.extend_from_slice(messages),
        }
        framed
    }

    /// A push, ready to send.
    pub fn push(self, push: &Push<'_>) -> Vec<u8> {
        self.framed(push.about_bytes(), |out| match self.encoding() {
            Encoding::Json => push.write(out),
            Encoding::Protobuf => protobuf::write_push(out, push),
        })
    }

    /// The server's ping, ready to send.
    pub fn ping(self) -> Vec<u8> {
        self.framed(2, |out| match self.encoding() {
            Encoding::Json => out.extend_from_slice(b"{}"),
            Encoding::Protobuf => protobuf::write_ping(out),
        })
    }

    /// The last thing that a client is sent: why its session ends.
    pub fn close(self, reason: &CloseReason) -> Vec<u8> {
        match self {
            Self::WebSocketJson | Self::WebSocketProtobuf => {
                let mut framed = Vec::new();
                frame::write_close(&mut framed, reason.code, &reason.reason);
                framed
            }
            // A stream's end carries no code.
            Self::LinesJson | Self::EventsJson => self.push(&Push::Disconnect(reason)),
        }
    }

    fn framed(self, about_bytes: usize, write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut message = Vec::with_capacity(about_bytes + 16);
        self.write_message(&mut message, write);
        match self {
            Self::WebSocketJson | Self::WebSocketProtobuf => self.frame(&message),
            Self::LinesJson | Self::EventsJson => message,
        }
    }

    fn write_message(self, messages: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
        match self {
            Self::WebSocketJson => {
                if !messages.is_empty() {
                    messages.push(b'\n');
                }
                write(messages);
            }
            Self::WebSocketProtobuf => write(messages),
            Self::LinesJson => {
                write(messages);
                messages.push(b'\n');
            }
            Self::EventsJson => {
                messages.extend_from_slice(b"data: ");
                write(messages);
                messages.extend_from_slice(b"\n\n");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{ErrorCode, Refusal};

    fn text(bytes: Vec<u8>) -> String {
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_wire_s_index_is_its_place_among_all() {
        for (index, wire) in Wire::ALL.into_iter().enumerate() {
            assert_eq!(wire.index(), index);
        }
    }

    #[test]
    fn replies_that_leave_together_are_parted_as_each_transport_wants() {
        let two = |wire: Wire| {
            let mut messages = Vec::new();
            wire.write_reply(&mut messages, 1, &Reply::Ping);
            let refusal = Refusal::new(ErrorCode::NotAvailable, "");
            wire.write_reply(&mut messages, 2, &Reply::Refused(refusal));
            wire.frame(&messages)
        };
        let first = r#"{"id":1,"ping":{}}"#;
        let second = r#"{"id":2,"error":{"code":108,"message":"not available"}}"#;
        let framed = two(Wire::WebSocketJson);
        assert_eq!(framed[..2], [0x81, framed.len() as u8 - 2]);
        assert_eq!(framed[2..], *format!("{first}\n{second}").as_bytes());
        assert_eq!(text(two(Wire::LinesJson)), format!("{first}\n{second}\n"));
        let events = format!("data: {first}\n\ndata: {second}\n\n");
        assert_eq!(text(two(Wire::EventsJson)), events);
    }

    #[test]
    fn where_no_close_frame_can_say_why_a_push_does() {
        let close = |wire: Wire| wire.close(&CloseReason::SHUTDOWN);
        assert_eq!(close(Wire::WebSocketJson)[..4], [0x88, 10, 0x0b, 0xb9]);
        let push = r#"{"push":{"disconnect":{"code":3001,"reason":"shutdown"}}}"#;
        assert_eq!(text(close(Wire::LinesJson)), format!("{push}\n"));
        let event = format!("data: {push}\n\n");
        assert_eq!(text(close(Wire::EventsJson)), event);
    }
}
