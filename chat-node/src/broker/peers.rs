//! What nodes ask and tell each other beside publications.
//!
//! A call is answered once by each node that it reaches, or not at all: then nobody knows whether it was done. An
//! ephemeral event reaches the nodes that have members in its room now, or is lost.

use std::pin::Pin;

use crate::ids::RoomName;

mod wire {
    include!(concat!(env!("OUT_DIR"), "/natter.node.v1.rs"));
}

pub use wire::answer::Response;
pub use wire::call::Request;
pub use wire::ephemeral::Event;
pub use wire::{
    Answer, Arrival, Call, Close, DescribeNode, Digest, Done, Emulate, Emulated, Enter, Ephemeral,
    Failure, FailureCode, Leave, ListMembers, ListRooms, Member, Members, NodeDescription, Order,
    Ping, Pong, Position, PresenceChange, Publication, Refresh, Rooms, order,
};

/// Something that another node is waiting for.
pub type Pending<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The largest call, answer or ephemeral event with its envelope: what servers take at most unless they are told
/// otherwise.
pub const MAX_BYTES: usize = 1 << 20;

/// What this node does when others call it.
///
/// Many calls may be under way at once. Whoever answers must not call other nodes and wait for them: two nodes that
/// wait for each other's turn wait for ever.
pub trait Peer: Send + Sync {
    /// Answers the node `from`, within a few seconds: later nobody listens.
    fn answer(&self, from: &str, request: Request) -> Pending<Response>;

    /// Hears of something that happened in `room` on the node `from`. Must not block.
    fn hear(&self, from: &str, room: &RoomName, event: Event);
}

/// Why a node's answer is not there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// It was not asked.
    #[error("no node of that name can be reached")]
    NoSuchNode,
    /// It did what it was asked to, or not.
    #[error("the node did not answer in time")]
    Unreachable,
    #[error("the node is of another release and does not know the request")]
    Unsupported,
    #[error("the request or its answer is too large")]
    TooLarge,
    #[error("the node did not do it: {0}")]
    Refused(String),
}

/// What the other nodes said to one question.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Gathered {
    /// By name.
    pub answers: Vec<(String, Result<Response, CallError>)>,
    /// The nodes that should have answered and did not, by name. They may have done what they were asked to.
    pub silent: Vec<String>,
}

impl Failure {
    pub fn new(code: FailureCode, text: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            text: text.into(),
        }
    }
}

impl Answer {
    /// What the node said; a response of a kind that this release does not know says nothing.
    pub fn result(self) -> Result<Response, CallError> {
        match self.response {
            Some(Response::Failure(failure)) => Err(match failure.code() {
                FailureCode::Unsupported => CallError::Unsupported,
                FailureCode::TooLarge => CallError::TooLarge,
                FailureCode::NotReady | FailureCode::Unspecified => {
                    CallError::Refused(failure.text)
                }
            }),
            Some(response) => Ok(response),
            None => Err(CallError::Unsupported),
        }
    }
}
