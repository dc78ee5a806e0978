//! The floor: what the kernel alone charges for handing a message to the members of a room.
//!
//! control connection -> frame, once per message -> one send(2) per member
//!
//! No parsing, no session, no history, one thread. Messages of a room that arrive together leave in one send, as
//! any server may do it: without that, the floor under backlog would be ten times higher and prove nothing.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::RawFd;

use anyhow::{Context, bail, ensure};

use crate::control;
use crate::door::{Door, Event, listen_on};
use crate::frame;
use crate::sys;

const CONTROL_LISTENER: u64 = u64::MAX - 1;
const CONTROL: u64 = u64::MAX - 2;

/// More than a socket holds: one read takes all messages that wait, so the floor joins whatever can be joined.
const CONTROL_BUFFER: usize = 8 * 1024 * 1024;

struct Floor {
    door: Door,
    rooms: Vec<Room>,
    /// Rooms with frames to send.
    pending: Vec<usize>,
    coalesce: bool,
}

#[derive(Default)]
struct Room {
    members: Vec<RawFd>,
    frames: Vec<u8>,
}

/// Where messages come from: one connection at a time.
struct Control {
    listener: TcpListener,
    stream: Option<TcpStream>,
    partial: Vec<u8>,
    buffer: Vec<u8>,
}

pub(crate) fn run(listen: SocketAddr, control: SocketAddr, coalesce: bool) -> anyhow::Result<()> {
    let mut floor = Floor {
        door: Door::open(listen)?,
        rooms: Vec::new(),
        pending: Vec::new(),
        coalesce,
    };
    let mut control = Control {
        listener: listen_on(control)?,
        stream: None,
        partial: Vec::new(),
        buffer: vec![0; CONTROL_BUFFER],
    };
    floor.door.watch(&control.listener, CONTROL_LISTENER)?;
    println!(
        "ready on http://localhost:{} control {}",
        floor.door.port()?,
        control.listener.local_addr()?.port()
    );

    let mut events = Vec::new();
    loop {
        floor.door.wait(&mut events)?;
        for event in events.drain(..) {
            match event {
                Event::Opened(socket, path) => floor.join(socket, &path)?,
                Event::Closed(socket) => floor.leave(socket),
                Event::Own(CONTROL_LISTENER) => control.accept(&floor.door)?,
                Event::Own(_) => control.receive(&mut floor)?,
            }
        }
        floor.flush()?;
    }
}

impl Floor {
    /// The path `/3/2` joins rooms 3 and 4.
    fn join(&mut self, socket: RawFd, path: &str) -> anyhow::Result<()> {
        let (first, count) = path
            .trim_start_matches('/')
            .split_once('/')
            .context("a path names rooms as /first/count")?;
        let (first, count): (usize, usize) = (first.parse()?, count.parse()?);
        if self.rooms.len() < first + count {
            self.rooms.resize_with(first + count, Room::default);
        }
        for room in &mut self.rooms[first..first + count] {
            room.members.push(socket);
        }
        Ok(())
    }

    fn leave(&mut self, socket: RawFd) {
        for room in &mut self.rooms {
            room.members.retain(|member| *member != socket);
        }
    }

    fn publish(&mut self, room: u32, text: &[u8]) -> anyhow::Result<()> {
        let index = room as usize;
        let Some(room) = self.rooms.get_mut(index) else {
            return Ok(());
        };
        if room.frames.is_empty() {
            self.pending.push(index);
        }
        frame::write_text(&mut room.frames, text);
        if self.coalesce { Ok(()) } else { self.flush() }
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        for index in self.pending.drain(..) {
            let Room { members, frames } = &mut self.rooms[index];
            for member in members {
                let Some(mut stream) = self.door.stream(*member) else {
                    continue;
                };
                match stream.write(frames) {
                    Ok(sent) if sent == frames.len() => {}
                    // A floor that keeps what was not sent would be a server. The load is below this, or void.
                    Ok(_) => bail!("a member's socket is full: the load is beyond the floor"),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        bail!("a member's socket is full: the load is beyond the floor")
                    }
                    // The close is reported by epoll.
                    Err(_) => {}
                }
            }
            frames.clear();
        }
        Ok(())
    }
}

impl Control {
    fn accept(&mut self, door: &Door) -> anyhow::Result<()> {
        while let Some(stream) = sys::accept(&self.listener)? {
            ensure!(
                self.stream.is_none(),
                "there is a control connection already"
            );
            door.watch(&stream, CONTROL)?;
            self.stream = Some(stream);
        }
        Ok(())
    }

    fn receive(&mut self, floor: &mut Floor) -> anyhow::Result<()> {
        let Some(stream) = &mut self.stream else {
            return Ok(());
        };
        let length = match stream.read(&mut self.buffer) {
            Ok(0) => {
                self.stream = None;
                return Ok(());
            }
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        self.partial.extend_from_slice(&self.buffer[..length]);
        let mut rest = &self.partial[..];
        while let Some((room, text)) = control::read(&mut rest) {
            floor.publish(room, text)?;
        }
        let used = self.partial.len() - rest.len();
        self.partial.drain(..used);
        Ok(())
    }
}
