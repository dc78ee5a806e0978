//! Client bytes -> messages. A frame that lies whole in the input is unmasked and handed on where
//! it is; only what is unfinished at the end of the input is buffered.
//!
//! Between messages a reader owns no heap, and a buffer holds no more than was received: a declared
//! length alone allocates nothing.

use std::mem;
use std::ops::ControlFlow;

use super::header::{Header, Kind, MAX_HEADER_BYTES, OpenMessage};
use super::mask::unmask;
use super::{Incoming, Violation};

/// The reading half of one socket.
#[derive(Debug, Default)]
pub struct Reader {
    /// `None` between messages.
    partial: Option<Box<Partial>>,
}

#[derive(Debug, Default)]
struct Partial {
    /// The first `head_bytes` bytes of a header whose end is missing.
    head: [u8; MAX_HEADER_BYTES],
    head_bytes: usize,
    /// The frame whose payload is arriving: what is missing of it, and the mask from there on.
    frame: Option<Header>,
    /// The kind of the message of which at least one fragment is complete.
    message: Option<Kind>,
    /// Unmasked payload of the unfinished message.
    data: Vec<u8>,
    /// Unmasked payload of the unfinished control frame, which may come amid a message.
    control: Vec<u8>,
}

/// Why reading ends before the input does.
enum Stop {
    Asked,
    Refused(Violation),
}

impl From<Violation> for Stop {
    fn from(violation: Violation) -> Self {
        Self::Refused(violation)
    }
}

impl Reader {
    pub const fn new() -> Self {
        Self { partial: None }
    }

    /// Reads what a socket just received and calls `on` for each complete message and control
    /// frame, in order.
    ///
    /// Shape: `input` is scratch space afterwards. `on` breaks to read no further, as it should
    /// after a close; the rest of the input and anything buffered are then dropped.
    /// Units: `max_message_bytes` bounds the payload of a message, all fragments together.
    /// Errors: the first violation, after which the socket is of no use.
    pub fn read(
        &mut self,
        input: &mut [u8],
        max_message_bytes: usize,
        mut on: impl FnMut(Incoming<'_>) -> ControlFlow<()>,
    ) -> Result<(), Violation> {
        let outcome = self.read_frames(input, max_message_bytes, &mut on);
        if outcome.is_err() || self.partial.as_ref().is_some_and(|it| it.is_empty()) {
            self.partial = None;
        }
        match outcome {
            Ok(()) | Err(Stop::Asked) => Ok(()),
            Err(Stop::Refused(violation)) => Err(violation),
        }
    }

    /// How many bytes of an unfinished frame or message are buffered.
    pub fn partial_bytes(&self) -> usize {
        self.partial
            .as_ref()
            .map_or(0, |it| it.head_bytes + it.data.len() + it.control.len())
    }

    fn read_frames(
        &mut self,
        mut rest: &mut [u8],
        max_message_bytes: usize,
        on: &mut impl FnMut(Incoming<'_>) -> ControlFlow<()>,
    ) -> Result<(), Stop> {
        while !rest.is_empty() {
            if self.partial.as_ref().is_none_or(|it| it.frame.is_none()) {
                let Some((header, used)) = self.read_header(rest, max_message_bytes)? else {
                    return Ok(());
                };
                rest = &mut rest[used..];
                if header.whole && header.payload_bytes <= rest.len() {
                    let (payload, after) = rest.split_at_mut(header.payload_bytes);
                    unmask(payload, header.mask);
                    deliver(header.kind, payload, on)?;
                    rest = after;
                    continue;
                }
                self.partial.get_or_insert_default().frame = Some(header);
            }
            rest = self.buffer_payload(rest, on)?;
        }
        Ok(())
    }

    /// Returns the next header and how many bytes of `input` it took, or `None` if the input ends
    /// before the header does.
    fn read_header(
        &mut self,
        input: &[u8],
        max_message_bytes: usize,
    ) -> Result<Option<(Header, usize)>, Violation> {
        let Some(partial) = &mut self.partial else {
            let parsed = Header::parse(input, None, max_message_bytes)?;
            if parsed.is_none() {
                self.partial.insert(Box::default()).extend_head(input);
            }
            return Ok(parsed);
        };
        let open = partial.message.map(|kind| OpenMessage {
            kind,
            bytes: partial.data.len(),
        });
        if partial.head_bytes == 0 {
            let parsed = Header::parse(input, open, max_message_bytes)?;
            if parsed.is_none() {
                partial.extend_head(input);
            }
            return Ok(parsed);
        }
        let before = partial.head_bytes;
        partial.extend_head(input);
        let parsed = Header::parse(&partial.head[..partial.head_bytes], open, max_message_bytes)?;
        let Some((header, bytes)) = parsed else {
            return Ok(None);
        };
        partial.head_bytes = 0;
        Ok(Some((header, bytes - before)))
    }

    /// Moves payload of the open frame from `rest` to its buffer, hands on what that completes,
    /// and returns the input behind it.
    fn buffer_payload<'a>(
        &mut self,
        rest: &'a mut [u8],
        on: &mut impl FnMut(Incoming<'_>) -> ControlFlow<()>,
    ) -> Result<&'a mut [u8], Stop> {
        let Some(partial) = &mut self.partial else {
            return Ok(rest);
        };
        let Some(frame) = &mut partial.frame else {
            return Ok(rest);
        };
        let (payload, after) = rest.split_at_mut(frame.payload_bytes.min(rest.len()));
        unmask(payload, frame.mask);
        frame.mask.rotate_left(payload.len() % 4);
        frame.payload_bytes -= payload.len();
        let Header {
            kind,
            fin,
            whole: _,
            payload_bytes: missing,
            mask: _,
        } = *frame;
        let buffer = if kind.is_control() {
            &mut partial.control
        } else {
            &mut partial.data
        };
        buffer.extend_from_slice(payload);
        if missing > 0 {
            return Ok(after);
        }

        partial.frame = None;
        if fin {
            let complete = mem::take(buffer);
            if !kind.is_control() {
                partial.message = None;
            }
            deliver(kind, &complete, on)?;
        } else {
            partial.message = Some(kind);
        }
        Ok(after)
    }
}

impl Partial {
    fn is_empty(&self) -> bool {
        self.head_bytes == 0 && self.frame.is_none() && self.message.is_none()
    }

