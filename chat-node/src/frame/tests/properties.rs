//! Properties over random streams, cut at random.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::oracle::{self, End};
use super::*;

/// A data message with its fragments' lengths, or a control frame.
#[derive(Clone, Debug)]
struct Sent {
    event: Event,
    fragments: Vec<Index>,
    /// Control frames between fragments.
    amid: Vec<Event>,
    mask: [u8; 4],
}

fn payload() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        8 => vec(any::<u8>(), 0..40),
        2 => vec(any::<u8>(), 120..140),
        1 => (any::<u8>(), 65_530_usize..65_560).prop_map(|(byte, len)| vec![byte; len]),
    ]
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => vec(any::<char>(), 0..40).prop_map(String::from_iter),
        1 => (any::<char>(), 16_000_usize..17_000)
            .prop_map(|(char, len)| char.to_string().repeat(len)),
    ]
}

fn control_payload() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..=MAX_CONTROL_BYTES)
}

fn ping_or_pong() -> impl Strategy<Value = Event> {
    prop_oneof![
        control_payload().prop_map(Event::Ping),
        control_payload().prop_map(Event::Pong),
    ]
}

fn close() -> impl Strategy<Value = Event> {
    let code = prop_oneof![1000_u16..=1003, 1007_u16..=1013, 3000_u16..=4999];
    let reason = vec(any::<char>(), 0..30).prop_map(String::from_iter);
    proptest::option::of((code, reason)).prop_map(Event::Close)
}

fn sent() -> impl Strategy<Value = Sent> {
    let event = prop_oneof![
        4 => text().prop_map(Event::Text),
        2 => payload().prop_map(Event::Binary),
        2 => ping_or_pong(),
    ];
    let fragments = prop_oneof![Just(vec![]), vec(any::<Index>(), 1..4)];
    (
        event,
        fragments,
        vec(ping_or_pong(), 0..3),
        any::<[u8; 4]>(),
    )
        .prop_map(|(event, fragments, amid, mask)| Sent {
            event,
            fragments,
            amid,
            mask,
        })
}

fn control_bytes(event: &Event, mask: [u8; 4]) -> Vec<u8> {
    match event {
        Event::Ping(payload) => masked_frame(FIN | PING, payload, mask),
        Event::Pong(payload) => masked_frame(FIN | PONG, payload, mask),
        Event::Close(None) => masked_frame(FIN | CLOSE, &[], mask),
        Event::Close(Some((code, reason))) => {
            let payload = [&code.to_be_bytes(), reason.as_bytes()].concat();
            masked_frame(FIN | CLOSE, &payload, mask)
        }
        Event::Text(_) | Event::Binary(_) => panic!("not a control frame: {event:?}"),
    }
}

/// The bytes of one message, and the events they should become.
fn encode(sent: &Sent) -> (Vec<u8>, Vec<Event>) {
    let (opcode, payload) = match &sent.event {
        Event::Text(text) => (TEXT, text.as_bytes()),
        Event::Binary(payload) => (BINARY, &payload[..]),
        control => return (control_bytes(control, sent.mask), vec![control.clone()]),
    };
    let mut ends: Vec<usize> = sent
        .fragments
        .iter()
        .map(|index| index.index(payload.len() + 1))
        .collect();
    ends.sort_unstable();
    ends.push(payload.len());

    let mut bytes = Vec::new();
    let mut start = 0;
    for (number, &end) in ends.iter().enumerate() {
        let fin = if number + 1 == ends.len() { FIN } else { 0 };
        let opcode = if number == 0 { opcode } else { CONTINUATION };
        let mask = sent.mask.map(|byte| byte.wrapping_add(number as u8));
        bytes.extend(masked_frame(fin | opcode, &payload[start..end], mask));
        start = end;
        if number == 0 && fin == 0 {
            for control in &sent.amid {
                bytes.extend(control_bytes(control, sent.mask));
            }
        }
    }
    let mut events = if ends.len() > 1 {
        sent.amid.clone()
    } else {
        vec![]
    };
    events.push(sent.event.clone());
    (bytes, events)
}

