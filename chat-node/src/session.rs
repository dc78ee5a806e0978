//! One client: who it is and what it may do. Command -> Reply.
//!
//! A session knows no socket and no wire format beyond commands and replies. What a command needs from the
//! broker comes back as an [`Ask`]; the worker hands the answer to [`Session::settle`].

mod claimed;
mod connect;
mod expiry;
pub mod given;
mod grant;
mod history;
mod narrowed;
mod permission;
mod presence;
mod publish;
mod refresh;
mod subscribe;
pub mod users;

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::Instant;

use http::HeaderMap;

use crate::auth::{Denied, Identity, Later, RoomPass, TokenError, Welcome};
use crate::broker::peers::Pending;
use crate::broker::{self, Answer, Author, HistoryPage, Joined, Position};
use crate::config::{COMMAND_OVERHEAD_BYTES, RoomClass};
use crate::ids::{RoomName, SessionId, UserId};
use crate::node::Shared;
use crate::presence::members::{Members, Wanted};
use crate::protocol::command::Text;
use crate::protocol::reply::{Reply, Subscribed};
use crate::protocol::{CloseReason, Command, ErrorCode, Refusal, Request, Wire};
use crate::rate::Rate;
use crate::room::local::LocalRooms;
use crate::room::registry::WorkerIndex;
use crate::socket::ConnectionKey;

pub use expiry::Expired;

use connect::{Entry, Resumes};
use given::Put;
use grant::{Grant, RoomGrant};
use permission::Standing;
use subscribe::{Entering, Wish};

pub struct Session {
    pub id: SessionId,
    user: UserId,
    grant: Option<Box<Grant>>,
    state: State,
    publishes: Rate,
    presences: Rate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// No connect command yet.
    Fresh,
    /// It is not known yet who the session is.
    Connecting,
    /// The session counts, and is being put into the rooms that it was given.
    Entering,
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
    /// The session is in a room for which it has not asked: its client is to be told.
    Entered(Subscribed),
    Close(CloseReason),
    /// The reply has to wait for the broker.
    Ask(Ask),
}

/// A question to the broker or about a token, and what is needed to make a reply of the answer.
pub enum Ask {
    Identity(Resumes, Welcome),
    Enter(Box<Entry>, JoinedAll),
    Refresh(Later<Identity>),
    Pass(Wish, Later<RoomPass>),
    SubRefresh(RoomName, Later<RoomPass>),
    Join(Entering, Answer<Joined>),
    Put(Put, Entering, Answer<Joined>),
    Publish(RoomName, Instant, Answer<Position>),
    History(RoomName, Answer<HistoryPage>),
    Presence(RoomName, Wanted, Pending<Arc<Members>>),
}

impl Ask {
    /// The room that the question is about; `None`: it is about the whole session.
    pub fn room(&self) -> Option<&RoomName> {
        match self {
            Self::Identity(..) | Self::Enter(..) | Self::Refresh(_) => None,
            Self::Pass(wish, _) => Some(wish.room()),
            Self::Join(entering, _) | Self::Put(_, entering, _) => Some(entering.name()),
            Self::SubRefresh(room, _)
            | Self::Publish(room, ..)
            | Self::History(room, _)
            | Self::Presence(room, ..) => Some(room),
        }
    }
}

/// The answers for several rooms.
pub type JoinedAll = Pin<Box<dyn Future<Output = Vec<Result<Joined, broker::Error>>> + Send>>;

/// An [`Ask`] with its answer.
pub enum Settled {
    Identity(Resumes, Result<Identity, Denied>),
    Enter(Box<Entry>, Vec<Result<Joined, broker::Error>>),
    Refresh(Result<Identity, TokenError>),
    Pass(Wish, Result<RoomPass, TokenError>),
    SubRefresh(RoomName, Result<RoomPass, TokenError>),
    Join(Entering, Result<Joined, broker::Error>),
    Put(Put, Entering, Result<Joined, broker::Error>),
    Publish(Instant, Result<Position, broker::Error>),
    History(Result<HistoryPage, broker::Error>),
    Presence(Wanted, Arc<Members>),
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
            Self::Identity(resumes, identity) => identity
                .as_mut()
                .poll(cx)
                .map(|identity| Settled::Identity(std::mem::take(resumes), identity)),
            Self::Enter(entry, joined) => joined
                .as_mut()
                .poll(cx)
                .map(|joined| Settled::Enter(std::mem::take(entry), joined)),
            Self::Refresh(identity) => identity.as_mut().poll(cx).map(Settled::Refresh),
            Self::Pass(wish, pass) => pass
                .as_mut()
                .poll(cx)
                .map(|pass| Settled::Pass(wish.clone(), pass)),
            Self::SubRefresh(room, pass) => pass
                .as_mut()
                .poll(cx)
                .map(|pass| Settled::SubRefresh(room.clone(), pass)),
            Self::Join(entering, answer) => answer
                .as_mut()
                .poll(cx)
                .map(|joined| Settled::Join(entering.clone(), joined)),
            Self::Put(put, entering, answer) => answer
                .as_mut()
                .poll(cx)
                .map(|joined| Settled::Put(put.clone(), entering.clone(), joined)),
            Self::Publish(_, asked, answer) => answer
                .as_mut()
                .poll(cx)
                .map(|published| Settled::Publish(*asked, published)),
            Self::History(_, answer) => answer.as_mut().poll(cx).map(Settled::History),
            Self::Presence(_, wanted, answer) => answer
                .as_mut()
                .poll(cx)
                .map(|members| Settled::Presence(*wanted, members)),
        }
    }
}

