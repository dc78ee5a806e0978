//! One connection: bytes in, bytes out. Frames are read here and written whole or remembered.
//!
//! Only the worker that owns the connection writes, so replies and deliveries never interleave within a frame.

use std::io::{self, IoSlice, Read};
use std::rc::Rc;
use std::time::Instant;

use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::TcpStream;

use crate::frame;

slotmap::new_key_type! {
    /// A connection on one worker.
    pub struct ConnectionKey;
}

pub struct Socket {
    pub io: Rc<TcpStream>,
    pub reader: frame::Reader,
    /// Bytes that the kernel did not take; present exactly while the socket is blocked.
    unsent: Option<Box<Unsent>>,
}

struct Unsent {
    bytes: Vec<u8>,
    sent: usize,
    /// When the kernel last took something.
    progress: Instant,
}

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// The kernel has everything.
    All,
    /// The socket was already blocked, the bytes wait.
    Queued,
    /// The socket has just become blocked: somebody must wait until it is writable.
    Blocked,
    /// The connection is gone.
    Gone,
}

impl Socket {
    pub fn new(io: Rc<TcpStream>) -> Self {
        Self {
            io,
            reader: frame::Reader::new(),
            unsent: None,
        }
    }

    pub fn is_blocked(&self) -> bool {
        self.unsent.is_some()
    }

    /// How many bytes wait for the kernel to take them.
    pub fn queued(&self) -> usize {
        self.unsent
            .as_ref()
            .map_or(0, |unsent| unsent.bytes.len() - unsent.sent)
    }

    /// When the kernel last took something, if bytes are waiting.
    pub fn waiting_since(&self) -> Option<Instant> {
        let unsent = self.unsent.as_ref()?;
        (unsent.bytes.len() > unsent.sent).then_some(unsent.progress)
    }

    /// Writes whole frames, or queues what does not fit.
    pub fn send(&mut self, frames: &[u8]) -> Written {
        if let Some(unsent) = &mut self.unsent {
            if unsent.bytes.len() == unsent.sent {
                unsent.progress = Instant::now();
            }
            unsent.bytes.extend_from_slice(frames);
            return Written::Queued;
        }
        match self.write(frames) {
            Ok(written) if written == frames.len() => Written::All,
            Ok(written) => {
                self.block(&frames[written..]);
                Written::Blocked
            }
            Err(_) => Written::Gone,
        }
    }

    /// Reads what is there, at most a buffer full; 0 at the end of the stream.
    ///
    /// Errors: `WouldBlock` if there is nothing. Whoever waits for the stream then waits for more.
    pub fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let (mut read, full) = (0, buffer.len());
        let result = self.io.try_io(Interest::READABLE, || {
            read = (&*self.kernel()).read(buffer)?;
            // Less than would fit was all there was (epoll(7)): asking again would cost a call for nothing.
            match read > 0 && read < full {
                true => Err(io::ErrorKind::WouldBlock.into()),
                false => Ok(()),
            }
        });
        match result {
            Err(_) if read > 0 => Ok(read),
            result => result.map(|()| read),
        }
    }

    /// Writes as much as the kernel takes, for an unblocked socket. The caller keeps the rest or calls `block`.
    pub fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        taken(self.kernel().send(bytes))
    }

    /// Like `write` for two pieces in one call; returns how much of both together the kernel took.
    pub fn write_both(&self, first: &[u8], second: &[u8]) -> io::Result<usize> {
        let pieces = [IoSlice::new(first), IoSlice::new(second)];
        taken(self.kernel().send_vectored(&pieces))
    }

    /// The socket without what the runtime keeps of it. Fan-out touches thousands, and that alone would cost it memory
    /// that is not in the cache; whether a socket is writable the runtime finds out when somebody waits for that.
    fn kernel(&self) -> SockRef<'_> {
        SockRef::from(&*self.io)
    }

    /// Marks the socket as blocked, with the unwritten end of a frame to send first.
    pub fn block(&mut self, rest: &[u8]) {
        self.unsent = Some(Box::new(Unsent {
            bytes: rest.to_vec(),
            sent: 0,
            progress: Instant::now(),
        }));
    }

    /// Writes what waits. True when nothing is left and the socket is unblocked.
    pub fn flush(&mut self) -> io::Result<bool> {
        let Some(unsent) = &mut self.unsent else {
            return Ok(true);
        };
        while unsent.sent < unsent.bytes.len() {
            match self.io.try_write(&unsent.bytes[unsent.sent..]) {
                Ok(written) => {
                    unsent.sent += written;
                    unsent.progress = Instant::now();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        self.unsent = None;
        Ok(true)
    }

    /// Ends our side of the stream: what is written still arrives.
    pub fn finish(&self) {
        let _ = self.kernel().shutdown(std::net::Shutdown::Write);
    }

    /// Ends the stream at once, which also wakes the task that reads it.
    pub fn abort(&self) {
        let _ = self.kernel().shutdown(std::net::Shutdown::Both);
    }
}

fn taken(result: io::Result<usize>) -> io::Result<usize> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
        result => result,
    }
}
