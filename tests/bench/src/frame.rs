//! WebSocket frames <-> bytes (RFC 6455, section 5), as far as a benchmark needs them: whole messages in one frame.

pub(crate) const TEXT: u8 = 0x1;
pub(crate) const CLOSE: u8 = 0x8;

/// Any key but zero, so that the server has to unmask.
const MASK: [u8; 4] = [0x5a, 0xc3, 0x17, 0x8e];

/// A frame as it was found at the start of some bytes.
pub(crate) struct Frame<'a> {
    pub(crate) opcode: u8,
    pub(crate) payload: &'a [u8],
    /// Bytes of the whole frame.
    pub(crate) length: usize,
}

/// Reads the unmasked frame at the start of `bytes`; `None` while it is incomplete.
pub(crate) fn read(bytes: &[u8]) -> Option<Frame<'_>> {
    let (head, length) = match *bytes.get(1)? & 0x7f {
        126 => (
            4,
            u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?) as usize,
        ),
        127 => (
            10,
            u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?) as usize,
        ),
        short => (2, short as usize),
    };
    let payload = bytes.get(head..head + length)?;
    Some(Frame {
        opcode: bytes[0] & 0x0f,
        payload,
        length: head + length,
    })
}

/// Appends a text frame as a server sends it.
pub(crate) fn write_text(out: &mut Vec<u8>, payload: &[u8]) {
    write_head(out, payload.len(), 0);
    out.extend_from_slice(payload);
}

/// Appends a text frame as a client sends it: masked.
pub(crate) fn write_masked_text(out: &mut Vec<u8>, payload: &[u8]) {
    write_head(out, payload.len(), 0x80);
    out.extend_from_slice(&MASK);
    let start = out.len();
    out.extend_from_slice(payload);
    for chunk in out[start..].chunks_mut(4) {
        for (byte, mask) in chunk.iter_mut().zip(MASK) {
            *byte ^= mask;
        }
    }
}

fn write_head(out: &mut Vec<u8>, length: usize, mask_bit: u8) {
    out.push(0x80 | TEXT);
    match length {
        0..126 => out.push(mask_bit | length as u8),
        126..0x1_0000 => {
            out.push(mask_bit | 126);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        _ => {
            out.push(mask_bit | 127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_of_any_size_reads_back_and_a_cut_one_waits() {
        for length in [0, 1, 125, 126, 200, 0xffff, 0x1_0000] {
            let payload = vec![b'x'; length];
            let mut bytes = Vec::new();
            write_text(&mut bytes, &payload);
            assert!(
                read(&bytes[..bytes.len() - 1]).is_none(),
                "cut frame of {length}"
            );
            bytes.extend_from_slice(b"next");
            let frame = read(&bytes).expect("a whole frame");
            assert_eq!(
                (frame.opcode, frame.payload, frame.length),
                (TEXT, &payload[..], bytes.len() - 4)
            );
        }
    }

    #[test]
    fn a_client_frame_is_masked() {
        let mut bytes = Vec::new();
        write_masked_text(&mut bytes, b"hello");
        assert_eq!(bytes[..2], [0x81, 0x85]);
        let unmasked: Vec<u8> = bytes[6..]
            .iter()
            .enumerate()
            .map(|(i, byte)| byte ^ bytes[2 + i % 4])
            .collect();
        assert_eq!(unmasked, b"hello");
    }
}
