//! One member: its socket, the rooms it joined, and which message must come next in each.

use std::io::{self, Read, Write};
use std::net::TcpStream;

use anyhow::{Context, Result, bail};

use crate::frame;
use crate::message::Message;

pub(crate) struct Connection {
    stream: TcpStream,
    /// The start of a frame whose end has not arrived.
    partial: Vec<u8>,
    first_room: u32,
    /// The expected sequence of each joined room, from `first_room` on.
    next: Vec<u64>,
}

/// What one read brought.
pub(crate) struct Received {
    pub(crate) bytes: usize,
    /// Whether more may be waiting.
    pub(crate) more: bool,
}

impl Connection {
    pub(crate) fn new(stream: TcpStream, first_room: u32, next: Vec<u64>) -> Self {
        Self {
            stream,
            partial: Vec::new(),
            first_room,
            next,
        }
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Reads once and hands every complete line to `on_line`, with the member's place to check it against.
    pub(crate) fn receive(
        &mut self,
        buffer: &mut [u8],
        mut on_line: impl FnMut(&mut Place<'_>, &[u8]) -> Result<()>,
    ) -> Result<Received> {
        let bytes = match self.stream.read(buffer) {
            Ok(0) => bail!("closed by the server"),
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Ok(Received {
                    bytes: 0,
                    more: false,
                });
            }
            Err(error) => return Err(error).context("failed to receive"),
        };
        self.take(&buffer[..bytes], &mut on_line)?;
        Ok(Received {
            bytes,
            more: bytes == buffer.len(),
        })
    }

    /// Takes bytes that were received already.
    pub(crate) fn take(
        &mut self,
        bytes: &[u8],
        on_line: &mut impl FnMut(&mut Place<'_>, &[u8]) -> Result<()>,
    ) -> Result<()> {
        let mut place = Place {
            stream: &self.stream,
            first_room: self.first_room,
            next: &mut self.next,
        };
        if self.partial.is_empty() {
            let used = read_frames(bytes, &mut place, on_line)?;
            self.partial.extend_from_slice(&bytes[used..]);
        } else {
            self.partial.extend_from_slice(bytes);
            let used = read_frames(&self.partial, &mut place, on_line)?;
            self.partial.drain(..used);
        }
        Ok(())
    }
}

/// What a line may touch of its connection.
pub(crate) struct Place<'a> {
    stream: &'a TcpStream,
    first_room: u32,
    next: &'a mut [u64],
}

impl Place<'_> {
    /// Notes the message; false if it is not the one that must come next in its room.
    pub(crate) fn advance(&mut self, message: &Message) -> bool {
        let Some(next) = self
            .next
            .get_mut(message.room.wrapping_sub(self.first_room) as usize)
        else {
            return false;
        };
        let in_order = *next == message.sequence;
        *next = message.sequence + 1;
        in_order
    }

    /// Sends a small text; for answers to pings, which are rare.
    pub(crate) fn say(&mut self, text: &[u8]) -> Result<()> {
        let mut frame = Vec::new();
        frame::write_masked_text(&mut frame, text);
        self.stream.write_all(&frame).context("failed to answer")
    }
}

/// Hands out the lines of all complete frames; returns how many bytes they took.
fn read_frames(
    bytes: &[u8],
    place: &mut Place<'_>,
    on_line: &mut impl FnMut(&mut Place<'_>, &[u8]) -> Result<()>,
) -> Result<usize> {
    let mut used = 0;
    while let Some(frame) = frame::read(&bytes[used..]) {
        used += frame.length;
        match frame.opcode {
            frame::TEXT if frame.payload.contains(&b'\n') => {
                for line in frame
                    .payload
                    .split(|byte| *byte == b'\n')
                    .filter(|line| !line.is_empty())
                {
                    on_line(place, line)?;
                }
            }
            frame::TEXT => on_line(place, frame.payload)?,
            frame::CLOSE => bail!("closed by the server: {}", close_reason(frame.payload)),
            opcode => bail!("a frame with opcode {opcode} came"),
        }
    }
    Ok(used)
}

fn close_reason(payload: &[u8]) -> String {
    match payload {
        [high, low, reason @ ..] => {
            format!(
                "{} {}",
                u16::from_be_bytes([*high, *low]),
                String::from_utf8_lossy(reason)
            )
        }
        _ => "no code".to_owned(),
    }
}
