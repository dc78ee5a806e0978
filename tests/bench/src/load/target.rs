//! One server under load: its members, its rooms, the way messages get in, and the count of what comes out.

use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::command::{Description, MESSAGE_BYTES, Publishers};
use super::connection::Connection;
use super::envelope::Envelope;
use super::opening::{self, Door, Place, Until};
use super::outbox::Outbox;
use crate::control;
use crate::dialect::{self, Dialect, SOCKET_IO_WRAPPING, Said};
use crate::histogram::Histogram;
use crate::message::{self, Message};
use crate::stopwatch::Stopwatch;
use crate::sys::{Epoll, Ready, Trigger};

const IN_FLIGHT: usize = 64;

pub(crate) struct Target {
    name: String,
    door: Door,
    publishers: Publishers,
    epoll: Epoll,
    ready: Ready,
    buffer: Vec<u8>,
    connections: Vec<Connection>,
    rooms: Vec<Room>,
    injection: Injection,
    scratch: Vec<u8>,
    /// Where the last message stood in its line.
    message_at: usize,
    pub(crate) tally: Tally,
    /// Rooms in which one more message has reached all members, once per message.
    pub(crate) completed: Vec<u32>,
}

#[derive(Default)]
struct Room {
    members: u64,
    published: u64,
    delivered: u64,
    /// Index of the connection that publishes here.
    publisher: Option<usize>,
}

/// How messages get in.
enum Injection {
    Control {
        stream: TcpStream,
        outbox: Outbox,
    },
    /// By connection: what it is about to publish, and which have something.
    Clients {
        outboxes: Vec<Outbox>,
        waiting: Vec<usize>,
        last_id: u64,
    },
}

/// Counts since the connections were opened.
#[derive(Default, Clone)]
pub(crate) struct Tally {
    pub(crate) published: u64,
    pub(crate) acknowledged: u64,
    pub(crate) expected: u64,
    pub(crate) delivered: u64,
    pub(crate) gaps: u64,
    pub(crate) bytes: u64,
    pub(crate) reads: u64,
}

impl Target {
    /// Connects to the server, so far only with what publishes.
    pub(crate) fn open(description: Description) -> Result<Self> {
        let Description {
            name,
            address,
            dialect,
            control,
            rooms,
            publishers,
        } = description;
        let injection = match control {
            Some(address) => {
                let stream =
                    TcpStream::connect(address).context("failed to open the control connection")?;
                stream.set_nodelay(true)?;
                stream.set_nonblocking(true)?;
                Injection::Control {
                    stream,
                    outbox: Outbox::default(),
                }
            }
            None => {
                ensure!(
                    dialect == Dialect::Centrifuge,
                    "{name}: only a chat node can be published to by a client"
                );
                Injection::Clients {
                    outboxes: Vec::new(),
                    waiting: Vec::new(),
                    last_id: 1_000_000,
                }
            }
        };
        let mut target = Self {
            name,
            door: Door {
                address,
                dialect,
                in_flight: IN_FLIGHT,
                receive_buffer: None,
            },
            publishers,
            epoll: Epoll::new()?,
            ready: Ready::new(),
            buffer: vec![0; 64 * 1024],
            connections: Vec::new(),
            rooms: (0..rooms).map(|_| Room::default()).collect(),
            injection,
            scratch: Vec::new(),
            message_at: 0,
            tally: Tally::default(),
            completed: Vec::new(),
        };
        if publishers == Publishers::Apart {
            target.add(vec![target.place(0, rooms)])?;
        }
        Ok(target)
    }

    pub(crate) fn door(&self) -> &Door {
        &self.door
    }

    pub(crate) fn rooms(&self) -> u32 {
        self.rooms.len() as u32
    }

    /// Opens `count` members more, spread over the rooms in turn; each joins `rooms_each` rooms, which must divide
    /// their number.
    pub(crate) fn open_members(&mut self, count: usize, rooms_each: u32) -> Result<Duration> {
        let apart = usize::from(self.publishers == Publishers::Apart);
        let first = self.connections.len() - apart;
        let rooms = self.rooms();
        let places = (first..first + count)
            .map(|index| self.place((index as u32 * rooms_each) % rooms, rooms_each))
            .collect();
        self.add(places)
    }

    fn place(&self, first_room: u32, count: u32) -> Place {
        let rooms = &self.rooms[first_room as usize..(first_room + count) as usize];
        Place {
            first_room,
            next: rooms.iter().map(|room| room.published).collect(),
        }
    }

    fn add(&mut self, places: Vec<Place>) -> Result<Duration> {
        let joined: Vec<_> = places
            .iter()
            .map(|place| (place.first_room, place.next.len()))
            .collect();
        let opened =
            opening::open(&self.door, places, Until::Joined).with_context(|| self.name.clone())?;
        for (connection, (first_room, count)) in opened.connections.into_iter().zip(joined) {
            let index = self.connections.len();
            self.epoll
                .watch(connection.stream(), index as u64, Trigger::Edge)?;
            self.connections.push(connection);
            for room in &mut self.rooms[first_room as usize..first_room as usize + count] {
                room.members += 1;
                room.publisher.get_or_insert(index);
            }
        }
        if let Injection::Clients { outboxes, .. } = &mut self.injection {
            outboxes.resize_with(self.connections.len(), Outbox::default);
        }
        Ok(opened.elapsed)
    }

