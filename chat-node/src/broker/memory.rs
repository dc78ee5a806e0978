//! The embedded broker: rooms and their history in this process's memory, for a node that runs alone.
//!
//! publish -> one lock over all rooms: give an offset, keep, deliver -> answer, ready at once
//!
//! Nothing survives a restart. Data is kept as it comes: a slice of a larger buffer pins that buffer.

use std::future::ready;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use self::room::Room;
use self::rooms::Rooms;
use super::peers::{CallError, Event, Gathered, Pending, Request, Response};
use super::{
    Answer, Broker, Error, Feed, HistoryPage, HistoryQuery, Joined, Message, NodeLoad, Position,
    Readable,
};
use crate::ids::RoomName;

mod epochs;
mod ids;
mod room;
mod rooms;

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

/// How much history is kept. A publication that no limit lets in is delivered all the same.
#[derive(Clone, Debug)]
pub struct Limits {
    /// 0 keeps no history.
    pub max_messages_per_room: usize,
    /// Data and the overhead of each publication.
    pub max_bytes_per_room: usize,
    pub max_age: Duration,
    /// All rooms with their bookkeeping. Only open rooms without history may exceed it: they stay.
    pub max_total_bytes: usize,
}

/// What the broker holds, estimated from data and fixed overheads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub rooms: usize,
    pub publications: usize,
    pub bytes: usize,
    /// Rooms that were forgotten or lost their history because memory was short.
    pub evicted_rooms_total: u64,
}

/// Where the broker reads the time. It is called under the lock.
pub type Clock = Box<dyn Fn() -> Instant + Send + Sync>;

pub struct Memory {
    rooms: Mutex<Rooms>,
    feed: Arc<dyn Feed>,
    clock: Clock,
    /// The only node there is.
    node: Mutex<Option<NodeLoad>>,
}

impl Memory {
    pub fn new(limits: Limits, feed: Arc<dyn Feed>) -> Self {
        Self::with_clock(limits, feed, Box::new(Instant::now))
    }

    pub fn with_clock(limits: Limits, feed: Arc<dyn Feed>, clock: Clock) -> Self {
        Self {
            rooms: Mutex::new(Rooms::new(limits)),
            feed,
            clock,
            node: Mutex::default(),
        }
    }

    /// Expires publications of rooms that nobody uses; does bounded work and returns whether more is left.
    /// Call it every second.
    pub fn sweep(&self, now: Instant) -> bool {
        self.lock().sweep(now)
    }

    pub fn usage(&self) -> Usage {
        self.lock().usage()
    }

    fn lock(&self) -> MutexGuard<'_, Rooms> {
        // Only a feed can panic under the lock, and it is called when the rooms are settled.
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn access(&self, room: &RoomName, work: impl FnOnce(&mut Room)) {
        let mut rooms = self.lock();
        rooms.access(room, (self.clock)(), |room, _| work(room));
    }
}

impl Broker for Memory {
    /// There are no connections.
    fn serve_worker(&self) {}

    fn publish(&self, room: &RoomName, message: Message) -> Answer<Position> {
        let mut rooms = self.lock();
        let now = (self.clock)();
        let identity = message.key(room).map(|key| (key, message.digest()));
        if let Some((key, digest)) = &identity {
            match rooms.ids.find(key, digest, now) {
                Ok(None) => {}
                Ok(Some(position)) => return answer(Ok(position)),
                Err(error) => return answer(Err(error)),
            }
        }
        let (publication, position, open) = rooms.access(room, now, |room, limits| {
            let publication = room.append(message, now, limits);
            (publication, room.position(), room.is_open())
        });
        if let Some((key, digest)) = identity {
            rooms.ids.insert(key, digest, position.clone(), now);
        }
        // Still under the lock: the feed sees the order of the offsets.
        if open {
            self.feed.deliver(room, &publication);
        }
        answer(Ok(position))
    }

    fn open(&self, room: &RoomName) {
        self.access(room, |room| room.opened += 1);
    }

    fn close(&self, room: &RoomName) {
        self.access(room, |room| room.opened = room.opened.saturating_sub(1));
    }

    fn join(&self, room: &RoomName, resume: Option<Position>) -> Answer<Joined> {
        let mut rooms = self.lock();
        answer(Ok(rooms.access(room, (self.clock)(), |room, _| {
            let missed = resume.and_then(|from| room.missed_since(&from));
            Joined {
                position: room.position(),
                recovered: missed.is_some(),
                publications: missed.unwrap_or_default(),
            }
        })))
    }

    fn history(&self, room: &RoomName, query: HistoryQuery) -> Answer<HistoryPage> {
        let mut rooms = self.lock();
        answer(rooms.access(room, (self.clock)(), |room, _| {
            Ok(HistoryPage {
                publications: room.page(&query)?,
                position: room.position(),
            })
        }))
    }

    fn erase(&self, room: &RoomName) -> Answer<()> {
        self.access(room, Room::erase);
        answer(Ok(()))
    }

    fn readable_after(&self, room: &RoomName, readable: Readable) -> Answer<u64> {
        let (mut rooms, now) = (self.lock(), (self.clock)());
        answer(Ok(rooms.access(room, now, |room, _| {
            room.readable_after(readable, now)
        })))
    }

    fn unread(&self, room: &RoomName, after: Position) -> Answer<u64> {
        let mut rooms = self.lock();
        answer(rooms.access(room, (self.clock)(), |room, _| room.unread(&after)))
    }

    fn readiness(&self) -> Result<(), String> {
        Ok(())
    }

    fn announce(&self, load: NodeLoad) {
        *self.node.lock().expect("no panic holds this lock") = Some(load);
    }

    fn nodes(&self) -> Vec<NodeLoad> {
        let node = self.node.lock().expect("no panic holds this lock");
        node.iter().cloned().collect()
    }

    fn call(&self, _: &str, _: Request, _: Duration) -> Pending<Result<Response, CallError>> {
        Box::pin(ready(Err(CallError::NoSuchNode)))
    }

    fn call_others(&self, _: Request, _: Duration) -> Pending<Gathered> {
        Box::pin(ready(Gathered::default()))
    }

    fn tell_others(&self, _: &RoomName, _: Event) {}

    fn leave(&self) -> Answer<()> {
        answer(Ok(()))
    }
}

fn answer<T: Send + 'static>(result: Result<T, Error>) -> Answer<T> {
    Box::pin(ready(result))
}
