//! What one node knows of another's members in a room: changes in their order, and what to do when one is missing. Pure.

use std::collections::{HashMap, HashSet};
use std::mem;

use foldhash::fast::RandomState;

use crate::broker::Author;
use crate::broker::peers::{self, PresenceChange};
use crate::ids::{SessionId, UserId};

use super::members::of_wire;

/// Changes that wait for the ones before them; more are as good as lost.
const MOST_WAITING: usize = 1024;

/// A join or a leave on another node. Its room's changes there form a chain by their versions.
#[derive(Clone, Debug, PartialEq)]
pub struct Delta {
    /// When the node was started: another start is another count of versions.
    pub incarnation: u64,
    /// The version before; 0 if nobody was in the room.
    pub previous: u64,
    pub version: u64,
    pub what: What,
    pub member: Author,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum What {
    Joined,
    Left,
}

impl Delta {
    pub fn read(change: PresenceChange) -> Option<Self> {
        Some(Self {
            incarnation: change.incarnation,
            previous: change.previous,
            version: change.version,
            what: if change.joined {
                What::Joined
            } else {
                What::Left
            },
            member: of_wire(change.member?)?,
        })
    }
}

/// Everything that a node says of its members in a room at one moment.
#[derive(Clone, Debug)]
pub struct Listing {
    pub incarnation: u64,
    pub version: u64,
    /// Nobody was left out.
    pub is_complete: bool,
    pub members: Vec<Author>,
    /// Everybody, where some were left out; empty if they are too many for that.
    pub clients: Vec<SessionId>,
}

impl Listing {
    pub fn of_answer(answer: peers::Members) -> Self {
        let (ids, _) = answer.clients.as_chunks();
        Self {
            incarnation: answer.incarnation,
            version: answer.version,
            is_complete: answer.is_complete,
            clients: ids.iter().copied().map(SessionId::of_bytes).collect(),
            members: answer.members.into_iter().filter_map(of_wire).collect(),
        }
    }
}

/// What members are to hear, in this order.
pub type Told = Vec<(What, Author)>;

/// Another node's members in a room.
#[derive(Debug, Default)]
pub struct View {
    incarnation: u64,
    /// The last change that is in `members`; 0 before anything is known.
    version: u64,
    members: HashMap<SessionId, Author, RandomState>,
    /// Members of whom no more is known, as they did not fit into a listing.
    nameless: HashSet<SessionId, RandomState>,
    /// Changes whose predecessors have not come.
    waiting: Vec<Delta>,
    /// A listing has been asked for.
    pub is_asked: bool,
    /// How often in a row the node was not among those that are there.
    pub missed: u8,
    /// Its members have left for everybody here: whoever it lists now has joined.
    was_lost: bool,
}

impl View {
    /// Of a node of which nothing is known, or that was there and then was not.
    pub fn new(was_lost: bool) -> Self {
        Self {
            was_lost,
            ..Self::default()
        }
    }

    /// Takes a change. False if something before it is missing: a listing is needed.
    pub fn hear(&mut self, delta: Delta, told: &mut Told) -> bool {
        // What a node said before its restart may come late.
        if delta.incarnation < self.incarnation {
            return true;
        }
        self.become_incarnation(delta.incarnation, told);
        if delta.version <= self.version {
            return true;
        }
        let is_next = delta.previous == self.version && self.version > 0;
        if delta.previous == 0 {
            // Nobody was there before: whoever is still known has left.
            self.empty(told);
        } else if !is_next {
            if self.waiting.len() < MOST_WAITING {
                self.waiting.push(delta);
            }
            return false;
        }
        self.version = delta.version;
        let client = delta.member.client;
        let is_news = match delta.what {
            What::Joined => self.insert(delta.member.clone()),
            What::Left => self.remove(client).is_some(),
        };
        if is_news {
            told.push((delta.what, delta.member));
        }
        true
    }

