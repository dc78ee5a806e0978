//! What a member missed and did not fit into the reply to its subscribe: sent after it, before anything live.
//!
//! Only what the socket takes is encoded, so a client that resumes and does not read costs little. The member enters
//! the live feed when all is sent; until then the room's log waits for it.

use std::sync::Arc;

use crate::broker::Publication;
use crate::ids::RoomName;
use crate::protocol::reply::{Reply, Subscribed};
use crate::protocol::{Push, Wire};
use crate::socket::ConnectionKey;

use super::Worker;

/// How far a frame of replies, a reply's publications, and the pushes that are encoded at a time may grow before they
/// are sent. One frame must stay below what every SDK takes (1 MiB).
pub(super) const FRAME_BYTES: usize = 256 * 1024;

pub(super) struct Missed {
    room: RoomName,
    /// The feed goes on after this offset.
    upto: u64,
    publications: std::vec::IntoIter<Arc<Publication>>,
}

impl Worker {
    /// Takes off a reply what does not fit, for each room that the session enters by it.
    pub(super) fn missed(&self, reply: &mut Reply) -> Vec<Missed> {
        let entered = match reply {
            Reply::Subscribe(subscribed) => std::slice::from_mut(subscribed),
            Reply::Connect(connected) => &mut connected.rooms,
            _ => return Vec::new(),
        };
        let mut room_left = FRAME_BYTES;
        let missed = entered.iter_mut().map(|subscribed| {
            let missed = Missed::split_off(subscribed, room_left);
            let kept = subscribed.publications.iter();
            let kept: usize = kept.map(|publication| publication.wire_bytes()).sum();
            room_left = room_left.saturating_sub(kept);
            missed
        });
        missed.collect()
    }

    /// Forgets what is still to be sent of a room that the session has left.
    pub(super) fn forget_missed(&mut self, key: ConnectionKey, room: &RoomName) {
        if let Some(connection) = self.connections.get_mut(key)
            && let Some(missed) = &mut connection.missed
        {
            missed.retain(|missed| missed.room != *room);
            if missed.is_empty() {
                connection.missed = None;
            }
        }
    }

    /// Sends on until the socket is blocked; when all is sent, the member enters the feed.
    pub(super) fn send_missed(&mut self, key: ConnectionKey) {
        while let Some(connection) = self.connections.get_mut(key) {
            let Some(missed) = connection
                .missed
                .as_mut()
                .and_then(|missed| missed.front_mut())
            else {
                return;
            };
            if !missed.is_empty() && connection.socket.is_blocked() {
                return;
            }
            let frames = missed.encode(connection.wire, FRAME_BYTES);
            if frames.is_empty() {
                self.enter_feed(key);
                continue;
            }
            self.send(key, &frames);
        }
    }

    /// Gives the socket everything at once, as the connection is about to be closed.
    pub(super) fn queue_missed(&mut self, key: ConnectionKey) {
        while let Some(connection) = self.connections.get_mut(key)
            && let Some(missed) = connection
                .missed
                .as_mut()
                .and_then(|missed| missed.front_mut())
        {
            let frames = missed.encode(connection.wire, usize::MAX);
            self.send(key, &frames);
            self.enter_feed(key);
        }
    }

    fn enter_feed(&mut self, key: ConnectionKey) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        let Some(missed) = connection
            .missed
            .as_mut()
            .and_then(|missed| missed.pop_front())
        else {
            return;
        };
        if connection
            .missed
            .as_ref()
            .is_some_and(|missed| missed.is_empty())
        {
            connection.missed = None;
        }
        if let Some(room) = self.rooms.find(key, missed.room.as_str()) {
            self.rooms.start(key, room, missed.upto);
        }
    }
}

impl Missed {
    /// Takes off what `max_bytes` have no room for.
    pub(super) fn split_off(subscribed: &mut Subscribed, max_bytes: usize) -> Self {
        Self {
            room: subscribed.room.clone(),
            upto: subscribed.position.offset,
            publications: subscribed.split_off(max_bytes).into_iter(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.publications.as_slice().is_empty()
    }

    /// The next pushes as frames, up to `bytes` and one more; empty when none are left.
    fn encode(&mut self, wire: Wire, bytes: usize) -> Vec<u8> {
        let mut frames = Vec::new();
        while frames.len() < bytes
            && let Some(publication) = self.publications.next()
        {
            frames.extend_from_slice(&wire.push(&Push::Publication(&self.room, &publication)));
        }
        frames
    }
}
