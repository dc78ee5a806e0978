//! The embedded broker against a naive model, over random sequences of everything that can happen to rooms.
//!
//! The model keeps every publication for ever with a mark whether it is still to be had, and counts by walking.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::time::{Duration, Instant};

use proptest::collection::vec;
use proptest::prelude::*;

use super::room::PUBLICATION_OVERHEAD;
use super::rooms::ROOM_OVERHEAD;
use super::tests::{Bench, room};
use super::{Limits, Usage};
use crate::broker::{Broker, Epoch, Error, HistoryQuery, Position};

const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

#[derive(Clone, Debug)]
enum Step {
    Publish {
        room: usize,
        bytes: usize,
    },
    /// Resumes from the `seen`th last position that the broker ever told, moved by `shift`.
    Join {
        room: usize,
        seen: usize,
        shift: i64,
    },
    JoinFromTheBeginning {
        room: usize,
        offset: u64,
    },
    History {
        room: usize,
        seen: usize,
        shift: i64,
        limit: usize,
        reverse: bool,
    },
    Open {
        room: usize,
    },
    Close {
        room: usize,
    },
    Advance {
        ms: u64,
    },
    Sweep,
}

fn step() -> impl Strategy<Value = Step> {
    let room = || 0..NAMES.len();
    let shift = || prop_oneof![4 => Just(0), 1 => -4..4_i64];
    prop_oneof![
        8 => (room(), 0..300_usize).prop_map(|(room, bytes)| Step::Publish { room, bytes }),
        6 => (room(), 0..30_usize, shift())
            .prop_map(|(room, seen, shift)| Step::Join { room, seen, shift }),
        1 => (room(), 0..2_u64)
            .prop_map(|(room, offset)| Step::JoinFromTheBeginning { room, offset }),
        2 => (room(), 0..30_usize, shift(), 0..4_usize, any::<bool>()).prop_map(
            |(room, seen, shift, limit, reverse)| Step::History { room, seen, shift, limit, reverse }
        ),
        1 => room().prop_map(|room| Step::Open { room }),
        1 => room().prop_map(|room| Step::Close { room }),
        2 => (1..2_000_u64).prop_map(|ms| Step::Advance { ms }),
        1 => Just(Step::Sweep),
    ]
}

fn limits() -> impl Strategy<Value = Limits> {
    let bytes = |publications: Range<usize>| {
        publications.prop_map(|publications| publications * (PUBLICATION_OVERHEAD + 100))
    };
    let total = (bytes(0..20), 0..6_usize).prop_map(|(bytes, rooms)| bytes + rooms * ROOM_OVERHEAD);
    (0..8_usize, bytes(0..8), 0..10_000_u64, total).prop_map(
        |(max_messages_per_room, max_bytes_per_room, max_age, max_total_bytes)| Limits {
            max_messages_per_room,
            max_bytes_per_room,
            max_age: Duration::from_millis(max_age),
            max_total_bytes,
        },
    )
}

struct Publication {
    offset: u64,
    bytes: usize,
    at: Instant,
    kept: bool,
}

struct Room {
    name: usize,
    incarnation: u64,
    opened: usize,
    /// When it was last used, it was neither open nor had history.
    was_empty: bool,
    last: u64,
    published: Vec<Publication>,
}

impl Room {
    fn kept(&self) -> impl Iterator<Item = &Publication> {
        self.published.iter().filter(|p| p.kept)
    }

    fn cost(&self) -> usize {
        self.kept().map(|p| p.bytes + PUBLICATION_OVERHEAD).sum()
    }

    fn drop_oldest(&mut self) -> bool {
        let oldest = self.published.iter_mut().find(|p| p.kept);
        oldest.map(|p| p.kept = false).is_some()
    }

    fn expire(&mut self, now: Instant, max_age: Duration) {
        for publication in &mut self.published {
            publication.kept &= now < publication.at + max_age;
        }
    }

    /// Returns what came after `offset` if all of it can be had.
    fn missed_since(&self, offset: u64) -> Option<Vec<u64>> {
        let after = || self.published.iter().filter(|p| p.offset > offset);
        // What was published before this incarnation cannot be had either.
        let before_it = self.published.first().map_or(self.last, |p| p.offset - 1);
        let all_there = offset >= before_it && offset <= self.last && after().all(|p| p.kept);
        all_there.then(|| after().map(|p| p.offset).collect())
    }
}

