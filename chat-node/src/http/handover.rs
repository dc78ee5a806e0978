//! A connection's way out of the HTTP server: a handler says what is to become of it, its task takes it apart.
//!
//! So a stream of messages is written by its worker, straight to the socket, and costs no server and no task.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use axum::http::HeaderMap;
use bytes::Bytes;
use tokio::sync::Notify;

use crate::protocol::Wire;

/// What a worker is to be told about a connection.
#[derive(Debug)]
pub struct Opening {
    pub wire: Wire,
    /// Headers of its request that the backend gets to see, if it is asked who the client is.
    pub passed: Option<Box<HeaderMap>>,
    /// What is written before any message.
    pub head: Bytes,
    /// The first commands; a WebSocket brings its own.
    pub commands: Bytes,
    /// When the request came, or the connection if it was the first on it.
    pub since: Instant,
}

/// One for each HTTP/1.1 connection.
#[derive(Clone, Default)]
pub struct Handover(Arc<Slot>);

#[derive(Default)]
struct Slot {
    opening: Mutex<Option<Opening>>,
    at_once: Notify,
}

impl Handover {
    /// Has the connection taken over once the answer to the request is written.
    pub fn after_answer(&self, opening: Opening) {
        let mut slot = self.0.opening.lock().expect("no panic holds this lock");
        *slot = Some(opening);
    }

    /// Has the connection taken over now, without an answer by the HTTP server. Never ends.
    pub async fn at_once(&self, opening: Opening) -> ! {
        self.after_answer(opening);
        self.0.at_once.notify_one();
        std::future::pending().await
    }

    /// Ends when the HTTP server is to let go of the connection.
    pub async fn wanted(&self) {
        self.0.at_once.notified().await;
    }

    pub fn take(&self) -> Option<Opening> {
        let mut slot = self.0.opening.lock().expect("no panic holds this lock");
        slot.take()
    }
}
