//! The only door to other nodes and to history.
//!
//! publish -> broker accepts it, gives it an offset -> [`Feed::deliver`] on every node that opened the room
//!
//! A broker knows rooms and publications; it knows neither sessions nor wire formats.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::ids::{RoomName, SessionId, UserId};

use self::peers::{CallError, Event, Gathered, Pending, Request, Response};

pub mod memory;
pub mod nats;
pub mod peers;

#[cfg(test)]
mod contract;

/// What a client or a backend asks to have published.
#[derive(Clone, Debug)]
pub struct Message {
    /// Compact JSON: one line, no whitespace between tokens.
    pub data: Bytes,
    /// Absent when the server itself speaks.
    pub author: Option<Author>,
    /// What readers are told beside the data: at most [`MAX_TAGS_BYTES`].
    pub tags: Option<Arc<Tags>>,
    /// The author's own name for the message: with the same one it is kept once, however often it is sent.
    pub id: Option<Arc<str>>,
}

/// How long a broker knows the ids of messages.
pub const DUPLICATE_WINDOW: Duration = Duration::from_secs(300);

/// A message's id, bound to its room and author: so nobody's id can hide another's message.
pub type MessageKey = [u8; 32];

impl Message {
    /// Stands for what the message says: an id names one message.
    fn digest(&self) -> [u8; 32] {
        let mut hash = blake3::Hasher::new();
        for (name, value) in self.tags.iter().flat_map(|tags| tags.iter()) {
            for text in [name, value] {
                hash.update(&(text.len() as u64).to_le_bytes());
                hash.update(text.as_bytes());
            }
        }
        hash.update(&u64::MAX.to_le_bytes());
        hash.update(&self.data);
        *hash.finalize().as_bytes()
    }

    /// `None` if the author gave no id.
    pub fn key(&self, room: &RoomName) -> Option<MessageKey> {
        let id = self.id.as_ref()?;
        let mut hash = blake3::Hasher::new();
        let mut part = |bytes: &[u8]| {
            hash.update(&(bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        };
        part(room.as_str().as_bytes());
        match &self.author {
            None => part(b"server"),
            // Nobody knows who is behind it next time.
            Some(author) if author.user == UserId::ANONYMOUS => {
                part(b"session");
                part(author.client.to_string().as_bytes());
            }
            Some(author) => {
                part(b"user");
                part(author.user.as_str().as_bytes());
            }
        }
        part(id.as_bytes());
        Some(*hash.finalize().as_bytes())
    }
}

/// Names and values beside a message's data.
pub type Tags = BTreeMap<String, String>;

/// All names and values together.
pub const MAX_TAGS_BYTES: usize = 8 * 1024;

/// The size of names and values.
pub fn tags_bytes(tags: &Tags) -> usize {
    tags.iter()
        .map(|(name, value)| name.len() + value.len())
        .sum()
}

/// Who published, as readers see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Author {
    pub user: UserId,
    pub client: SessionId,
    /// What is known of the user in all rooms, and in this one: compact JSON of at most [`MAX_INFO_BYTES`] each.
    pub conn_info: Option<Bytes>,
    pub chan_info: Option<Bytes>,
}

/// Every publication of a session carries its info.
pub const MAX_INFO_BYTES: usize = 8 * 1024;

impl Author {
    /// A session of which nothing more is known than whose it is.
    pub fn plain(user: UserId, client: SessionId) -> Self {
        Self {
            user,
            client,
            conn_info: None,
            chan_info: None,
        }
    }

    /// The size of what is known beyond user and session.
    pub fn info_bytes(&self) -> usize {
        let length = |info: &Option<Bytes>| info.as_ref().map_or(0, Bytes::len);
        length(&self.conn_info) + length(&self.chan_info)
    }
}

/// What the broker accepted: a message with its place in the room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    /// Strictly increasing within a room and epoch; may have holes. 0 if it is not kept and has no place in the room.
    pub offset: u64,
    pub data: Bytes,
    pub author: Option<Author>,
    pub tags: Option<Arc<Tags>>,
}

impl Publication {
    /// About how many bytes this takes in a reply, names and author included.
    pub fn wire_bytes(&self) -> usize {
        self.payload_bytes() + 128
    }

    /// The size of what clients may make as long as they like.
    pub fn payload_bytes(&self) -> usize {
        let tags = self.tags.as_deref().map_or(0, tags_bytes);
        self.data.len() + tags + self.author.as_ref().map_or(0, Author::info_bytes)
    }
}

/// A place in a room's history. Offset 0 means before the first publication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    pub offset: u64,
    /// The incarnation that offsets belong to; offsets of different epochs cannot be compared.
    pub epoch: Epoch,
}

pub type Epoch = Arc<str>;

/// The answer to [`Broker::join`]: the cut between what was read and what the feed brings.
#[derive(Clone, Debug)]
pub struct Joined {
    /// Everything up to here has been read or was known; everything after it comes by the feed.
    pub position: Position,
    /// Whether `publications` is exactly what was missed. False without a resume position.
    pub recovered: bool,
    /// What was missed, ascending, each offset once; empty unless `recovered`.
    pub publications: Vec<Arc<Publication>>,
}

/// Which part of a room's history is wanted.
#[derive(Clone, Debug, Default)]
pub struct HistoryQuery {
    /// Exclusive start; an empty epoch matches any. `None` means from the end that `reverse` names.
    pub since: Option<Position>,
    /// At most so many publications; 0 asks for the position alone.
    pub limit: usize,
    /// Stop before the page exceeds this many bytes on the wire; at least one publication is returned.
    pub max_bytes: usize,
    /// Newest first.
    pub reverse: bool,
    /// Nothing up to this offset, whatever else is asked.
    pub after: u64,
}

