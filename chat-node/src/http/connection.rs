//! One connection with HTTP: version 1.1, out of which a handler may take it, or version 2 with many streams at once.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tower_service::Service;

use super::handover::{Handover, Opening};
use super::resumed::Resumed;
use super::{Heads, Peer};

/// What a client that knows that we speak HTTP/2 begins with.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\n";
/// What one stream of an HTTP/2 connection may have written and the client not taken.
const STREAM_BYTES: usize = 64 * 1024;

/// A connection that the HTTP server has let go of.
pub struct Taken {
    pub stream: TcpStream,
    /// What came behind the request.
    pub early: Bytes,
    pub opening: Opening,
}

/// Serves one connection until it ends, or somebody else is to go on with it.
pub async fn serve(stream: Resumed, peer: Peer, router: Router, heads: Heads) -> Option<Taken> {
    if stream.early.starts_with(PREFACE) {
        serve_many(stream, peer, router, heads).await;
        None
    } else {
        serve_one(stream, peer, router, heads).await
    }
}

async fn serve_one(stream: Resumed, peer: Peer, router: Router, heads: Heads) -> Option<Taken> {
    let served_before = AtomicBool::new(false);
    let handover = Handover::default();
    let given = handover.clone();
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        let since = if served_before.swap(true, Relaxed) {
            Instant::now()
        } else {
            peer.since
        };
        request.extensions_mut().insert(Peer { since, ..peer });
        request.extensions_mut().insert(given.clone());
        router.clone().call(request)
    });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(heads.timeout)
        .max_buf_size(heads.max_bytes)
        .serve_connection(TokioIo::new(stream), service);
    let served = tokio::select! {
        served = &mut connection => served,
        () = handover.wanted() => Ok(()),
    };
    if let Err(error) = served {
        lost(peer, &error);
        return None;
    }
    let opening = handover.take()?;
    let parts = connection.into_parts();
    Some(Taken {
        stream: parts.io.into_inner().stream,
        early: parts.read_buf,
        opening,
    })
}

async fn serve_many(stream: Resumed, peer: Peer, router: Router, heads: Heads) {
    // Every request that is being answered holds a copy.
    let busy = Arc::new(());
    let held = busy.clone();
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        let since = Instant::now();
        request.extensions_mut().insert(Peer { since, ..peer });
        let (answer, held) = (router.clone().call(request), held.clone());
        async move {
            let answer: Response = answer.await?;
            let held = move |body: Body| {
                body.map_frame(move |frame| {
                    let _ = &held;
                    frame
                })
            };
            Ok::<_, Infallible>(answer.map(held))
        }
    });
    let served = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(Some(heads.timeout * 2))
        .keep_alive_timeout(heads.timeout)
        .max_header_list_size(u32::try_from(heads.max_bytes).unwrap_or(u32::MAX))
        .max_send_buf_size(STREAM_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let mut served = pin!(served);
    let ended = loop {
        tokio::select! {
            ended = &mut served => break ended,
            // Whoever asks for nothing is let go, as over HTTP/1.1.
            () = tokio::time::sleep(heads.timeout) => if Arc::strong_count(&busy) == IDLE {
                served.as_mut().graceful_shutdown();
            },
        }
    };
    if let Err(error) = ended {
        lost(peer, &error);
    }
}

/// Copies of an HTTP/2 connection's token that no request holds: ours and that of the service.
const IDLE: usize = 2;

fn lost(peer: Peer, error: &hyper::Error) {
    tracing::debug!(%error, peer = %peer.address, "HTTP connection ended");
}
