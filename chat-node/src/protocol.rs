//! The Centrifuge client protocol, version 2, in JSON and Protobuf: bytes <-> commands and replies. No IO, no state.
//!
//! [`Wire`] knows how a connection is written to, [`Batch`] reads what came. Everything between sees commands,
//! replies and pushes, and no encoding.

pub mod batch;
pub mod command;
pub mod compact;
pub mod disconnect;
pub mod error_code;
pub mod protobuf;
pub mod push;
pub mod reply;
pub mod unidirectional;
pub mod wire;

pub use batch::Batch;
pub use command::{Command, Request};
pub use disconnect::CloseReason;
pub use error_code::{ErrorCode, Refusal};
pub use push::Push;
pub use wire::{Encoding, Wire};

/// Appends `text` as a JSON string.
fn write_string(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("writing a string into memory cannot fail");
}

fn write_number(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}
