//! The Centrifuge client protocol, version 2, in JSON: bytes <-> commands and replies. No IO, no state.
//!
//! One WebSocket text frame holds one or more JSON objects, separated by newlines.

pub mod command;
pub mod compact;
pub mod disconnect;
pub mod error_code;
pub mod push;
pub mod reply;
pub mod wire;

pub use command::{Command, Commands, Request};
pub use disconnect::CloseReason;
pub use error_code::{ErrorCode, Refusal};
pub use push::Push;
pub use wire::Wire;

/// Appends `text` as a JSON string.
fn write_string(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("writing a string into memory cannot fail");
}

fn write_number(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}
