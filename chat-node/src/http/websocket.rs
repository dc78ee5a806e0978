//! `GET /connection/websocket`: the handshake, then the raw stream goes to a worker.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Version, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use sha1::{Digest, Sha1};
use tokio::net::TcpStream;

use crate::node::Shared;
use crate::worker::{Event, Inbox};

use super::Peer;
use super::client_address::client_address;

/// What the handshake needs.
#[derive(Clone)]
pub struct Front {
    pub shared: Arc<Shared>,
    pub inboxes: Arc<[Inbox]>,
}

pub async fn upgrade(
    State(front): State<Front>,
    Extension(peer): Extension<Peer>,
    mut request: Request,
) -> Response {
    let accept = match check(&front, &request) {
        Ok(accept) => accept,
        Err(refusal) => {
            let trusted = &front.shared.config.access.trusted_proxies;
            let client = client_address(peer.address.ip(), request.headers(), trusted);
            tracing::debug!(%client, status = %refusal.status(), "refused a WebSocket handshake");
            return *refusal;
        }
    };
    let upgrade = hyper::upgrade::on(&mut request);
    let accepted = front.shared.time_of(peer.since);
    tokio::spawn(hand_over(upgrade, front.inboxes, accepted));
    let headers = [
        (header::CONNECTION, HeaderValue::from_static("Upgrade")),
        (header::UPGRADE, HeaderValue::from_static("websocket")),
        (header::SEC_WEBSOCKET_ACCEPT, accept),
    ];
    (StatusCode::SWITCHING_PROTOCOLS, headers, Body::empty()).into_response()
}

/// The value of `Sec-WebSocket-Accept`, or the answer that says what is wrong with the request.
fn check(front: &Front, request: &Request) -> Result<HeaderValue, Box<Response>> {
    let headers = request.headers();
    let wants_websocket = request.method() == Method::GET
        && request.version() == Version::HTTP_11
        && has_token(headers, header::UPGRADE, "websocket")
        && has_token(headers, header::CONNECTION, "upgrade");
    if !wants_websocket {
        let text = "this is a WebSocket endpoint: connect with a Centrifuge SDK to ws://<host>/connection/websocket; \
                    if a proxy stands between, let it pass the Upgrade and Connection headers\n";
        let headers = [
            (header::UPGRADE, "websocket"),
            (header::CONNECTION, "Upgrade"),
        ];
        return Err((StatusCode::UPGRADE_REQUIRED, headers, text)
            .into_response()
            .into());
    }
    if headers
        .get(header::SEC_WEBSOCKET_VERSION)
        .is_none_or(|version| version != "13")
    {
        let headers = [(header::SEC_WEBSOCKET_VERSION, "13")];
        let text = "expected Sec-WebSocket-Version: 13\n";
        return Err((StatusCode::UPGRADE_REQUIRED, headers, text)
            .into_response()
            .into());
    }
    let key = headers.get(header::SEC_WEBSOCKET_KEY).filter(|key| {
        STANDARD
            .decode(key.as_bytes())
            .is_ok_and(|nonce| nonce.len() == 16)
    });
    let Some(key) = key else {
        let text = "expected a Sec-WebSocket-Key of 16 bytes in base64\n";
        return Err((StatusCode::BAD_REQUEST, text).into_response().into());
    };
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    if let Some(origin) = text(header::ORIGIN)
        && !front
            .shared
            .config
            .access
            .allowed_origins
            .allows(origin, text(header::HOST))
    {
        let text = format!("origin {origin} is not allowed here: add it to --allowed-origins\n");
        return Err((StatusCode::FORBIDDEN, text).into_response().into());
    }
    if has_token(
        headers,
        header::SEC_WEBSOCKET_PROTOCOL,
        "centrifuge-protobuf",
    ) {
        let text = "the Protobuf protocol is not available: connect with the JSON protocol\n";
        return Err((StatusCode::BAD_REQUEST, text).into_response().into());
    }
    Ok(accept_value(key))
}

/// Whether a comma separated header has `token` in any of its values.
fn has_token(headers: &HeaderMap, name: header::HeaderName, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|value| value.trim().eq_ignore_ascii_case(token))
}

fn accept_value(key: &HeaderValue) -> HeaderValue {
    let mut hash = Sha1::new();
    hash.update(key.as_bytes());
    hash.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let value = STANDARD.encode(hash.finalize());
    HeaderValue::from_str(&value).expect("base64 is a valid header value")
}

/// Takes the raw stream out of the HTTP server and gives it to the worker with the fewest connections.
async fn hand_over(upgrade: OnUpgrade, inboxes: Arc<[Inbox]>, at: Duration) {
    let handed = async {
        let (stream, early) = raw(upgrade.await?)?;
        let stream = stream.into_std()?;
        let idlest = inboxes
            .iter()
            .min_by_key(|inbox| inbox.load().connections.load(Relaxed));
        let inbox = idlest.expect("a node has at least one worker");
        inbox.load().connections.fetch_add(1, Relaxed);
        inbox.send(Event::Accepted { stream, early, at });
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
    };
    if let Err(error) = handed.await {
        tracing::debug!(%error, "lost a connection during its handshake");
    }
}

/// The TCP stream below the HTTP server, and what it had read ahead.
fn raw(upgraded: Upgraded) -> Result<(TcpStream, Bytes), &'static str> {
    let parts = upgraded
        .downcast::<TokioIo<TcpStream>>()
        .map_err(|_| "the server runs on plain TCP only")?;
    Ok((parts.io.into_inner(), parts.read_buf))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_accept_value_is_that_of_rfc_6455() {
        let key = HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(accept_value(&key), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}
