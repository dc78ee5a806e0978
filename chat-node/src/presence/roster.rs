//! Rosters of the rooms whose members are told of joins and leaves: this node's members, and those of the others as
//! far as these have told. Inputs -> effects, no IO.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};

use foldhash::fast::RandomState;

use crate::broker::Author;
use crate::broker::peers::{self, Digest, PresenceChange};
use crate::ids::{self, RoomName};
use crate::room::registry::WorkerIndex;
use crate::socket::ConnectionKey;

use super::members::{MOST_BYTES, MOST_LISTED, to_wire, wire_bytes};
use super::view::{Delta, Listing, Told, View};

pub use super::view::What;

/// Members of whom an answer has at least the ids: they have to fit beside those that are listed.
const MOST_IDS: usize = 24_000;

/// A member of this node, by where it is.
pub type Place = (WorkerIndex, ConnectionKey);

/// What follows from something that was said.
#[derive(Debug)]
pub enum Effect {
    /// Tell this node's members.
    Announce(Announcement),
    /// Tell the other nodes.
    Tell(RoomName, PresenceChange),
    /// Ask a node for its members.
    Repair(String, RoomName),
    /// Ask all nodes for theirs: the room is new here.
    Meet(RoomName),
}

/// A join or a leave, for the members of a room who want to hear of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Announcement {
    pub room: RoomName,
    pub what: What,
    pub member: Author,
}

pub struct Rosters {
    /// When this node was started, in milliseconds since 1970.
    incarnation: u64,
    /// Grows with each change in any room.
    version: u64,
    rooms: HashMap<RoomName, Roster, RandomState>,
}

/// A room in which this node has members.
struct Roster {
    hash: u64,
    /// Each with the version by which it joined.
    own: HashMap<Place, (u64, Author), RandomState>,
    /// The newest change of `own`.
    version: u64,
    others: HashMap<String, View, RandomState>,
    /// Nodes that were gone, and whose members have left: who comes back with them joins anew.
    lost: HashSet<String, RandomState>,
}

impl Rosters {
    pub fn new(incarnation: u64) -> Self {
        Self {
            incarnation,
            version: 0,
            rooms: HashMap::default(),
        }
    }

    /// A member of this node has joined.
    pub fn joined(&mut self, room: &RoomName, place: Place, member: Author) -> Vec<Effect> {
        let mut effects = Vec::new();
        let roster = self.rooms.entry(room.clone()).or_insert_with(|| {
            effects.push(Effect::Meet(room.clone()));
            Roster::new(room)
        });
        let previous = if roster.own.is_empty() {
            0
        } else {
            roster.version
        };
        let joined = (self.version + 1, member.clone());
        if roster.own.insert(place, joined).is_none() {
            self.version += 1;
            roster.version = self.version;
            self.tell(&mut effects, room, What::Joined, previous, member);
        }
        effects
    }

    /// A member of this node has left.
    pub fn left(&mut self, room: &RoomName, place: Place) -> Vec<Effect> {
        let mut effects = Vec::new();
        if let Some(roster) = self.rooms.get_mut(room)
            && let Some((_, member)) = roster.own.remove(&place)
        {
            let previous = roster.version;
            self.version += 1;
            roster.version = self.version;
            if roster.own.is_empty() {
                self.rooms.remove(room);
            }
            self.tell(&mut effects, room, What::Left, previous, member);
        }
        effects
    }

    fn tell(
        &self,
        effects: &mut Vec<Effect>,
        room: &RoomName,
        what: What,
        previous: u64,
        member: Author,
    ) {
        let change = PresenceChange {
            incarnation: self.incarnation,
            previous,
            version: self.version,
            joined: what == What::Joined,
            member: Some(to_wire(&member)),
        };
        effects.push(Effect::Tell(room.clone(), change));
        effects.push(Effect::Announce(Announcement {
            room: room.clone(),
            what,
            member,
        }));
    }

    /// Another node has told of a join or a leave.
    pub fn heard(&mut self, from: &str, room: &RoomName, delta: Delta) -> Vec<Effect> {
        self.with_view(from, room, |view, told| view.hear(delta, told))
    }

    /// Another node has listed its members; `None`: it did not answer.
    pub fn listed(&mut self, from: &str, room: &RoomName, listing: Option<Listing>) -> Vec<Effect> {
        self.with_view(from, room, |view, told| {
            view.is_asked = false;
            listing.is_none_or(|listing| view.read(listing, told))
        })
    }

    /// Compares what another node says of its rooms with what is known here.
    pub fn compared(&mut self, from: &str, digest: &Digest) -> Vec<Effect> {
        let said: HashMap<u64, u64, RandomState> = (digest.rooms.iter().copied())
            .zip(digest.versions.iter().copied())
            .collect();
        let mut effects = Vec::new();
        for (room, roster) in &mut self.rooms {
            if !(digest.from_hash..=digest.to_hash).contains(&roster.hash) {
                continue;
            }
            let mut told = Told::new();
            match (said.get(&roster.hash), roster.others.get_mut(from)) {
                (Some(version), view) => {
                    let is_behind =
                        view.is_none_or(|view| view.is_behind(digest.incarnation, *version));
                    if is_behind {
                        roster.ask(from, room, &mut effects);
                    }
                }
                (None, Some(view)) => {
                    view.is_empty_at(digest.incarnation, digest.version, &mut told);
                }
                (None, None) => {}
            }
            announce(&mut effects, room, told);
        }
        effects
    }

