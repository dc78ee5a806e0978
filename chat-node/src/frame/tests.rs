//! The rules one by one; then properties against tungstenite, see [`oracle`].

use std::ops::ControlFlow;

use super::*;

mod oracle;
mod properties;

const MAX: usize = 100_000;

/// An [`Incoming`] that outlives its input.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Event {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
}

impl From<Incoming<'_>> for Event {
    fn from(incoming: Incoming<'_>) -> Self {
        match incoming {
            Incoming::Text(text) => Self::Text(text.into()),
            Incoming::Binary(payload) => Self::Binary(payload.into()),
            Incoming::Ping(payload) => Self::Ping(payload.into()),
            Incoming::Pong(payload) => Self::Pong(payload.into()),
            Incoming::Close(reason) => {
                Self::Close(reason.map(|(code, reason)| (code, reason.into())))
            }
        }
    }
}

fn text(text: &str) -> Event {
    Event::Text(text.into())
}

/// What became of a whole stream, read up to a close.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Outcome {
    events: Vec<Event>,
    violation: Option<Violation>,
    partial_bytes: usize,
}

/// Reads `stream` in pieces of the sizes in `cuts`, taken in turn.
fn read_in_pieces(stream: &[u8], cuts: &[usize], max_message_bytes: usize) -> Outcome {
    let mut reader = Reader::new();
    let mut events = Vec::new();
    let mut violation = None;
    let mut rest = stream;
    for cut in cuts.iter().cycle() {
        let closed = matches!(events.last(), Some(Event::Close(_)));
        if rest.is_empty() || violation.is_some() || closed {
            break;
        }
        let (piece, after) = rest.split_at((*cut).clamp(1, rest.len()));
        rest = after;
        let on = |incoming: Incoming<'_>| {
            events.push(incoming.into());
            match incoming {
                Incoming::Close(_) => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            }
        };
        violation = reader
            .read(&mut piece.to_vec(), max_message_bytes, on)
            .err();
    }
    Outcome {
        events,
        violation,
        partial_bytes: reader.partial_bytes(),
    }
}

/// Reads `stream` whole and byte by byte, which must agree.
fn read_within(stream: &[u8], max_message_bytes: usize) -> (Vec<Event>, Option<Violation>) {
    let whole = read_in_pieces(stream, &[usize::MAX], max_message_bytes);
    assert_eq!(whole, read_in_pieces(stream, &[1], max_message_bytes));
    (whole.events, whole.violation)
}

fn read(stream: &[u8]) -> (Vec<Event>, Option<Violation>) {
    read_within(stream, MAX)
}

/// The violation that ends `stream`, with its close code checked.
#[track_caller]
fn refused(stream: &[u8], code: u16) -> Violation {
    let violation = read(stream).1.expect("refused");
    assert_eq!(violation.code(), code);
    violation
}

const FIN: u8 = 0x80;
const CONTINUATION: u8 = 0x0;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xa;

/// A client's frame with a shortest-form length.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    masked_frame(first, payload, [0x37, 0xfa, 0x21, 0x3d])
}

fn masked_frame(first: u8, payload: &[u8], mask: [u8; 4]) -> Vec<u8> {
    let mut bytes = text_header(payload.len()).as_bytes().to_vec();
    bytes[0] = first;
    bytes[1] |= 0x80;
    bytes.extend(mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(a, b)| a ^ b));
    bytes
}

fn close_frame(code: u16, reason: &[u8]) -> Vec<u8> {
    frame(FIN | CLOSE, &[&code.to_be_bytes(), reason].concat())
}

#[test]
fn each_kind_of_frame_arrives_as_what_it_is() {
    let stream = [
        frame(FIN | TEXT, "grüße".as_bytes()),
        frame(FIN | BINARY, &[0xff, 0x00]),
        frame(FIN | PING, b"ping"),
        frame(FIN | PONG, b""),
        close_frame(1000, b"bye"),
    ]
    .concat();
    let events = vec![
        text("grüße"),
        Event::Binary(vec![0xff, 0x00]),
        Event::Ping(b"ping".into()),
        Event::Pong(vec![]),
        Event::Close(Some((1000, "bye".into()))),
    ];
    assert_eq!(read(&stream), (events, None));
}

#[test]
fn example_of_rfc_6455_is_read() {
    let hello = [
        0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58,
    ];
    assert_eq!(read(&hello), (vec![text("Hello")], None));
}

#[test]
fn payloads_around_every_length_encoding_arrive() {
    for len in [0, 1, 125, 126, 127, 65_535, 65_536] {
        let payload = "x".repeat(len);
        let stream = frame(FIN | TEXT, payload.as_bytes());
        assert_eq!(read(&stream), (vec![text(&payload)], None));
    }
}

#[test]
fn fragments_arrive_as_one_message_even_when_a_character_is_cut() {
    let stream = [
        frame(TEXT, b"gr\xc3"),
        frame(CONTINUATION, b""),
        frame(CONTINUATION, b"\xbc\xc3"),
        frame(FIN | CONTINUATION, b"\x9fe"),
    ]
    .concat();
    assert_eq!(read(&stream), (vec![text("grüße")], None));
}