/// How much of what is kept somebody may read; `None`: all of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Readable {
    /// Only so many of a room's newest publications.
    pub newest: Option<u32>,
    /// Only publications that are younger.
    pub max_age: Option<Duration>,
}

impl Readable {
    pub fn is_all(&self) -> bool {
        *self == Self::default()
    }
}

/// One page of history and where the room's end is.
#[derive(Clone, Debug)]
pub struct HistoryPage {
    pub position: Position,
    pub publications: Vec<Arc<Publication>>,
}

/// What a node tells the others of itself.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeLoad {
    pub node: String,
    pub connections: usize,
    /// Most connections it takes.
    pub capacity: usize,
    pub version: String,
    pub state: NodeState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum NodeState {
    Serving,
    Draining,
}

#[derive(Debug, thiserror::Error, PartialEq, Eq, Clone)]
pub enum Error {
    /// The message may be stored or not; a retry may store it twice.
    #[error("the broker is unreachable")]
    Unreachable,
    /// The position belongs to another incarnation of the room.
    #[error("the position is of another epoch")]
    ForeignEpoch,
    /// The author has used this id for another message.
    #[error("the id is already used for another message")]
    IdUsed,
    #[error("{0}")]
    NotAllowed(&'static str),
    /// The message was not kept and never will be.
    #[error("the message was refused: {0}")]
    Refused(String),
}

/// An answer that may take time. The embedded broker's are ready at once.
pub type Answer<T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send>>;

/// Where a broker delivers the live publications of the rooms that are open on this node, and perhaps of others.
pub trait Feed: Send + Sync {
    /// Takes the next publication of `room`: called in the room's order, one call at a time for a room,
    /// possibly under the broker's lock, so it must neither block nor call the broker.
    fn deliver(&self, room: &RoomName, publication: &Arc<Publication>);

    /// The rooms for which `affected` says so are of incarnation `epoch` from now on: their members have to come anew.
    fn interrupt(&self, affected: &dyn Fn(&RoomName) -> bool, epoch: &Epoch);
}

/// Keeps rooms' publications in order and hands them to every node that wants them.
///
/// Guarantees (checked by `contract.rs`, for every implementation):
/// - An acknowledged publication is delivered to the feed exactly once, in offset order.
/// - `join` fixes a cut: publications up to `Joined::position` are in the answer or were asked not to be;
///   all later ones reach the feed of a node where the room was open before `join` was called. The feed may
///   also bring some that are not later: the receiver drops those by offset.
/// - `recovered` is true only if nothing that was published after the resume position is missing.
pub trait Broker: Send + Sync {
    /// A worker begins; called on its thread, within a runtime that the thread drives itself. What it publishes may go
    /// by connections of its own.
    fn serve_worker(&self);

    /// Publishes `message` to `room` and returns its position once it is kept.
    ///
    /// Errors: `IdUsed` if its author has lately given its id to another message of the room.
    fn publish(&self, room: &RoomName, message: Message) -> Answer<Position>;

    /// Starts the live feed of `room` on this node. Calls are counted: workers open and close independently.
    fn open(&self, room: &RoomName);

    /// Takes one `open` back; after the last one the feed need not bring `room` any more.
    fn close(&self, room: &RoomName);

    /// Reads what was missed since `resume` and fixes the point after which the feed goes on.
    /// Offset 0 with an empty epoch resumes from the beginning of whatever incarnation the room is in.
    fn join(&self, room: &RoomName, resume: Option<Position>) -> Answer<Joined>;

    /// Reads a page of history.
    ///
    /// Errors: `ForeignEpoch` if `since` names another incarnation. An offset from the future gives an empty page.
    fn history(&self, room: &RoomName, query: HistoryQuery) -> Answer<HistoryPage>;

    /// Erases every message that the room keeps now. Members stay, and offsets go on; who has missed something of it
    /// does not recover.
    ///
    /// Errors: `NotAllowed` if this node may not have that done; after any other error ask again.
    fn erase(&self, room: &RoomName) -> Answer<()>;

    /// The offset after which the room's publications are within `readable`; 0 if all are.
    fn readable_after(&self, room: &RoomName, readable: Readable) -> Answer<u64>;

    /// How many publications the room keeps after `after`; none after an offset from the future.
    ///
    /// Errors: `ForeignEpoch` if `after` names another incarnation.
    fn unread(&self, room: &RoomName, after: Position) -> Answer<u64>;

    /// What keeps this node from serving, for a person to read. Nothing does once it has: outages pass.
    fn readiness(&self) -> Result<(), String>;

    /// Tells the other nodes how this one is, now and then.
    fn announce(&self, load: NodeLoad);

    /// The nodes that serve the same rooms, this one included once it has announced itself.
    fn nodes(&self) -> Vec<NodeLoad>;

    /// Asks the other node called `node`, whose [`Peer`](peers::Peer) answers.
    ///
    /// Errors: `NoSuchNode` at once if nobody of that name listens, `Unreachable` if no answer came within `patience`.
    fn call(
        &self,
        node: &str,
        request: Request,
        patience: Duration,
    ) -> Pending<Result<Response, CallError>>;

    /// Asks all other nodes, and waits until each node of the directory has answered, or is known not to, or
    /// `patience` is over: who is silent then is named.
    fn call_others(&self, request: Request, patience: Duration) -> Pending<Gathered>;

    /// Tells the other nodes that have rooms of `room`'s shard open what happened in `room`. Not kept, never sent
    /// late, perhaps lost; one node's events about a room come in their order.
    fn tell_others(&self, room: &RoomName, event: Event);

    /// Takes leave of the other nodes: nothing is asked of the broker any more.
    fn leave(&self) -> Answer<()>;
}
