//! The clients' port: accepts connections and answers the handshakes among their first requests.
//!
//! accept -> head of the first request -> 101 -> worker. Everything else goes to the HTTP server with the bytes read
//! so far, a handshake that is to be refused too: so answers other than 101 are made in one place.
//!
//! This is one thread with a poller of its own, so that a connection which is upgraded costs no task, no HTTP
//! server and no second poller before its worker's. When many come at once, their requests are there before they are
//! accepted: then it does not even cost this one.

mod waiting;

use std::io::{self, Read, Write};
use std::thread;
use std::time::{Duration, Instant};

use axum::Router;
use bytes::Bytes;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token, Waker};
use tokio::runtime::Handle;

use crate::worker::Accepted;

use super::resumed::Resumed;
use super::websocket::{self, Front};
use super::{Heads, PAUSE, Peer, connection, head, pause_after};

use waiting::Waiting;

/// Connections that are accepted before workers get the upgraded ones: a worker that is woken for each of them
/// would take turns with this thread.
const ACCEPTS_PER_TURN: usize = 64;

const ARRIVALS: Token = Token(0);
const STOP: Token = Token(1);

pub struct Door {
    front: Front,
    router: Router,
    heads: Heads,
    runtime: Handle,
    poll: Poll,
    /// Gone once no more connections are accepted.
    listener: Option<TcpListener>,
    waiting: Waiting,
    buffer: Box<[u8]>,
    upgraded: Vec<Accepted>,
}

/// A connection whose first request has not been answered.
struct Guest {
    stream: TcpStream,
    peer: Peer,
    /// The request so far.
    received: Vec<u8>,
}

/// Opens the door: a thread that lasts until it was told to stop, and every request that had begun then is over.
/// Returns what tells it.
pub fn open(
    listener: std::net::TcpListener,
    front: Front,
    router: Router,
    heads: Heads,
) -> io::Result<Waker> {
    let poll = Poll::new()?;
    let stop = Waker::new(poll.registry(), STOP)?;
    let mut listener = TcpListener::from_std(listener);
    poll.registry()
        .register(&mut listener, ARRIVALS, Interest::READABLE)?;
    let door = Door {
        front,
        router,
        heads,
        runtime: Handle::current(),
        poll,
        listener: Some(listener),
        waiting: Waiting::new(heads.timeout),
        buffer: vec![0; heads.max_bytes].into(),
        upgraded: Vec::new(),
    };
    let thread = thread::Builder::new().name("door".to_owned());
    thread.spawn(move || door.serve())?;
    Ok(stop)
}

impl Door {
    fn serve(mut self) {
        let mut events = Events::with_capacity(256);
        // An arrival is reported once: whoever was left waiting is not reported again.
        let mut more = false;
        while self.listener.is_some() || !self.waiting.is_empty() {
            let next = self.waiting.next_deadline();
            let patience = next.map(|at| at.saturating_duration_since(Instant::now()));
            let patience = if more { Some(Duration::ZERO) } else { patience };
            if let Err(error) = self.poll.poll(&mut events, patience)
                && error.kind() != io::ErrorKind::Interrupted
            {
                tracing::error!(%error, "failed to wait for connections");
                thread::sleep(PAUSE);
            }
            for event in &events {
                match event.token() {
                    STOP => self.listener = None,
                    ARRIVALS => more = true,
                    token => self.resume(token),
                }
            }
            more = more && self.accept_waiting();
            self.waiting.dismiss_late(Instant::now());
            if !self.upgraded.is_empty() {
                self.front.hand_over(self.upgraded.drain(..));
            }
        }
    }

    /// Accepts some of the connections that wait. False if no more wait.
    fn accept_waiting(&mut self) -> bool {
        for _ in 0..ACCEPTS_PER_TURN {
            let Some(listener) = &self.listener else {
                return false;
            };
            let (stream, address) = match listener.accept() {
                Ok(accepted) => accepted,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                Err(error) => {
                    thread::sleep(pause_after(&error));
                    return true;
                }
            };
            let peer = Peer {
                address,
                since: Instant::now(),
            };
            let guest = Guest {
                stream,
                peer,
                received: Vec::new(),
            };
            if let Err(error) = self.welcome(guest) {
                lost(peer, &error);
            }
        }
        true
    }

    /// Deals with a connection that was just accepted, as far as its request has come.
    fn welcome(&mut self, mut guest: Guest) -> io::Result<()> {
        if guest.hear(&mut self.buffer)? {
            self.answer(guest)
        } else {
            self.waiting.add(guest, self.poll.registry())
        }
    }

    /// Goes on with a connection that has more of its request.
    fn resume(&mut self, token: Token) {
        let Some(guest) = self.waiting.get_mut(token) else {
            return;
        };
        let heard = guest.hear(&mut self.buffer);
        if matches!(heard, Ok(false)) {
            return;
        }
        let Some(mut guest) = self.waiting.remove(token) else {
            return;
        };
        let peer = guest.peer;
        let registry = self.poll.registry();
        let answered = heard
            .and_then(|_| registry.deregister(&mut guest.stream))
            .and_then(|()| self.answer(guest));
        if let Err(error) = answered {
            lost(peer, &error);
        }
    }

    /// Answers a handshake. Any other request is the HTTP server's.
    fn answer(&mut self, guest: Guest) -> io::Result<()> {
        let Guest {
            mut stream,
            peer,
            received,
        } = guest;
        let Some(answer) = websocket::answer(&self.front, &received) else {
            let _entered = self.runtime.enter();
            let stream = Resumed {
                early: received.into(),
                stream: tokio::net::TcpStream::from_std(stream.into())?,
            };
            let router = self.router.clone();
            let (front, heads) = (self.front.clone(), self.heads);
            tokio::spawn(async move {
                if let Some(taken) = connection::serve(stream, peer, router, heads).await {
                    front.take_over(peer, taken);
                }
            });
            return Ok(());
        };
        // Nothing was written before: the kernel has room for it all.
        if stream.write(&answer.bytes)? < answer.bytes.len() {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.upgraded.push(Accepted {
            stream: stream.into(),
            wire: answer.wire,
            passed: answer.passed,
            head: Bytes::new(),
            early: Bytes::copy_from_slice(&received[answer.length..]),
            at: self.front.shared.time_of(peer.since),
        });
        Ok(())
    }
}

impl Guest {
    /// Reads what has come of the request. True if its head is whole, or as long as `buffer`, which is as long as
    /// heads may be.
    fn hear(&mut self, buffer: &mut [u8]) -> io::Result<bool> {
        loop {
            let known = self.received.len();
            let room = buffer.len() - known;
            let read = match self.stream.read(&mut buffer[..room]) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            };
            self.received.extend_from_slice(&buffer[..read]);
            if head::is_whole(&self.received, known) || read == room {
                return Ok(true);
            }
        }
    }
}

fn lost(peer: Peer, error: &io::Error) {
    tracing::debug!(%error, peer = %peer.address, "lost a connection before its first request");
}