    /// Takes as much of `input` as a header can have.
    fn extend_head(&mut self, input: &[u8]) {
        let free = &mut self.head[self.head_bytes..];
        let taken = free.len().min(input.len());
        free[..taken].copy_from_slice(&input[..taken]);
        self.head_bytes += taken;
    }
}

fn deliver(
    kind: Kind,
    payload: &[u8],
    on: &mut impl FnMut(Incoming<'_>) -> ControlFlow<()>,
) -> Result<(), Stop> {
    let incoming = match kind {
        Kind::Text => Incoming::Text(str::from_utf8(payload).map_err(|_| Violation::TextNotUtf8)?),
        Kind::Binary => Incoming::Binary(payload),
        Kind::Ping => Incoming::Ping(payload),
        Kind::Pong => Incoming::Pong(payload),
        Kind::Close => Incoming::Close(close_reason(payload)?),
    };
    match on(incoming) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(Stop::Asked),
    }
}

fn close_reason(payload: &[u8]) -> Result<Option<(u16, &str)>, Violation> {
    let Some((code, reason)) = payload.split_first_chunk() else {
        return if payload.is_empty() {
            Ok(None)
        } else {
            Err(Violation::HalfCloseCode)
        };
    };
    let code = u16::from_be_bytes(*code);
    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Err(Violation::CloseCode(code));
    }
    let reason = str::from_utf8(reason).map_err(|_| Violation::ReasonNotUtf8)?;
    Ok(Some((code, reason)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An unmasked-looking frame: a zero mask leaves the payload as it is.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let len = u8::try_from(payload.len()).unwrap();
        [&[first, 0x80 | len, 0, 0, 0, 0], payload].concat()
    }

    fn read(reader: &mut Reader, mut bytes: Vec<u8>) {
        reader
            .read(&mut bytes, 1 << 20, |_| ControlFlow::Continue(()))
            .unwrap();
    }

    #[test]
    fn idle_reader_is_one_pointer_and_owns_no_heap() {
        assert_eq!(size_of::<Reader>(), size_of::<usize>());
        let mut reader = Reader::new();
        read(&mut reader, frame(0x81, b"whole"));
        assert!(reader.partial.is_none());
    }

    #[test]
    fn heap_is_released_when_a_split_frame_or_a_fragmented_message_completes() {
        for bytes in [
            frame(0x81, b"text"),
            frame(0x89, b"ping"),
            [frame(0x01, b"one"), frame(0x89, b"p"), frame(0x80, b"two")].concat(),
            [frame(0x01, b""), frame(0x80, b"")].concat(),
        ] {
            for cut in 1..bytes.len() {
                let mut reader = Reader::new();
                read(&mut reader, bytes[..cut].to_vec());
                read(&mut reader, bytes[cut..].to_vec());
                assert!(reader.partial.is_none(), "cut at {cut}");
            }
        }
    }

    #[test]
    fn heap_is_released_when_reading_ends_early() {
        let mut reader = Reader::new();
        read(&mut reader, frame(0x01, b"one"));
        let result = reader.read(&mut frame(0x89, b""), 99, |_| ControlFlow::Break(()));
        assert_eq!(result, Ok(()));
        assert!(reader.partial.is_none());

        read(&mut reader, frame(0x01, b"one"));
        let result = reader.read(&mut frame(0x81, b""), 99, |_| ControlFlow::Continue(()));
        assert_eq!(result, Err(Violation::ExpectedContinuation));
        assert!(reader.partial.is_none());
    }

    #[test]
    fn buffer_grows_with_what_was_received_not_with_the_declared_length() {
        let mut reader = Reader::new();
        // Declares 65,536 bytes, sends 100.
        let mut start = vec![0x82, 0xff, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        start.extend([7; 100]);
        read(&mut reader, start);
        assert_eq!(reader.partial_bytes(), 100);
        assert!(reader.partial.unwrap().data.capacity() < 300);
    }
}