/// A command's way out early, with the error that answers it.
type Refused<T> = Result<T, Refusal>;

impl Session {
    /// A session of which the backend will be told `headers`, if it is asked.
    pub fn new(headers: Option<Box<HeaderMap>>) -> Self {
        Self {
            id: SessionId::random(),
            user: UserId::ANONYMOUS,
            grant: headers.map(|headers| Box::new(Grant::to_be(*headers))),
            state: State::Fresh,
            publishes: Rate::default(),
            presences: Rate::default(),
        }
    }

    /// Whom the session speaks for, once it is connected.
    pub fn user(&self) -> &UserId {
        &self.user
    }

    /// Whether its connect has not been answered.
    pub fn is_fresh(&self) -> bool {
        matches!(
            self.state,
            State::Fresh | State::Connecting | State::Entering
        )
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
            (State::Fresh | State::Connecting | State::Entering, request) => {
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
            Request::Presence(request) => self.presence(&request, Wanted::List, desk),
            Request::PresenceStats(request) => self.presence(&request, Wanted::Numbers, desk),
            Request::Refresh(request) => self.refresh(&request, desk),
            Request::SubRefresh(request) => self.sub_refresh(&request, desk),
            Request::Rpc => Err(Refusal::new(ErrorCode::NotAvailable, "")),
            Request::Unknown => Err(Refusal::new(ErrorCode::MethodNotFound, "")),
        };
        step.unwrap_or_else(refuse)
    }

    /// Goes on when what was asked has been answered.
    pub fn settle(&mut self, settled: Settled, desk: &mut Desk<'_>) -> Step {
        let step = match settled {
            Settled::Identity(resumes, identity) => self.settle_identity(resumes, identity, desk),
            Settled::Enter(entry, joined) => self.settle_entry(*entry, joined, desk),
            Settled::Refresh(identity) => self.refreshed(identity),
            Settled::Pass(wish, pass) => self.settle_pass(wish, pass, desk),
            Settled::SubRefresh(room, pass) => self.sub_refreshed(room, pass, desk),
            Settled::Join(entering, joined) => {
                let room = entering.name().clone();
                self.settle_join(entering, joined, desk)
                    .map(|subscribed| Step::Reply(Reply::Subscribe(subscribed)))
                    .inspect_err(|_| self.forget_grant(&room))
            }
            Settled::Put(put, entering, joined) => {
                Ok(self.settle_put(&put, entering, joined, desk))
            }
            Settled::Publish(asked, published) => {
                publish::settle(asked, published, desk).map(Step::Reply)
            }
            Settled::History(page) => history::settle(page).map(Step::Reply),
            Settled::Presence(wanted, members) => {
                Ok(Step::Reply(presence::settle(wanted, members)))
            }
        };
        step.unwrap_or_else(refuse)
    }

    /// Gives back what the session held; a second time there is nothing left to give.
    pub fn end(&mut self, desk: &mut Desk<'_>) {
        for room in desk.rooms.leave_all(desk.connection) {
            desk.shared.leave(desk.worker, &room);
        }
        if matches!(self.state, State::Entering | State::Connected) {
            desk.shared.sessions.fetch_sub(1, Relaxed);
            desk.shared.user_sessions.leave(&self.user);
        }
        self.grant = None;
        self.state = State::Refused;
    }

    /// Who the session is to those in `room`.
    pub fn author(&self, room: &RoomName) -> Author {
        let grant = self.grant.as_deref();
        Author {
            user: self.user.clone(),
            client: self.id,
            conn_info: grant.and_then(|grant| grant.info.clone()),
            chan_info: grant.and_then(|grant| grant.room(room.as_str())?.info.clone()),
        }
    }

    fn standing(&self, room: &RoomName, desk: &Desk<'_>) -> Standing {
        let is_member = desk.rooms.find(desk.connection, room.as_str()).is_some();
        Standing {
            is_meant: permission::is_meant(room, &self.user),
            is_member,
            is_vouched: is_member && self.room_grant(room).is_some(),
        }
    }

    fn room_grant(&self, room: &RoomName) -> Option<&RoomGrant> {
        self.grant.as_ref()?.room(room.as_str())
    }

    /// Whether the session was put into the room.
    fn is_given(&self, room: &RoomName) -> bool {
        self.room_grant(room).is_some_and(|grant| grant.is_given)
    }

    fn keep_grant(&mut self, room: RoomGrant) {
        self.grant.get_or_insert_default().keep(room);
    }

    fn forget_grant(&mut self, room: &RoomName) {
        if let Some(grant) = &mut self.grant {
            grant.forget(room.as_str());
        }
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
    room_of(&name, desk)
}

fn room_of(name: &str, desk: &Desk<'_>) -> Refused<RoomName> {
    RoomName::parse(name, desk.shared.live().limits.room_name_bytes)
        .map_err(|error| Refusal::new(ErrorCode::BadRequest, error.to_string()))
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
            broker::Error::NotAllowed(_) => ErrorCode::NotAvailable,
            broker::Error::IdUsed | broker::Error::Refused(_) => ErrorCode::BadRequest,
        };
        Self::new(code, error.to_string())
    }
}