struct Model {
    limits: Limits,
    /// In order of use.
    rooms: Vec<Room>,
    /// The room that the present step uses.
    used: Option<usize>,
    incarnations: u64,
    evicted: u64,
}

impl Model {
    fn bytes(&self) -> usize {
        let room = |room: &Room| ROOM_OVERHEAD + NAMES[room.name].len() + room.cost();
        self.rooms.iter().map(room).sum()
    }

    /// Brings the room to the end of the order, and expires it.
    fn use_room(&mut self, name: usize, now: Instant) -> &mut Room {
        self.used = Some(name);
        let known = self.rooms.iter().position(|room| room.name == name);
        let mut room = match known {
            Some(known) => self.rooms.remove(known),
            None => {
                self.incarnations += 1;
                Room {
                    name,
                    incarnation: self.incarnations,
                    opened: 0,
                    was_empty: false,
                    last: 0,
                    published: Vec::new(),
                }
            }
        };
        room.expire(now, self.limits.max_age);
        self.rooms.push(room);
        self.rooms.last_mut().unwrap()
    }

    fn publish(&mut self, bytes: usize, now: Instant) {
        let Limits {
            max_messages_per_room,
            max_bytes_per_room,
            ..
        } = self.limits;
        let room = self.rooms.last_mut().unwrap();
        room.last += 1;
        room.published.push(Publication {
            offset: room.last,
            bytes,
            at: now,
            kept: true,
        });
        while room.kept().count() > max_messages_per_room || room.cost() > max_bytes_per_room {
            room.drop_oldest();
        }
    }

    fn evict(&mut self) {
        // Sweeping and the passing of time use no room.
        let Some(used) = self
            .rooms
            .last_mut()
            .filter(|room| self.used.take() == Some(room.name))
        else {
            return;
        };
        used.was_empty = used.opened == 0 && used.kept().count() == 0;
        let used = (!used.was_empty).then_some(used.name);
        while self.bytes() > self.limits.max_total_bytes
            && let Some(empty) = self.rooms.iter().position(|room| room.was_empty)
        {
            self.rooms.remove(empty);
        }
        while self.bytes() > self.limits.max_total_bytes {
            let loses = |room: &Room| room.opened == 0 || room.kept().count() > 0;
            let Some(victim) = self.rooms.iter().position(loses) else {
                return;
            };
            if Some(self.rooms[victim].name) == used && self.rooms[victim].drop_oldest() {
                continue;
            }
            self.evicted += u64::from(self.rooms[victim].kept().count() > 0);
            if self.rooms[victim].opened > 0 {
                self.incarnations += 1;
                self.rooms[victim].incarnation = self.incarnations;
                self.rooms[victim].published.clear();
            } else {
                self.rooms.remove(victim);
            }
        }
    }

    fn usage(&self) -> Usage {
        Usage {
            rooms: self.rooms.len(),
            publications: self.rooms.iter().map(|room| room.kept().count()).sum(),
            bytes: self.bytes(),
            evicted_rooms_total: self.evicted,
        }
    }
}

/// The positions that the broker told, each with the model's incarnation.
#[derive(Default)]
struct Told {
    positions: Vec<(usize, u64, Position)>,
    epochs: HashMap<u64, Epoch>,
}

impl Told {
    /// Checks a position against the model, and that no epoch names two incarnations.
    fn check(&mut self, name: usize, room: (u64, u64), position: Position) {
        let (incarnation, last) = room;
        assert_eq!(position.offset, last);
        let epoch = self.epochs.entry(incarnation);
        assert_eq!(*epoch.or_insert(position.epoch.clone()), position.epoch);
        let distinct: HashSet<_> = self.epochs.values().collect();
        assert_eq!(distinct.len(), self.epochs.len());
        self.positions.push((name, incarnation, position));
    }

    fn pick(&self, name: usize, seen: usize, shift: i64) -> Option<(u64, Position)> {
        let of_room = self.positions.iter().rev().filter(|told| told.0 == name);
        let (_, incarnation, position) = of_room.take(seen + 1).last()?;
        let mut position = position.clone();
        position.offset = position.offset.saturating_add_signed(shift);
        Some((*incarnation, position))
    }
}

