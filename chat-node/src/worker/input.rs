//! Bytes from a connection -> frames -> commands -> replies; those for one room in order, one at a time.
//!
//! While the broker owes many answers, or the client does not read its replies, further commands are held and nothing
//! more is read: so a client that only sends fills the kernel's buffers and not ours.

use std::ops::ControlFlow;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tokio::task::{spawn_local, yield_now};

use crate::broker::Error;
use crate::frame::{self, Incoming};
use crate::ids::RoomName;
use crate::protocol::batch::Kept;
use crate::protocol::reply::Reply;
use crate::protocol::unidirectional;
use crate::protocol::{Batch, CloseReason, Command, Encoding, Refusal, Request};
use crate::session::{Ask, Desk, Session, Settled, Step};
use crate::socket::ConnectionKey;

use super::Worker;
use super::asking::Waiting;
use super::connection::{Life, Owed};
use super::missed::{FRAME_BYTES, Missed};
use super::timer_wheel::{TICK, tick_of};

/// Longer replies are sent at once.
const OWED_BYTES: usize = 4096;
/// Commands of a connection before others get their turn: a frame may hold a hundred thousand.
const COMMANDS_PER_TURN: usize = 1000;

impl Worker {
    /// Takes bytes as they came from the socket.
    pub(super) fn take_bytes(&mut self, key: ConnectionKey, bytes: &mut [u8]) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        if !connection.wire.is_websocket() {
            // A stream's client has nothing to say here: only the end counts.
            return;
        }
        let mut reader = std::mem::take(&mut connection.socket.reader);
        let most = self.shared.live().limits.frame_bytes;
        let read = reader.read(bytes, most, |incoming| self.take_incoming(key, incoming));
        if let Some(connection) = self.connections.get_mut(key) {
            connection.socket.reader = reader;
        }
        if let Err(violation) = read {
            let reason = CloseReason::violation(violation.code(), violation.to_string());
            self.close(key, &reason);
        }
    }

    fn take_incoming(&mut self, key: ConnectionKey, incoming: Incoming<'_>) -> ControlFlow<()> {
        let Some(connection) = self.connections.get_mut(key) else {
            return ControlFlow::Break(());
        };
        if connection.is_closing() {
            // Only the peer's close frame still matters: it says that ours has been read.
            if matches!(incoming, Incoming::Close(_)) {
                self.remove(key);
                return ControlFlow::Break(());
            }
            return ControlFlow::Continue(());
        }
        match incoming {
            Incoming::Text(text) if connection.wire.is_unidirectional() => {
                if connection.life == Life::Fresh && connection.asking.is_none() {
                    self.take_connect_request(key, text);
                }
            }
            Incoming::Text(text) => match connection.wire.encoding() {
                Encoding::Json if connection.holds_input() => connection.hold(text.as_bytes()),
                Encoding::Json => self.run(key, Batch::json(text)),
                Encoding::Protobuf => {
                    let expected = "expected binary frames with Protobuf, got a text frame";
                    self.close(key, &CloseReason::bad_request(expected));
                }
            },
            Incoming::Binary(bytes) => match connection.wire.encoding() {
                Encoding::Protobuf if connection.holds_input() => connection.hold(bytes),
                Encoding::Protobuf => self.run(key, Batch::protobuf(bytes)),
                Encoding::Json => {
                    let expected = "expected text frames with JSON, got a binary frame";
                    self.close(key, &CloseReason::bad_request(expected));
                }
            },
            Incoming::Ping(payload) => {
                let mut pong = Vec::with_capacity(payload.len() + frame::MAX_HEADER_BYTES);
                frame::write_pong(&mut pong, payload);
                self.send(key, &pong);
            }
            Incoming::Pong(_) => {}
            Incoming::Close(_) => {
                self.close(key, &CloseReason::NORMAL);
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    }

    /// What a client says that otherwise only listens.
    fn take_connect_request(&mut self, key: ConnectionKey, text: &str) {
        match unidirectional::command(text.as_bytes()) {
            Some(command) => self.take_commands(key, &command),
            None => {
                let expected = "expected a connect request: one JSON object";
                self.close(key, &CloseReason::bad_request(expected));
            }
        }
    }

    /// Handles commands until one has to wait.
    pub(super) fn run(&mut self, key: ConnectionKey, mut commands: Batch<'_>) {
        if commands.rest().is_empty() {
            let expected = "expected commands, got an empty frame";
            self.close(key, &CloseReason::bad_request(expected));
            return;
        }
        let mut kept = Kept::default();
        for handled in 0.. {
            if self.replies.len() > FRAME_BYTES {
                self.send_replies(key);
            }
            let Some(connection) = self.connections.get_mut(key) else {
                break;
            };
            if connection.is_closing() || connection.session.is_refused() {
                break;
            }
            let tired = handled == COMMANDS_PER_TURN;
            if connection.must_wait() || tired {
                let rest = commands.rest();
                if !rest.is_empty() {
                    connection.hold(rest);
                }
                if tired {
                    self.resume_later(key);
                }
                break;
            }
            let before = commands.rest();
            let command = match commands.next(&mut kept) {
                None => break,
                Some(Ok(command)) => command,
                Some(Err(error)) => {
                    self.close_with(key, &CloseReason::bad_request(error.to_string()));
                    break;
                }
            };
            if matches!(command.request, Request::Pong) {
                connection.pong();
                continue;
            }
            if connection.asking.is_some()
                && let Some(Ok(channel)) = command.request.channel().map(|channel| channel.decode())
            {
                let bytes = &before[..before.len() - commands.rest().len()];
                if connection.wait_behind(&channel, bytes) {
                    continue;
                }
            }
            self.handle(key, command);
        }
        self.send_replies(key);
    }

    fn handle(&mut self, key: ConnectionKey, command: Command<'_>) {
        let id = command.id;
        self.shared.metrics.command(command.request.method());
        self.with_session(key, id, |session, desk| session.handle(command, desk));
    }

    /// Lets the session take a step, and does what it comes to.
    pub(super) fn with_session(
        &mut self,
        key: ConnectionKey,
        id: u32,
        take: impl FnOnce(&mut Session, &mut Desk<'_>) -> Step,
    ) {
        let Some((connection, mut desk)) = self.desk(key) else {
            return;
        };
        let was_fresh = connection.session.is_fresh();
        let step = take(&mut connection.session, &mut desk);
        if was_fresh && !connection.session.is_fresh() {
            self.after_connect(key);
        }
        self.schedule_new_expiry(key);
        match step {
            Step::Silent => {}
            Step::Entered(subscribed) => self.entered(key, subscribed),
            Step::Reply(reply) => self.reply(key, id, reply),
            Step::Close(reason) => self.close_with(key, &reason),
            Step::Ask(ask) => self.ask(key, id, ask),
        }
    }

    /// Handles what was held, now that the connection may go on.
    pub(super) fn resume_input(&mut self, key: ConnectionKey) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        if connection.is_backed_up() {
            return;
        }
        // What a closing connection has asked is neither answered nor taken off its list.
        while let Some(connection) = self.connections.get_mut(key)
            && !connection.is_backed_up()
            && !connection.is_closing()
            && let Some(room) = connection.asking.as_ref().and_then(|a| a.next_to_go_on())
        {
            self.go_on_behind(key, &room);
        }
        self.send_replies(key);
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        if connection.must_wait() {
            return;
        }
        let encoding = connection.wire.encoding();
        if let Some(held) = connection.take_held() {
            match Batch::of(encoding, &held) {
                Ok(commands) => self.run(key, commands),
                Err(error) => self.close_with(key, &CloseReason::bad_request(error.to_string())),
            }
        }
        self.start_reading(key);
    }

    /// Handles what was held after the other connections have had their turn.
    fn resume_later(&mut self, key: ConnectionKey) {
        if let Some(worker) = self.me.upgrade() {
            spawn_local(async move {
                yield_now().await;
                let mut worker = worker.borrow_mut();
                worker.resume_input(key);
                worker.settle_down();
            });
        }
    }

    /// The connect command has been answered one way or the other: the next deadline is another.
    fn after_connect(&mut self, key: ConnectionKey) {
        let now = self.shared.now();
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        if connection.session.is_connected() {
            self.users.insert(connection.session.user(), key);
            // The first ping comes somewhere in the second half of the interval, so that clients which came
            // together are not pinged together.
            let interval = self.shared.config.limits.ping_interval;
            let early = interval.mul_f64(fastrand::f64() / 2.0);
            connection.life = Life::Live {
                pinged_at: tick_of(now.saturating_sub(early)),
            };
            self.schedule(key, now + interval.saturating_sub(early).max(TICK));
        } else if connection.session.is_refused() {
            self.schedule(key, now + REFUSED_PATIENCE);
        }
    }

    /// Takes the broker's answer at once if it is there, and waits for it otherwise.
    fn ask(&mut self, key: ConnectionKey, id: u32, mut ask: Ask) {
        let mut context = Context::from_waker(Waker::noop());
        if let Poll::Ready(settled) = Pin::new(&mut ask).poll(&mut context) {
            self.settle(key, id, settled);
            return;
        }
        let (Some(connection), Some(worker)) = (self.connections.get_mut(key), self.me.upgrade())
        else {
            return;
        };
        let room = ask.room().cloned();
        connection.ask(room.as_ref());
        spawn_local(async move {
            let settled = ask.await;
            let mut worker = worker.borrow_mut();
            if let Some(connection) = worker.connections.get_mut(key) {
                connection.answered(room.as_ref(), settled.is_unknown_publish());
            }
            worker.settle(key, id, settled);
            if let Some(room) = &room {
                worker.go_on_behind(key, room);
            }
            worker.send_replies(key);
            worker.resume_input(key);
            worker.leave_if_answered(key);
            worker.settle_down();
        });
    }

    /// Handles the commands that waited for the answer about `room`.
    ///
    /// Where it is not known whether a message was kept, the client's next ones to the room are not tried: they would
    /// overtake it if it still comes.
    fn go_on_behind(&mut self, key: ConnectionKey, room: &RoomName) {
        loop {
            if self.replies.len() > FRAME_BYTES {
                self.send_replies(key);
            }
            let Some(connection) = self.connections.get_mut(key) else {
                break;
            };
            if connection.is_closing() || connection.is_backed_up() {
                break;
            }
            let publishes_fail = connection.has_unknown(room);
            let encoding = connection.wire.encoding();
            let bytes = match connection.next_behind(room) {
                Some(Waiting::Command(bytes)) => bytes,
                Some(Waiting::Put(put)) => {
                    self.put_now(key, put);
                    continue;
                }
                None => break,
            };
            let mut kept = Kept::default();
            let command = Batch::of(encoding, &bytes).map(|mut commands| commands.next(&mut kept));
            match command.ok().flatten() {
                Some(Ok(command))
                    if publishes_fail && matches!(command.request, Request::Publish(_)) =>
                {
                    self.shared.metrics.command(command.request.method());
                    let refusal = Refusal::from(Error::Unreachable);
                    self.reply(key, command.id, Reply::Refused(refusal));
                }
                Some(Ok(command)) => self.handle(key, command),
                Some(Err(_)) | None => unreachable!("it was read as a command before"),
            }
        }
    }

    fn settle(&mut self, key: ConnectionKey, id: u32, settled: Settled) {
        let connection = self.connections.get(key);
        if connection.is_some_and(|connection| !connection.is_closing()) {
            self.with_session(key, id, |session, desk| session.settle(settled, desk));
        }
    }

    fn reply(&mut self, key: ConnectionKey, id: u32, mut reply: Reply) {
        if let Reply::Refused(refusal) = &reply {
            self.shared.metrics.refused(refusal.code.counted());
        }
        let Some(wire) = self.connections.get(key).map(|connection| connection.wire) else {
            return;
        };
        match &mut reply {
            Reply::Refused(refusal) if wire.is_unidirectional() => {
                let reason = unidirectional::refused(refusal);
                self.close_with(key, &reason);
                return;
            }
            Reply::Connect(connected) if wire.is_emulated() => {
                connected.emulation = Some(self.emulation(key));
            }
            _ => {}
        }
        let missed = self.missed(&mut reply);
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        connection.wire.write_reply(&mut self.replies, id, &reply);
        if missed.is_empty() {
            return;
        }
        let fits = missed.iter().all(Missed::is_empty);
        connection.missed.get_or_insert_default().extend(missed);
        if !fits {
            self.send_replies(key);
        }
        // Nothing of the feed overtakes a reply that is not sent yet: the pump runs later.
        self.send_missed(key);
    }

    pub(super) fn send_replies(&mut self, key: ConnectionKey) {
        if self.replies.is_empty() {
            return;
        }
        let mut messages = std::mem::take(&mut self.replies);
        if let Some(connection) = self.connections.get(key) {
            let frame = connection.wire.frame(&messages);
            self.owe(key, frame);
        }
        messages.clear();
        if messages.capacity() <= FRAME_BYTES {
            self.replies = messages;
        }
    }

    /// Has a reply leave with the connection's next write, at the latest after the pump's turn.
    fn owe(&mut self, key: ConnectionKey, frame: Vec<u8>) {
        match self.connections.get_mut(key) {
            Some(connection) if frame.len() <= OWED_BYTES && !connection.socket.is_blocked() => {
                match &mut connection.owed {
                    Some(owed) if owed.0.len() + frame.len() <= OWED_BYTES => {
                        owed.0.extend_from_slice(&frame);
                    }
                    Some(_) => self.send(key, &frame),
                    None => {
                        connection.owed = Some(Box::new(Owed(frame)));
                        self.owing.push(key);
                    }
                }
            }
            _ => self.send(key, &frame),
        }
    }

    /// Sends the replies that no other write has taken along.
    pub(super) fn pay_owed(&mut self) {
        let mut owing = std::mem::take(&mut self.owing);
        for key in owing.drain(..) {
            self.send(key, &[]);
        }
        self.owing = owing;
        self.remove_gone();
    }

    /// Closes, but not before the replies that earlier commands have earned.
    pub(super) fn close_with(&mut self, key: ConnectionKey, reason: &CloseReason) {
        self.send_replies(key);
        self.close(key, reason);
    }
}

/// How long a client whose connect was refused may take to close.
const REFUSED_PATIENCE: std::time::Duration = std::time::Duration::from_secs(5);
