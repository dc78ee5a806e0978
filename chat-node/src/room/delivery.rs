//! Something on its way to members: encoded and framed once per node and wire, shared by all workers.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use crate::broker::{Author, Publication};
use crate::ids::RoomName;
use crate::presence::roster::{Announcement, What};
use crate::protocol::push::Push;
use crate::protocol::wire::Wire;

#[derive(Debug)]
pub struct Delivery {
    pub room: RoomName,
    content: Content,
    /// When the broker handed it over.
    pub accepted: Instant,
    /// By [`Wire::index`]: the push, ready to send, once a worker has a member who needs it.
    frames: [OnceLock<Box<[u8]>>; Wire::ALL.len()],
}

#[derive(Debug)]
enum Content {
    Publication(Arc<Publication>),
    /// For those who want to hear of it; it has no place in the room.
    Presence(What, Author),
}

impl Delivery {
    pub fn new(room: &RoomName, publication: &Arc<Publication>) -> Self {
        Self::of(room.clone(), Content::Publication(publication.clone()))
    }

    pub fn announcing(announcement: Announcement) -> Self {
        let Announcement { room, what, member } = announcement;
        Self::of(room, Content::Presence(what, member))
    }

    fn of(room: RoomName, content: Content) -> Self {
        Self {
            room,
            content,
            accepted: Instant::now(),
            frames: Default::default(),
        }
    }

    /// The place in the room; 0 if it has none.
    pub fn offset(&self) -> u64 {
        match &self.content {
            Content::Publication(publication) => publication.offset,
            Content::Presence(..) => 0,
        }
    }

    /// Whether it is for members who hear of joins and leaves, and for no others.
    pub fn is_presence(&self) -> bool {
        matches!(self.content, Content::Presence(..))
    }

    /// The push as members of `wire` get it.
    pub fn frame(&self, wire: Wire) -> &[u8] {
        self.frames[wire.index()].get_or_init(|| {
            let push = match &self.content {
                Content::Publication(publication) => Push::Publication(&self.room, publication),
                Content::Presence(What::Joined, member) => Push::Join(&self.room, member),
                Content::Presence(What::Left, member) => Push::Leave(&self.room, member),
            };
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