fn session() -> impl Strategy<Value = (Vec<u8>, Vec<Event>)> {
    (vec(sent(), 0..6), proptest::option::of(close())).prop_map(|(sent, close)| {
        let mut stream = (vec![], vec![]);
        for (bytes, events) in sent.iter().map(encode) {
            stream.0.extend(bytes);
            stream.1.extend(events);
        }
        if let Some(close) = close {
            stream.0.extend(control_bytes(&close, [1, 2, 3, 4]));
            stream.1.push(close);
        }
        stream
    })
}

/// Piece sizes: single bytes, header-sized, whole messages.
fn cuts() -> impl Strategy<Value = Vec<usize>> {
    vec(prop_oneof![1_usize..4, 1_usize..20, 1_usize..70_000], 1..8)
}

/// Bytes that mostly look like the starts of frames.
fn noise() -> impl Strategy<Value = Vec<u8>> {
    let first = prop_oneof![
        8 => proptest::sample::select(&[
            0x00, 0x80, 0x01, 0x81, 0x02, 0x82, 0x08, 0x88, 0x09, 0x89, 0x0a, 0x8a,
        ]),
        1 => any::<u8>(),
    ];
    let length = prop_oneof![
        8 => 0x80_u8..0x88,
        1 => Just(0xfe),
        1 => Just(0xff),
        1 => any::<u8>(),
    ];
    let frame = (first, length, vec(any::<u8>(), 0..14))
        .prop_map(|(first, length, rest)| [&[first, length][..], &rest].concat());
    vec(frame, 0..8).prop_map(|frames| frames.concat())
}

/// A session with a few bytes overwritten, inserted or removed.
fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let change = (0_u8..3, any::<Index>(), any::<u8>());
    (session(), vec(change, 1..4)).prop_map(|((mut stream, _), changes)| {
        for (what, index, byte) in changes {
            // Half of the changes hit the first headers, where a byte matters most.
            let bound = if byte & 1 == 0 { 32 } else { usize::MAX };
            let at = index.index(stream.len().min(bound) + 1);
            match what {
                0 => stream.insert(at, byte),
                1 if at < stream.len() => stream[at] = byte,
                2 if at < stream.len() => drop(stream.remove(at)),
                _ => {}
            }
        }
        stream
    })
}

/// Checks that the reader and tungstenite agree on `stream`, but for what [`oracle`] lists.
fn agree(stream: &[u8], ours: &Outcome, max: usize) -> Result<(), TestCaseError> {
    let (events, end) = oracle::read(stream, Role::Server, max);
    let Some(violation) = ours.violation else {
        if end == End::NotUtf8 {
            return not_utf8_so_far(&events, &ours.events);
        }
        if let Some(Event::Close(Some((1014, _)))) = ours.events.last() {
            let before = ours.events.len() - 1;
            prop_assert_eq!(&ours.events[..before], &events[..before]);
            return Ok(());
        }
        let closed = matches!(ours.events.last(), Some(Event::Close(_)));
        prop_assert_eq!(end, if closed { End::Closed } else { End::Waiting });
        prop_assert_eq!(&ours.events, &events);
        return Ok(());
    };

    // Enough zeros for the frame in question, at least its header.
    let (events, end) = if end == End::Waiting {
        oracle::read(&[stream, &vec![0; max + 200]].concat(), Role::Server, max)
    } else {
        (events, end)
    };
    if end == End::NotUtf8 {
        return not_utf8_so_far(&events, &ours.events);
    }
    match violation {
        // A control frame with a long length form is refused before its length, perhaps a short
        // one, is known.
        Violation::NonMinimalLength | Violation::LongControl => {
            let seen = events.get(..ours.events.len());
            prop_assert_eq!(Some(&ours.events[..]), seen);
            return Ok(());
        }
        Violation::CloseCode(_) => {
            let instead = Event::Close(Some((1002, "Protocol violation".into())));
            prop_assert_eq!(events.split_last(), Some((&instead, &ours.events[..])));
            return Ok(());
        }
        Violation::TooBig { .. } => prop_assert_eq!(end, End::TooBig),
        Violation::TextNotUtf8 | Violation::ReasonNotUtf8 => prop_assert_eq!(end, End::NotUtf8),
        // A frame can break two rules, of which tungstenite may see the size first.
        _ => prop_assert!(matches!(end, End::Protocol | End::TooBig), "{end:?}"),
    }
    prop_assert_eq!(&ours.events, &events);
    Ok(())
}

