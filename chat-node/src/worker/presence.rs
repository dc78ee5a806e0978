//! Who is in a room of this worker, and who has come and gone.

use tokio::sync::oneshot;
use tokio::task::{spawn_local, yield_now};

use crate::ids::RoomName;
use crate::presence::Change;
use crate::presence::members::{Members, Wanted};
use crate::room::local;
use crate::socket::ConnectionKey;

use super::Worker;

/// Members that are looked at before others get their turn: less than a millisecond.
const MEMBERS_PER_TURN: usize = 1000;

/// A room whose members somebody wants to know.
pub struct Listing {
    pub room: RoomName,
    pub wanted: Wanted,
    pub answer: oneshot::Sender<Members>,
}

impl Worker {
    /// Answers with the members that there are now.
    pub(super) fn list_members(&mut self, listing: Listing) {
        let Listing {
            room,
            wanted,
            answer,
        } = listing;
        let connections = self.rooms.members_of(room.as_str());
        let mut members = Members::default();
        if connections.len() <= MEMBERS_PER_TURN {
            self.describe(&connections, &room, wanted, &mut members);
            // Whoever asked may have given up.
            let _ = answer.send(members);
            return;
        }
        let Some(worker) = self.me.upgrade() else {
            return;
        };
        spawn_local(async move {
            for some in connections.chunks(MEMBERS_PER_TURN) {
                worker.borrow().describe(some, &room, wanted, &mut members);
                yield_now().await;
            }
            let _ = answer.send(members);
        });
    }

    fn describe(
        &self,
        connections: &[ConnectionKey],
        room: &RoomName,
        wanted: Wanted,
        members: &mut Members,
    ) {
        for connection in connections {
            // Some may have gone since.
            if let Some(connection) = self.connections.get(*connection) {
                members.add(connection.session.author(room), wanted);
            }
        }
    }

    /// Has those hear of it who want to know who came and went.
    pub(super) fn tell_changes(&mut self) {
        if self.rooms.changes.is_empty() {
            return;
        }
        let worker = self.index;
        let changes = self.rooms.changes.drain(..).map(|change| match change {
            local::Change::Joined(room, connection, member) => {
                Change::Joined(room, (worker, connection), member)
            }
            local::Change::Left(room, connection) => Change::Left(room, (worker, connection)),
        });
        self.shared.presence.changed(changes);
    }
}
