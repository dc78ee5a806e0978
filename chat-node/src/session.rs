//! One client: who it is and what it may do. Command -> Reply.
//!
//! A session knows no socket and no wire format beyond commands and replies. What a command needs from the
//! broker comes back as an [`Ask`]; the worker hands the answer to [`Session::settle`].

mod connect;
mod history;
mod narrowed;
mod publish;
mod subscribe;

use std::pin::Pin;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::Instant;

use crate::broker::{self, Answer, HistoryPage, Joined, Position};
use crate::config::{COMMAND_OVERHEAD_BYTES, RoomClass};
use crate::ids::{RoomName, SessionId, UserId};
use crate::node::Shared;
use crate::protocol::command::Text;
use crate::protocol::reply::Reply;
use crate::protocol::{CloseReason, Command, ErrorCode, Refusal, Request, Wire};
use crate::rate::Rate;
use crate::room::local::LocalRooms;
use crate::room::registry::WorkerIndex;
use crate::socket::ConnectionKey;

use subscribe::Entering;

pub struct Session {
    pub id: SessionId,
    user: UserId,
    state: State,
    publishes: Rate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// No connect command yet.
    Fresh,
    Connected,
    /// The connect command was refused: the client is expected to close.
    Refused,
}

/// What a session may touch while it handles a command.
pub struct Desk<'a> {
    pub connection: ConnectionKey,
    /// How the connection is written to.
    pub wire: Wire,
    pub worker: WorkerIndex,
    pub rooms: &'a mut LocalRooms,
    pub shared: &'a Shared,
}

/// What a command led to.
pub enum Step {
    Reply(Reply),
    /// Nothing to say.
    Silent,
    Close(CloseReason),
    /// The reply has to wait for the broker.
    Ask(Ask),
}

/// A question to the broker, and what is needed to make a reply of the answer.
pub enum Ask {
    Join(Entering, Answer<Joined>),
    Publish(RoomName, Instant, Answer<Position>),
    History(RoomName, Answer<HistoryPage>),
}

impl Ask {
    /// The room that the question is about.
    pub fn room(&self) -> &RoomName {
        match self {
            Self::Join(entering, _) => entering.name(),
            Self::Publish(room, ..) | Self::History(room, _) => room,
        }
    }
}

/// An [`Ask`] with its answer.
pub enum Settled {
    Join(Entering, Result<Joined, broker::Error>),
    Publish(Instant, Result<Position, broker::Error>),
    History(Result<HistoryPage, broker::Error>),
}

impl Settled {
    /// Whether this is a message of which nobody knows whether it is kept.
    pub fn is_unknown_publish(&self) -> bool {
        matches!(self, Self::Publish(_, Err(broker::Error::Unreachable)))
    }
}

impl Future for Ask {
    type Output = Settled;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Settled> {
        match self.get_mut() {
            Self::Join(entering, answer) => answer
                .as_mut()
                .poll(cx)
                .map(|joined| Settled::Join(entering.clone(), joined)),
            Self::Publish(_, asked, answer) => answer
                .as_mut()
                .poll(cx)
                .map(|published| Settled::Publish(*asked, published)),
            Self::History(_, answer) => answer.as_mut().poll(cx).map(Settled::History),
        }
    }
}

/// A command's way out early, with the error that answers it.
type Refused<T> = Result<T, Refusal>;

impl Session {
    pub fn new() -> Self {
        Self {
            id: SessionId::random(),
            user: UserId::ANONYMOUS,
            state: State::Fresh,
            publishes: Rate::default(),
        }
    }

    pub fn is_fresh(&self) -> bool {
        self.state == State::Fresh
    }

    pub fn is_connected(&self) -> bool {
        self.state == State::Connected
    }

    pub fn is_refused(&self) -> bool {
        self.state == State::Refused
    }

