//! The two system calls that std does not have: epoll, and accept with flags.
//!
//! The floor stands for the kernel's cost alone, so nothing that does work of its own may stand between its loop
//! and the kernel: no runtime, no event library. That leaves these calls to be made by hand, and each `unsafe`
//! block below is one call with arguments that outlive it. Sending, receiving and connecting go through std and
//! socket2, which add no system call.
#![allow(unsafe_code)]

use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// A set of sockets that are watched for input, each under a token.
pub(crate) struct Epoll(OwnedFd);

/// The tokens of the sockets that were found readable (or closed) by the last wait.
#[derive(Default)]
pub(crate) struct Ready {
    events: Vec<libc::epoll_event>,
    found: usize,
}

pub(crate) enum Trigger {
    /// Reported as long as there is input.
    Level,
    /// Reported once for each arrival of input: the reader reads until nothing is left.
    Edge,
}

impl Ready {
    pub(crate) fn new() -> Self {
        Self {
            events: vec![libc::epoll_event { events: 0, u64: 0 }; 1024],
            found: 0,
        }
    }

    pub(crate) fn tokens(&self) -> impl Iterator<Item = u64> {
        self.events[..self.found].iter().map(|event| event.u64)
    }
}

impl Epoll {
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: takes no pointer; the result is checked before it becomes an owned descriptor.
        let fd = check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        // SAFETY: a fresh descriptor that nobody else owns.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Watches `socket` until it is closed.
    pub(crate) fn watch(
        &self,
        socket: &impl AsRawFd,
        token: u64,
        trigger: Trigger,
    ) -> io::Result<()> {
        let mut flags = libc::EPOLLIN | libc::EPOLLRDHUP;
        if let Trigger::Edge = trigger {
            flags |= libc::EPOLLET;
        }
        let mut event = libc::epoll_event {
            events: flags as u32,
            u64: token,
        };
        // SAFETY: `event` lives through the call; the kernel copies it.
        check(unsafe {
            libc::epoll_ctl(
                self.0.as_raw_fd(),
                libc::EPOLL_CTL_ADD,
                socket.as_raw_fd(),
                &mut event,
            )
        })?;
        Ok(())
    }

    /// Waits for input: for ever, or not at all.
    pub(crate) fn wait(&self, ready: &mut Ready, block: bool) -> io::Result<()> {
        let timeout = if block { -1 } else { 0 };
        let room = ready.events.len() as i32;
        // SAFETY: the kernel writes at most `room` events into a buffer of that length.
        let found = check(unsafe {
            libc::epoll_wait(self.0.as_raw_fd(), ready.events.as_mut_ptr(), room, timeout)
        });
        ready.found = match found {
            Ok(found) => found as usize,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            Err(error) => return Err(error),
        };
        Ok(())
    }
}

/// Accepts one waiting connection, already non-blocking; `None` when nobody waits.
pub(crate) fn accept(listener: &TcpListener) -> io::Result<Option<TcpStream>> {
    let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: null address pointers ask the kernel not to report the peer.
    let fd = check(unsafe {
        libc::accept4(
            listener.as_raw_fd(),
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            flags,
        )
    });
    match fd {
        // SAFETY: a fresh descriptor that nobody else owns.
        Ok(fd) => Ok(Some(unsafe { TcpStream::from_raw_fd(fd) })),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

fn check(result: RawFd) -> io::Result<RawFd> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}
