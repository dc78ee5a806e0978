//! What a worker keeps of one connection.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use http::HeaderMap;
use tokio::net::TcpStream;

use crate::ids::RoomName;
use crate::protocol::{Encoding, Wire};
use crate::session::Session;
use crate::session::given::Put;
use crate::socket::Socket;

use super::asking::{Asking, Waiting};
use super::missed::Missed;
use super::timer_wheel::Tick;

/// How long the broker may take to answer what a session has asked when the node shuts down.
pub const ANSWER_PATIENCE: Duration = Duration::from_secs(5);
/// How long a closing connection may take to read what was sent to it before.
pub const FLUSH_PATIENCE: Duration = Duration::from_secs(30);
/// How long the peer may take to end its side after it was sent a close frame.
pub const GOODBYE_PATIENCE: Duration = Duration::from_secs(3);

pub struct Connection {
    pub socket: Socket,
    pub wire: Wire,
    pub session: Session,
    /// When the connection is to be looked at next; entries of the timer wheel for other ticks are stale.
    pub due: Tick,
    /// Commands that have to wait, as they came: for the broker's answer, or until the client has read its replies.
    held: Option<Box<Held>>,
    /// Frames of replies that leave with the next write, so that a publisher's reply costs no write of its own. Empty
    /// while the socket is blocked.
    pub owed: Option<Box<Owed>>,
    /// What subscribes recovered beyond their replies.
    #[expect(
        clippy::box_collection,
        reason = "idle connections pay one word for it"
    )]
    pub missed: Option<Box<VecDeque<Missed>>>,
    /// What this session has asked the broker.
    pub asking: Option<Box<Asking>>,
    /// A task is reading the socket.
    pub reading: bool,
    pub listed_as_blocked: bool,
    pub life: Life,
}

/// Boxed where it is kept: idle connections pay one word for it.
#[derive(Default)]
struct Held(Vec<u8>);

/// Boxed where it is kept, as `Held`.
#[derive(Default)]
pub struct Owed(pub Vec<u8>);

/// Where a connection is between its handshake and its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// Nothing but the handshake has happened: `due` is the time for the connect command.
    Fresh,
    /// `due` is the time of the next ping.
    Live { pinged_at: Tick },
    /// A ping is out: `due` is the time for the pong.
    Pinged { pinged_at: Tick },
    /// The node shuts down, and the broker still owes answers: nothing more is read, `due` is the end of waiting.
    Leaving,
    /// A close frame has been sent or is queued: what comes in is thrown away, `due` is the end.
    Closing,
}

/// While more than this waits to be written, no further command of the connection is handled.
const REPLY_BACKLOG_BYTES: usize = 64 * 1024;

impl Connection {
    pub fn new(io: Rc<TcpStream>, wire: Wire, passed: Option<Box<HeaderMap>>) -> Self {
        Self {
            socket: Socket::new(io),
            wire,
            session: Session::new(passed),
            due: 0,
            held: None,
            owed: None,
            missed: None,
            asking: None,
            reading: false,
            listed_as_blocked: false,
            life: Life::Fresh,
        }
    }

    /// Whether commands have to wait.
    pub fn must_wait(&self) -> bool {
        self.is_backed_up() || self.asking.as_ref().is_some_and(|asking| asking.is_full())
    }

    /// Whether the client has to read before it is told more.
    pub fn is_backed_up(&self) -> bool {
        self.missed.is_some() || self.socket.queued() > REPLY_BACKLOG_BYTES
    }

    /// Whether nothing should be read: earlier input is still waiting, or would have to.
    pub fn holds_input(&self) -> bool {
        match self.life {
            Life::Closing => false,
            Life::Leaving => true,
            _ => self.held.is_some() || self.must_wait(),
        }
    }

    /// Keeps a command if it has to wait for the answer to an earlier one for the same room.
    pub fn wait_behind(&mut self, channel: &str, command: &[u8]) -> bool {
        let holding = self.asking.as_mut().filter(|asking| asking.holds(channel));
        holding
            .map(|asking| asking.wait(channel, command))
            .is_some()
    }

    /// Keeps a backend's order for after the answer to a question about its room; returns it if there is none.
    pub fn put_behind(&mut self, put: Put) -> Option<Put> {
        match &mut self.asking {
            Some(asking) => asking.wait_to_put(put),
            None => Some(put),
        }
    }

    /// A question about the room is out; without a room about the whole session.
    pub fn ask(&mut self, room: Option<&RoomName>) {
        let asking = self.asking.get_or_insert_default();
        match room {
            Some(room) => asking.ask(room),
            None => asking.ask_about_all(true),
        }
    }

    pub fn answered(&mut self, room: Option<&RoomName>, is_unknown: bool) {
        let Some(asking) = &mut self.asking else {
            return;
        };
        match room {
            Some(room) => asking.answered(room, is_unknown),
            None => asking.ask_about_all(false),
        }
        if asking.is_empty() {
            self.asking = None;
        }
    }

    /// Whether messages to that room must not be tried.
    pub fn has_unknown(&mut self, room: &RoomName) -> bool {
        let asking = self.asking.as_mut();
        asking.is_some_and(|asking| asking.has_unknown(room))
    }

    /// What the answer about `room` lets go on next.
    pub fn next_behind(&mut self, room: &RoomName) -> Option<Waiting> {
        let asking = self.asking.as_mut()?;
        let next = asking.next_behind(room);
        if asking.is_empty() {
            self.asking = None;
        }
        next
    }

    /// Keeps commands for later, behind those that wait already.
    pub fn hold(&mut self, commands: &[u8]) {
        let Held(held) = self.held.get_or_insert_default().as_mut();
        if self.wire.encoding() == Encoding::Json {
            held.push(b'\n');
        }
        held.extend_from_slice(commands);
    }

    /// How many bytes of commands wait.
    pub fn held_bytes(&self) -> usize {
        self.held.as_ref().map_or(0, |held| held.0.len())
    }

    pub fn take_held(&mut self) -> Option<Vec<u8>> {
        self.held.take().map(|held| held.0)
    }

    pub fn drop_input(&mut self) {
        self.held = None;
        self.missed = None;
    }

    /// The client answered a ping.
    pub fn pong(&mut self) {
        if let Life::Pinged { pinged_at } = self.life {
            self.life = Life::Live { pinged_at };
        }
    }

    pub fn is_closing(&self) -> bool {
        self.life == Life::Closing
    }

    pub fn begin_closing(&mut self) {
        self.life = Life::Closing;
    }
}
