//! How messages are handed to the floor and to the peers: `[u32 length][u32 room][text]`, little-endian, one way.
//!
//! The servers under comparison get their messages from here, not from a publishing client: it is the cheapest
//! way in, so the comparison favours them over a chat node, which parses, stores and acknowledges each publish.

const HEAD: usize = 8;

pub(crate) fn write(out: &mut Vec<u8>, room: u32, text: &[u8]) {
    out.extend_from_slice(&(text.len() as u32).to_le_bytes());
    out.extend_from_slice(&room.to_le_bytes());
    out.extend_from_slice(text);
}

/// Takes the next message off the start of `bytes`; `None` while it is incomplete.
pub(crate) fn read<'a>(bytes: &mut &'a [u8]) -> Option<(u32, &'a [u8])> {
    let length = u32::from_le_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
    let room = u32::from_le_bytes(bytes.get(4..HEAD)?.try_into().ok()?);
    let text = bytes.get(HEAD..HEAD + length)?;
    *bytes = &bytes[HEAD + length..];
    Some((room, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_out_as_they_went_in_and_a_cut_one_stays() {
        let mut bytes = Vec::new();
        write(&mut bytes, 7, b"one");
        write(&mut bytes, 8, b"");
        write(&mut bytes, 9, b"three");
        let mut rest = &bytes[..bytes.len() - 1];
        assert_eq!(read(&mut rest), Some((7, &b"one"[..])));
        assert_eq!(read(&mut rest), Some((8, &b""[..])));
        assert_eq!(read(&mut rest), None);
        assert_eq!(rest.len(), HEAD + 4);
    }
}
