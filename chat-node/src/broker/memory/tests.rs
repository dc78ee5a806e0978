//! What the embedded broker promises beside the contract: its limits, its clock, its epochs.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use super::room::PUBLICATION_OVERHEAD;
use super::rooms::{ROOM_OVERHEAD, SWEEP_BUDGET};
use super::*;
use crate::broker::contract::keeps_the_contract;
use crate::broker::contract::node::Recorder;
use crate::broker::{Epoch, Publication};

keeps_the_contract!(roomy);

async fn roomy(feed: Arc<Recorder>) -> Arc<dyn Broker> {
    Arc::new(Memory::new(ROOMY, feed))
}

pub(super) const ROOMY: Limits = Limits {
    max_messages_per_room: 100_000,
    max_bytes_per_room: 1 << 30,
    max_age: Duration::from_secs(600),
    max_total_bytes: 1 << 30,
};

/// A broker whose clock stands until a test moves it, and whose answers need no runtime.
pub(super) struct Bench {
    pub(super) broker: Memory,
    pub(super) feed: Arc<Heard>,
    start: Instant,
    elapsed_ms: Arc<AtomicU64>,
}

#[derive(Default)]
pub(super) struct Heard(Mutex<Vec<(RoomName, u64)>>);

impl Heard {
    pub(super) fn take(&self) -> Vec<(RoomName, u64)> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl Feed for Heard {
    fn interrupt(&self, _: &dyn Fn(&RoomName) -> bool, _: &Epoch) {}

    fn deliver(&self, room: &RoomName, publication: &Arc<Publication>) {
        let mut heard = self.0.lock().unwrap();
        heard.push((room.clone(), publication.offset));
    }
}

impl Bench {
    pub(super) fn new(limits: Limits) -> Self {
        let (start, elapsed_ms) = (Instant::now(), Arc::new(AtomicU64::new(0)));
        let elapsed = Arc::clone(&elapsed_ms);
        let clock =
            Box::new(move || start + Duration::from_millis(elapsed.load(Ordering::Relaxed)));
        let feed = Arc::new(Heard::default());
        let broker = Memory::with_clock(limits, feed.clone(), clock);
        Self {
            broker,
            feed,
            start,
            elapsed_ms,
        }
    }

    pub(super) fn advance(&self, time: Duration) {
        let ms = time.as_millis() as u64;
        self.elapsed_ms.fetch_add(ms, Ordering::Relaxed);
    }

    pub(super) fn now(&self) -> Instant {
        self.start + Duration::from_millis(self.elapsed_ms.load(Ordering::Relaxed))
    }

    pub(super) fn publish(&self, name: &str, bytes: usize) -> Position {
        let message = Message {
            data: Bytes::from(vec![b'1'; bytes]),
            author: None,
            id: None,
            tags: None,
        };
        at_once(self.broker.publish(&room(name), message)).unwrap()
    }

    pub(super) fn join(&self, name: &str, resume: Option<Position>) -> Joined {
        at_once(self.broker.join(&room(name), resume)).unwrap()
    }

    pub(super) fn history(&self, name: &str, query: HistoryQuery) -> Result<HistoryPage, Error> {
        at_once(self.broker.history(&room(name), query))
    }

    fn epoch(&self, name: &str) -> Epoch {
        self.join(name, None).position.epoch
    }

    fn kept(&self, name: &str) -> Vec<u64> {
        let query = HistoryQuery {
            limit: usize::MAX,
            max_bytes: usize::MAX,
            ..HistoryQuery::default()
        };
        let page = self.history(name, query).unwrap();
        page.publications.iter().map(|p| p.offset).collect()
    }

