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
    /// Length-prefixed Protobuf messages in an HTTP response.
    StreamProtobuf,
    /// JSON objects in an HTTP response of server-sent events, one an event.
    EventsJson,
    /// As their namesakes, for clients that only listen: pushes without an envelope, and nothing else.
    UniWebSocket,
    UniLines,
    UniEvents,
}

/// What stands between a connection's messages.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Framing {
    Text,
    Binary,
    Lines,
    Events,
    Nothing,
}

impl Wire {
    pub const ALL: [Self; 8] = [
        Self::WebSocketJson,
        Self::WebSocketProtobuf,
        Self::LinesJson,
        Self::StreamProtobuf,
        Self::EventsJson,
        Self::UniWebSocket,
        Self::UniLines,
        Self::UniEvents,
    ];

    /// The wire's place in [`Wire::ALL`].
    pub fn index(self) -> usize {
        self as usize
    }

    pub fn encoding(self) -> Encoding {
        match self {
            Self::WebSocketProtobuf | Self::StreamProtobuf => Encoding::Protobuf,
            _ => Encoding::Json,
        }
    }

    fn framing(self) -> Framing {
        match self {
            Self::WebSocketJson | Self::UniWebSocket => Framing::Text,
            Self::WebSocketProtobuf => Framing::Binary,
            Self::LinesJson | Self::UniLines => Framing::Lines,
            Self::EventsJson | Self::UniEvents => Framing::Events,
            Self::StreamProtobuf => Framing::Nothing,
        }
    }

    /// Whether frames come from the client, too, and a close frame says why a session ends.
    pub fn is_websocket(self) -> bool {
        matches!(self.framing(), Framing::Text | Framing::Binary)
    }

    /// Whether the client only listens.
    pub fn is_unidirectional(self) -> bool {
        matches!(self, Self::UniWebSocket | Self::UniLines | Self::UniEvents)
    }

    /// Whether the client's commands come beside its connection.
    pub fn is_emulated(self) -> bool {
        !self.is_websocket() && !self.is_unidirectional()
    }

    /// Whether a client has to answer pings.
    pub fn expects_pongs(self) -> bool {
        !self.is_unidirectional()
    }

    /// The transport's name in metrics.
    pub fn transport(self) -> &'static str {
        match self {
            Self::WebSocketJson | Self::WebSocketProtobuf => "websocket",
            Self::LinesJson | Self::StreamProtobuf => "http_stream",
            Self::EventsJson => "sse",
            Self::UniWebSocket => "uni_websocket",
            Self::UniLines => "uni_http_stream",
            Self::UniEvents => "uni_sse",
        }
    }

    /// The `Content-Type` of an HTTP response that is written in this.
    pub fn content_type(self) -> &'static str {
        match self.framing() {
            Framing::Text | Framing::Lines => "application/json",
            Framing::Binary | Framing::Nothing => "application/octet-stream",
            Framing::Events => "text/event-stream",
        }
    }

    /// Transport, protocol and encoding, as backends know them.
    pub fn described(self) -> (&'static str, &'static str, &'static str) {
        match self.encoding() {
            Encoding::Json => (self.transport(), "json", "json"),
            Encoding::Protobuf => (self.transport(), "protobuf", "binary"),
        }
    }

    /// Appends the reply to command `id` to `messages`, which [`Wire::frame`] makes ready to send.
    pub fn write_reply(self, messages: &mut Vec<u8>, id: u32, reply: &Reply) {
        self.write_message(messages, |out| match self.encoding() {
            Encoding::Json if self.is_unidirectional() => reply.write_bare(out),
            Encoding::Json => reply.write(out, id),
            Encoding::Protobuf => protobuf::write_reply(out, id, reply),
        });
    }

    /// Messages as they go to the client.
    pub fn frame(self, messages: &[u8]) -> Vec<u8> {
        let mut framed = Vec::with_capacity(messages.len() + frame::MAX_HEADER_BYTES);
        match self.framing() {
            Framing::Text => frame::write_text(&mut framed, messages),
            Framing::Binary => frame::write_binary(&mut framed, messages),
            Framing::Lines | Framing::Events | Framing::Nothing => {
                framed.extend_from_slice(messages);
            }
        }
        framed
    }

    /// A push, ready to send.
    pub fn push(self, push: &Push<'_>) -> Vec<u8> {
        self.framed(push.about_bytes(), |out| match self.encoding() {
            Encoding::Json if self.is_unidirectional() => push.write_bare(out),
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
        if self.is_websocket() {
            let mut framed = Vec::new();
            frame::write_close(&mut framed, reason.code, &reason.reason);
            framed
        } else {
            // A stream's end carries no code.
            self.push(&Push::Disconnect(reason))
        }
    }

    fn framed(self, about_bytes: usize, write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut message = Vec::with_capacity(about_bytes + 16);
        self.write_message(&mut message, write);
        if self.is_websocket() {
            self.frame(&message)
        } else {
            message
        }
    }

    fn write_message(self, messages: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
        match self.framing() {
            Framing::Text => {
                if !messages.is_empty() {
                    messages.push(b'\n');
                }
                write(messages);
            }
            Framing::Binary | Framing::Nothing => write(messages),
            Framing::Lines => {
                write(messages);
                messages.push(b'\n');
            }
            Framing::Events => {
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
    use crate::protocol::reply::Connected;
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

    #[test]
    fn who_only_listens_gets_pushes_without_an_envelope() {
        let connect = Reply::Connect(Box::new(Connected {
            client: crate::ids::SessionId::random(),
            ping_seconds: 25,
            pong: Wire::UniLines.expects_pongs(),
            ttl: None,
            data: None,
            rooms: Vec::new(),
            emulation: None,
        }));
        let mut messages = Vec::new();
        Wire::UniLines.write_reply(&mut messages, 1, &connect);
        let line: serde_json::Value = serde_json::from_slice(&messages).unwrap();
        assert_eq!(line["connect"]["ping"], 25);
        assert_eq!((line.get("id"), line["connect"].get("pong")), (None, None));
        assert_eq!(
            text(Wire::UniEvents.close(&CloseReason::SHUTDOWN)),
            "data: {\"disconnect\":{\"code\":3001,\"reason\":\"shutdown\"}}\n\n"
        );
        assert_eq!(text(Wire::UniEvents.ping()), "data: {}\n\n");
    }
}
