//! The HTTP front: accepts connections, answers requests, hands upgraded sockets to workers.

pub mod admin;
mod client_address;
mod websocket;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use axum::Router;
use axum::http::StatusCode;
use axum::routing::any;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tower_service::Service;

use crate::config::Limits;
use crate::node::Shared;
use crate::web;
use crate::worker::Inbox;

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

/// What the clients' port serves.
pub fn clients(shared: Arc<Shared>, inboxes: Vec<Inbox>) -> Router {
    Router::new()
        .merge(web::router())
        .route("/connection/websocket", any(websocket::upgrade))
        .with_state(websocket::Front {
            shared,
            inboxes: inboxes.into(),
        })
        .fallback(not_found)
}

async fn not_found() -> (StatusCode, &'static str) {
    let text = "not found: the chat page is at /, clients connect to /connection/websocket\n";
    (StatusCode::NOT_FOUND, text)
}

/// Accepts connections until `stop` says true.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    heads: Heads,
    mut stop: watch::Receiver<bool>,
) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => return,
        };
        match accepted {
            Ok((stream, address)) => {
                let peer = Peer {
                    address,
                    since: Instant::now(),
                };
                tokio::spawn(connection(stream, peer, router.clone(), heads));
            }
            Err(error) => {
                // A connection that was reset is no reason to pause, missing file descriptors are.
                if error.kind() != std::io::ErrorKind::ConnectionAborted {
                    tracing::warn!(%error, "failed to accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

async fn connection(stream: TcpStream, peer: Peer, router: Router, heads: Heads) {
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
