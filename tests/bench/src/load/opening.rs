//! Opens many connections, a limited number of them at a time, up to the stage that is asked for.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use socket2::{Domain, Socket, Type};

use super::connection::Connection;
use crate::dialect::{Dialect, Said};
use crate::handshake;
use crate::sys::{Epoll, Ready, Trigger};

const PATIENCE: Duration = Duration::from_secs(10);

/// Where and how to connect.
#[derive(Clone)]
pub(crate) struct Door {
    pub(crate) address: SocketAddr,
    pub(crate) dialect: Dialect,
    pub(crate) in_flight: usize,
    /// Bytes; `None` leaves it to the kernel.
    pub(crate) receive_buffer: Option<usize>,
}

/// The rooms a connection joins and the sequences that come next in them.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) first_room: u32,
    pub(crate) next: Vec<u64>,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Until {
    /// TCP is connected and 101 has arrived.
    Upgraded,
    /// The replies to connect and subscribe have arrived too.
    Joined,
}

pub(crate) struct Opened {
    /// In the order of the places.
    pub(crate) connections: Vec<Connection>,
    pub(crate) elapsed: Duration,
}

struct Guest {
    connection: Connection,
    /// The answer so far; `None` after 101.
    head: Option<Vec<u8>>,
    /// Frames that join the rooms, sent after 101.
    join: Vec<u8>,
    answers_missing: usize,
    done: bool,
}

/// Connections on their way: requests are sent, answers may be missing.
pub(crate) struct Arrivals {
    dialect: Dialect,
    epoll: Epoll,
    ready: Ready,
    buffer: Vec<u8>,
    guests: Vec<Guest>,
    done: usize,
    last_progress: Instant,
}

/// Opens a connection for every place.
pub(crate) fn open(door: &Door, places: Vec<Place>, until: Until) -> Result<Opened> {
    let wanted = places.len();
    let mut places = places.into_iter();
    let start = Instant::now();
    let mut arrivals = Arrivals::new(door.dialect)?;
    while arrivals.done < wanted {
        let free = door.in_flight - arrivals.missing();
        for place in places.by_ref().take(free) {
            arrivals.knock(door, place, until)?;
        }
        arrivals.poll()?;
    }
    let elapsed = start.elapsed();
    Ok(Opened {
        connections: arrivals.into_connections(),
        elapsed,
    })
}

impl Arrivals {
    pub(crate) fn new(dialect: Dialect) -> Result<Self> {
        Ok(Self {
            dialect,
            epoll: Epoll::new()?,
            ready: Ready::new(),
            buffer: vec![0; 64 * 1024],
            guests: Vec::new(),
            done: 0,
            last_progress: Instant::now(),
        })
    }

    /// Connects and sends the request for one more.
    pub(crate) fn knock(&mut self, door: &Door, place: Place, until: Until) -> Result<()> {
        let token = self.guests.len();
        let guest =
            knock(door, place, until).with_context(|| format!("connection {token} failed"))?;
        self.epoll
            .watch(guest.connection.stream(), token as u64, Trigger::Edge)?;
        self.guests.push(guest);
        Ok(())
    }

    /// Waits until all are open; returns how long that took from now on.
    pub(crate) fn wait(&mut self) -> Result<Duration> {
        let start = Instant::now();
        self.last_progress = start;
        while self.missing() > 0 {
            self.poll()?;
        }
        Ok(start.elapsed())
    }

    pub(crate) fn into_connections(self) -> Vec<Connection> {
        let guests = self.guests.into_iter();
        guests.map(|guest| guest.connection).collect()
    }

    fn missing(&self) -> usize {
        self.guests.len() - self.done
    }

    /// Lets those proceed for whom something has arrived.
    fn poll(&mut self) -> Result<()> {
        self.epoll.wait(&mut self.ready, false)?;
        for token in self.ready.tokens() {
            let guest = &mut self.guests[token as usize];
            guest
                .proceed(self.dialect, &mut self.buffer)
                .with_context(|| format!("connection {token} failed"))?;
            if guest.is_complete() && !guest.done {
                guest.done = true;
                self.done += 1;
                self.last_progress = Instant::now();
            }
        }
        ensure!(
            self.last_progress.elapsed() < PATIENCE,
            "{} of {} connections opened, then none for {PATIENCE:?}",
            self.done,
            self.guests.len()
        );
        Ok(())
    }
}

/// Connects and sends the request. On loopback the kernel completes a connect at once, without the server.
fn knock(door: &Door, place: Place, until: Until) -> Result<Guest> {
    let socket = Socket::new(Domain::for_address(door.address), Type::STREAM, None)?;
    if let Some(bytes) = door.receive_buffer {
        socket.set_recv_buffer_size(bytes)?;
    }
    // Close by reset: nothing lingers in TIME_WAIT, so a run cannot use up the local ports.
    socket.set_linger(Some(Duration::ZERO))?;
    socket.set_tcp_nodelay(true)?;
    socket.connect(&door.address.into())?;
    let mut stream = TcpStream::from(socket);
    let rooms = place.next.len();
    let host = format!("localhost:{}", door.address.port());
    stream.write_all(&handshake::request(
        &host,
        &door.dialect.path(place.first_room, rooms),
    ))?;
    stream.set_nonblocking(true)?;
    let (join, answers_missing) = match until {
        Until::Upgraded => (Vec::new(), 0),
        Until::Joined => door.dialect.join(place.first_room, rooms),
    };
    let connection = Connection::new(stream, place.first_room, place.next);
    Ok(Guest {
        connection,
        head: Some(Vec::new()),
        join,
        answers_missing,
        done: false,
    })
}

impl Guest {
    fn is_complete(&self) -> bool {
        self.head.is_none() && self.answers_missing == 0
    }

    /// Reads all there is and says what is next.
    fn proceed(&mut self, dialect: Dialect, buffer: &mut [u8]) -> Result<()> {
        if let Some(head) = &mut self.head {
            let length = match self.connection.stream().read(buffer) {
                Ok(0) => bail!("closed by the server during the handshake"),
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            head.extend_from_slice(&buffer[..length]);
            let Some(end) = handshake::head_length(head) else {
                return Ok(());
            };
            ensure!(
                handshake::is_accepted(head),
                "refused: {}",
                String::from_utf8_lossy(head)
            );
            let rest = head.split_off(end);
            self.head = None;
            self.connection.stream().write_all(&self.join)?;
            let missing = &mut self.answers_missing;
            self.connection
                .take(&rest, &mut |_, line| count_answer(dialect, line, missing))?;
        }
        let missing = &mut self.answers_missing;
        while self
            .connection
            .receive(buffer, |_, line| count_answer(dialect, line, missing))?
            .more
        {}
        Ok(())
    }
}

fn count_answer(dialect: Dialect, line: &[u8], missing: &mut usize) -> Result<()> {
    match dialect.read(line) {
        Said::Answer => *missing = missing.saturating_sub(1),
        Said::Refused => bail!("refused: {}", String::from_utf8_lossy(line)),
        Said::Ping(_) | Said::Other => {}
    }
    Ok(())
}