    /// Takes a listing. False if what waits needs a newer one.
    pub fn read(&mut self, listing: Listing, told: &mut Told) -> bool {
        self.become_incarnation(listing.incarnation, told);
        let waiting = mem::take(&mut self.waiting);
        if listing.version >= self.version {
            self.compare(listing, &waiting, told);
        }
        let mut is_whole = true;
        for delta in waiting {
            // Those that are in the listing are known now; the next ones may follow it.
            is_whole &= self.hear(delta, told);
        }
        is_whole
    }

    fn compare(&mut self, listing: Listing, waiting: &[Delta], told: &mut Told) {
        let is_first = self.version == 0 && !self.was_lost;
        let present: HashMap<_, _, RandomState> = (listing.members.into_iter())
            .map(|member| (member.client, member))
            .collect();
        let all: HashSet<_, RandomState> = listing.clients.iter().copied().collect();
        if listing.is_complete || !all.is_empty() {
            let gone: Vec<_> = (self.members.keys().chain(&self.nameless))
                .filter(|client| !present.contains_key(client) && !all.contains(client))
                .copied()
                .collect();
            let gone = gone.into_iter().filter_map(|client| self.remove(client));
            told.extend(gone.map(|member| (What::Left, member)));
        }
        if is_first {
            // They may have been seen already, by asking: who left is told of, though it was never known here.
            let has_joined = |client| {
                let mut joins = waiting.iter().filter(|delta| delta.what == What::Joined);
                joins.any(|delta| delta.member.client == client)
            };
            for delta in waiting {
                let is_in_it = delta.version <= listing.version;
                if is_in_it && delta.what == What::Left && !has_joined(delta.member.client) {
                    told.push((What::Left, delta.member.clone()));
                }
            }
        }
        for (client, member) in present {
            // Whoever was there before anybody here listened has not just joined.
            let has_joined = waiting
                .iter()
                .any(|delta| delta.what == What::Joined && delta.member.client == client);
            let is_news = self.insert(member.clone());
            if is_news && (!is_first || has_joined) {
                told.push((What::Joined, member));
            }
        }
        let unknown = all.into_iter();
        let unknown = unknown.filter(|client| !self.members.contains_key(client));
        self.nameless.extend(unknown);
        self.version = listing.version;
        self.was_lost = false;
    }

    /// True if it was not there.
    fn insert(&mut self, member: Author) -> bool {
        let was_nameless = self.nameless.remove(&member.client);
        self.members.insert(member.client, member).is_none() && !was_nameless
    }

    /// As much as is known of it, if it was there.
    fn remove(&mut self, client: SessionId) -> Option<Author> {
        let member = self.members.remove(&client);
        let is_nameless = self.nameless.remove(&client);
        member.or_else(|| is_nameless.then(|| Author::plain(UserId::ANONYMOUS, client)))
    }

    /// Whether the node's `version` of the room is not yet known here.
    pub fn is_behind(&self, incarnation: u64, version: u64) -> bool {
        self.incarnation != incarnation || self.version < version
    }

    /// Nobody was in the room when the node's newest change was `version`.
    pub fn is_empty_at(&mut self, incarnation: u64, version: u64, told: &mut Told) {
        self.become_incarnation(incarnation, told);
        if self.version <= version {
            self.empty(told);
            self.version = version;
            self.waiting.retain(|delta| delta.version > version);
        }
    }

    /// Everybody has left.
    pub fn empty(&mut self, told: &mut Told) {
        let members = mem::take(&mut self.members).into_values();
        let nameless = mem::take(&mut self.nameless).into_iter();
        let nameless = nameless.map(|client| Author::plain(UserId::ANONYMOUS, client));
        told.extend(members.chain(nameless).map(|member| (What::Left, member)));
    }

    fn become_incarnation(&mut self, incarnation: u64, told: &mut Told) {
        if self.incarnation != incarnation {
            self.empty(told);
            *self = Self {
                incarnation,
                is_asked: self.is_asked,
                missed: self.missed,
                was_lost: self.was_lost || self.incarnation != 0,
                ..Self::default()
            };
        }
    }
}

#[cfg(test)]
impl View {
    pub fn has(&self, client: SessionId) -> bool {
        self.members.contains_key(&client) || self.nameless.contains(&client)
    }
}
