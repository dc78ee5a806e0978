//! The text of a message: a mark to find it by, when it was due, its room and its sequence there, and filler.

/// Occurs in nothing else a server sends, and needs no escaping in JSON.
pub(crate) const MARK: &[u8] = b"=bench=";
const HEX: usize = 16 + 4 + 12;
pub(crate) const MIN_BYTES: usize = MARK.len() + HEX;

pub(crate) struct Message {
    pub(crate) due_ns: u64,
    pub(crate) room: u32,
    pub(crate) sequence: u64,
}

impl Message {
    /// Appends the message as `bytes` bytes, at least [`MIN_BYTES`].
    pub(crate) fn write(&self, out: &mut Vec<u8>, bytes: usize) {
        let end = out.len() + bytes;
        out.extend_from_slice(MARK);
        write_hex(out, self.due_ns, 16);
        write_hex(out, u64::from(self.room), 4);
        write_hex(out, self.sequence, 12);
        out.resize(end, b'x');
    }

    /// Writes the message over the start of another one, which keeps its length.
    pub(crate) fn overwrite(&self, text: &mut [u8]) {
        let mut start = Vec::with_capacity(MIN_BYTES);
        self.write(&mut start, MIN_BYTES);
        text[..MIN_BYTES].copy_from_slice(&start);
    }

    /// Reads a message that starts with its mark.
    pub(crate) fn read(text: &[u8]) -> Option<Self> {
        let hex = text.get(MARK.len()..MIN_BYTES)?;
        Some(Self {
            due_ns: read_hex(&hex[..16])?,
            room: read_hex(&hex[16..20])? as u32,
            sequence: read_hex(&hex[20..])?,
        })
    }
}

/// Where the message starts in `line`, tried first at the place where the last one was.
pub(crate) fn find(line: &[u8], expected: &mut usize) -> Option<usize> {
    if line
        .get(*expected..)
        .is_some_and(|rest| rest.starts_with(MARK))
    {
        return Some(*expected);
    }
    let at = line.windows(MARK.len()).position(|window| window == MARK)?;
    *expected = at;
    Some(at)
}

fn write_hex(out: &mut Vec<u8>, value: u64, digits: u32) {
    for digit in (0..digits).rev() {
        out.push(b"0123456789abcdef"[(value >> (4 * digit)) as usize & 15]);
    }
}

fn read_hex(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |value, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(value << 4 | u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_found_in_its_envelope_and_reads_back() {
        let mut line = b"{\"data\":\"".to_vec();
        Message {
            due_ns: 123_456_789,
            room: 99,
            sequence: 7,
        }
        .write(&mut line, 128);
        assert_eq!(line.len(), 9 + 128);
        let mut expected = 0;
        let at = find(&line, &mut expected).expect("found");
        assert_eq!((at, expected), (9, 9));
        let message = Message::read(&line[at..]).expect("readable");
        assert_eq!(
            (message.due_ns, message.room, message.sequence),
            (123_456_789, 99, 7)
        );
        assert!(find(b"{\"id\":1}", &mut expected).is_none());
    }
}