    /// Handles one command, in the order in which the client sent them.
    pub fn handle(&mut self, command: Command<'_>, desk: &mut Desk<'_>) -> Step {
        match (self.state, &command.request) {
            (State::Refused, _) => return Step::Silent,
            (State::Fresh, Request::Connect(_)) | (State::Connected, _) => {}
            (State::Fresh, request) => {
                return Step::Close(CloseReason::bad_request(format!(
                    "expected connect first, got {}",
                    request.method()
                )));
            }
        }
        if command.id == 0 && !matches!(command.request, Request::Send | Request::Pong) {
            return Step::Close(CloseReason::bad_request("a command needs an id above 0"));
        }
        if let Err(refusal) = check_size(&command, desk) {
            if self.state == State::Fresh {
                self.state = State::Refused;
            }
            return refuse(refusal);
        }
        let step = match command.request {
            Request::Connect(request) => self.connect(&request, desk),
            Request::Subscribe(request) => self.subscribe(&request, desk),
            Request::Unsubscribe(request) => self.unsubscribe(&request, desk),
            Request::Publish(request) => self.publish(&request, desk),
            Request::History(request) => self.history(&request, desk),
            Request::Ping => Ok(Step::Reply(Reply::Ping)),
            Request::Send | Request::Pong => Ok(Step::Silent),
            Request::Presence
            | Request::PresenceStats
            | Request::Rpc
            | Request::Refresh
            | Request::SubRefresh => Err(Refusal::new(ErrorCode::NotAvailable, "")),
            Request::Unknown => Err(Refusal::new(ErrorCode::MethodNotFound, "")),
        };
        step.unwrap_or_else(refuse)
    }

    /// Makes the reply when the broker has answered.
    pub fn settle(&mut self, settled: Settled, desk: &mut Desk<'_>) -> Reply {
        let reply = match settled {
            Settled::Join(entering, joined) => subscribe::settle(entering, joined, desk),
            Settled::Publish(asked, published) => publish::settle(asked, published, desk),
            Settled::History(page) => history::settle(page),
        };
        reply.unwrap_or_else(Reply::Refused)
    }

    /// Gives back what the session held. Call once, when its connection ends.
    pub fn end(&mut self, desk: &mut Desk<'_>) {
        for room in desk.rooms.leave_all(desk.connection) {
            desk.shared.leave(desk.worker, &room);
        }
        if self.state == State::Connected {
            desk.shared.sessions.fetch_sub(1, Relaxed);
        }
        self.state = State::Refused;
    }
}

/// A published message has a limit of its own: whitespace and escapes that are not kept do not count.
fn check_size(command: &Command<'_>, desk: &Desk<'_>) -> Refused<()> {
    let (bytes, most) = match &command.request {
        Request::Publish(publish) => {
            let message = publish.data.bytes();
            (
                command.bytes.saturating_sub(message),
                COMMAND_OVERHEAD_BYTES,
            )
        }
        _ => {
            let message_bytes = desk.shared.config.limits.message_bytes;
            (command.bytes, message_bytes + COMMAND_OVERHEAD_BYTES)
        }
    };
    if bytes <= most {
        return Ok(());
    }
    let detail = format!("command has {bytes} bytes, at most {most} are allowed");
    Err(Refusal::new(ErrorCode::LimitExceeded, detail))
}

fn refuse(refusal: Refusal) -> Step {
    Step::Reply(Reply::Refused(refusal))
}

fn room_name(channel: Text<'_>, desk: &Desk<'_>) -> Refused<RoomName> {
    let bad = |detail: String| Refusal::new(ErrorCode::BadRequest, detail);
    let name = channel
        .decode()
        .map_err(|error| bad(format!("channel is {error}")))?;
    RoomName::parse(&name, desk.shared.live().limits.room_name_bytes)
        .map_err(|error| bad(error.to_string()))
}

fn class_of(room: &RoomName, desk: &Desk<'_>) -> Refused<RoomClass> {
    let live = desk.shared.live();
    let class = live.room_classes.of(room.as_str()).copied();
    class.ok_or_else(|| {
        let detail = "the part before ':' names no configured room class";
        Refusal::new(ErrorCode::UnknownChannel, detail)
    })
}

impl From<broker::Error> for Refusal {
    fn from(error: broker::Error) -> Self {
        let code = match error {
            broker::Error::Unreachable => ErrorCode::Internal,
            broker::Error::ForeignEpoch => ErrorCode::UnrecoverablePosition,
            broker::Error::IdUsed | broker::Error::Refused(_) => ErrorCode::BadRequest,
        };
        Self::new(code, error.to_string())
    }
}
