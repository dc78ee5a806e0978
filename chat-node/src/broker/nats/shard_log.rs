//! A shard's log: the newest events of all its rooms, one after the other without a gap.
//!
//! what the feed brings, what was read -> in order of sequence -> what is to be delivered now
//!
//! Sequences of a shard are contiguous over all rooms, so whatever is missing shows. Live delivery, joins and resumes
//! all read this log and nothing else.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::SystemTime;

use foldhash::fast::RandomState;

use super::event::{Erasure, Event};
use crate::broker::Publication;
use crate::ids::RoomName;

/// What stands at one sequence: no event if it reaches nobody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub time: SystemTime,
    pub event: Option<Event>,
    /// It says that earlier ones of its room were erased.
    pub erased: Option<Box<Erasure>>,
}

#[derive(Clone, Copy, Debug)]
pub struct Caps {
    pub entries: usize,
    /// Data and the overhead of each entry.
    pub bytes: usize,
}

/// What became of an entry that was offered.
#[derive(Debug, PartialEq, Eq)]
pub enum Offered {
    /// It continues the log, and so may others that were held.
    Appended,
    /// Something before it is missing.
    Held,
    /// The log has been there.
    Known,
    /// Something else stood at this sequence: the stream uses its sequences again.
    Reused,
}

#[derive(Debug)]
pub struct ShardLog {
    caps: Caps,
    /// The log holds `(low, low + slots.len()]`.
    low: u64,
    slots: VecDeque<Slot>,
    /// Each room's newest sequence in the log.
    newest: HashMap<RoomName, u64, RandomState>,
    /// How far rooms were erased, and where the log says so.
    erased: HashMap<RoomName, Erased, RandomState>,
    bytes: usize,
    /// Entries that came before one that is still missing.
    held: BTreeMap<u64, Entry>,
    held_bytes: usize,
    /// The highest sequence that is known to exist.
    target: u64,
    /// Up to here entries have been taken for delivery.
    delivered: u64,
    /// When the newest entry was stored that the log has had.
    newest_time: Option<SystemTime>,
}

#[derive(Clone, Copy, Debug)]
struct Erased {
    up_to: u64,
    at: u64,
}

#[derive(Debug)]
struct Slot {
    /// `None` if it was erased before it came.
    entry: Option<Entry>,
    /// The sequence of the room's event before this one; 0 if the log does not hold it.
    previous: u64,
}

/// What a pinned log may have more than twice its caps.
const PINNED_ENTRIES: usize = 1000;
const PINNED_BYTES: usize = 1 << 20;
/// An entry's memory beside its data: slot, publication, its share of the index.
const SLOT_BYTES: usize = 160;

impl ShardLog {
    /// An empty log that begins after `low`, to be filled up to `end`. What comes after `end` is delivered.
    pub fn new(low: u64, end: u64, caps: Caps) -> Self {
        Self {
            caps,
            low,
            slots: VecDeque::new(),
            newest: HashMap::default(),
            erased: HashMap::default(),
            bytes: 0,
            held: BTreeMap::new(),
            held_bytes: 0,
            target: end,
            delivered: end,
            newest_time: None,
        }
    }

    /// The oldest entries begin after this sequence.
    pub fn low(&self) -> u64 {
        self.low
    }

    /// The log's end.
    pub fn pos(&self) -> u64 {
        self.low + self.slots.len() as u64
    }

