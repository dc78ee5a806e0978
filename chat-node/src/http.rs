//! The HTTP front: accepts connections, answers requests, hands to workers what becomes a client's connection.

pub mod admin;
pub mod api;
mod body;
mod client_address;
mod connection;
mod cors;
mod door;
mod emulation;
mod handover;
mod head;
mod resumed;
mod stream;
mod websocket;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::http::StatusCode;
use axum::middleware;
use axum::routing::{any, get, post};
use bytes::Bytes;
use tokio::net::TcpListener;

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
        .route(websocket::UNI_PATH, any(websocket::upgrade_unidirectional))
        .merge(streams(&front))
        .with_state(front.clone())
        .fallback(not_found);
    door::open(listener, front, router, heads)
}

/// What pages of other origins reach without a WebSocket.
fn streams(front: &websocket::Front) -> Router<websocket::Front> {
    let guard = || middleware::from_fn_with_state(front.clone(), cors::guard);
    let uni_sse = get(stream::uni_sse).post(stream::uni_sse);
    Router::new()
        .route(
            stream::HTTP_STREAM,
            post(stream::http_stream).layer(guard()),
        )
        .route(stream::SSE, get(stream::sse).layer(guard()))
        .route(emulation::PATH, post(emulation::emulate).layer(guard()))
        .route(
            stream::UNI_HTTP_STREAM,
            post(stream::uni_http_stream).layer(guard()),
        )
        .route(stream::UNI_SSE, uni_sse.layer(guard()))
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
                tokio::spawn(connection::serve(stream, peer, router.clone(), heads));
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