#[test]
fn control_frames_amid_a_fragmented_message_arrive_first() {
    let stream = [
        frame(TEXT, b"one "),
        frame(FIN | PING, b"a"),
        frame(CONTINUATION, b"two "),
        frame(FIN | PONG, b"b"),
        frame(FIN | CONTINUATION, b"three"),
    ]
    .concat();
    let events = vec![
        Event::Ping(b"a".into()),
        Event::Pong(b"b".into()),
        text("one two three"),
    ];
    assert_eq!(read(&stream), (events, None));
}

#[test]
fn message_sent_byte_by_byte_costs_linear_work() {
    // A quadratic reader would take minutes.
    let payload = "x".repeat(4 << 20);
    let stream = frame(FIN | TEXT, payload.as_bytes());
    let outcome = read_in_pieces(&stream, &[1], usize::MAX);
    assert_eq!(outcome.events, [text(&payload)]);
}

#[test]
fn message_in_one_byte_fragments_arrives() {
    let mut stream = frame(TEXT, b"");
    for _ in 0..100_000 {
        stream.extend(frame(CONTINUATION, b"x"));
    }
    stream.extend(frame(FIN | CONTINUATION, b""));
    let outcome = read_in_pieces(&stream, &[1000], MAX);
    assert_eq!(outcome.events, [text(&"x".repeat(100_000))]);
}

#[test]
fn partial_bytes_counts_what_is_buffered() {
    let stream = [frame(TEXT, b"four"), frame(FIN | CONTINUATION, b"six")].concat();
    let partial = |len| read_in_pieces(&stream[..len], &[1], MAX).partial_bytes;
    assert_eq!(partial(0), 0);
    assert_eq!(partial(5), 5);
    assert_eq!(partial(8), 2);
    assert_eq!(partial(10), 4);
    assert_eq!(partial(12), 6);
    assert_eq!(partial(18), 6);
    assert_eq!(partial(19), 0);
}

#[test]
fn break_drops_the_rest_of_the_input() {
    let mut stream = [frame(FIN | TEXT, b"one"), frame(FIN | TEXT, b"two")].concat();
    let mut seen = 0;
    let mut reader = Reader::new();
    let result = reader.read(&mut stream, MAX, |_| {
        seen += 1;
        ControlFlow::Break(())
    });
    assert_eq!((result, seen, reader.partial_bytes()), (Ok(()), 1, 0));
}

#[test]
fn messages_before_a_violation_arrive() {
    let stream = [frame(FIN | TEXT, b"one"), frame(FIN | 0x3, b"")].concat();
    let (events, violation) = read(&stream);
    assert_eq!(events, [text("one")]);
    assert_eq!(violation, Some(Violation::ReservedOpcode(3)));
}

#[test]
fn unmasked_frame_is_refused() {
    assert_eq!(
        refused(&[0x81, 0x02, b'h', b'i'], 1002),
        Violation::Unmasked
    );
}

#[test]
fn reserved_bits_are_refused() {
    for bit in [0x40, 0x20, 0x10] {
        let violation = refused(&frame(FIN | bit | TEXT, b""), 1002);
        assert_eq!(violation, Violation::ReservedBits);
    }
}

#[test]
fn reserved_opcodes_are_refused() {
    for opcode in (0x3..=0x7).chain(0xb..=0xf) {
        let violation = refused(&[FIN | opcode], 1002);
        assert_eq!(violation, Violation::ReservedOpcode(opcode));
    }
}

#[test]
fn fragmented_control_frame_is_refused() {
    for opcode in [CLOSE, PING, PONG] {
        let violation = refused(&frame(opcode, b""), 1002);
        assert_eq!(violation, Violation::FragmentedControl);
    }
}

#[test]
fn control_frame_above_125_bytes_is_refused() {
    for opcode in [CLOSE, PING, PONG] {
        let violation = refused(&frame(FIN | opcode, &[0; 126]), 1002);
        assert_eq!(violation, Violation::LongControl);
    }
    let longest = Event::Ping(vec![7; 125]);
    assert_eq!(read(&frame(FIN | PING, &[7; 125])), (vec![longest], None));
}

#[test]
fn continuation_without_a_message_is_refused() {
    let violation = refused(&frame(FIN | CONTINUATION, b""), 1002);
    assert_eq!(violation, Violation::UnexpectedContinuation);

    let after_message = [frame(FIN | TEXT, b""), frame(CONTINUATION, b"")].concat();
    let violation = refused(&after_message, 1002);
    assert_eq!(violation, Violation::UnexpectedContinuation);
}

#[test]
fn new_message_inside_a_fragmented_one_is_refused() {
    for opcode in [TEXT, BINARY] {
        let stream = [frame(TEXT, b"one"), frame(FIN | opcode, b"two")].concat();
        assert_eq!(refused(&stream, 1002), Violation::ExpectedContinuation);
    }
}

#[test]
fn length_with_its_top_bit_set_is_refused() {
    let header = [0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 1];
    assert_eq!(refused(&header, 1002), Violation::LengthTopBit);
}

