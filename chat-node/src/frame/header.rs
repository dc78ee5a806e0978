//! The header of a client frame: parsed and checked against the message it may continue.
//!
//! Checks run in byte order, each as soon as its bytes are there. So what a header is refused for
//! never depends on how the stream was cut, and too long a frame is refused before its payload.

use super::{MAX_CONTROL_BYTES, Violation};

/// The longest header: 2 bytes, a 64-bit length, a mask.
pub(super) const MAX_HEADER_BYTES: usize = 14;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Binary,
    Close,
    Ping,
    Pong,
}

impl Kind {
    pub(super) fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

/// A message whose last fragment is yet to come.
#[derive(Clone, Copy, Debug)]
pub(super) struct OpenMessage {
    pub(super) kind: Kind,
    pub(super) bytes: usize,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    /// For a continuation, the kind of the message it continues.
    pub(super) kind: Kind,
    /// Whether the frame ends its message.
    pub(super) fin: bool,
    /// Whether the frame is all of its message.
    pub(super) whole: bool,
    pub(super) payload_bytes: usize,
    pub(super) mask: [u8; 4],
}

impl Header {
    /// Returns the header at the start of `bytes` and its size, or `None` if its end is missing.
    pub(super) fn parse(
        bytes: &[u8],
        open: Option<OpenMessage>,
        max_message_bytes: usize,
    ) -> Result<Option<(Self, usize)>, Violation> {
        let Some(&first) = bytes.first() else {
            return Ok(None);
        };
        if first & 0x70 != 0 {
            return Err(Violation::ReservedBits);
        }
        let fin = first & 0x80 != 0;
        let opcode = first & 0x0f;
        let kind = kind(opcode, open)?;
        if kind.is_control() && !fin {
            return Err(Violation::FragmentedControl);
        }

        let Some(&second) = bytes.get(1) else {
            return Ok(None);
        };
        if second & 0x80 == 0 {
            return Err(Violation::Unmasked);
        }
        let short = second & 0x7f;
        if kind.is_control() && usize::from(short) > MAX_CONTROL_BYTES {
            return Err(Violation::LongControl);
        }
        let Some((payload_bytes, mask_at)) = length(short, &bytes[2..])? else {
            return Ok(None);
        };
        let open_bytes = open.map_or(0, |message| message.bytes);
        let room = max_message_bytes.saturating_sub(open_bytes);
        let payload_bytes = match usize::try_from(payload_bytes) {
            Ok(bytes) if kind.is_control() || bytes <= room => bytes,
            _ => return Err(Violation::TooBig { max_message_bytes }),
        };

        let Some(&mask) = bytes[mask_at..].first_chunk() else {
            return Ok(None);
        };
        let header = Self {
            kind,
            fin,
            whole: fin && opcode != 0,
            payload_bytes,
            mask,
        };
        Ok(Some((header, mask_at + mask.len())))
    }
}

fn kind(opcode: u8, open: Option<OpenMessage>) -> Result<Kind, Violation> {
    match (opcode, open) {
        (0x0, Some(message)) => Ok(message.kind),
        (0x0, None) => Err(Violation::UnexpectedContinuation),
        (0x1 | 0x2, Some(_)) => Err(Violation::ExpectedContinuation),
        (0x1, None) => Ok(Kind::Text),
        (0x2, None) => Ok(Kind::Binary),
        (0x8, _) => Ok(Kind::Close),
        (0x9, _) => Ok(Kind::Ping),
        (0xa, _) => Ok(Kind::Pong),
        _ => Err(Violation::ReservedOpcode(opcode)),
    }
}

/// Reads the payload length, whose 7-bit form is `short` and whose longer forms start `rest`.
/// Returns it with the offset at which the mask starts in the frame.
fn length(short: u8, rest: &[u8]) -> Result<Option<(u64, usize)>, Violation> {
    let (length, min, mask_at) = match short {
        126 => match rest.first_chunk() {
            Some(&bytes) => (u16::from_be_bytes(bytes).into(), 126, 4),
            None => return Ok(None),
        },
        127 => match rest.first_chunk() {
            Some(&bytes) => (u64::from_be_bytes(bytes), 1 << 16, 10),
            None => return Ok(None),
        },
        _ => (short.into(), 0, 2),
    };
    if length >> 63 != 0 {
        return Err(Violation::LengthTopBit);
    }
    if length < min {
        return Err(Violation::NonMinimalLength);
    }
    Ok(Some((length, mask_at)))
}
