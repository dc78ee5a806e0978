//! The pump: writes every member what its room's log holds for it, as late as possible, so that a backlog turns
//! into bigger writes instead of more of them.

use crate::room::{Member, Pass, Room, RoomKey};
use crate::socket::{ConnectionKey, Written};

use super::Worker;
use super::connection::Connection;

/// What one write to a member did.
enum Outcome {
    /// The member has everything.
    UpToDate,
    JustBlocked,
    Gone,
}

impl Worker {
    /// Makes at most `writes` writes. True if there is more to do.
    pub(super) fn pump(&mut self, writes: usize) -> bool {
        let mut left = writes;
        while left > 0
            && let Some((key, mut pass)) = self.rooms.next_visit()
        {
            self.visit(key, &mut pass, &mut left);
            if left == 0 {
                self.rooms.pause(key, pass);
            } else {
                self.finish(key, pass);
            }
        }
        self.remove_gone();
        self.rooms.want_visits()
    }

    /// Goes on with the room's members until all were visited or no write is left.
    fn visit(&mut self, key: RoomKey, pass: &mut Pass, left: &mut usize) {
        let mut just_blocked = Vec::new();
        let mut wrote = Wrote::default();
        let Some(room) = self.rooms.get_mut(key) else {
            return;
        };
        while *left > 0 && pass.next < room.members.len() {
            let index = pass.next;
            pass.next += 1;
            let key = room.members[index].connection;
            let Some(connection) = self.connections.get_mut(key) else {
                continue;
            };
            if !room.waiting_for(index).is_empty() && !connection.socket.is_blocked() {
                *left -= 1;
                match write_waiting(room, index, connection, &mut wrote) {
                    // There may be more for one that lags.
                    Outcome::UpToDate => pass.again |= room.is_behind(index),
                    Outcome::JustBlocked => just_blocked.push(key),
                    Outcome::Gone => self.gone.push(key),
                }
            }
            pass.behind |= room.is_behind(index);
        }
        wrote.count(&self.shared.metrics);
        for key in just_blocked {
            self.watch(key);
        }
    }

    fn finish(&mut self, key: RoomKey, pass: Pass) {
        if let Some(oldest) = self.rooms.finish(key, pass) {
            self.shared.metrics.fanned_out(oldest.elapsed());
        }
        self.bound_backlog(key);
    }

    /// Closes the members that are further behind than the limit and cannot take more, and drops what everybody else has.
    fn bound_backlog(&mut self, key: RoomKey) {
        let most = self.shared.live().limits.backlog_bytes as u64;
        let Some(room) = self.rooms.get_mut(key) else {
            return;
        };
        if !room.log.check_due(most as usize) {
            return;
        }
        room.drop_unkept();
        let head = room.log.head();
        // Whoever could take more gets it at the next visit.
        let stuck = |member: &&Member| {
            let socket = self.connections.get(member.connection);
            member.after == Member::ANSWERED || socket.is_some_and(|c| c.socket.is_blocked())
        };
        let slow: Vec<_> = room
            .members
            .iter()
            .filter(|member| head - member.cursor > most)
            .filter(stuck)
            .map(|member| member.connection)
            .collect();
        for connection in slow {
            self.close_slow(connection);
        }
        if let Some(room) = self.rooms.get_mut(key) {
            let needed = room.members.iter().map(|member| member.cursor).min();
            room.log.trim(needed.unwrap_or(head));
        }
    }

    /// Gives a connection's socket everything that its rooms hold for it, taken by the kernel or not: the last thing
    /// before a planned close.
    pub(super) fn queue_waiting(&mut self, key: ConnectionKey) {
        self.queue_missed(key);
        self.send(key, &[]);
        let mut wrote = Wrote::default();
        let mut blocked = false;
        for place in self.rooms.places(key).to_vec() {
            let (Some(connection), Some(room)) = (
                self.connections.get_mut(key),
                self.rooms.get_mut(place.room),
            ) else {
                continue;
            };
            let index = place.index as usize;
            loop {
                let waiting = room.waiting_for(index);
                let bytes = waiting.len();
                if bytes == 0 {
                    break;
                }
                blocked |= connection.socket.send(waiting) == Written::Blocked;
                wrote.bytes += bytes as u64;
                wrote.frames += room.advance(index, bytes).frames as u64;
            }
        }
        wrote.count(&self.shared.metrics);
        if blocked {
            self.watch(key);
        }
    }

    /// Writes a connection that has become writable what its rooms hold for it.
    pub(super) fn catch_up(&mut self, key: ConnectionKey) {
        let mut wrote = Wrote::default();
        let mut outcome = Outcome::UpToDate;
        for place in self.rooms.places(key).to_vec() {
            let Some(connection) = self.connections.get_mut(key) else {
                return;
            };
            let Some(room) = self.rooms.get_mut(place.room) else {
                continue;
            };
            let index = place.index as usize;
            if room.waiting_for(index).is_empty() || connection.socket.is_blocked() {
                continue;
            }
            outcome = write_waiting(room, index, connection, &mut wrote);
            // The log may be kept for this member alone: the pump finds out.
            self.rooms.visit_again(place.room);
            if !matches!(outcome, Outcome::UpToDate) {
                break;
            }
        }
        wrote.count(&self.shared.metrics);
        match outcome {
            Outcome::JustBlocked => self.watch(key),
            Outcome::Gone => self.gone.push(key),
            Outcome::UpToDate => {}
        }
    }
}

/// Writes to one member what waits for it, behind the replies it is owed. A socket that does not take it all is blocked.
fn write_waiting(
    room: &mut Room,
    index: usize,
    connection: &mut Connection,
    wrote: &mut Wrote,
) -> Outcome {
    let Connection { socket, owed, .. } = connection;
    let owed = owed.take();
    let owed = owed.as_ref().map_or(&[][..], |owed| &owed.0);
    let waiting = room.waiting_for(index);
    let wanted = waiting.len();
    let written = match owed {
        [] => socket.write(waiting),
        owed => socket.write_both(owed, waiting),
    };
    let Ok(written) = written else {
        return Outcome::Gone;
    };
    let Some(taken) = written.checked_sub(owed.len()) else {
        socket.block(&owed[written..]);
        return Outcome::JustBlocked;
    };
    let advanced = room.advance(index, taken);
    wrote.bytes += (taken + advanced.cut.len()) as u64;
    wrote.frames += advanced.frames as u64;
    if taken == wanted {
        return Outcome::UpToDate;
    }
    socket.block(advanced.cut);
    Outcome::JustBlocked
}

/// Counted once a slice, as the counters are shared by all workers.
#[derive(Default)]
struct Wrote {
    frames: u64,
    bytes: u64,
}

impl Wrote {
    fn count(&self, metrics: &crate::metrics::Metrics) {
        if self.bytes > 0 {
            metrics.deliveries.inc_by(self.frames);
            metrics.delivered_bytes.inc_by(self.bytes);
        }
    }
}
