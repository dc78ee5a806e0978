//! Payloads -> server frames: unmasked, unfragmented, appended to a buffer.

use super::MAX_CONTROL_BYTES;

const TEXT: u8 = 0x81;
const BINARY: u8 = 0x82;
const CLOSE: u8 = 0x88;
const PONG: u8 = 0x8a;

/// The header of a text frame, without the payload.
#[derive(Clone, Copy, Debug)]
pub struct TextHeader {
    bytes: [u8; 10],
    used: u8,
}

impl TextHeader {
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.used)]
    }
}

/// Returns the header of a text frame whose payload of `payload_bytes` is sent from elsewhere.
pub fn text_header(payload_bytes: usize) -> TextHeader {
    let mut bytes = [0; 10];
    bytes[0] = TEXT;
    let used = match payload_bytes {
        0..=125 => {
            bytes[1] = payload_bytes as u8;
            2
        }
        126..=0xffff => {
            bytes[1] = 126;
            bytes[2..4].copy_from_slice(&(payload_bytes as u16).to_be_bytes());
            4
        }
        _ => {
            bytes[1] = 127;
            bytes[2..].copy_from_slice(&(payload_bytes as u64).to_be_bytes());
            10
        }
    };
    TextHeader { bytes, used }
}

/// Appends `payload`, which must be UTF-8, as one text frame.
pub fn write_text(out: &mut Vec<u8>, payload: &[u8]) {
    frame_text_parts(out, &[payload]);
}

/// Appends `payload` as one binary frame.
pub fn write_binary(out: &mut Vec<u8>, payload: &[u8]) {
    let start = out.len();
    write_text(out, payload);
    out[start] = BINARY;
}

/// Appends one text frame whose payload is `parts`, joined; together they must be UTF-8.
pub fn frame_text_parts(out: &mut Vec<u8>, parts: &[&[u8]]) {
    let payload_bytes = parts.iter().map(|part| part.len()).sum();
    let header = text_header(payload_bytes);
    out.reserve(header.as_bytes().len() + payload_bytes);
    out.extend_from_slice(header.as_bytes());
    for part in parts {
        out.extend_from_slice(part);
    }
}

/// Appends a pong. A ping's payload always fits; anything longer is cut at 125 bytes.
pub fn write_pong(out: &mut Vec<u8>, payload: &[u8]) {
    let payload = &payload[..payload.len().min(MAX_CONTROL_BYTES)];
    out.extend_from_slice(&[PONG, payload.len() as u8]);
    out.extend_from_slice(payload);
}

/// Appends a close. `reason` is cut to the 123 bytes that fit, before the character that does not.
pub fn write_close(out: &mut Vec<u8>, code: u16, reason: &str) {
    let code = code.to_be_bytes();
    let reason = &reason[..reason.floor_char_boundary(MAX_CONTROL_BYTES - code.len())];
    out.extend_from_slice(&[CLOSE, (code.len() + reason.len()) as u8]);
    out.extend_from_slice(&code);
    out.extend_from_slice(reason.as_bytes());
}
