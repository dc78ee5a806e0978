//! A worker: one thread that owns connections for life, their sessions, and their rooms.
//!
//! inbox (new connections, deliveries) -> sessions and room logs -> pump -> sockets. Nothing here is shared or
//! locked; other threads only ever put something into the [`Inbox`].

mod asking;
mod connection;
mod deadlines;
pub mod emulated;
mod expiry;
mod input;
mod missed;
pub mod orders;
pub mod presence;
mod pump;
mod read;
pub mod timer_wheel;
mod users;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use slotmap::SlotMap;
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::{LocalSet, spawn_local, yield_now};

use crate::broker::Epoch;
use crate::ids::{RoomName, UserId};
use crate::node::Shared;
use crate::protocol::{CloseReason, Wire};
use crate::room::delivery::Delivery;
use crate::room::local::LocalRooms;
use crate::room::registry::WorkerIndex;
use crate::session::Desk;
use crate::socket::{ConnectionKey, Written};

use connection::{Connection, Life, Owed};
use emulated::Arrived;
use orders::{Order, Outcome};
use timer_wheel::TimerWheel;
use users::Users;

/// What other threads tell a worker.
pub enum Event {
    /// Together, so that a herd wakes the worker once and not for each.
    Accepted(Vec<Accepted>),
    Delivery(Arc<Delivery>),
    /// The room is another incarnation from now on: what its members know of it is worth nothing.
    Interrupted {
        room: RoomName,
        epoch: Epoch,
    },
    /// Somebody wants to know who is in a room here.
    ListMembers(presence::Listing),
    /// Commands for a session that came beside its connection.
    Commands {
        connection: ConnectionKey,
        commands: Bytes,
        arrived: oneshot::Sender<Arrived>,
    },
    /// Do it, and say what came of it.
    Order(Arc<Order>, oneshot::Sender<Outcome>),
    /// Which rooms have how many members here?
    ListRooms(oneshot::Sender<Vec<(RoomName, usize)>>),
    /// Who with a name has sessions here?
    ListUsers(oneshot::Sender<Vec<UserId>>),
    /// Close so many connections because the node shuts down.
    Drain {
        connections: usize,
    },
    /// Close all connections that are left, and each that still comes.
    DrainAll,
    /// End every connection and the thread.
    Stop,
}

/// A socket that is a client's from now on.
pub struct Accepted {
    pub stream: std::net::TcpStream,
    pub wire: Wire,
    /// Headers of its request that the backend gets to see, if it is asked who the client is.
    pub passed: Option<Box<HeaderMap>>,
    /// What is to be written before anything else.
    pub head: Bytes,
    /// The bytes that came right behind a WebSocket's handshake; the first commands of anything else.
    pub early: Bytes,
    /// Since when the client has had time to connect, by the node's clock.
    pub at: Duration,
}

/// The way to a worker, and how busy it is.
#[derive(Clone)]
pub struct Inbox {
    events: mpsc::UnboundedSender<Event>,
    load: Arc<Load>,
}

/// What a worker lets others see of it.
#[derive(Default)]
pub struct Load {
    /// Connections that the worker has or is about to get.
    pub connections: AtomicUsize,
    /// Milliseconds since the node's start when the worker's timer last ran.
    pub alive_at_millis: AtomicU64,
}

impl Inbox {
    pub fn send(&self, event: Event) {
        // A worker is gone only when the node is: then nobody is left to tell.
        let _ = self.events.send(event);
    }

    pub fn load(&self) -> &Load {
        &self.load
    }
}

/// Writes of the pump before other tasks of the worker get their turn: about a millisecond.
const WRITES_PER_TURN: usize = 128;
const EVENTS_PER_TURN: usize = 1024;
/// Connections closed in one tick of the timer wheel because their rooms are other incarnations: about 500 a second.
const INTERRUPTED_PER_TICK: usize = 25;
const READ_BUFFER_BYTES: usize = 64 * 1024;