    /// Puts a message on its way; [`Self::flush`] sends it.
    pub(crate) fn publish(
        &mut self,
        room: u32,
        due_ns: u64,
        bytes: usize,
        envelope: &Envelope,
    ) -> Result<()> {
        let state = &mut self.rooms[room as usize];
        let message = Message {
            due_ns,
            room,
            sequence: state.published,
        };
        state.published += 1;
        self.tally.published += 1;
        self.tally.expected += state.members;
        match &mut self.injection {
            Injection::Control { outbox, .. } => {
                self.scratch.clear();
                match self.door.dialect {
                    Dialect::SocketIo => envelope.write_padded(
                        &mut self.scratch,
                        &message,
                        bytes,
                        SOCKET_IO_WRAPPING,
                    ),
                    Dialect::Bare | Dialect::Centrifuge => {
                        envelope.write(&mut self.scratch, &message, bytes)
                    }
                }
                control::write(outbox.bytes(), room, &self.scratch);
            }
            Injection::Clients {
                outboxes,
                waiting,
                last_id,
            } => {
                let publisher = state
                    .publisher
                    .context("a room without members has no publisher")?;
                let out = outboxes[publisher].bytes();
                if out.is_empty() {
                    waiting.push(publisher);
                }
                *last_id += 1;
                dialect::write_publish(out, &mut self.scratch, *last_id, &message, bytes);
            }
        }
        Ok(())
    }

    /// Sends what was published, as far as the server takes it.
    pub(crate) fn flush(&mut self) -> Result<()> {
        match &mut self.injection {
            Injection::Control { stream, outbox } => {
                outbox.flush(stream).with_context(|| self.name.clone())?;
            }
            Injection::Clients {
                outboxes, waiting, ..
            } => {
                let mut still_waiting = Vec::new();
                for publisher in waiting.drain(..) {
                    let stream = self.connections[publisher].stream();
                    if !outboxes[publisher]
                        .flush(stream)
                        .with_context(|| self.name.clone())?
                    {
                        still_waiting.push(publisher);
                    }
                }
                *waiting = still_waiting;
            }
        }
        Ok(())
    }

    /// Reads what has arrived, without waiting; false if nothing has. `latency` is filled if given.
    pub(crate) fn pump(
        &mut self,
        clock: &Stopwatch,
        mut latency: Option<&mut Histogram>,
    ) -> Result<bool> {
        let Self {
            epoll,
            ready,
            connections,
            rooms,
            tally,
            completed,
            message_at,
            buffer,
            door,
            name,
            ..
        } = self;
        epoll.wait(ready, false)?;
        let mut progress = false;
        for token in ready.tokens() {
            progress = true;
            let connection = &mut connections[token as usize];
            loop {
                let mut now_ns = None;
                let received = connection.receive(buffer, |place, line| {
                    let Some(at) = message::find(line, message_at) else {
                        return match door.dialect.read(line) {
                            Said::Answer => {
                                tally.acknowledged += 1;
                                Ok(())
                            }
                            Said::Ping(answer) => place.say(answer),
                            Said::Refused => bail!("refused: {}", String::from_utf8_lossy(line)),
                            Said::Other => bail!("unexpected: {}", String::from_utf8_lossy(line)),
                        };
                    };
                    let message =
                        Message::read(&line[at..]).context("a damaged message arrived")?;
                    tally.gaps += u64::from(!place.advance(&message));
                    tally.delivered += 1;
                    if let Some(latency) = &mut latency {
                        let now_ns = *now_ns.get_or_insert_with(|| clock.elapsed_ns());
                        latency.add(now_ns.saturating_sub(message.due_ns));
                    }
                    let room = rooms
                        .get_mut(message.room as usize)
                        .context("a message of an unknown room arrived")?;
                    room.delivered += 1;
                    if room.delivered.is_multiple_of(room.members) {
                        completed.push(message.room);
                    }
                    Ok(())
                });
                let received = received.with_context(|| format!("{name}: connection {token}"))?;
                tally.reads += 1;
                tally.bytes += received.bytes as u64;
                if !received.more {
                    break;
                }
            }
        }
        Ok(progress)
    }

    /// Whether all that was published has been delivered and, where servers acknowledge, acknowledged.
    pub(crate) fn is_drained(&self) -> bool {
        self.tally.delivered >= self.tally.expected && self.missing_acks() == 0
    }

    pub(crate) fn missing_acks(&self) -> u64 {
        match self.injection {
            Injection::Control { .. } => 0,
            Injection::Clients { .. } => {
                self.tally.published.saturating_sub(self.tally.acknowledged)
            }
        }
    }

    /// Publishes once and returns the form in which the message was delivered.
    pub(crate) fn learn_envelope(&mut self, clock: &Stopwatch) -> Result<Envelope> {
        self.publish(0, clock.elapsed_ns(), MESSAGE_BYTES, &Envelope::default())?;
        self.flush()?;
        let mut learned = None;
        let start = clock.elapsed_ns();
        let Self {
            connections,
            rooms,
            tally,
            buffer,
            door,
            ..
        } = self;
        // Every member must take its copy, or its sequence would be behind from now on.
        while tally.delivered < tally.expected || tally.acknowledged < tally.published {
            ensure!(
                clock.elapsed_ns() - start < 5_000_000_000,
                "the first message was not delivered to all within 5 s"
            );
            for connection in connections.iter_mut() {
                connection.receive(buffer, |place, line| {
                    if let Some(at) = message::find(line, &mut 0) {
                        let message =
                            Message::read(&line[at..]).context("a damaged message arrived")?;
                        ensure!(
                            place.advance(&message),
                            "the first message came out of order"
                        );
                        rooms[0].delivered += 1;
                        tally.delivered += 1;
                        learned = Some(Envelope::learn(line, MESSAGE_BYTES)?);
                    } else if let Said::Answer = door.dialect.read(line) {
                        tally.acknowledged += 1;
                    }
                    Ok(())
                })?;
            }
        }
        learned.context("nothing was delivered")
    }
}
