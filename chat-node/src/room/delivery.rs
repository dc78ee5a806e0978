//! A publication on its way to members: encoded and framed once per node and wire, shared by all workers.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use crate::broker::Publication;
use crate::ids::RoomName;
use crate::protocol::push::Push;
use crate::protocol::wire::Wire;

#[derive(Debug)]
pub struct Delivery {
    pub room: RoomName,
    pub publication: Arc<Publication>,
    /// When the broker handed it over.
    pub accepted: Instant,
    /// By [`Wire::index`]: the push, ready to send, once a worker has a member who needs it.
    frames: [OnceLock<Box<[u8]>>; Wire::ALL.len()],
}

impl Delivery {
    pub fn new(room: &RoomName, publication: &Arc<Publication>) -> Self {
        Self {
            room: room.clone(),
            publication: publication.clone(),
            accepted: Instant::now(),
            frames: Default::default(),
        }
    }

    /// The push as members of `wire` get it.
    pub fn frame(&self, wire: Wire) -> &[u8] {
        self.frames[wire.index()].get_or_init(|| {
            let push = Push::Publication(&self.room, &self.publication);
            wire.push(&push).into()
        })
    }
}

#[cfg(test)]
impl Delivery {
    /// One whose frames are what `frame` makes for each wire.
    pub fn framed(room: &RoomName, offset: u64, frame: impl Fn(Wire) -> Vec<u8>) -> Self {
        let publication = Publication {
            offset,
            data: Default::default(),
            author: None,
            tags: None,
        };
        Self {
            frames: Wire::ALL.map(|wire| OnceLock::from(frame(wire).into_boxed_slice())),
            ..Self::new(room, &Arc::new(publication))
        }
    }
}