#[test]
fn length_not_in_its_shortest_form_is_refused() {
    for header in [
        &[0x82, 0xfe, 0, 125][..],
        &[0x82, 0xff, 0, 0, 0, 0, 0, 0, 0, 1],
        &[0x82, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff],
    ] {
        assert_eq!(refused(header, 1002), Violation::NonMinimalLength);
    }
}

#[test]
fn close_without_a_code_arrives_and_half_a_code_is_refused() {
    let empty = frame(FIN | CLOSE, b"");
    assert_eq!(read(&empty), (vec![Event::Close(None)], None));
    let violation = refused(&frame(FIN | CLOSE, &[3]), 1002);
    assert_eq!(violation, Violation::HalfCloseCode);
}

#[test]
fn close_codes_that_may_not_be_sent_are_refused() {
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65_535] {
        let violation = refused(&close_frame(code, b""), 1002);
        assert_eq!(violation, Violation::CloseCode(code));
    }
    for code in [1000, 1001, 1003, 1007, 1014, 3000, 3501, 4999] {
        let event = Event::Close(Some((code, "why".into())));
        assert_eq!(read(&close_frame(code, b"why")), (vec![event], None));
    }
}

#[test]
fn text_that_is_not_utf8_is_refused_as_1007_when_the_message_ends() {
    for payload in [&b"\xff"[..], b"\xc3", b"\xed\xa0\x80", b"ok\xc0\xaf"] {
        let violation = refused(&frame(FIN | TEXT, payload), 1007);
        assert_eq!(violation, Violation::TextNotUtf8);
    }
    let started = frame(TEXT, b"\xff");
    assert_eq!(read(&started), (vec![], None));
    let ended = [started, frame(FIN | CONTINUATION, b"")].concat();
    assert_eq!(refused(&ended, 1007), Violation::TextNotUtf8);
}

#[test]
fn close_reason_that_is_not_utf8_is_refused_as_1007() {
    let violation = refused(&close_frame(1000, b"\xff"), 1007);
    assert_eq!(violation, Violation::ReasonNotUtf8);
}

#[test]
fn message_above_the_maximum_is_refused_from_its_header() {
    let too_big = Violation::TooBig {
        max_message_bytes: 300,
    };
    let stream = frame(FIN | TEXT, &[b'x'; 301]);
    assert_eq!(read_within(&stream[..4], 300), (vec![], Some(too_big)));
    assert_eq!(too_big.code(), 3501);

    let largest = frame(FIN | TEXT, &[b'x'; 300]);
    assert_eq!(
        read_within(&largest, 300),
        (vec![text(&"x".repeat(300))], None)
    );
}

#[test]
fn fragments_above_the_maximum_together_are_refused_from_the_header_that_exceeds() {
    let start = [frame(TEXT, &[b'x'; 100]), frame(CONTINUATION, &[b'x'; 100])].concat();
    let exceeding = frame(FIN | CONTINUATION, &[b'x'; 101]);
    let stream = [&start, &exceeding[..2]].concat();
    let too_big = Violation::TooBig {
        max_message_bytes: 300,
    };
    assert_eq!(read_within(&stream, 300), (vec![], Some(too_big)));
}

#[test]
fn control_frames_do_not_count_towards_the_maximum() {
    let stream = [
        frame(TEXT, b"xx"),
        frame(FIN | PING, &[7; 125]),
        frame(FIN | CONTINUATION, b"x"),
    ]
    .concat();
    let events = vec![Event::Ping(vec![7; 125]), text("xxx")];
    assert_eq!(read_within(&stream, 3), (events, None));
}

#[test]
fn every_violation_text_fits_a_close_reason() {
    let most = usize::MAX;
    for violation in [
        Violation::ReservedBits,
        Violation::ReservedOpcode(0xf),
        Violation::FragmentedControl,
        Violation::LongControl,
        Violation::UnexpectedContinuation,
        Violation::ExpectedContinuation,
        Violation::Unmasked,
        Violation::NonMinimalLength,
        Violation::LengthTopBit,
        Violation::TooBig {
            max_message_bytes: most,
        },
        Violation::TextNotUtf8,
        Violation::HalfCloseCode,
        Violation::CloseCode(u16::MAX),
        Violation::ReasonNotUtf8,
    ] {
        let text = violation.to_string();
        assert!(text.len() <= 100, "{text}");
        assert!(text.contains("expected"), "{text}");
    }
}

#[test]
fn close_reason_is_cut_at_123_bytes_before_a_character_that_does_not_fit() {
    let mut out = Vec::new();
    write_close(&mut out, 3501, &"é".repeat(100));
    assert_eq!(out[..4], [0x88, 124, 0x0d, 0xad]);
    assert_eq!(out[4..], *"é".repeat(61).as_bytes());
}

#[test]
fn pong_above_125_bytes_is_cut() {
    let mut out = Vec::new();
    write_pong(&mut out, &[7; 126]);
    assert_eq!(out, [&[0x8a, 125][..], &[7; 125]].concat());
}