fn run(limits: Limits, steps: Vec<Step>) {
    let bench = Bench::new(limits.clone());
    let mut told = Told::default();
    let mut model = Model {
        limits,
        rooms: Vec::new(),
        used: None,
        incarnations: 0,
        evicted: 0,
    };
    for step in steps {
        let now = bench.now();
        match step {
            Step::Publish { room: name, bytes } => {
                let position = bench.publish(NAMES[name], bytes);
                model.use_room(name, now);
                model.publish(bytes, now);
                let room = model.rooms.last().unwrap();
                let delivery = (super::tests::room(NAMES[name]), room.last);
                assert_eq!(
                    bench.feed.take(),
                    Vec::from_iter((room.opened > 0).then_some(delivery))
                );
                told.check(name, (room.incarnation, room.last), position);
            }
            Step::Join {
                room: name,
                seen,
                shift,
            } => {
                let resume = told.pick(name, seen, shift);
                let joined = bench.join(NAMES[name], resume.clone().map(|(_, position)| position));
                let room = model.use_room(name, now);
                let missed = resume
                    .filter(|(incarnation, _)| *incarnation == room.incarnation)
                    .and_then(|(_, position)| room.missed_since(position.offset));
                assert_eq!(joined.recovered, missed.is_some());
                let recovered: Vec<_> = joined.publications.iter().map(|p| p.offset).collect();
                assert_eq!(recovered, missed.unwrap_or_default());
                told.check(name, (room.incarnation, room.last), joined.position);
            }
            Step::JoinFromTheBeginning { room: name, offset } => {
                let epoch = "".into();
                let joined = bench.join(NAMES[name], Some(Position { offset, epoch }));
                let room = model.use_room(name, now);
                let missed = room.missed_since(0).filter(|_| offset == 0);
                assert_eq!(joined.recovered, missed.is_some());
                let recovered: Vec<_> = joined.publications.iter().map(|p| p.offset).collect();
                assert_eq!(recovered, missed.unwrap_or_default());
                told.check(name, (room.incarnation, room.last), joined.position);
            }
            Step::History {
                room: name,
                seen,
                shift,
                limit,
                reverse,
            } => {
                let since = told.pick(name, seen, shift);
                let query = HistoryQuery {
                    since: since.clone().map(|(_, position)| position),
                    limit,
                    max_bytes: usize::MAX,
                    reverse,
                    after: 0,
                };
                let page = bench.history(NAMES[name], query);
                let room = model.use_room(name, now);
                let mut expected: Vec<u64> = room.kept().map(|p| p.offset).collect();
                if reverse {
                    expected.reverse();
                }
                match since {
                    Some((incarnation, _)) if incarnation != room.incarnation => {
                        assert_eq!(page.unwrap_err(), Error::ForeignEpoch);
                    }
                    since => {
                        if let Some((_, Position { offset, .. })) = since {
                            expected.retain(|o| if reverse { *o < offset } else { *o > offset });
                            if offset > room.last {
                                expected.clear();
                            }
                        }
                        expected.truncate(limit);
                        let page = page.unwrap();
                        let read: Vec<_> = page.publications.iter().map(|p| p.offset).collect();
                        assert_eq!(read, expected);
                        told.check(name, (room.incarnation, room.last), page.position);
                    }
                }
            }
            Step::Open { room: name } => {
                bench.broker.open(&room(NAMES[name]));
                model.use_room(name, now).opened += 1;
            }
            Step::Close { room: name } => {
                bench.broker.close(&room(NAMES[name]));
                let room = model.use_room(name, now);
                room.opened = room.opened.saturating_sub(1);
            }
            Step::Advance { ms } => bench.advance(Duration::from_millis(ms)),
            Step::Sweep => {
                assert!(!bench.broker.sweep(now));
                for room in &mut model.rooms {
                    room.expire(now, model.limits.max_age);
                }
            }
        }
        model.evict();
        let usage = bench.broker.usage();
        assert_eq!(usage, model.usage());
        let stays = |room: &Room| room.opened > 0 && room.cost() == 0;
        assert!(
            usage.bytes <= model.limits.max_total_bytes || model.rooms.iter().all(stays),
            "{usage:?}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn rooms_behave_like_the_model(limits in limits(), steps in vec(step(), 1..200)) {
        run(limits, steps);
    }
}
