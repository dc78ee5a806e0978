//! Any bytes, cut anywhere: the reader never panics, what it makes of them does not depend on the
//! cuts, and it buffers no more than it was given.
//!
//! Input: the largest message's size, how many cuts, the pieces' sizes (a byte each), the stream.

#![no_main]

use std::ops::ControlFlow;

use chat_node::frame::{Incoming, Reader, Violation};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let [max_message_bytes, cuts, rest @ ..] = data else {
        return;
    };
    let (cuts, stream) = rest.split_at((usize::from(*cuts) % 16).min(rest.len()));
    let max_message_bytes = usize::from(*max_message_bytes) * 16;

    let pieces = cuts.iter().map(|cut| usize::from(*cut)).chain([1]).cycle();
    let in_pieces = read(stream, pieces, max_message_bytes);
    let whole = read(stream, std::iter::repeat(stream.len()), max_message_bytes);
    assert_eq!(in_pieces, whole);
});

#[derive(Debug, Default, PartialEq)]
struct Outcome {
    /// The debug form of what arrived.
    events: Vec<String>,
    violation: Option<Violation>,
    partial_bytes: usize,
}

fn read(
    mut stream: &[u8],
    mut pieces: impl Iterator<Item = usize>,
    max_message_bytes: usize,
) -> Outcome {
    let mut reader = Reader::new();
    let mut outcome = Outcome::default();
    let mut received = 0;
    let mut closed = false;
    while !stream.is_empty() && !closed && outcome.violation.is_none() {
        let size = pieces.next().map_or(1, |size| size.clamp(1, stream.len()));
        let (piece, after) = stream.split_at(size);
        stream = after;
        received += size;
        let on = |incoming: Incoming<'_>| {
            outcome.events.push(format!("{incoming:?}"));
            closed = matches!(incoming, Incoming::Close(_));
            if closed {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        };
        outcome.violation = reader
            .read(&mut piece.to_vec(), max_message_bytes, on)
            .err();
        assert!(reader.partial_bytes() <= received);
    }
    outcome.partial_bytes = reader.partial_bytes();
    outcome
}
