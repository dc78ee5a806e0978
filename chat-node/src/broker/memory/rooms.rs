//! All rooms and the memory they share.
//!
//! access to a room -> expire its history -> do what is asked -> settle the totals -> evict other rooms
//!
//! Rooms are evicted in the order of their last access, whole, until the total fits: first those that nobody uses and
//! that have nothing to lose, so that entering many rooms costs no other room its history.

use std::collections::{BTreeSet, HashMap};
use std::time::Instant;

use lru::LruCache;

use super::epochs::Epochs;
use super::ids::Ids;
use super::room::Room;
use super::{Limits, Usage};
use crate::ids::RoomName;

/// What a room costs beside its publications and its name: itself, its places in the maps, its epoch.
pub(super) const ROOM_OVERHEAD: usize = 384;

/// How much one sweep does at most: publications dropped, or rooms looked at.
pub(super) const SWEEP_BUDGET: usize = 20_000;

pub(super) struct Rooms {
    limits: Limits,
    /// In order of access, for eviction. Every room with history is here.
    recent: LruCache<RoomName, Room>,
    /// Rooms that are neither open nor have history, in order of access: all they have is their epoch.
    empty: LruCache<RoomName, Room>,
    /// Open rooms from which eviction took all there is; set apart, or it would meet them again and again.
    bare: HashMap<RoomName, Room>,
    /// Every room with history, by `Room::in_by_age`. One entry for a room, not for a publication.
    by_age: BTreeSet<(Instant, RoomName)>,
    epochs: Epochs,
    pub(super) ids: Ids,
    usage: Usage,
}

impl Rooms {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            recent: LruCache::unbounded(),
            empty: LruCache::unbounded(),
            bare: HashMap::new(),
            by_age: BTreeSet::new(),
            epochs: Epochs::new(),
            ids: Ids::new(),
            usage: Usage::default(),
        }
    }

    pub(super) fn usage(&self) -> Usage {
        self.usage
    }

    /// Does `work` with the room `name`, which is created if it is unknown and then the last one to be evicted.
    pub(super) fn access<T>(
        &mut self,
        name: &RoomName,
        now: Instant,
        work: impl FnOnce(&mut Room, &Limits) -> T,
    ) -> T {
        let room = self.recent.get_or_insert_mut_ref(name, || {
            let known = self.empty.pop(name).or_else(|| self.bare.remove(name));
            known.unwrap_or_else(|| {
                self.usage.rooms += 1;
                self.usage.bytes += room_bytes(name);
                Room::new(self.epochs.next())
            })
        });
        let before = Weight::of(room);
        room.expire(now, self.limits.max_age, usize::MAX);
        let done = work(room, &self.limits);
        self.usage.replace(before, Weight::of(room));
        if room.in_by_age.is_none()
            && let Some(oldest) = room.oldest()
        {
            room.in_by_age = Some(oldest);
            self.by_age.insert((oldest, name.clone()));
        }
        let is_empty = room.len() == 0 && !room.is_open();
        if is_empty && let Some((name, mut room)) = self.recent.pop_entry(name) {
            if let Some(since) = room.in_by_age.take() {
                self.by_age.remove(&(since, name.clone()));
            }
            self.empty.push(name, room);
        }
        self.evict(usize::from(!is_empty));
        done
    }

    /// Expires history of rooms that are not accessed, the oldest first; returns whether more is left to do.
    pub(super) fn sweep(&mut self, now: Instant) -> bool {
        let max_age = self.limits.max_age;
        let mut budget = SWEEP_BUDGET;
        while let Some((since, _)) = self.by_age.first()
            && now.saturating_duration_since(*since) >= max_age
        {
            if budget == 0 {
                return true;
            }
            let Some((_, name)) = self.by_age.pop_first() else {
                break;
            };
            let room = self.recent.peek_mut(&name);
            let room = room.expect("rooms leave `by_age` when they leave `recent`");
            let before = Weight::of(room);
            let dropped = room.expire(now, max_age, budget);
            budget -= dropped.max(1);
            self.usage.replace(before, Weight::of(room));
            room.in_by_age = room.oldest();
            if let Some(oldest) = room.in_by_age {
                self.by_age.insert((oldest, name));
            }
        }
        false
    }

    /// Brings the total below its limit, as far as open rooms allow. The `spared` rooms that were accessed last lose
    /// no more than they must.
    fn evict(&mut self, spared: usize) {
        while self.is_over()
            && let Some((name, _)) = self.empty.pop_lru()
        {
            self.forget(&name);
        }
        while self.is_over() && self.recent.len() > spared {
            self.evict_least_recent();
        }
        // The room that was just accessed is alone: first its oldest publications go, at last the room.
        while self.is_over()
            && let Some((_, room)) = self.recent.iter_mut().next()
        {
            let before = Weight::of(room);
            if !room.drop_oldest() {
                self.evict_least_recent();
                return;
            }
            self.usage.replace(before, Weight::of(room));
        }
    }

    /// Forgets the least recently accessed room; if it is open, only its history.
    fn evict_least_recent(&mut self) {
        let Some((mut name, mut room)) = self.recent.pop_lru() else {
            return;
        };
        if let Some(since) = room.in_by_age.take() {
            let entry = (since, name);
            self.by_age.remove(&entry);
            name = entry.1;
        }
        let before = Weight::of(&room);
        if room.len() > 0 {
            self.usage.evicted_rooms_total += 1;
        }
        if !room.is_open() {
            self.usage.replace(before, Weight::default());
            self.forget(&name);
            return;
        }
        // An open room without history has nothing to lose and stays what it is.
        if room.len() > 0 {
            room.restart(self.epochs.next());
            self.usage.replace(before, Weight::of(&room));
        }
        self.bare.insert(name, room);
    }

    /// Takes a room that is in no list any more, and whose history is accounted for, out of the totals.
    fn forget(&mut self, name: &RoomName) {
        self.usage.rooms -= 1;
        self.usage.bytes -= room_bytes(name);
    }

    fn is_over(&self) -> bool {
        self.usage.bytes > self.limits.max_total_bytes
    }
}

/// What a room's history adds to the totals.
#[derive(Default)]
struct Weight {
    publications: usize,
    bytes: usize,
}

impl Weight {
    fn of(room: &Room) -> Self {
        Self {
            publications: room.len(),
            bytes: room.bytes(),
        }
    }
}

impl Usage {
    fn replace(&mut self, before: Weight, after: Weight) {
        self.publications = self.publications - before.publications + after.publications;
        self.bytes = self.bytes - before.bytes + after.bytes;
    }
}

fn room_bytes(name: &RoomName) -> usize {
    ROOM_OVERHEAD + name.as_str().len()
}