    /// Takes the members of nodes that are gone out of every room.
    pub fn keep_only(&mut self, is_there: impl Fn(&str) -> bool) -> Vec<Effect> {
        let mut effects = Vec::new();
        for (room, roster) in &mut self.rooms {
            let gone = roster.others.extract_if(|node, view| {
                view.missed = if is_there(node) { 0 } else { view.missed + 1 };
                // A node may be heard a moment before it is known to be there.
                view.missed > 1
            });
            let mut told = Told::new();
            for (node, mut view) in gone {
                view.empty(&mut told);
                roster.lost.insert(node);
            }
            announce(&mut effects, room, told);
        }
        effects
    }

    fn with_view(
        &mut self,
        from: &str,
        room: &RoomName,
        change: impl FnOnce(&mut View, &mut Told) -> bool,
    ) -> Vec<Effect> {
        let mut effects = Vec::new();
        // Where nobody is, nobody is told.
        if let Some(roster) = self.rooms.get_mut(room) {
            let mut told = Told::new();
            let view = roster.view(from);
            let is_whole = change(view, &mut told);
            announce(&mut effects, room, told);
            if !is_whole {
                roster.ask(from, room, &mut effects);
            }
        }
        effects
    }

    /// This node's members in the room, for a node that asks.
    pub fn own(&self, room: &RoomName) -> peers::Members {
        let mut answer = peers::Members {
            incarnation: self.incarnation,
            version: self.version,
            is_complete: true,
            ..peers::Members::default()
        };
        let Some(roster) = self.rooms.get(room) else {
            return answer;
        };
        answer.version = roster.version;
        answer.count = roster.own.len() as u64;
        // Who joined last is known to the fewest.
        let mut own: Vec<_> = roster.own.values().collect();
        own.sort_unstable_by_key(|(joined, _)| Reverse(*joined));
        let mut bytes = 0;
        let listed = own.iter().take(MOST_LISTED).take_while(|(_, member)| {
            bytes += wire_bytes(member);
            bytes <= MOST_BYTES
        });
        answer.members = listed.map(|(_, member)| to_wire(member)).collect();
        answer.is_complete = answer.members.len() == own.len();
        if !answer.is_complete && own.len() <= MOST_IDS {
            let ids = own.iter().map(|(_, member)| member.client.as_bytes());
            answer.clients = ids.flatten().copied().collect();
        }
        answer
    }

    /// What this node's rooms have come to: every room in one of several parts, by its hash.
    pub fn digests(&self, most_rooms: usize) -> Vec<Digest> {
        let mut rooms: Vec<_> = (self.rooms.values())
            .map(|roster| (roster.hash, roster.version))
            .collect();
        rooms.sort_unstable();
        let mut digests = Vec::new();
        let mut from_hash = 0;
        loop {
            let rest = rooms.split_off(rooms.len().min(most_rooms));
            let to_hash = match rest.first() {
                Some((next, _)) => next - 1,
                None => u64::MAX,
            };
            let (hashes, versions) = rooms.into_iter().unzip();
            digests.push(Digest {
                incarnation: self.incarnation,
                version: self.version,
                from_hash,
                to_hash,
                rooms: hashes,
                versions,
            });
            if rest.is_empty() {
                return digests;
            }
            (rooms, from_hash) = (rest, to_hash + 1);
        }
    }

    /// Whether this node is in rooms of which others may tell.
    pub fn is_empty(&self) -> bool {
        self.rooms.is_empty()
    }
}

impl Roster {
    fn new(room: &RoomName) -> Self {
        Self {
            hash: ids::hash(room.as_str()),
            own: HashMap::default(),
            version: 0,
            others: HashMap::default(),
            lost: HashSet::default(),
        }
    }

    fn view(&mut self, node: &str) -> &mut View {
        let view = self.others.entry(node.to_owned());
        view.or_insert_with(|| View::new(self.lost.remove(node)))
    }

    /// Has a node asked for its members, unless that is under way.
    fn ask(&mut self, node: &str, room: &RoomName, effects: &mut Vec<Effect>) {
        let view = self.view(node);
        if !view.is_asked {
            view.is_asked = true;
            effects.push(Effect::Repair(node.to_owned(), room.clone()));
        }
    }
}

fn announce(effects: &mut Vec<Effect>, room: &RoomName, told: Told) {
    effects.extend(told.into_iter().map(|(what, member)| {
        Effect::Announce(Announcement {
            room: room.clone(),
            what,
            member,
        })
    }));
}

#[cfg(test)]
impl Rosters {
    /// Whether a member of any node is known.
    pub fn knows(&self, room: &RoomName, client: crate::ids::SessionId) -> bool {
        self.rooms.get(room).is_some_and(|roster| {
            roster
                .own
                .values()
                .any(|(_, member)| member.client == client)
                || roster.others.values().any(|view| view.has(client))
        })
    }
}