    pub fn target(&self) -> u64 {
        self.target
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether something that is known to exist is not here yet.
    pub fn has_gap(&self) -> bool {
        self.pos() < self.target
    }

    /// Sequence `exists` has been seen somewhere.
    pub fn raise_target(&mut self, exists: u64) {
        self.target = self.target.max(exists);
    }

    /// Takes what stands at `sequence`, in whatever order it comes.
    pub fn offer(&mut self, sequence: u64, entry: Entry) -> Offered {
        self.raise_target(sequence);
        if sequence <= self.pos() {
            let reused = match self.slot(sequence) {
                // A late copy of something that was erased meanwhile proves nothing.
                Some(slot) => (slot.entry.as_ref()).is_some_and(|known| known.time != entry.time),
                None => self.newest_time.is_some_and(|newest| newest < entry.time),
            };
            return if reused {
                Offered::Reused
            } else {
                Offered::Known
            };
        }
        if sequence > self.pos() + 1 {
            // What is dropped here is read from the stream later.
            if self.held.len() < self.caps.entries && self.held_bytes < self.caps.bytes {
                self.held_bytes += size(Some(&entry));
                if let Some(before) = self.held.insert(sequence, entry) {
                    self.held_bytes -= size(Some(&before));
                }
            }
            return Offered::Held;
        }
        self.append(Some(entry));
        self.append_held();
        Offered::Appended
    }

    /// Nothing exists in `pos()+1..until`: it was erased. What was held may continue the log now.
    pub fn skip_to(&mut self, until: u64) {
        let missing = until.saturating_sub(self.pos() + 1);
        if missing > self.caps.entries as u64 {
            // A gap that alone fills the log: start anew behind it. Nothing is left to be delivered before it.
            self.slots.clear();
            self.newest.clear();
            self.erased.clear();
            self.bytes = 0;
            self.low = until - 1;
            self.delivered = self.delivered.max(self.low);
        } else {
            for _ in 0..missing {
                self.append(None);
            }
        }
        self.append_held();
    }

    fn append_held(&mut self) {
        while let Some(first) = self.held.first_entry() {
            let next = self.low + self.slots.len() as u64 + 1;
            if *first.key() > next {
                break;
            }
            let (sequence, entry) = first.remove_entry();
            self.held_bytes -= size(Some(&entry));
            if sequence == next {
                self.append(Some(entry));
            }
        }
    }

    fn append(&mut self, entry: Option<Entry>) {
        let sequence = self.pos() + 1;
        let mut previous = 0;
        self.newest_time = self.newest_time.max(entry.as_ref().map(|entry| entry.time));
        if let Some(event) = event(entry.as_ref()) {
            previous = match self.newest.get_mut(&event.room) {
                Some(newest) => std::mem::replace(newest, sequence),
                None => {
                    self.newest.insert(event.room.clone(), sequence);
                    0
                }
            };
        }
        self.bytes += size(entry.as_ref());
        let erased = entry.as_ref().and_then(|entry| entry.erased.clone());
        self.slots.push_back(Slot { entry, previous });
        if let Some(erasure) = erased {
            self.erase(*erasure, sequence);
        }
    }

    /// Forgets what was erased, as the entry at `at` says.
    fn erase(&mut self, Erasure { room, up_to }: Erasure, at: u64) {
        let mut sequence = self.newest.get(&room).copied().unwrap_or(0);
        let mut kept = 0;
        while let Some(previous) = self.slot(sequence).map(|slot| slot.previous) {
            if sequence > up_to {
                kept = sequence;
            } else if let Some(slot) = self.slot_mut(sequence) {
                let before = size(slot.entry.as_ref());
                slot.previous = 0;
                if let Some(entry) = &mut slot.entry {
                    entry.event = None;
                }
                let after = size(slot.entry.as_ref());
                self.bytes = self.bytes - before + after;
            }
            sequence = previous;
        }
        match self.slot_mut(kept) {
            Some(oldest_kept) => oldest_kept.previous = 0,
            None => {
                self.newest.remove(&room);
            }
        }
        self.erased.insert(room, Erased { up_to, at });
    }

    /// Up to here the room's messages were erased, as far as the log knows; else 0.
    pub fn erased_up_to(&self, room: &RoomName) -> u64 {
        self.erased.get(room).map_or(0, |erased| erased.up_to)
    }

    /// The next event to deliver, in order, once each.
    pub fn next_delivery(&mut self) -> Option<Event> {
        while self.delivered < self.pos() {
            self.delivered += 1;
            let delivered = self.slot(self.delivered);
            if let Some(event) = delivered.and_then(|slot| event(slot.entry.as_ref())) {
                return Some(event.clone());
            }
        }
        None
    }

    /// Drops the oldest entries beyond the caps, never one that is still to be delivered. While the log is pinned by
    /// somebody who reads up to it, it may grow somewhat further.
    pub fn evict(&mut self, is_pinned: bool) {
        let mut caps = self.caps;
        if is_pinned {
            caps.entries = caps.entries * 2 + PINNED_ENTRIES;
            caps.bytes = caps.bytes * 2 + PINNED_BYTES;
        }
        while (self.slots.len() > caps.entries || self.bytes > caps.bytes)
            && self.low < self.delivered
            && let Some(slot) = self.slots.pop_front()
        {
            self.low += 1;
            self.bytes -= size(slot.entry.as_ref());
            if let Some(event) = event(slot.entry.as_ref())
                && self.newest.get(&event.room) == Some(&self.low)
            {
                self.newest.remove(&event.room);
            }
            if let Some(erasure) = slot.entry.and_then(|entry| entry.erased)
                && (self.erased.get(&erasure.room)).is_some_and(|erased| erased.at == self.low)
            {
                self.erased.remove(&erasure.room);
            }
        }
        if self.newest.capacity() > 1024 && self.newest.capacity() > 8 * self.newest.len() {
            self.newest.shrink_to(2 * self.newest.len());
        }
    }

    fn slot_mut(&mut self, sequence: u64) -> Option<&mut Slot> {
        let index = sequence.checked_sub(self.low + 1)?;
        self.slots.get_mut(usize::try_from(index).ok()?)
    }

    fn slot(&self, sequence: u64) -> Option<&Slot> {
        let index = sequence.checked_sub(self.low + 1)?;
        self.slots.get(usize::try_from(index).ok()?)
    }

    /// The room's publications after `after` up to the log's end, newest first. `after` must not lie below the log.
    pub fn newest_first(
        &self,
        room: &RoomName,
        after: u64,
    ) -> impl Iterator<Item = &Arc<Publication>> {
        let mut sequence = self.newest.get(room).copied().unwrap_or(0);
        std::iter::from_fn(move || {
            if sequence <= after {
                return None;
            }
            let slot = self.slot(sequence)?;
            sequence = slot.previous;
            event(slot.entry.as_ref()).map(|event| &event.publication)
        })
    }

    /// The last sequence that was stored before `time`; `None` if the log does not go back so far.
    pub fn before(&self, time: SystemTime) -> Option<u64> {
        // Slots below `older` are older, those from `newer` on are not. What was erased has no time.
        let (mut older, mut newer) = (0, self.slots.len());
        while older < newer {
            let middle = older + (newer - older) / 2;
            let known = |index: usize| Some((index, self.slots[index].entry.as_ref()?.time));
            match (middle..newer).find_map(known) {
                Some((index, at)) if at < time => older = index + 1,
                _ => newer = middle,
            }
        }
        (older > 0 || self.low == 0).then(|| self.low + older as u64)
    }

    /// The room's publications after `after`, ascending.
    pub fn since(&self, room: &RoomName, after: u64) -> Vec<Arc<Publication>> {
        let mut publications: Vec<_> = self.newest_first(room, after).cloned().collect();
        publications.reverse();
        publications
    }
}

fn event(entry: Option<&Entry>) -> Option<&Event> {
    entry?.event.as_ref()
}

fn size(entry: Option<&Entry>) -> usize {
    SLOT_BYTES + event(entry).map_or(0, |event| event.publication.payload_bytes())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    const CAPS: Caps = Caps {
        entries: 1000,
        bytes: 1 << 20,
    };

    fn room(name: &str) -> RoomName {
        RoomName::parse(name, 255).unwrap()
    }

    #[test]
    fn what_is_older_than_a_time_ends_at_a_sequence_of_the_log() {
        let mut log = ShardLog::new(10, 10, CAPS);
        for sequence in [11, 12, 15, 16] {
            log.offer(sequence, entry(sequence, "a"));
        }
        log.skip_to(15);
        assert_eq!(log.pos(), 16);
        let before = |seconds: u64| log.before(at(seconds));
        assert_eq!([before(12), before(13)], [Some(11), Some(12)]);
        // What was erased counts with its neighbours.
        assert_eq!([before(16), before(17)], [Some(15), Some(16)]);
        assert_eq!([before(11), before(1)], [None, None]);
        let log = ShardLog::new(0, 0, CAPS);
        assert_eq!(log.before(at(5)), Some(0));
    }

    fn at(sequence: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(sequence)
    }

    fn entry(sequence: u64, name: &str) -> Entry {
        let publication = Publication {
            offset: sequence,
            data: Bytes::from_static(b"\"0123456789\""),
            author: None,
            tags: None,
        };
        let event = Event {
            room: room(name),
            publication: publication.into(),
        };
        Entry {
            time: at(sequence),
            event: Some(event),
            erased: None,
        }
    }

    fn delivered(log: &mut ShardLog) -> Vec<u64> {
        std::iter::from_fn(|| log.next_delivery())
            .map(|event| event.publication.offset)
            .collect()
    }

    fn offsets(log: &ShardLog, name: &str, after: u64) -> Vec<u64> {
        let since = log.since(&room(name), after);
        since.iter().map(|publication| publication.offset).collect()
    }

    #[test]
    fn nothing_is_delivered_before_what_is_missing_is_here() {
        let mut log = ShardLog::new(10, 10, CAPS);
        assert_eq!(log.offer(11, entry(11, "a")), Offered::Appended);
        assert_eq!(log.offer(13, entry(13, "b")), Offered::Held);
        assert_eq!(log.offer(14, entry(14, "a")), Offered::Held);
        assert!(log.has_gap());
        assert_eq!(delivered(&mut log), [11]);
        assert_eq!(log.offer(12, entry(12, "a")), Offered::Appended);
        assert!(!log.has_gap());
        assert_eq!(delivered(&mut log), [12, 13, 14]);
        assert_eq!(log.offer(12, entry(12, "a")), Offered::Known);
        assert!(delivered(&mut log).is_empty());
        assert_eq!(offsets(&log, "a", 11), [12, 14]);
    }

    #[test]
    fn what_is_known_to_exist_is_a_gap_until_it_is_here() {
        let mut log = ShardLog::new(3, 3, CAPS);
        log.raise_target(4);
        assert!(log.has_gap());
        log.offer(4, entry(4, "a"));
        assert!(!log.has_gap());
    }

    #[test]
    fn a_log_that_is_filled_at_its_start_delivers_nothing_of_that() {
        let mut log = ShardLog::new(0, 3, CAPS);
        for sequence in 1..=4 {
            log.offer(sequence, entry(sequence, "a"));
        }
        assert_eq!(delivered(&mut log), [4]);
        assert_eq!(offsets(&log, "a", 0), [1, 2, 3, 4]);
    }

    #[test]
    fn erased_sequences_are_passed_over() {
        let mut log = ShardLog::new(0, 0, CAPS);
        log.offer(1, entry(1, "a"));
        log.offer(4, entry(4, "a"));
        log.offer(6, entry(6, "a"));
        log.skip_to(4);
        assert_eq!((log.pos(), log.has_gap()), (4, true));
        log.skip_to(6);
        assert_eq!(log.pos(), 6);
        assert_eq!(delivered(&mut log), [1, 4, 6]);
        assert_eq!(offsets(&log, "a", 0), [1, 4, 6]);
    }

    #[test]
    fn a_gap_larger_than_the_log_starts_it_anew() {
        let mut log = ShardLog::new(0, 0, CAPS);
        log.offer(1, entry(1, "a"));
        assert_eq!(delivered(&mut log), [1]);
        log.offer(5_000, entry(5_000, "a"));
        log.skip_to(5_000);
        assert_eq!((log.low(), log.pos()), (4_999, 5_000));
        assert_eq!(delivered(&mut log), [5_000]);
    }

    #[test]
    fn a_sequence_that_is_used_again_shows() {
        let mut log = ShardLog::new(0, 0, CAPS);
        log.offer(1, entry(1, "a"));
        assert_eq!(log.offer(1, entry(1, "a")), Offered::Known);
        let mut other = entry(1, "b");
        for time in [9, 0] {
            other.time = at(time);
            assert_eq!(log.offer(1, other.clone()), Offered::Reused);
        }
    }

    #[test]
    fn a_sequence_that_is_used_again_shows_after_the_log_has_forgotten_it() {
        let caps = Caps {
            entries: 2,
            bytes: 1 << 20,
        };
        let mut log = ShardLog::new(0, 0, caps);
        for sequence in 1..=9 {
            log.offer(sequence, entry(sequence, "a"));
            delivered(&mut log);
            log.evict(false);
        }
        assert_eq!(log.offer(3, entry(3, "a")), Offered::Known);
        let mut other = entry(3, "b");
        other.time = at(10);
        assert_eq!(log.offer(3, other), Offered::Reused);
    }

    #[test]
    fn a_late_copy_of_what_was_erased_is_no_reuse() {
        let mut log = ShardLog::new(0, 0, CAPS);
        log.offer(1, entry(1, "a"));
        log.skip_to(4);
        for late in [2, 3] {
            assert_eq!(log.offer(late, entry(late, "a")), Offered::Known);
        }
    }

    #[test]
    fn the_oldest_go_first_and_only_when_they_are_delivered() {
        let caps = Caps {
            entries: 3,
            bytes: 1 << 20,
        };
        let mut log = ShardLog::new(0, 0, caps);
        for sequence in 1..=5 {
            log.offer(
                sequence,
                entry(sequence, if sequence == 2 { "b" } else { "a" }),
            );
        }
        log.evict(false);
        assert_eq!((log.low(), log.pos()), (0, 5));
        delivered(&mut log);
        log.evict(false);
        assert_eq!((log.low(), log.pos()), (2, 5));
        assert_eq!(offsets(&log, "a", 2), [3, 4, 5]);
        assert_eq!(offsets(&log, "b", 2), [0; 0]);
        assert_eq!(log.newest.len(), 1);
    }

    #[test]
    fn bytes_are_capped_too() {
        let caps = Caps {
            entries: 1000,
            bytes: 10 * (SLOT_BYTES + 12),
        };
        let mut log = ShardLog::new(0, 0, caps);
        for sequence in 1..=50 {
            log.offer(sequence, entry(sequence, "a"));
            delivered(&mut log);
            log.evict(false);
        }
        assert_eq!((log.low(), log.pos()), (40, 50));
        assert_eq!(log.bytes(), caps.bytes);
    }

    proptest! {
        /// Whatever order the feed has, whatever it loses: every room sees its events once and in order.
        #[test]
        fn every_room_gets_all_of_its_events_in_order(
            rooms in proptest::collection::vec(0..4_usize, 1..80),
            erased in proptest::collection::vec(any::<bool>(), 80),
            arrivals in proptest::collection::vec(0..80_usize, 0..160),
            entries in 5..40_usize,
        ) {
            let names = ["a", "b", "c", "d"];
            let exists = |sequence: usize| !erased[sequence - 1];
            let stored = |sequence: usize| entry(sequence as u64, names[rooms[sequence - 1]]);
            let mut log = ShardLog::new(0, 0, Caps { entries, bytes: 1 << 20 });
            let mut seen = Vec::new();
            let newest = (1..=rooms.len()).rev().find(|s| exists(*s)).unwrap_or(0);
            let reads = (1..=newest).filter(|s| exists(*s));
            let arrivals = arrivals.into_iter().map(|s| s % rooms.len() + 1).filter(|s| exists(*s));
            let mut fed = 0;
            for sequence in arrivals {
                log.offer(sequence as u64, stored(sequence));
                fed += 1;
                if fed % 3 == 0 {
                    seen.extend(delivered(&mut log));
                    log.evict(false);
                }
            }
            for sequence in reads {
                if sequence as u64 > log.pos() {
                    log.skip_to(sequence as u64);
                    log.offer(sequence as u64, stored(sequence));
                }
                seen.extend(delivered(&mut log));
                log.evict(false);
            }
            let all: Vec<u64> = (1..=newest).filter(|s| exists(*s)).map(|s| s as u64).collect();
            prop_assert_eq!(seen, all.clone());
            prop_assert!(log.slots.len() <= entries);
            for (index, name) in names.iter().enumerate() {
                for after in log.low()..=log.pos() {
                    let expected: Vec<u64> = all.iter().copied()
                        .filter(|s| *s > after && rooms[*s as usize - 1] == index)
                        .collect();
                    prop_assert_eq!(offsets(&log, name, after), expected);
                }
            }
        }
    }
}
