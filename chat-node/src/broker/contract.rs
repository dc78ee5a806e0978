//! What every broker promises, one test for each promise.
//!
//! `keeps_the_contract!(make)` in a broker's tests runs them all; `make` is an async function from a recorder to a
//! broker that keeps at least 10,000 publications of a room for a minute. Offsets may have holes, and a position
//! may be beyond the room's newest publication.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Barrier;
use tokio::time::Instant;

use self::node::{Node, fresh_room, json, message, offsets, room_named, with_id};
use super::peers::{self, CallError, Event, Gathered, Ping, Request};
use super::{Author, Error, HistoryQuery, Message, Position, Publication, Readable, Tags};
use crate::ids::{RoomName, SessionId, UserId};

pub(super) mod node;

const PING: Request = Request::Ping(Ping {});
const DEADLINE: Duration = Duration::from_secs(20);

macro_rules! keeps_the_contract {
    ($make:path) => {
        $crate::broker::contract::promises! { $make:
            offsets_strictly_increase,
            the_feed_brings_each_publication_once_and_in_order,
            a_publication_arrives_as_it_was_published,
            a_room_is_fed_until_its_last_close,
            a_join_without_a_position_recovers_nothing,
            a_join_recovers_exactly_what_was_missed,
            a_room_can_be_resumed_from_before_its_first_publication,
            a_new_room_is_recovered_from_the_beginning,
            a_position_of_another_epoch_is_not_recovered,
            a_position_from_the_future_is_not_recovered,
            the_cut_is_exact_while_others_publish,
            history_pages_forward,
            history_pages_backward,
            history_starts_at_the_end_that_is_asked_for,
            history_without_a_limit_is_the_position,
            history_stops_at_the_byte_limit,
            history_of_another_epoch_is_refused,
            history_begins_after_what_is_asked_for,
            the_newest_of_a_room_are_readable,
            what_is_young_enough_is_readable,
            history_from_the_future_is_empty,
            what_came_after_an_offset_is_counted,
            what_is_counted_is_kept,
            a_message_with_an_id_is_kept_once,
            an_id_stands_for_one_message,
            an_id_belongs_to_its_room_and_author,
            what_is_erased_is_gone_and_missed_by_whoever_missed_it,
            rooms_do_not_see_each_other,
            rooms_with_similar_names_are_not_confused,
            a_call_to_a_node_that_is_not_there_fails_at_once,
            a_node_without_others_gathers_nothing_at_once,
            what_a_node_tells_others_does_not_come_back,
        }
    };
}

macro_rules! promises {
    ($make:path: $($promise:ident),* $(,)?) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
        async fn $promise() {
            $crate::broker::contract::$promise($crate::broker::contract::start($make).await).await;
        }
    )*};
}

pub(super) use {keeps_the_contract, node::start, promises};

pub(super) async fn offsets_strictly_increase(node: Node) {
    let room = fresh_room();
    let mut last = node.join(&room, None).await.position;
    for n in 0..50 {
        let position = node.publish(&room, n).await;
        assert!(position.offset > last.offset, "{position:?} after {last:?}");
        assert_eq!(position.epoch, last.epoch);
        last = position;
    }
    let end = node.join(&room, None).await.position;
    assert!(end.offset >= last.offset);
    assert_eq!(end.epoch, last.epoch);
}

pub(super) async fn the_feed_brings_each_publication_once_and_in_order(node: Node) {
    let room = fresh_room();
    node.broker.open(&room);
    let together = Arc::new(Barrier::new(4));
    let publishers: Vec<_> = (0..4)
        .map(|publisher| {
            let (node, room, together) = (node.clone(), room.clone(), together.clone());
            tokio::spawn(async move {
                let mut acknowledged = Vec::new();
                together.wait().await;
                for n in 0..250 {
                    let text = format!("{publisher}/{n}");
                    let offset = node.publish(&room, &text).await.offset;
                    acknowledged.push((offset, json(&text)));
                }
                acknowledged
            })
        })
        .collect();
    let mut acknowledged = Vec::new();
    for publisher in publishers {
        acknowledged.extend(publisher.await.unwrap());
    }
    acknowledged.sort();
    node.feed.wait_for(&room, acknowledged[999].0).await;
    let fed = node.feed.of(&room);
    let fed: Vec<_> = fed.iter().map(|p| (p.offset, p.data.clone())).collect();
    assert_eq!(fed, acknowledged);
}

