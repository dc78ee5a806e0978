//! The server side of connecting: accept, read the request, answer 101, and from then on drop what is received.
//!
//! Shared by the floor and by bare-101, so that both accept at the same cost.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, RawFd};

use crate::handshake;
use crate::sys::{self, Epoll, Ready, Trigger};

const LISTENER: u64 = u64::MAX;

pub(crate) struct Door {
    epoll: Epoll,
    ready: Ready,
    listener: TcpListener,
    /// By descriptor, which is also the token in epoll.
    sockets: Vec<Option<Socket>>,
}

struct Socket {
    stream: TcpStream,
    /// The request so far; `None` once it is answered.
    request: Option<Vec<u8>>,
}

pub(crate) enum Event {
    /// A socket was opened with this path.
    Opened(RawFd, String),
    Closed(RawFd),
    /// Input for a token that the caller watches itself.
    Own(u64),
}

impl Door {
    pub(crate) fn open(listen: SocketAddr) -> io::Result<Self> {
        let epoll = Epoll::new()?;
        let listener = listen_on(listen)?;
        epoll.watch(&listener, LISTENER, Trigger::Level)?;
        Ok(Self {
            epoll,
            ready: Ready::new(),
            listener,
            sockets: Vec::new(),
        })
    }

    pub(crate) fn port(&self) -> io::Result<u16> {
        Ok(self.listener.local_addr()?.port())
    }

    /// Also watches `socket`; `token` must not be a descriptor's number.
    pub(crate) fn watch(&self, socket: &impl AsRawFd, token: u64) -> io::Result<()> {
        self.epoll.watch(socket, token, Trigger::Level)
    }

    pub(crate) fn stream(&self, socket: RawFd) -> Option<&TcpStream> {
        self.sockets
            .get(socket as usize)?
            .as_ref()
            .map(|socket| &socket.stream)
    }

    /// Waits until something happens and appends what did.
    pub(crate) fn wait(&mut self, events: &mut Vec<Event>) -> io::Result<()> {
        let mut ready = std::mem::take(&mut self.ready);
        self.epoll.wait(&mut ready, true)?;
        for token in ready.tokens() {
            match token {
                LISTENER => self.accept_waiting()?,
                token if (token as usize) < self.sockets.len() => {
                    events.extend(self.read(token as RawFd))
                }
                token => events.push(Event::Own(token)),
            }
        }
        self.ready = ready;
        Ok(())
    }

    fn accept_waiting(&mut self) -> io::Result<()> {
        while let Some(stream) = sys::accept(&self.listener)? {
            stream.set_nodelay(true)?;
            let fd = stream.as_raw_fd() as usize;
            self.epoll.watch(&stream, fd as u64, Trigger::Level)?;
            if self.sockets.len() <= fd {
                self.sockets.resize_with(fd + 1, || None);
            }
            self.sockets[fd] = Some(Socket {
                stream,
                request: Some(Vec::new()),
            });
        }
        Ok(())
    }

    fn read(&mut self, fd: RawFd) -> Option<Event> {
        let slot = &mut self.sockets[fd as usize];
        let socket = slot.as_mut()?;
        let mut buffer = [0; 2048];
        let length = match socket.stream.read(&mut buffer) {
            Ok(0) => {
                *slot = None;
                return Some(Event::Closed(fd));
            }
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
            Err(_) => {
                *slot = None;
                return Some(Event::Closed(fd));
            }
        };
        let request = socket.request.as_mut()?;
        request.extend_from_slice(&buffer[..length]);
        let head = handshake::head_length(request)?;
        let answered = handshake::answer(&request[..head]).and_then(|(path, answer)| {
            socket.stream.write_all(&answer).ok()?;
            Some(path.to_owned())
        });
        match answered {
            Some(path) => {
                socket.request = None;
                Some(Event::Opened(fd, path))
            }
            None => {
                *slot = None;
                Some(Event::Closed(fd))
            }
        }
    }
}

/// Binds a non-blocking listener with room for a storm of connections.
pub(crate) fn listen_on(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket2::Socket::new(
        socket2::Domain::for_address(address),
        socket2::Type::STREAM,
        None,
    )?;
    socket.bind(&address.into())?;
    socket.listen(4096)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}
