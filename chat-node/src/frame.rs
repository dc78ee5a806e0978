//! WebSocket frames <-> bytes: the server's side of RFC 6455 without extensions, no IO.
//!
//! bytes read -> [`Reader`] -> [`Incoming`], one per message or control frame
//! payload -> [`write_text`] and its siblings -> bytes to send
//!
//! Answers nothing by itself: replying to a ping, to a close or to a [`Violation`] is the caller's.

use thiserror::Error;

mod header;
mod mask;
mod reader;
mod writer;

#[cfg(test)]
mod tests;

pub use reader::Reader;
pub use writer::{
    TextHeader, frame_text_parts, text_header, write_binary, write_close, write_pong, write_text,
};

/// The most bytes a header takes that we write.
pub const MAX_HEADER_BYTES: usize = 10;

/// The most payload bytes a ping, pong or close may have.
pub const MAX_CONTROL_BYTES: usize = 125;

/// A complete message or control frame from a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Incoming<'a> {
    Text(&'a str),
    Binary(&'a [u8]),
    Ping(&'a [u8]),
    Pong(&'a [u8]),
    /// The close code, always one that may be sent, and the reason; `None` if the client gave none.
    Close(Option<(u16, &'a str)>),
}

/// What a client did that ends its socket; the text says what was expected, in at most 100 bytes.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Violation {
    #[error("reserved bits are set, expected 0: no extension was agreed")]
    ReservedBits,
    #[error("opcode {0:#x} is reserved, expected 0x0-0x2 or 0x8-0xa")]
    ReservedOpcode(u8),
    #[error("control frame is fragmented, expected a single frame")]
    FragmentedControl,
    #[error("control frame is too long, expected at most 125 payload bytes")]
    LongControl,
    #[error("continuation without a message, expected a text or binary frame first")]
    UnexpectedContinuation,
    #[error("new message inside a fragmented one, expected a continuation")]
    ExpectedContinuation,
    #[error("frame is not masked, expected every client frame to be masked")]
    Unmasked,
    #[error("payload length is not minimal, expected the shortest encoding")]
    NonMinimalLength,
    #[error("payload length has its top bit set, expected at most 63 bits")]
    LengthTopBit,
    #[error("message is too big, expected at most {max_message_bytes} bytes")]
    TooBig { max_message_bytes: usize },
    #[error("text message is not valid, expected UTF-8")]
    TextNotUtf8,
    #[error("close payload has 1 byte, expected none or a 2-byte code")]
    HalfCloseCode,
    #[error("close code {0} may not be sent, expected 1000-1003, 1007-1014 or 3000-4999")]
    CloseCode(u16),
    #[error("close reason is not valid, expected UTF-8")]
    ReasonNotUtf8,
}

impl Violation {
    /// The close code to answer with.
    pub fn code(&self) -> u16 {
        match self {
            Self::TooBig { .. } => 3501,
            Self::TextNotUtf8 | Self::ReasonNotUtf8 => 1007,
            Self::ReservedBits
            | Self::ReservedOpcode(_)
            | Self::FragmentedControl
            | Self::LongControl
            | Self::UnexpectedContinuation
            | Self::ExpectedContinuation
            | Self::Unmasked
            | Self::NonMinimalLength
            | Self::LengthTopBit
            | Self::HalfCloseCode
            | Self::CloseCode(_) => 1002,
        }
    }
}