/// Starts the thread of worker `index`.
pub fn start(index: WorkerIndex, shared: Arc<Shared>) -> std::io::Result<(Inbox, JoinHandle<()>)> {
    let (sender, events) = mpsc::unbounded_channel();
    let load = Arc::new(Load::default());
    let inbox = Inbox {
        events: sender,
        load: load.clone(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let thread = thread::Builder::new()
        .name(format!("worker-{index}"))
        .spawn(move || LocalSet::new().block_on(&runtime, run(index, shared, load, events)))?;
    Ok((inbox, thread))
}

async fn run(
    index: WorkerIndex,
    shared: Arc<Shared>,
    load: Arc<Load>,
    mut events: mpsc::UnboundedReceiver<Event>,
) {
    shared.broker.serve_worker();
    let worker = Worker::new(index, shared, load);
    let wake = worker.borrow().wake.clone();
    spawn_local(tick(worker.clone()));
    let mut arrived = Vec::with_capacity(EVENTS_PER_TURN);
    loop {
        let busy = worker.borrow_mut().turn();
        if busy {
            yield_now().await;
            while arrived.len() < EVENTS_PER_TURN
                && let Ok(event) = events.try_recv()
            {
                arrived.push(event);
            }
        } else {
            tokio::select! {
                received = events.recv_many(&mut arrived, EVENTS_PER_TURN) => if received == 0 {
                    return;
                },
                () = wake.notified() => {}
            }
        }
        for event in arrived.drain(..) {
            if matches!(event, Event::Stop) {
                return;
            }
            worker.borrow_mut().take(event);
        }
    }
}

async fn tick(worker: Rc<RefCell<Worker>>) {
    let mut interval = tokio::time::interval(timer_wheel::TICK);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        interval.tick().await;
        worker.borrow_mut().tick();
    }
}

pub struct Worker {
    index: WorkerIndex,
    me: Weak<RefCell<Worker>>,
    shared: Arc<Shared>,
    load: Arc<Load>,
    connections: SlotMap<ConnectionKey, Connection>,
    rooms: LocalRooms,
    users: Users,
    timers: TimerWheel<ConnectionKey>,
    /// When something of a session expires that was given until then.
    expiries: TimerWheel<ConnectionKey>,
    /// Connections whose sockets were blocked when last looked at.
    blocked: Vec<ConnectionKey>,
    /// Connections that a write found gone, to be removed when nobody is looking at them.
    gone: Vec<ConnectionKey>,
    read_buffer: Box<[u8]>,
    replies: Vec<u8>,
    /// Connections that may have replies to leave with their next write.
    owing: Vec<ConnectionKey>,
    members_shown: usize,
    draining: bool,
    /// Connections that have to come anew, to be closed a few at a time.
    interrupted: VecDeque<ConnectionKey>,
    /// Wakes the run loop when something else than an event made work for the pump.
    wake: Rc<Notify>,
}

impl Worker {
    fn new(index: WorkerIndex, shared: Arc<Shared>, load: Arc<Load>) -> Rc<RefCell<Self>> {
        Rc::new_cyclic(|me| {
            RefCell::new(Self {
                index,
                me: me.clone(),
                load,
                connections: SlotMap::with_key(),
                rooms: LocalRooms::default(),
                users: Users::default(),
                timers: TimerWheel::new(shared.now()),
                expiries: TimerWheel::new(shared.now()),
                blocked: Vec::new(),
                gone: Vec::new(),
                read_buffer: vec![0; READ_BUFFER_BYTES].into(),
                replies: Vec::new(),
                owing: Vec::new(),
                members_shown: 0,
                draining: false,
                interrupted: VecDeque::new(),
                wake: Rc::default(),
                shared,
            })
        })
    }

    /// One turn of the pump and the replies that it did not take along. True if the pump has more to do.
    fn turn(&mut self) -> bool {
        self.tell_changes();
        let busy = self.pump(WRITES_PER_TURN);
        self.pay_owed();
        busy
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Accepted(accepted) => accepted.into_iter().for_each(|one| self.accept(one)),
            Event::Delivery(delivery) => self.rooms.append(&delivery),
            Event::Interrupted { room, epoch } => self.interrupt(&room, epoch),
            Event::ListMembers(listing) => self.list_members(listing),
            Event::Commands {
                connection,
                commands,
                arrived,
            } => {
                // Whoever brought them may have gone meanwhile.
                let _ = arrived.send(self.take_emulated(connection, &commands));
            }
            Event::Order(order, done) => self.obey(&order, done),
            Event::ListRooms(answer) => {
                let _ = answer.send(self.rooms.list());
            }
            Event::ListUsers(answer) => {
                let sessions = self.users.all().filter_map(|key| self.connections.get(key));
                let users = sessions.map(|connection| connection.session.user().clone());
                let _ = answer.send(users.collect());
            }
            Event::Drain { connections } => self.drain(connections),
            Event::DrainAll => {
                self.draining = true;
                self.drain(usize::MAX);
            }
            Event::Stop => unreachable!("the run loop ends on it"),
        }
    }

    fn accept(&mut self, accepted: Accepted) {
        let Accepted {
            stream,
            wire,
            passed,
            head,
            early,
            at,
        } = accepted;
        // A socket that comes out of the HTTP server is registered anew, which drops that server's waker: it would
        // keep the server's finished task, some 2 KB, alive as long as the socket.
        let stream = match TcpStream::from_std(stream) {
            Ok(stream) => Rc::new(stream),
            Err(error) => {
                tracing::warn!(%error, "failed to register a connection");
                self.load.connections.fetch_sub(1, Relaxed);
                return;
            }
        };
        let key = self
            .connections
            .insert(Connection::new(stream.clone(), wire, passed));
        self.shared.metrics.connections(wire).inc();
        self.schedule(key, at + self.shared.config.limits.handshake_timeout);
        if !head.is_empty()
            && let Some(connection) = self.connections.get_mut(key)
        {
            connection.owed = Some(Box::new(Owed(head.into())));
            self.owing.push(key);
        }
        if self.draining {
            self.close(key, &CloseReason::SHUTDOWN);
            return;
        }
        if !wire.is_websocket() {
            self.take_commands(key, &early);
        } else if !early.is_empty() {
            self.take_bytes(key, &mut early.to_vec());
        }
        self.start_reading(key);
    }

    /// Starts the connection's read task, unless it runs or has nothing to do now.
    fn start_reading(&mut self, key: ConnectionKey) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        if connection.reading || connection.holds_input() {
            return;
        }
        connection.reading = true;
        let io = connection.socket.io.clone();
        if let Some(worker) = self.me.upgrade() {
            spawn_local(read::read(worker, key, io));
        }
    }

    /// Writes frames to the connection, or queues them behind what it has not taken yet.
    fn send(&mut self, key: ConnectionKey, frames: &[u8]) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        let owed = connection.owed.take();
        let sent = match owed {
            None if frames.is_empty() => return,
            None => connection.socket.send(frames),
            Some(mut owed) => {
                owed.0.extend_from_slice(frames);
                connection.socket.send(&owed.0)
            }
        };
        match sent {
            Written::All | Written::Queued => {}
            Written::Blocked => self.watch(key),
            Written::Gone => self.gone.push(key),
        }
    }

    /// Has somebody wait until a socket that just became blocked is writable.
    fn watch(&mut self, key: ConnectionKey) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        if !connection.listed_as_blocked {
            connection.listed_as_blocked = true;
            self.blocked.push(key);
        }
        let io = connection.socket.io.clone();
        if let Some(worker) = self.me.upgrade() {
            spawn_local(read::wait_until_flushed(worker, key, io));
        }
    }

    fn desk(&mut self, key: ConnectionKey) -> Option<(&mut Connection, Desk<'_>)> {
        let connection = self.connections.get_mut(key)?;
        let desk = Desk {
            connection: key,
            wire: connection.wire,
            worker: self.index,
            rooms: &mut self.rooms,
            shared: &self.shared,
        };
        Some((connection, desk))
    }

    /// Ends the session and says why; the socket lingers until the peer has read it.
    fn close(&mut self, key: ConnectionKey, reason: &CloseReason) {
        let Some((connection, mut desk)) = self.desk(key) else {
            return;
        };
        if connection.is_closing() {
            return;
        }
        let user = connection.session.user().clone();
        connection.session.end(&mut desk);
        connection.begin_closing();
        let frame = connection.wire.close(reason);
        self.users.remove(&user, key);
        self.shared.metrics.disconnect(reason.code);
        self.send(key, &frame);
        self.finish_if_flushed(key);
    }

    /// Once a closing connection has sent everything, ends our side and gives the peer a moment to end its own.
    fn finish_if_flushed(&mut self, key: ConnectionKey) {
        let now = self.shared.now();
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        let patience = if connection.socket.is_blocked() {
            connection::FLUSH_PATIENCE
        } else {
            connection.socket.finish();
            connection::GOODBYE_PATIENCE
        };
        connection.drop_input();
        self.schedule(key, now + patience);
        self.start_reading(key);
    }

    /// Forgets the connection. The tasks that still hold its socket wake up and end.
    fn remove(&mut self, key: ConnectionKey) {
        let Some((connection, mut desk)) = self.desk(key) else {
            return;
        };
        if !connection.is_closing() {
            let user = connection.session.user().clone();
            connection.session.end(&mut desk);
            self.users.remove(&user, key);
            self.shared.metrics.disconnect(NO_CLOSE_FRAME);
        }
        if let Some(connection) = self.connections.remove(key) {
            connection.socket.abort();
            self.load.connections.fetch_sub(1, Relaxed);
            self.shared.metrics.connections(connection.wire).dec();
        }
    }

    /// Closes so many connections, each after everything that was published for it.
    fn drain(&mut self, connections: usize) {
        let chosen: Vec<_> = self
            .connections
            .iter()
            .filter(|(_, connection)| !matches!(connection.life, Life::Leaving | Life::Closing))
            .map(|(key, _)| key)
            .take(connections)
            .collect();
        let patience = self.shared.now() + connection::ANSWER_PATIENCE;
        for key in chosen {
            if let Some(connection) = self.connections.get_mut(key) {
                connection.life = Life::Leaving;
                self.schedule(key, patience);
                self.leave_if_answered(key);
            }
        }
    }

    /// Closes a connection that is to leave once the broker owes it nothing.
    fn leave_if_answered(&mut self, key: ConnectionKey) {
        let connection = self.connections.get(key);
        if connection.is_some_and(|c| c.life == Life::Leaving && c.asking.is_none()) {
            self.leave(key);
        }
    }

    /// Closes a connection because the node shuts down, after everything that was published for it.
    fn leave(&mut self, key: ConnectionKey) {
        self.queue_waiting(key);
        self.close(key, &CloseReason::SHUTDOWN);
    }

    /// Takes everybody out of `room` at once, so that no offset of one incarnation follows one of another, and closes
    /// their connections over time. Those whose join is not answered yet stay: the answer will be of `epoch`.
    fn interrupt(&mut self, room: &RoomName, epoch: Epoch) {
        for connection in self.rooms.become_other(room, epoch) {
            let Some((_, desk)) = self.desk(connection) else {
                continue;
            };
            if let Some(key) = desk.rooms.find(connection, room.as_str())
                && let Some(left) = desk.rooms.leave(connection, key)
            {
                desk.shared.leave(desk.worker, &left);
            }
            self.interrupted.push_back(connection);
        }
    }

    /// Closes some of those who have to come anew.
    fn close_interrupted(&mut self) {
        for _ in 0..INTERRUPTED_PER_TICK {
            let Some(key) = self.interrupted.pop_front() else {
                break;
            };
            self.close(key, &CloseReason::INSUFFICIENT_STATE);
        }
    }

    fn schedule(&mut self, key: ConnectionKey, at: Duration) {
        if let Some(connection) = self.connections.get_mut(key) {
            connection.due = self.timers.schedule(key, at);
        }
    }

    /// Ends what a task of this worker did beside the run loop: forgets who is gone, and has the pump do what is to do.
    fn settle_down(&mut self) {
        self.remove_gone();
        self.tell_changes();
        if self.rooms.want_visits() || !self.owing.is_empty() {
            self.wake.notify_one();
        }
    }

    fn remove_gone(&mut self) {
        while let Some(key) = self.gone.pop() {
            self.remove(key);
        }
    }
}

/// The code under which connections that ended without a close frame are counted, as WebSocket APIs report it.
const NO_CLOSE_FRAME: u16 = 1006;

#[cfg(test)]
mod tests;
