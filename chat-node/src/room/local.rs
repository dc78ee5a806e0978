//! The rooms of one worker: who is in which, both ways round, and which of them the pump has to visit.
//!
//! A room whose members have several wires, or of whom only some hear of joins and leaves, is several rooms here, each
//! with a log of its own; to everybody else they are one.

use std::collections::{HashMap, VecDeque};
use std::iter;
use std::time::Instant;

use foldhash::fast::RandomState;
use slotmap::{SecondaryMap, SlotMap};

use crate::broker::{Author, Epoch};
use crate::ids::RoomName;
use crate::protocol::Wire;
use crate::socket::ConnectionKey;

use super::delivery::Delivery;
use super::log::Spares;
use super::{Member, Pass, Room, RoomKey};

#[derive(Default)]
pub struct LocalRooms {
    /// The first room of each name; the others hang on it as siblings.
    by_name: HashMap<RoomName, RoomKey, RandomState>,
    rooms: SlotMap<RoomKey, Room>,
    joined: SecondaryMap<ConnectionKey, Vec<Place>>,
    queue: VecDeque<RoomKey>,
    members: usize,
    pub spares: Spares,
    /// Joins and leaves that others are to be told of, in their order.
    pub changes: Vec<Change>,
}

/// What happened to a member of a room that tells of joins and leaves.
#[derive(Debug)]
pub enum Change {
    Joined(RoomName, ConnectionKey, Author),
    Left(RoomName, ConnectionKey),
}

/// Where a connection stands in a room's member list.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    pub room: RoomKey,
    pub index: u32,
}

impl LocalRooms {
    /// Adds `connection` to the room as a member whose join is still out. True if it is the worker's first there.
    pub fn enter(
        &mut self,
        connection: ConnectionKey,
        wire: Wire,
        hears_joins: bool,
        name: &RoomName,
    ) -> (RoomKey, bool) {
        let first = !self.by_name.contains_key(name);
        let known = self
            .named(name.as_str())
            .find(|(_, room)| room.wire == wire && room.hears_joins == hears_joins);
        let key = match known {
            Some((key, _)) => key,
            None => self.open(name, wire, hears_joins),
        };
        let room = &mut self.rooms[key];
        let place = Place {
            room: key,
            index: room.members.len() as u32,
        };
        room.members.push(Member {
            connection,
            cursor: room.log.head(),
            after: Member::ASKED,
        });
        self.members += 1;
        let Some(places) = self.joined.entry(connection) else {
            unreachable!("a connection enters rooms only while it exists");
        };
        // Most sessions are in one room: no spare capacity for the first.
        let places = places.or_insert_with(|| Vec::with_capacity(1));
        places.push(place);
        (key, first)
    }

    fn open(&mut self, name: &RoomName, wire: Wire, hears_joins: bool) -> RoomKey {
        let room = Room::new(name.clone(), wire, hears_joins);
        let key = self.rooms.insert(room);
        self.rooms[key].sibling = self.by_name.insert(name.clone(), key);
        key
    }

    /// Has others be told that `connection` has joined the room, and in the end that it has left.
    pub fn tell_of(&mut self, connection: ConnectionKey, room: RoomKey, member: Author) {
        if self.place_in(connection, room).is_some() {
            let room = &mut self.rooms[room];
            room.tells_joins = true;
            let joined = Change::Joined(room.name.clone(), connection, member);
            self.changes.push(joined);
        }
    }

    /// The members of the room whose joins are answered.
    pub fn members_of(&self, name: &str) -> Vec<ConnectionKey> {
        let members = self.named(name).flat_map(|(_, room)| &room.members);
        members
            .filter(|member| member.after != Member::ASKED)
            .map(|member| member.connection)
            .collect()
    }

    /// Every room of that name, one for each wire.
    fn named(&self, name: &str) -> impl Iterator<Item = (RoomKey, &Room)> {
        let first = self.by_name.get(name).copied();
        iter::successors(first, |key| self.rooms[*key].sibling).map(|key| (key, &self.rooms[key]))
    }