/// Tungstenite stopped at a bad fragment: only control frames may follow before the message ends.
fn not_utf8_so_far(theirs: &[Event], ours: &[Event]) -> Result<(), TestCaseError> {
    prop_assert_eq!(Some(theirs), ours.get(..theirs.len()));
    for event in &ours[theirs.len()..] {
        prop_assert!(!matches!(event, Event::Text(_) | Event::Binary(_)));
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_session_cut_anywhere_arrives_as_sent_and_as_tungstenite_reads_it(
        (stream, events) in session(),
        cuts in cuts(),
    ) {
        let outcome = read_in_pieces(&stream, &cuts, MAX);
        prop_assert_eq!(&outcome.events, &events);
        prop_assert_eq!((outcome.violation, outcome.partial_bytes), (None, 0));
        let closed = matches!(events.last(), Some(Event::Close(_)));
        let end = if closed { End::Closed } else { End::Waiting };
        prop_assert_eq!(oracle::read(&stream, Role::Server, MAX), (events, end));
    }

    #[test]
    fn mutated_sessions_are_judged_alike_at_any_cut_and_by_tungstenite(
        stream in mutated(),
        cuts in cuts(),
        max in prop_oneof![Just(MAX), 0_usize..200],
    ) {
        let outcome = read_in_pieces(&stream, &cuts, max);
        prop_assert_eq!(&outcome, &read_in_pieces(&stream, &[usize::MAX], max));
        agree(&stream, &outcome, max)?;
    }

    #[test]
    fn what_the_writer_writes_tungstenite_reads(
        texts in vec(text(), 0..4),
        parts in vec(text(), 0..4),
        pong in control_payload(),
        close in (1000_u16..=1003, vec(any::<char>(), 0..60).prop_map(String::from_iter)),
    ) {
        let (code, reason) = close;
        let mut out = Vec::new();
        let mut events = Vec::new();
        for text in texts {
            write_text(&mut out, text.as_bytes());
            events.push(Event::Text(text));
        }
        let slices: Vec<_> = parts.iter().map(|part| part.as_bytes()).collect();
        frame_text_parts(&mut out, &slices);
        events.push(Event::Text(parts.concat()));
        write_pong(&mut out, &pong);
        events.push(Event::Pong(pong));
        write_close(&mut out, code, &reason);
        let cut = reason.floor_char_boundary(123);
        events.push(Event::Close(Some((code, reason[..cut].into()))));

        prop_assert_eq!(oracle::read(&out, Role::Client, 1 << 20), (events, End::Closed));
    }
}

proptest! {
    // Short streams, so many more of them.
    #![proptest_config(ProptestConfig::with_cases(16_384))]

    #[test]
    fn noise_is_judged_alike_at_any_cut_and_by_tungstenite(
        stream in prop_oneof![4 => noise(), 1 => vec(any::<u8>(), 0..60)],
        cuts in cuts(),
        max in 0_usize..40,
    ) {
        let outcome = read_in_pieces(&stream, &cuts, max);
        prop_assert_eq!(&outcome, &read_in_pieces(&stream, &[1], max));
        agree(&stream, &outcome, max)?;
    }
}