pub(super) async fn a_publication_arrives_as_it_was_published(node: Node) {
    let room = fresh_room();
    node.broker.open(&room);
    let start = node.join(&room, None).await.position;
    let texts = [
        "null".to_owned(),
        r#"{"a":[1,2.50,-0e1],"a":"twice","":{}}"#.to_owned(),
        "\"grüße \u{2028} \\u0000 \\n 🦀 * > . \"".to_owned(),
        format!("\"{}\"", "x".repeat(60_000)),
    ];
    let client = SessionId::random();
    let authors = [
        None,
        Some(Author::plain(UserId::ANONYMOUS, client)),
        Some(Author {
            conn_info: Some(r#"{"name":"Ann ü"}"#.into()),
            chan_info: Some("[7,null]".into()),
            ..Author::plain(UserId::named("ann"), client)
        }),
    ];
    let mut expected = Vec::new();
    let tags = [("kind", "note"), ("ü \"", ""), ("", "\n")];
    let tags = tags.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let tags = Arc::new(Tags::from(tags));
    for text in &texts {
        for author in &authors {
            let message = Message {
                data: text.clone().into(),
                author: author.clone(),
                tags: (text.len() % 2 == 0).then(|| tags.clone()),
                id: None,
            };
            let position = node.broker.publish(&room, message.clone()).await.unwrap();
            expected.push(Arc::new(Publication {
                offset: position.offset,
                data: message.data,
                author: message.author,
                tags: message.tags,
            }));
        }
    }
    let last = expected.last().expect("something was published").offset;
    node.feed.wait_for(&room, last).await;
    assert_eq!(node.feed.of(&room), expected);
    assert_eq!(node.join(&room, Some(start)).await.publications, expected);
    assert_eq!(node.all_history(&room).await, expected);
}

pub(super) async fn a_room_is_fed_until_its_last_close(node: Node) {
    let (room, witness) = (fresh_room(), fresh_room());
    node.broker.open(&witness);
    let start = node.join(&room, None).await.position;
    let before = node.publish(&room, "before").await.offset;
    // Two workers open the room and one closes it: the other is still fed, each publication once.
    node.broker.open(&room);
    node.broker.open(&room);
    node.broker.close(&room);
    let cut = node.join(&room, None).await.position.offset;
    let during = node.publish(&room, "during").await.offset;
    node.feed.wait_for(&room, during).await;
    node.broker.close(&room);
    let after = node.publish(&room, "after").await.offset;
    let witnessed = node.publish(&witness, "witness").await.offset;
    node.feed.wait_for(&witness, witnessed).await;
    let mut fed = offsets(&node.feed.of(&room));
    // What a feed brings of a room that is closed is nobody's.
    fed.retain(|offset| *offset > cut && *offset < after);
    assert_eq!(fed, [during]);
    let kept = node.join(&room, Some(start)).await.publications;
    assert_eq!(offsets(&kept), [before, during, after]);
}

pub(super) async fn a_join_without_a_position_recovers_nothing(node: Node) {
    let room = fresh_room();
    node.publish(&room, 1).await;
    let end = node.publish(&room, 2).await;
    let joined = node.join(&room, None).await;
    assert!(!joined.recovered);
    assert!(joined.publications.is_empty());
    assert!(joined.position.offset >= end.offset);
}

pub(super) async fn a_join_recovers_exactly_what_was_missed(node: Node) {
    let room = fresh_room();
    let mut positions = vec![node.join(&room, None).await.position];
    for n in 0..10 {
        positions.push(node.publish(&room, n).await);
    }
    for (missed_from, position) in positions.iter().enumerate() {
        let joined = node.join(&room, Some(position.clone())).await;
        assert!(joined.recovered);
        let missed = positions[missed_from + 1..].iter().map(|p| p.offset);
        assert_eq!(offsets(&joined.publications), missed.collect::<Vec<_>>());
        assert!(joined.position.offset >= positions[10].offset);
        assert_eq!(joined.position.epoch, position.epoch);
        // Whoever is at the cut has missed nothing.
        let again = node.join(&room, Some(joined.position)).await;
        assert!(again.recovered);
        assert!(again.publications.is_empty());
    }
}

pub(super) async fn a_room_can_be_resumed_from_before_its_first_publication(node: Node) {
    let room = fresh_room();
    let empty = node.join(&room, None).await.position;
    let again = node.join(&room, Some(empty.clone())).await;
    assert!(again.recovered);
    assert!(again.publications.is_empty());
    let first = node.publish(&room, "first").await.offset;
    let joined = node.join(&room, Some(empty)).await;
    assert!(joined.recovered);
    assert_eq!(offsets(&joined.publications), [first]);
}

pub(super) async fn a_new_room_is_recovered_from_the_beginning(node: Node) {
    let room = fresh_room();
    let beginning = Position {
        offset: 0,
        epoch: "".into(),
    };
    let joined = node.join(&room, Some(beginning.clone())).await;
    assert!(joined.recovered);
    assert!(joined.publications.is_empty());
    let first = node.publish(&room, 1).await.offset;
    let second = node.publish(&room, 2).await.offset;
    let joined = node.join(&room, Some(beginning)).await;
    assert!(joined.recovered);
    assert_eq!(offsets(&joined.publications), [first, second]);
}

pub(super) async fn a_position_of_another_epoch_is_not_recovered(node: Node) {
    let room = fresh_room();
    let first = node.publish(&room, 1).await;
    node.publish(&room, 2).await;
    // An empty epoch is known only together with offset 0.
    for epoch in ["another", ""] {
        let resume = Position {
            offset: first.offset,
            epoch: epoch.into(),
        };
        let joined = node.join(&room, Some(resume)).await;
        assert!(!joined.recovered);
        assert!(joined.publications.is_empty());
        assert_eq!(joined.position.epoch, first.epoch);
    }
}

pub(super) async fn a_position_from_the_future_is_not_recovered(node: Node) {
    let room = fresh_room();
    node.publish(&room, 1).await;
    let mut future = node.join(&room, None).await.position;
    future.offset += 1_000_000;
    match node.broker.join(&room, Some(future.clone())).await {
        Ok(joined) => {
            assert!(!joined.recovered);
            assert!(joined.publications.is_empty());
            assert!(joined.position.offset < future.offset);
        }
        // A broker that learns of publications later may wait for the future, but not for ever.
        Err(error) => assert_eq!(error, Error::Unreachable),
    }
}

/// Publishers and joiners keep step, so that joins fall between publications all the time.
pub(super) async fn the_cut_is_exact_while_others_publish(node: Node) {
    const PUBLISHERS: usize = 4;
    const JOINERS: usize = 4;
    const JOINS: usize = 50;
    const PUBLICATIONS_PER_JOIN: usize = 10;
    let room = fresh_room();
    node.broker.open(&room);
    let joins = Arc::new(AtomicUsize::new(0));
    let publications = Arc::new(AtomicUsize::new(0));
    let start = node.join(&room, None).await.position;

    let publishers: Vec<_> = (0..PUBLISHERS)
        .map(|_| {
            let (node, room) = (node.clone(), room.clone());
            let (joins, publications) = (Arc::clone(&joins), Arc::clone(&publications));
            tokio::spawn(async move {
                let mut acknowledged = Vec::new();
                while joins.load(Ordering::Relaxed) < JOINERS * JOINS {
                    let allowed = PUBLICATIONS_PER_JOIN * (joins.load(Ordering::Relaxed) + 1);
                    if publications.load(Ordering::Relaxed) < allowed {
                        publications.fetch_add(1, Ordering::Relaxed);
                        acknowledged.push(node.publish(&room, "x").await.offset);
                    }
                    tokio::task::yield_now().await;
                }
                acknowledged
            })
        })
        .collect();
    let joiners: Vec<_> = (0..JOINERS)
        .map(|_| {
            let (node, room, start) = (node.clone(), room.clone(), start.clone());
            let (joins, publications) = (Arc::clone(&joins), Arc::clone(&publications));
            tokio::spawn(async move {
                let mut positions = vec![start];
                let mut seen = Vec::new();
                for _ in 0..JOINS {
                    let wanted = PUBLICATIONS_PER_JOIN / 2 * joins.load(Ordering::Relaxed);
                    while publications.load(Ordering::Relaxed) < wanted {
                        tokio::task::yield_now().await;
                    }
                    let resume = positions[fastrand::usize(..positions.len())].clone();
                    let fed = node.feed.of(&room).len();
                    let joined = node.join(&room, Some(resume.clone())).await;
                    positions.push(joined.position.clone());
                    seen.push((resume, fed, joined));
                    joins.fetch_add(1, Ordering::Relaxed);
                }
                seen
            })
        })
        .collect();

    let mut seen = Vec::new();
    for joiner in joiners {
        seen.extend(joiner.await.unwrap());
    }
    let mut acknowledged = BTreeSet::new();
    for publisher in publishers {
        acknowledged.extend(publisher.await.unwrap());
    }
    acknowledged.insert(node.publish(&room, "end").await.offset);
    let end = *acknowledged.last().unwrap();
    node.feed.wait_for(&room, end).await;
    let fed = offsets(&node.feed.of(&room));

    let mut in_the_middle = 0;
    for (resume, fed_before, joined) in seen {
        assert!(joined.recovered);
        let mut got = offsets(&joined.publications);
        assert!(got.iter().all(|offset| *offset <= joined.position.offset));
        // A member listens from before its join on, and drops what is not after the cut.
        let later = fed[fed_before..].iter();
        let later: Vec<u64> = later
            .copied()
            .filter(|offset| *offset > joined.position.offset)
            .collect();
        in_the_middle += usize::from(!later.is_empty() && !got.is_empty());
        got.extend(later);
        let after_resume = acknowledged.range(resume.offset + 1..).copied();
        assert_eq!(got, after_resume.collect::<Vec<_>>(), "from {resume:?}");
    }
    assert!(in_the_middle > JOINS, "too few joins met publications");
}

pub(super) async fn history_pages_forward(node: Node) {
    let room = fresh_room();
    let (start, published) = node.publish_some(&room, 10).await;
    let mut since = start;
    let mut read = Vec::new();
    loop {
        let page = node.history(&room, Some(&since), 3, false).await;
        assert!(page.position.offset >= published[9]);
        let Some(last) = page.publications.last() else {
            break;
        };
        assert!(page.publications.len() <= 3 && read.len() < 10);
        since.offset = last.offset;
        read.extend(offsets(&page.publications));
    }
    assert_eq!(read, published);
    // An empty epoch matches any.
    since.epoch = "".into();
    since.offset = published[4];
    let page = node.history(&room, Some(&since), 100, false).await;
    assert_eq!(offsets(&page.publications), published[5..]);
}

pub(super) async fn history_pages_backward(node: Node) {
    let room = fresh_room();
    let (start, mut published) = node.publish_some(&room, 10).await;
    let mut since = Position {
        offset: published[9],
        ..start
    };
    let mut read = vec![published[9]];
    loop {
        let page = node.history(&room, Some(&since), 4, true).await;
        let Some(last) = page.publications.last() else {
            break;
        };
        assert!(page.publications.len() <= 4 && read.len() < 10);
        since.offset = last.offset;
        read.extend(offsets(&page.publications));
    }
    published.reverse();
    assert_eq!(read, published);
    since.offset = 0;
    let page = node.history(&room, Some(&since), 4, true).await;
    assert!(page.publications.is_empty());
}

pub(super) async fn history_starts_at_the_end_that_is_asked_for(node: Node) {
    let room = fresh_room();
    let (_, mut published) = node.publish_some(&room, 10).await;
    let oldest = node.history(&room, None, 4, false).await.publications;
    assert_eq!(offsets(&oldest), published[..4]);
    published.reverse();
    let newest = node.history(&room, None, 4, true).await.publications;
    assert_eq!(offsets(&newest), published[..4]);
    let all = node.history(&room, None, usize::MAX, true).await;
    assert_eq!(offsets(&all.publications), published);
}

pub(super) async fn history_without_a_limit_is_the_position(node: Node) {
    let room = fresh_room();
    let (start, published) = node.publish_some(&room, 3).await;
    for since in [None, Some(&start)] {
        for reverse in [false, true] {
            let page = node.history(&room, since, 0, reverse).await;
            assert!(page.publications.is_empty());
            assert!(page.position.offset >= published[2]);
            assert_eq!(page.position.epoch, start.epoch);
        }
    }
}

pub(super) async fn history_stops_at_the_byte_limit(node: Node) {
    let room = fresh_room();
    let mut published = Vec::new();
    for _ in 0..5 {
        let message = message("x".repeat(98));
        assert_eq!(message.data.len(), 100);
        published.push(node.broker.publish(&room, message).await.unwrap().offset);
    }
    let each = 228;
    for (max_bytes, expected) in [
        (0, 1),
        (each - 1, 1),
        (2 * each - 1, 1),
        (2 * each, 2),
        (5 * each - 1, 4),
    ] {
        for reverse in [false, true] {
            let query = HistoryQuery {
                since: None,
                limit: 5,
                max_bytes,
                reverse,
                after: 0,
            };
            let page = node.broker.history(&room, query).await.unwrap();
            assert_eq!(page.publications.len(), expected, "{max_bytes} bytes");
            let first = if reverse { published[4] } else { published[0] };
            assert_eq!(page.publications[0].offset, first);
        }
    }
}

pub(super) async fn history_begins_after_what_is_asked_for(node: Node) {
    let room = fresh_room();
    let (start, published) = node.publish_some(&room, 10).await;
    let page = async |since: Option<u64>, limit, reverse| {
        let query = HistoryQuery {
            since: since.map(|offset| Position {
                offset,
                ..start.clone()
            }),
            limit,
            max_bytes: usize::MAX,
            reverse,
            after: published[3],
        };
        offsets(
            &node
                .broker
                .history(&room, query)
                .await
                .unwrap()
                .publications,
        )
    };
    assert_eq!(page(None, 100, false).await, published[4..]);
    assert_eq!(page(Some(0), 2, false).await, published[4..6]);
    assert_eq!(page(Some(published[1]), 2, false).await, published[4..6]);
    assert_eq!(page(Some(published[6]), 9, false).await, published[7..]);
    let newest_first = |of: &[u64]| of.iter().rev().copied().collect::<Vec<_>>();
    assert_eq!(page(None, 100, true).await, newest_first(&published[4..]));
    assert_eq!(page(None, 3, true).await, newest_first(&published[7..]));
    let before_the_seventh = page(Some(published[6]), 100, true).await;
    assert_eq!(before_the_seventh, newest_first(&published[4..6]));
    for offset in [published[4], published[3], published[0], 0] {
        assert_eq!(
            page(Some(offset), 100, true).await,
            [0; 0],
            "before {offset}"
        );
    }
}

/// The publications of `published` that are readable.
async fn readable(node: &Node, room: &RoomName, published: &[u64], readable: Readable) -> Vec<u64> {
    let after = node.broker.readable_after(room, readable).await.unwrap();
    let offsets = published.iter().copied();
    offsets.filter(|offset| *offset > after).collect()
}

pub(super) async fn the_newest_of_a_room_are_readable(node: Node) {
    let (room, other, empty) = (fresh_room(), fresh_room(), fresh_room());
    let mut published = Vec::new();
    for n in 0..20 {
        published.push(node.publish(&room, n).await.offset);
        node.publish(&other, n).await;
    }
    for newest in [1, 2, 3, 4, 7, 19, 20, 21, 1_000_000] {
        let newest_only = Readable {
            newest: Some(newest),
            max_age: None,
        };
        let expected = &published[20_usize.saturating_sub(newest as usize)..];
        assert_eq!(
            readable(&node, &room, &published, newest_only).await,
            expected
        );
        assert_eq!(node.broker.readable_after(&empty, newest_only).await, Ok(0));
    }
    let all = readable(&node, &room, &published, Readable::default()).await;
    assert_eq!(all, published);
}

pub(super) async fn what_is_young_enough_is_readable(node: Node) {
    const APART: Duration = Duration::from_millis(1500);
    let room = fresh_room();
    let mut published = Vec::new();
    for n in 0..5 {
        published.push(node.publish(&room, n).await.offset);
    }
    // Two clocks tell the ages: a moment that neither doubts lies between.
    tokio::time::sleep(2 * APART).await;
    for n in 5..10 {
        published.push(node.publish(&room, n).await.offset);
    }
    let younger_than = |max_age| Readable {
        newest: None,
        max_age: Some(max_age),
    };
    let young = readable(&node, &room, &published, younger_than(APART)).await;
    assert_eq!(young, published[5..]);
    let all = younger_than(Duration::from_secs(50));
    assert_eq!(readable(&node, &room, &published, all).await, published);
    let both = Readable {
        newest: Some(2),
        ..younger_than(APART)
    };
    assert_eq!(
        readable(&node, &room, &published, both).await,
        published[8..]
    );
    let none = younger_than(Duration::ZERO);
    assert_eq!(readable(&node, &room, &published, none).await, [0; 0]);
}

pub(super) async fn what_came_after_an_offset_is_counted(node: Node) {
    let (room, other, empty) = (fresh_room(), fresh_room(), fresh_room());
    let start = node.join(&room, None).await.position;
    let mut published = Vec::new();
    for n in 0..20 {
        published.push(node.publish(&room, n).await);
        node.publish(&other, n).await;
    }
    let beginning = Position {
        offset: 0,
        epoch: "".into(),
    };
    for (after, expected) in [(&start, 20), (&beginning, 20), (&published[19], 0)] {
        assert_eq!(node.broker.unread(&room, after.clone()).await, Ok(expected));
    }
    for (read, after) in published.iter().enumerate() {
        let unread = node.broker.unread(&room, after.clone()).await;
        assert_eq!(unread, Ok(19 - read as u64), "after {after:?}");
    }
    let future = Position {
        offset: published[19].offset + 1_000_000,
        ..start.clone()
    };
    assert_eq!(node.broker.unread(&room, future).await, Ok(0));
    assert_eq!(node.broker.unread(&empty, beginning).await, Ok(0));
    let foreign = Position {
        epoch: "another".into(),
        ..start
    };
    let refused = node.broker.unread(&room, foreign).await;
    assert_eq!(refused, Err(Error::ForeignEpoch));
}

pub(super) async fn what_is_counted_is_kept(node: Node) {
    let room = fresh_room();
    let (start, published) = node.publish_some(&room, 7).await;
    node.broker.open(&room);
    assert_eq!(node.broker.erase(&room).await, Ok(()));
    assert_eq!(node.broker.unread(&room, start.clone()).await, Ok(0));
    for n in 0..5 {
        node.publish(&room, n).await;
    }
    let read = Position {
        offset: published[3],
        ..start
    };
    assert_eq!(node.broker.unread(&room, read).await, Ok(5));
}

pub(super) async fn history_of_another_epoch_is_refused(node: Node) {
    let room = fresh_room();
    let (start, _) = node.publish_some(&room, 3).await;
    for (limit, reverse) in [(10, false), (10, true), (0, false)] {
        let query = HistoryQuery {
            since: Some(Position {
                offset: start.offset,
                epoch: "another".into(),
            }),
            limit,
            max_bytes: usize::MAX,
            reverse,
            after: 0,
        };
        let error = node.broker.history(&room, query).await.unwrap_err();
        assert_eq!(error, Error::ForeignEpoch);
    }
}

pub(super) async fn history_from_the_future_is_empty(node: Node) {
    let room = fresh_room();
    let (start, published) = node.publish_some(&room, 3).await;
    let future = Position {
        offset: published[2] + 1_000_000,
        ..start
    };
    for reverse in [false, true] {
        let page = node.history(&room, Some(&future), 10, reverse).await;
        assert!(page.publications.is_empty());
        assert!((published[2]..future.offset).contains(&page.position.offset));
    }
}

pub(super) async fn a_message_with_an_id_is_kept_once(node: Node) {
    let room = fresh_room();
    node.broker.open(&room);
    let publish = async || {
        let message = with_id("once", "id-1", None);
        node.broker.publish(&room, message).await.unwrap()
    };
    let first = publish().await;
    let second = publish().await;
    assert_eq!(first, second);
    let end = node.publish(&room, "end").await.offset;
    node.feed.wait_for(&room, end).await;
    assert_eq!(offsets(&node.feed.of(&room)), [first.offset, end]);
    assert_eq!(offsets(&node.all_history(&room).await), [first.offset, end]);
}

pub(super) async fn an_id_stands_for_one_message(node: Node) {
    let room = fresh_room();
    let publish = |text| node.broker.publish(&room, with_id(text, "id-1", None));
    let first = publish("one").await.unwrap();
    assert_eq!(publish("another").await, Err(Error::IdUsed));
    let tagged = Message {
        tags: Some(Arc::new(Tags::from([("a".to_owned(), "b".to_owned())]))),
        ..with_id("one", "id-1", None)
    };
    let tagged = node.broker.publish(&room, tagged).await;
    assert_eq!(tagged, Err(Error::IdUsed));
    assert_eq!(publish("one").await, Ok(first));
}

pub(super) async fn an_id_belongs_to_its_room_and_author(node: Node) {
    let rooms = [fresh_room(), fresh_room()];
    let author = |user| Author::plain(UserId::named(user), SessionId::random());
    let (ann, bob) = (author("ann"), author("bob"));
    let elsewhere = Author {
        client: SessionId::random(),
        ..ann.clone()
    };
    let mut kept = Vec::new();
    for room in &rooms {
        // Two sessions without a user are two authors; those of one user are one.
        for author in [
            None,
            Some(author("")),
            Some(author("")),
            Some(ann.clone()),
            Some(bob.clone()),
        ] {
            let message = with_id("text", "id-1", author);
            kept.push((
                room.clone(),
                node.broker.publish(room, message).await.unwrap().offset,
            ));
        }
        let again = with_id("text", "id-1", Some(ann.clone()));
        let again = node.broker.publish(room, again).await.unwrap().offset;
        assert_eq!(again, kept[kept.len() - 2].1);
        let elsewhere = with_id("text", "id-1", Some(elsewhere.clone()));
        let elsewhere = node.broker.publish(room, elsewhere).await.unwrap().offset;
        assert_eq!(elsewhere, again);
    }
    for room in &rooms {
        let of_room = kept.iter().filter(|(of, _)| of == room);
        let of_room: Vec<_> = of_room.map(|(_, offset)| *offset).collect();
        assert_eq!(offsets(&node.all_history(room).await), of_room);
    }
}

pub(super) async fn what_is_erased_is_gone_and_missed_by_whoever_missed_it(node: Node) {
    let (room, other) = (fresh_room(), fresh_room());
    node.broker.open(&room);
    let start = node.join(&room, None).await.position;
    let first = node.publish(&room, 1).await;
    let elsewhere = node.publish(&other, "elsewhere").await;
    let second = node.publish(&room, 2).await;
    node.feed.wait_for(&room, second.offset).await;
    assert_eq!(node.broker.erase(&room).await, Ok(()));
    for reverse in [false, true] {
        let page = node.history(&room, None, usize::MAX, reverse).await;
        assert_eq!(offsets(&page.publications), [0; 0]);
        assert!(page.position.offset >= second.offset);
    }
    let third = node.publish(&room, 3).await;
    assert!(third.offset > second.offset && third.epoch == second.epoch);
    // The same from the log and, where it is short, from the stream.
    for n in 0..10 {
        node.publish(&other, n).await;
        for (from, recovers) in [
            (&start, false),
            (&first, false),
            (&second, true),
            (&third, true),
        ] {
            let joined = node.join(&room, Some(from.clone())).await;
            assert_eq!(joined.recovered, recovers, "{from:?} after {n}");
            let missed = if *from == second {
                vec![third.offset]
            } else {
                vec![]
            };
            assert_eq!(offsets(&joined.publications), missed);
        }
        assert_eq!(offsets(&node.all_history(&room).await), [third.offset]);
    }
    node.feed.wait_for(&room, third.offset).await;
    let delivered = [first.offset, second.offset, third.offset];
    assert_eq!(offsets(&node.feed.of(&room)), delivered);
    let kept = node.all_history(&other).await;
    assert_eq!(kept[0].offset, elsewhere.offset);
    // Again, and where there is nothing.
    for room in [&room, &room, &fresh_room()] {
        assert_eq!(node.broker.erase(room).await, Ok(()));
        assert_eq!(offsets(&node.all_history(room).await), [0; 0]);
    }
}

pub(super) async fn rooms_do_not_see_each_other(node: Node) {
    let (a, b) = (fresh_room(), fresh_room());
    node.broker.open(&a);
    node.broker.open(&b);
    let starts = [
        node.join(&a, None).await.position,
        node.join(&b, None).await.position,
    ];
    let (mut in_a, mut in_b) = (Vec::new(), Vec::new());
    for n in 0..10 {
        in_a.push(node.publish(&a, n).await.offset);
        if n % 3 == 0 {
            in_b.push(node.publish(&b, n).await.offset);
        }
    }
    for ((room, published), start) in [(a, in_a), (b, in_b)].into_iter().zip(starts) {
        node.feed.wait_for(&room, *published.last().unwrap()).await;
        assert_eq!(offsets(&node.feed.of(&room)), published);
        assert_eq!(offsets(&node.all_history(&room).await), published);
        let missed = node.join(&room, Some(start)).await.publications;
        assert_eq!(offsets(&missed), published);
    }
}

pub(super) async fn rooms_with_similar_names_are_not_confused(node: Node) {
    let prefix = fresh_room();
    let rooms: Vec<RoomName> = [
        "", ":", ":a", ":A", ":ab", ":a b", ".a", ".*", ".>", ":ä", "%3Aa", "/a", "\n", "\0",
    ]
    .iter()
    .map(|suffix| room_named(&format!("{prefix}{suffix}")))
    .collect();
    let mut expected = Vec::new();
    for room in &rooms {
        node.broker.open(room);
        let start = node.join(room, None).await.position;
        let end = node.publish(room, room.as_str()).await;
        expected.push((room, start, end.offset));
    }
    for (room, start, offset) in expected {
        node.feed.wait_for(room, offset).await;
        let missed = node.join(room, Some(start)).await.publications;
        for read in [node.feed.of(room), node.all_history(room).await, missed] {
            let [publication] = &read[..] else {
                panic!("{room} has {read:?}");
            };
            assert_eq!(publication.offset, offset);
            assert_eq!(publication.data, json(room.as_str()));
        }
    }
}

pub(super) async fn a_call_to_a_node_that_is_not_there_fails_at_once(node: Node) {
    for name in ["nobody", "all", "*", "a.b", ""] {
        let begun = Instant::now();
        let call = node.broker.call(name, PING, DEADLINE);
        assert_eq!(call.await, Err(CallError::NoSuchNode), "{name}");
        assert!(begun.elapsed() < DEADLINE / 4, "{name}");
    }
}

pub(super) async fn a_node_without_others_gathers_nothing_at_once(node: Node) {
    let begun = Instant::now();
    let gathered = node.broker.call_others(PING, DEADLINE).await;
    assert_eq!(gathered, Gathered::default());
    assert!(begun.elapsed() < DEADLINE / 4);
}

pub(super) async fn what_a_node_tells_others_does_not_come_back(node: Node) {
    let room = fresh_room();
    node.broker.open(&room);
    for n in 0..10 {
        let data = json(n);
        let event = Event::Publication(peers::Publication {
            data,
            tags: Tags::new(),
        });
        node.broker.tell_others(&room, event);
    }
    // A publication takes the longer way, and comes later.
    let offset = node.publish(&room, "kept").await.offset;
    node.feed.wait_for(&room, offset).await;
    assert_eq!(node.feed.heard(), []);
    let kept = node.all_history(&room).await;
    assert_eq!(offsets(&kept), [offset]);
}