    /// Lets the feed reach a member whose join answered: everything after `offset` is for it.
    pub fn start(&mut self, connection: ConnectionKey, room: RoomKey, offset: u64) {
        let Some(place) = self.place_in(connection, room) else {
            return;
        };
        let room = &mut self.rooms[place.room];
        // Offset 0 lies before every publication, as `after` 0 lets every one through.
        room.members[place.index as usize].after = offset;
        if room.log.bytes() > 0 {
            self.visit_again(place.room);
        }
    }

    /// Takes `connection` out of the room. Returns the room's name if nobody of this worker is left in it.
    pub fn leave(&mut self, connection: ConnectionKey, room: RoomKey) -> Option<RoomName> {
        let place = self.place_in(connection, room)?;
        let places = self.joined.get_mut(connection)?;
        places.retain(|other| other.room != room);
        if places.is_empty() {
            self.joined.remove(connection);
        }
        self.remove_member(place)
    }

    /// Takes `connection` out of every room. Returns the names of rooms that nobody of this worker is left in.
    pub fn leave_all(&mut self, connection: ConnectionKey) -> Vec<RoomName> {
        let places = self.joined.remove(connection).unwrap_or_default();
        places
            .into_iter()
            .filter_map(|place| self.remove_member(place))
            .collect()
    }

    fn remove_member(&mut self, place: Place) -> Option<RoomName> {
        let room = &mut self.rooms[place.room];
        let index = place.index as usize;
        let left = room.members.swap_remove(index);
        self.members -= 1;
        if room.tells_joins {
            let left = Change::Left(room.name.clone(), left.connection);
            self.changes.push(left);
        }
        if let Some(moved) = room.members.get(index) {
            let places = self
                .joined
                .get_mut(moved.connection)
                .expect("every member's connection has places");
            let moved = places.iter_mut().find(|other| other.room == place.room);
            moved.expect("every member has a place").index = place.index;
        }
        if !room.members.is_empty() {
            // The log may have been kept for this member alone, and the one that was moved may be passed over.
            if room.log.bytes() > 0 {
                self.visit_again(place.room);
            }
            return None;
        }
        let mut room = self.rooms.remove(place.room)?;
        room.log.clear(&mut self.spares);
        self.unlink(place.room, &room).then_some(room.name)
    }

    /// Takes a room that was removed from its siblings. True if it had none.
    fn unlink(&mut self, key: RoomKey, removed: &Room) -> bool {
        let mut current = self.by_name[&removed.name];
        if current != key {
            while self.rooms[current].sibling != Some(key) {
                current = self.rooms[current]
                    .sibling
                    .expect("every room can be reached by its name");
            }
            self.rooms[current].sibling = removed.sibling;
            return false;
        }
        match removed.sibling {
            Some(sibling) => {
                self.by_name.insert(removed.name.clone(), sibling);
                false
            }
            None => {
                self.by_name.remove(&removed.name);
                true
            }
        }
    }

    /// The room of that name, if `connection` is in it.
    pub fn find(&self, connection: ConnectionKey, name: &str) -> Option<RoomKey> {
        self.named(name)
            .find_map(|(room, _)| self.place_in(connection, room))
            .map(|place| place.room)
    }

    fn place_in(&self, connection: ConnectionKey, room: RoomKey) -> Option<Place> {
        self.places(connection)
            .iter()
            .find(|place| place.room == room)
            .copied()
    }

    /// Drops what the room's members have not got: it is of another incarnation than `epoch`. Returns those who had
    /// their place in that one.
    pub fn become_other(&mut self, name: &RoomName, epoch: Epoch) -> Vec<ConnectionKey> {
        let mut next = self.by_name.get(name).copied();
        let mut placed = Vec::new();
        while let Some(room) = next.and_then(|key| self.rooms.get_mut(key)) {
            next = room.sibling;
            room.log.clear(&mut self.spares);
            room.epoch = Some(epoch.clone());
            let members = room.members.iter();
            let had_place = members.filter(|member| member.after != Member::ASKED);
            placed.extend(had_place.map(|member| member.connection));
        }
        placed
    }

