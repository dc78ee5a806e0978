//! A stream over HTTP/2: a socket pair stands between the worker, which writes, and the connection that carries many.
//!
//! What the client's flow control does not let through stays in the pair, and then in the worker: so a slow stream is
//! a slow client like any other.

use std::io;
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::Instant;

use axum::body::Body;
use axum::http::HeaderMap;
use bytes::{Bytes, BytesMut};
use futures_util::stream;
use tokio::io::AsyncReadExt;

use crate::protocol::Wire;
use crate::worker::Accepted;

use super::super::websocket::Front;

/// What the pair holds at most, beyond which the worker sees a socket that is full.
const PAIR_BYTES: usize = 64 * 1024;
const CHUNK_BYTES: usize = 16 * 1024;

/// Gives a worker its end, and returns the other one as a body.
pub fn open(
    front: &Front,
    since: Instant,
    wire: Wire,
    passed: Option<Box<HeaderMap>>,
    commands: Bytes,
) -> io::Result<Body> {
    let (ours, theirs) = UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    theirs.set_nonblocking(true)?;
    socket2::SockRef::from(&theirs).set_send_buffer_size(PAIR_BYTES)?;
    let ours = tokio::net::UnixStream::from_std(ours)?;
    front.hand_over([Accepted {
        stream: TcpStream::from(OwnedFd::from(theirs)),
        wire,
        passed,
        head: Bytes::new(),
        early: commands,
        at: front.shared.time_of(since),
    }]);
    // The body's end closes our end, which tells the worker that the client is gone.
    let chunks = stream::try_unfold(ours, |mut ours| async {
        let mut chunk = BytesMut::with_capacity(CHUNK_BYTES);
        let read = ours.read_buf(&mut chunk).await?;
        Ok::<_, io::Error>((read > 0).then(|| (chunk.freeze(), ours)))
    });
    Ok(Body::from_stream(chunks))
}
