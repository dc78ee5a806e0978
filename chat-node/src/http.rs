//! The HTTP front: accepts connections, answers requests, hands upgraded sockets to workers.

pub mod admin;
pub mod api;
mod client_address;
mod door;
mod head;
mod resumed;
mod websocket;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use axum::Router;
use axum::http::StatusCode;
use axum::routing::any;
use bytes::Bytes;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tower_service::Service;

use crate::config::Limits;
use crate::node::Shared;
use crate::web;
use crate::worker::Inbox;

use resumed::Resumed;

/// The other end of a TCP connection.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    pub address: SocketAddr,
    /// When the connection was accepted; for a request after the first on it, when that came.
    pub since: Instant,
}

/// Bounds on request heads.
#[derive(Clone, Copy, Debug)]
pub struct Heads {
    max_bytes: usize,
    timeout: Duration,
}

impl Heads {
    pub fn of(limits: &Limits) -> Self {
        Self {
            max_bytes: limits.header_bytes,
            timeout: limits.handshake_timeout,
        }
    }
}

/// Serves the page, and lets clients in, until what this returns is woken.
pub fn serve_clients(
    listener: std::net::TcpListener,
    shared: Arc<Shared>,
    inboxes: Vec<Inbox>,
) -> io::Result<mio::Waker> {
    let heads = Heads::of(&shared.config.limits);
    let front = websocket::Front {
        shared,
        inboxes: inboxes.into(),
    };
    let router = Router::new()
        .merge(web::router())
        .route(websocket::PATH, any(websocket::upgrade))
        .with_state(front.clone())
        .fallback(not_found);
    door::open(listener, front, router, heads)
}

async fn not_found() -> (StatusCode, &'static str) {
    let text = "not found: the chat page is at /, clients connect to /connection/websocket\n";
    (StatusCode::NOT_FOUND, text)
}

/// Serves a port that has nothing but HTTP, for as long as the node runs.
pub async fn serve(listener: TcpListener, router: Router, heads: Heads) {
    loop {
        match listener.accept().await {
            Ok((stream, address)) => {
                let peer = Peer {
                    address,
                    since: Instant::now(),
                };
                let early = Bytes::new();
                let stream = Resumed { early, stream };
                tokio::spawn(connection(stream, peer, router.clone(), heads));
            }
            Err(error) => tokio::time::sleep(pause_after(&error)).await,
        }
    }
}

/// Before the next try when the system failed us.
const PAUSE: Duration = Duration::from_millis(100);

/// How long to wait after accepting failed: a connection that was reset is no reason to, missing file descriptors are.
fn pause_after(error: &io::Error) -> Duration {
    if error.kind() == io::ErrorKind::ConnectionAborted {
        return Duration::ZERO;
    }
    tracing::warn!(%error, "failed to accept a connection");
    PAUSE
}

/// Serves one connection with HTTP.
async fn connection(stream: Resumed, peer: Peer, router: Router, heads: Heads) {
    let served_before = AtomicBool::new(false);
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        let since = if served_before.swap(true, Relaxed) {
            Instant::now()
        } else {
            peer.since
        };
        request.extensions_mut().insert(Peer { since, ..peer });
        router.clone().call(request)
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(heads.timeout)
        .max_buf_size(heads.max_bytes)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, peer = %peer.address, "HTTP connection ended");
    }
}
