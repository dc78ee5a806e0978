//! The members of one room on one worker who are written to alike, and the log they read from.
//!
//! A member is a connection and a cursor, never a session: the pump needs no more.

pub mod delivery;
pub mod local;
pub mod log;
pub mod registry;

#[cfg(test)]
mod tests;

use crate::broker::Epoch;
use crate::ids::RoomName;
use crate::protocol::Wire;
use crate::socket::ConnectionKey;

use log::RoomLog;

/// A member that is further behind is spared what is not kept, such as joins and leaves.
const LAGGING_BYTES: usize = 64 * 1024;

slotmap::new_key_type! {
    /// A room on one worker, for one wire.
    pub struct RoomKey;
}

/// One connection in a room, and how far it has read the room's log.
#[derive(Debug)]
pub struct Member {
    pub connection: ConnectionKey,
    /// Position in the log of the next byte to write to this member.
    pub cursor: u64,
    /// Publications up to this offset are not for this member: its join's answer covered them. 0 once that
    /// is settled, [`Member::ASKED`] or [`Member::ANSWERED`] before its place is fixed.
    pub after: u64,
}

impl Member {
    /// The broker has not answered the join yet.
    pub const ASKED: u64 = u64::MAX;
    /// The answer is there, and what was missed is being sent.
    pub const ANSWERED: u64 = u64::MAX - 1;
}

#[derive(Debug)]
pub struct Room {
    pub name: RoomName,
    /// What the log is written in.
    pub wire: Wire,
    /// Whether joins and leaves are in the log.
    pub hears_joins: bool,
    /// Whether some member's leave is to be told.
    pub tells_joins: bool,
    /// The room of the same name whose members have another wire, or want to hear other things.
    pub sibling: Option<RoomKey>,
    pub members: Vec<Member>,
    pub log: RoomLog,
    /// Whether the pump has been asked to visit the room.
    pub queued: bool,
    /// The visit that the pump is in the middle of, while other rooms have their turn.
    pub pass: Option<Pass>,
    /// Up to here the log has been visited, whether or not every member could take it.
    pub visited: u64,
    /// The incarnation, if it has changed while there were members.
    pub epoch: Option<Epoch>,
}

/// One visit of the pump to a room: every member once, in slices.
#[derive(Clone, Copy, Debug)]
pub struct Pass {
    /// The member to go on with.
    pub next: usize,
    /// The log's head when the visit began: frames after it may not have reached everybody.
    pub head: u64,
    /// Some member has not got everything: the log must be kept.
    pub behind: bool,
    /// Somebody may have been passed over, or counted as behind and is not any more: visit all once more.
    pub again: bool,
}

impl Room {
    pub fn new(name: RoomName, wire: Wire, hears_joins: bool) -> Self {
        Self {
            name,
            wire,
            hears_joins,
            tells_joins: false,
            sibling: None,
            members: Vec::new(),
            log: RoomLog::default(),
            queued: false,
            pass: None,
            visited: 0,
            epoch: None,
        }
    }

    /// The bytes that wait for member `index`: whole frames, empty when it has them all or its join is still out. Whoever
    /// lags does not get what is not kept, and the rest piece by piece.
    pub fn waiting_for(&mut self, index: usize) -> &[u8] {
        let member = &mut self.members[index];
        match member.after {
            0 => {}
            Member::ASKED | Member::ANSWERED => return &[],
            after => {
                member.cursor = member.cursor.max(self.log.start_after(after));
                if member.cursor < self.log.head() {
                    member.after = 0;
                }
            }
        }
        let waiting = self.log.from(member.cursor);
        if waiting.len() <= LAGGING_BYTES {
            return waiting;
        }
        let (from, to) = self.log.kept_part(member.cursor);
        member.cursor = from;
        &self.log.from(from)[..(to - from) as usize]
    }

    /// Drops what is not kept and has become too old for those who lag: only what they will get counts as their backlog.
    ///
    /// Not while the pump is in the middle of a visit, whose positions it would change.
    pub fn drop_unkept(&mut self) {
        let old = self.log.head().saturating_sub(LAGGING_BYTES as u64);
        let moved = self.log.drop_unkept(old);
        for member in &mut self.members {
            member.cursor = moved.place(member.cursor);
        }
        self.visited = moved.place(self.visited);
    }

    /// Whether the log has to be kept for member `index`, after `waiting_for` has been asked.
    pub fn is_behind(&self, index: usize) -> bool {
        self.members[index].cursor < self.log.head()
    }

    /// Moves member `index` on after the kernel took `taken` bytes of what waited for it.
    ///
    /// The cursor stands between frames again: the rest of a frame that was cut is returned, to be sent before
    /// anything else.
    pub fn advance(&mut self, index: usize, taken: usize) -> Advanced<'_> {
        let member = &mut self.members[index];
        let from = member.cursor;
        let reached = from + taken as u64;
        let boundary = self.log.boundary(reached);
        member.cursor = boundary;
        let cut = self.log.from(reached);
        Advanced {
            frames: self.log.frames(from, boundary),
            cut: &cut[..(boundary - reached) as usize],
        }
    }
}

/// What a write did: the frames that are the socket's business now, and the unwritten end of the last one.
#[derive(Debug)]
pub struct Advanced<'a> {
    pub frames: usize,
    pub cut: &'a [u8],
}