    fn recovers(&self, name: &str, resume: &Position) -> Option<Vec<u64>> {
        let joined = self.join(name, Some(resume.clone()));
        assert!(joined.recovered || joined.publications.is_empty());
        let missed = joined.publications.iter().map(|p| p.offset).collect();
        joined.recovered.then_some(missed)
    }
}

fn at_once<T>(answer: Answer<T>) -> Result<T, Error> {
    futures_util::FutureExt::now_or_never(answer).expect("the embedded broker does not wait")
}

pub(super) fn room(name: &str) -> RoomName {
    RoomName::parse(name, 255).unwrap()
}

const fn room_of(publications: usize, bytes: usize) -> usize {
    ROOM_OVERHEAD + 1 + publications * (PUBLICATION_OVERHEAD + bytes)
}

fn at(offset: u64, position: &Position) -> Position {
    Position {
        offset,
        epoch: Arc::clone(&position.epoch),
    }
}

fn from_the_beginning() -> Position {
    Position {
        offset: 0,
        epoch: "".into(),
    }
}

#[test]
fn offsets_are_contiguous_from_1() {
    let bench = Bench::new(ROOMY);
    assert_eq!(bench.join("a", None).position.offset, 0);
    let offsets = [(); 3].map(|()| bench.publish("a", 10).offset);
    assert_eq!(offsets, [1, 2, 3]);
    assert_eq!(bench.join("a", None).position.offset, 3);
}

#[test]
fn the_oldest_go_when_a_room_has_too_many_messages() {
    let bench = Bench::new(Limits {
        max_messages_per_room: 3,
        ..ROOMY
    });
    let end = [(); 5].map(|()| bench.publish("a", 10))[4].clone();
    assert_eq!(bench.kept("a"), [3, 4, 5]);
    assert_eq!(bench.recovers("a", &at(1, &end)), None);
    assert_eq!(bench.recovers("a", &at(2, &end)), Some(vec![3, 4, 5]));
    assert_eq!(bench.recovers("a", &at(5, &end)), Some(vec![]));
    assert_eq!(bench.recovers("a", &at(6, &end)), None);
    assert_eq!(bench.recovers("a", &from_the_beginning()), None);
    assert_eq!(bench.recovers("a", &at(1, &from_the_beginning())), None);
}

#[test]
fn the_oldest_go_when_a_room_has_too_many_bytes() {
    let bench = Bench::new(Limits {
        max_bytes_per_room: 3 * (PUBLICATION_OVERHEAD + 100),
        ..ROOMY
    });
    for _ in 0..4 {
        bench.publish("a", 100);
    }
    assert_eq!(bench.kept("a"), [2, 3, 4]);
    bench.publish("a", 101);
    assert_eq!(bench.kept("a"), [4, 5]);
    assert_eq!(bench.broker.usage().publications, 2);
}

#[test]
fn a_publication_that_no_limit_lets_in_is_delivered_and_counted() {
    for limits in [
        Limits {
            max_messages_per_room: 0,
            ..ROOMY
        },
        Limits {
            max_bytes_per_room: PUBLICATION_OVERHEAD + 50,
            ..ROOMY
        },
        Limits {
            max_total_bytes: room_of(1, 50),
            ..ROOMY
        },
        Limits {
            max_age: Duration::ZERO,
            ..ROOMY
        },
    ] {
        let bench = Bench::new(limits);
        bench.broker.open(&room("a"));
        let start = bench.join("a", None).position;
        assert_eq!(bench.publish("a", 51), at(1, &start));
        assert_eq!(bench.feed.take(), [(room("a"), 1)]);
        assert_eq!(bench.kept("a"), [0; 0]);
        assert_eq!(bench.recovers("a", &start), None);
        assert_eq!(bench.recovers("a", &at(1, &start)), Some(vec![]));
        assert_eq!(bench.publish("a", 51), at(2, &start));
    }
}

#[test]
fn publications_expire_when_the_room_is_used() {
    let bench = Bench::new(Limits {
        max_age: Duration::from_secs(60),
        ..ROOMY
    });
    let first = bench.publish("a", 10);
    bench.advance(Duration::from_secs(59));
    bench.publish("a", 10);
    assert_eq!(bench.recovers("a", &at(0, &first)), Some(vec![1, 2]));
    bench.advance(Duration::from_secs(1));
    assert_eq!(bench.recovers("a", &at(0, &first)), None);
    assert_eq!(bench.recovers("a", &first), Some(vec![2]));
    bench.advance(Duration::from_secs(59));
    // The room stays what it was: only what is missing cannot be recovered.
    assert_eq!(bench.recovers("a", &first), None);
    assert_eq!(bench.recovers("a", &at(2, &first)), Some(vec![]));
    assert_eq!(bench.broker.usage().bytes, room_of(0, 0));
}

#[test]
fn a_sweep_expires_quiet_rooms_and_is_not_a_use() {
    let bench = Bench::new(Limits {
        max_age: Duration::from_secs(60),
        max_total_bytes: room_of(2, 10) + room_of(1, 10),
        ..ROOMY
    });
    let a = bench.publish("a", 10);
    bench.advance(Duration::from_secs(30));
    bench.publish("b", 10);
    bench.publish("a", 10);
    assert_eq!(bench.broker.usage().publications, 3);
    bench.publish("b", 10);
    // a was used less recently than b and is evicted.
    assert_eq!(bench.broker.usage().publications, 2);
    bench.advance(Duration::from_secs(59));
    assert!(!bench.broker.sweep(bench.now()));
    assert_eq!(bench.broker.usage().publications, 2);
    bench.advance(Duration::from_secs(1));
    assert!(!bench.broker.sweep(bench.now()));
    assert_eq!(bench.broker.usage().publications, 0);
    assert_eq!(bench.broker.usage().bytes, room_of(0, 0));
    assert_ne!(bench.epoch("a"), a.epoch);
}

#[test]
fn a_sweep_comes_back_to_a_room_that_was_used_meanwhile() {
    let bench = Bench::new(Limits {
        max_age: Duration::from_secs(60),
        max_messages_per_room: 2,
        ..ROOMY
    });
    for _ in 0..4 {
        bench.publish("a", 10);
        bench.advance(Duration::from_secs(20));
    }
    // Now 80: offsets 3 and 4 came at 40 and 60, and the entry still says 0.
    assert!(!bench.broker.sweep(bench.now()));
    assert_eq!(bench.broker.usage().publications, 2);
    bench.advance(Duration::from_secs(20));
    bench.broker.sweep(bench.now());
    assert_eq!(bench.broker.usage().publications, 1);
    bench.advance(Duration::from_secs(20));
    bench.broker.sweep(bench.now());
    assert_eq!(bench.broker.usage().publications, 0);
    bench.publish("a", 10);
    bench.advance(Duration::from_secs(60));
    bench.broker.sweep(bench.now());
    assert_eq!(bench.broker.usage().publications, 0);
}

#[test]
fn a_sweep_does_bounded_work() {
    let bench = Bench::new(ROOMY);
    for n in 0..SWEEP_BUDGET + 100 {
        bench.publish(if n % 2 == 0 { "a" } else { "b" }, 1);
    }
    bench.advance(ROOMY.max_age);
    assert!(bench.broker.sweep(bench.now()));
    assert_eq!(bench.broker.usage().publications, 100);
    assert!(!bench.broker.sweep(bench.now()));
    assert_eq!(bench.broker.usage().publications, 0);
}

#[test]
fn the_least_recently_used_room_is_forgotten_first() {
    let bench = Bench::new(Limits {
        max_total_bytes: 3 * room_of(1, 10),
        ..ROOMY
    });
    let [a, b, c] = ["a", "b", "c"].map(|name| bench.publish(name, 10));
    // A join and a page of history are uses, too.
    bench.join("a", None);
    bench.history("b", HistoryQuery::default()).unwrap();
    bench.publish("d", 10);
    assert_eq!(bench.broker.usage().evicted_rooms_total, 1);
    assert_eq!(bench.broker.usage().rooms, 3);
    assert_eq!(bench.recovers("a", &at(0, &a)), Some(vec![1]));
    assert_eq!(bench.recovers("b", &at(0, &b)), Some(vec![1]));
    // A room that comes back is another incarnation.
    assert_eq!(bench.recovers("c", &c), None);
    assert_eq!(bench.publish("c", 10).offset, 1);
    assert_ne!(bench.epoch("c"), c.epoch);
}

#[test]
fn an_open_room_loses_its_history_but_not_its_counter() {
    let bench = Bench::new(Limits {
        max_total_bytes: room_of(2, 10) + room_of(0, 0),
        ..ROOMY
    });
    bench.broker.open(&room("a"));
    bench.publish("a", 10);
    let a = bench.publish("a", 10);
    bench.publish("b", 10);
    assert_eq!(bench.broker.usage().rooms, 2);
    assert_eq!(bench.broker.usage().evicted_rooms_total, 1);
    assert_eq!(bench.recovers("a", &a), None);
    assert_eq!(bench.recovers("a", &from_the_beginning()), None);
    let next = bench.publish("a", 10);
    assert_eq!(next.offset, 3);
    assert_ne!(next.epoch, a.epoch);
    assert_eq!(bench.recovers("a", &at(2, &next)), Some(vec![3]));
    assert_eq!(bench.feed.take().len(), 3);
}

#[test]
fn the_room_in_use_keeps_its_newest_publications() {
    let bench = Bench::new(Limits {
        max_total_bytes: room_of(3, 10),
        ..ROOMY
    });
    bench.publish("b", 10);
    let a = [(); 5].map(|()| bench.publish("a", 10))[4].clone();
    assert_eq!(bench.kept("a"), [3, 4, 5]);
    assert_eq!(bench.recovers("a", &at(2, &a)), Some(vec![3, 4, 5]));
    assert_eq!(bench.broker.usage().rooms, 1);
}

#[test]
fn empty_rooms_are_bounded() {
    let bench = Bench::new(Limits {
        max_total_bytes: 100 * (ROOM_OVERHEAD + 3),
        ..ROOMY
    });
    for n in 100..1000 {
        bench.join(&n.to_string(), None);
    }
    assert_eq!(bench.broker.usage().rooms, 100);
    // Nothing was lost that anybody had published.
    assert_eq!(bench.broker.usage().evicted_rooms_total, 0);
}

#[test]
fn entering_many_rooms_costs_no_room_its_history() {
    let bench = Bench::new(Limits {
        max_total_bytes: room_of(1, 10) + 50 * (ROOM_OVERHEAD + 3),
        ..ROOMY
    });
    bench.publish("kept", 10);
    for n in 100..1000 {
        bench.join(&n.to_string(), None);
    }
    assert_eq!(bench.broker.usage().publications, 1);
}

#[test]
fn open_rooms_stay_even_if_they_alone_exceed_the_limit() {
    let bench = Bench::new(Limits {
        max_total_bytes: room_of(0, 0),
        ..ROOMY
    });
    let rooms = ["a", "b", "c"].map(room);
    for room in &rooms {
        bench.broker.open(room);
        bench.publish(room.as_str(), 10);
    }
    let usage = bench.broker.usage();
    assert_eq!((usage.rooms, usage.publications), (3, 0));
    assert_eq!(bench.publish("a", 10).offset, 2);
    assert_eq!(bench.feed.take().len(), 4);
    // Who closes makes room.
    for room in &rooms {
        bench.broker.close(room);
    }
    assert_eq!(bench.broker.usage().rooms, 1);
}

#[test]
fn a_feed_that_panics_leaves_the_broker_usable() {
    struct Panics;
    impl Feed for Panics {
        fn interrupt(&self, _: &dyn Fn(&RoomName) -> bool, _: &Epoch) {}

        fn deliver(&self, _: &RoomName, _: &Arc<Publication>) {
            panic!("on purpose");
        }
    }
    let broker = Memory::new(ROOMY, Arc::new(Panics));
    broker.open(&room("a"));
    let message = Message {
        data: Bytes::from_static(b"1"),
        author: None,
        id: None,
        tags: None,
    };
    let publish = || broker.publish(&room("a"), message);
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(publish));
    assert!(panicked.is_err());
    let joined = at_once(broker.join(&room("a"), Some(from_the_beginning()))).unwrap();
    assert_eq!(joined.publications.len(), 1);
}
