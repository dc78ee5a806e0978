//! What a chat node puts around a message, so that all servers can be made to send the same number of bytes.

use anyhow::{Context, Result};

use crate::message::{self, Message};

const OFFSET: &[u8] = b"\"offset\":";

/// A delivered line, taken apart: `before` message `between` offset `after`.
pub(crate) struct Envelope {
    before: Vec<u8>,
    between: Vec<u8>,
    after: Vec<u8>,
}

impl Default for Envelope {
    /// A node's push as docs/protocol.md has it, for runs without a node.
    fn default() -> Self {
        Self {
            before: br#"{"push":{"channel":"r0000","pub":{"data":""#.to_vec(),
            between: br#"","offset":"#.to_vec(),
            after: br#","info":{"user":"","client":"00000000-0000-4000-8000-000000000000"}}}}"#
                .to_vec(),
        }
    }
}

impl Envelope {
    /// Takes apart a line that carries a message of `bytes` bytes.
    pub(crate) fn learn(line: &[u8], bytes: usize) -> Result<Self> {
        let start = message::find(line, &mut 0).context("the line carries no message")?;
        let rest = line.get(start + bytes..).context("the message is cut")?;
        let digits = rest
            .windows(OFFSET.len())
            .position(|window| window == OFFSET)
            .map(|at| at + OFFSET.len());
        let digits = digits.unwrap_or(rest.len());
        let after = digits
            + rest[digits..]
                .iter()
                .take_while(|byte| byte.is_ascii_digit())
                .count();
        Ok(Self {
            before: line[..start].to_vec(),
            between: rest[..digits].to_vec(),
            after: rest[after..].to_vec(),
        })
    }

    /// Appends the line with `message` in it.
    pub(crate) fn write(&self, out: &mut Vec<u8>, message: &Message, bytes: usize) {
        out.extend_from_slice(&self.before);
        message.write(out, bytes);
        out.extend_from_slice(&self.between);
        out.extend_from_slice(offset(message).as_bytes());
        out.extend_from_slice(&self.after);
    }

    /// Appends `message`, filled up so that it has the length of the line after `wrapping` more bytes around it.
    pub(crate) fn write_padded(
        &self,
        out: &mut Vec<u8>,
        message: &Message,
        bytes: usize,
        wrapping: usize,
    ) {
        let line = self.length(bytes) - 1 + offset(message).len();
        message.write(out, line - wrapping);
    }

    /// The length of a line whose offset has one digit.
    pub(crate) fn length(&self, bytes: usize) -> usize {
        self.before.len() + bytes + self.between.len() + 1 + self.after.len()
    }

    /// The line with its message left out.
    pub(crate) fn example(&self) -> String {
        let text = [
            &self.before[..],
            "…".as_bytes(),
            &self.between,
            b"1",
            &self.after,
        ]
        .concat();
        String::from_utf8_lossy(&text).into_owned()
    }
}

/// A node numbers a room's messages from one.
fn offset(message: &Message) -> String {
    (message.sequence + 1).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_learned_envelope_writes_the_line_it_was_learned_from() {
        let message = Message {
            due_ns: 5,
            room: 0,
            sequence: 41,
        };
        let mut line = Vec::new();
        Envelope::default().write(&mut line, &message, 128);
        let learned = Envelope::learn(&line, 128).expect("a line with a message");
        let mut again = Vec::new();
        learned.write(&mut again, &message, 128);
        assert_eq!(
            String::from_utf8_lossy(&again),
            String::from_utf8_lossy(&line)
        );
        let mut padded = Vec::new();
        learned.write_padded(&mut padded, &message, 128, 10);
        assert_eq!(padded.len() + 10, line.len());
    }
}