    /// Takes notice that a join was answered with `epoch`. False if the room has become another one meanwhile.
    pub fn answered(&mut self, connection: ConnectionKey, room: RoomKey, epoch: &Epoch) -> bool {
        let Some(place) = self.place_in(connection, room) else {
            return false;
        };
        let room = &mut self.rooms[place.room];
        room.members[place.index as usize].after = Member::ANSWERED;
        room.epoch.as_ref().is_none_or(|current| current == epoch)
    }

    /// The rooms that `connection` is in.
    pub fn places(&self, connection: ConnectionKey) -> &[Place] {
        self.joined.get(connection).map_or(&[], Vec::as_slice)
    }

    /// The rooms and how many members each has.
    pub fn list(&self) -> Vec<(RoomName, usize)> {
        let rooms = self.rooms.values();
        rooms
            .map(|room| (room.name.clone(), room.members.len()))
            .collect()
    }

    /// How many members all rooms of this worker have together.
    pub fn members(&self) -> usize {
        self.members
    }

    /// Appends a delivery to its room's log and has the pump visit the room.
    pub fn append(&mut self, delivery: &Delivery) {
        let mut next = self.by_name.get(&delivery.room).copied();
        while let Some(key) = next {
            let room = &mut self.rooms[key];
            next = room.sibling;
            if delivery.is_presence() && !room.hears_joins {
                continue;
            }
            room.log.append(
                delivery.offset(),
                delivery.frame(room.wire),
                delivery.accepted,
                &mut self.spares,
            );
            self.visit(key);
        }
    }

    /// Has the pump visit every member of the room once more, also those it has just visited.
    pub fn visit_again(&mut self, key: RoomKey) {
        if let Some(pass) = self.rooms.get_mut(key).and_then(|room| room.pass.as_mut()) {
            pass.again = true;
        }
        self.visit(key);
    }

    /// Has the pump visit the room, unless it will anyway.
    fn visit(&mut self, key: RoomKey) {
        if let Some(room) = self.rooms.get_mut(key)
            && !room.queued
        {
            room.queued = true;
            self.queue.push_back(key);
        }
    }

    /// Whether the pump has something to do.
    pub fn want_visits(&self) -> bool {
        !self.queue.is_empty()
    }

    pub fn get_mut(&mut self, key: RoomKey) -> Option<&mut Room> {
        self.rooms.get_mut(key)
    }

    /// The next room to visit, from where its last visit stopped.
    pub fn next_visit(&mut self) -> Option<(RoomKey, Pass)> {
        while let Some(key) = self.queue.pop_front() {
            if let Some(room) = self.rooms.get_mut(key) {
                room.queued = false;
                let begun = Pass {
                    next: 0,
                    head: room.log.head(),
                    behind: false,
                    again: false,
                };
                return Some((key, room.pass.take().unwrap_or(begun)));
            }
        }
        None
    }

    /// Puts a visit off until the other rooms that wait have had their turn.
    pub fn pause(&mut self, key: RoomKey, pass: Pass) {
        if let Some(room) = self.rooms.get_mut(key) {
            room.pass = Some(pass);
            self.visit(key);
        }
    }

    /// Ends a visit and drops what everybody has now. Returns when the oldest frame was appended that this visit was
    /// the first to bring.
    pub fn finish(&mut self, key: RoomKey, pass: Pass) -> Option<Instant> {
        let room = self.rooms.get_mut(key)?;
        if pass.again {
            self.visit(key);
            return None;
        }
        let oldest = if room.visited < pass.head {
            room.log.appended(room.visited)
        } else {
            None
        };
        room.visited = pass.head;
        let grown = room.log.head() != pass.head;
        // Everyone was visited after the visit began, so everyone who is not behind has what was there then.
        match (pass.behind, grown) {
            (false, false) => room.log.clear(&mut self.spares),
            (false, true) => room.log.trim(pass.head),
            (true, _) => {}
        }
        if grown {
            self.visit(key);
        }
        oldest
    }

    /// Since when the oldest frame that waits for a member has been waiting.
    pub fn appended(&self, place: Place) -> Option<Instant> {
        let room = self.rooms.get(place.room)?;
        room.log.appended(room.members[place.index as usize].cursor)
    }
}
