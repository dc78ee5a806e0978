//! `GET /connection/websocket` and `uni_websocket`: the handshake, then the raw stream goes to a worker.
//!
//! A connection's first request is answered by [`answer`], before any HTTP server sees it; one that follows others,
//! or is to be refused, by [`upgrade`], below the HTTP server. Both ask [`check`].

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Version, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use sha1::{Digest, Sha1};

use crate::node::Shared;
use crate::protocol::Wire;
use crate::worker::{Accepted, Event, Inbox};

use super::client_address::client_address;
use super::connection::Taken;
use super::handover::{Handover, Opening};
use super::{Peer, head};

pub const PATH: &str = "/connection/websocket";
pub const UNI_PATH: &str = "/connection/uni_websocket";
/// The subprotocol of clients that want Protobuf; without it they get JSON.
const PROTOBUF: &str = "centrifuge-protobuf";

/// What the handshake needs.
#[derive(Clone)]
pub struct Front {
    pub shared: Arc<Shared>,
    pub inboxes: Arc<[Inbox]>,
}

impl Front {
    /// Gives each connection to the worker that has the fewest.
    pub fn hand_over(&self, accepted: impl IntoIterator<Item = Accepted>) {
        let mut shares: Vec<_> = self.inboxes.iter().map(|_| Vec::new()).collect();
        for one in accepted {
            let (inbox, share) = self
                .inboxes
                .iter()
                .zip(&mut shares)
                .min_by_key(|(inbox, _)| inbox.load().connections.load(Relaxed))
                .expect("a node has at least one worker");
            inbox.load().connections.fetch_add(1, Relaxed);
            share.push(one);
        }
        for (inbox, share) in self.inboxes.iter().zip(shares) {
            if !share.is_empty() {
                inbox.send(Event::Accepted(share));
            }
        }
    }
}

impl Front {
    /// Gives a connection that the HTTP server has let go of to a worker.
    pub fn take_over(&self, peer: Peer, taken: Taken) {
        let Taken {
            stream,
            early,
            opening,
        } = taken;
        let Opening {
            wire,
            passed,
            head,
            commands,
            since,
        } = opening;
        match stream.into_std() {
            Ok(stream) => self.hand_over([Accepted {
                stream,
                wire,
                passed,
                head,
                early: if wire.is_websocket() { early } else { commands },
                at: self.shared.time_of(since),
            }]),
            Err(error) => {
                tracing::debug!(%error, peer = %peer.address, "lost a connection during its handshake");
            }
        }
    }
}

/// The answer to the handshake at the start of `received`; `None` if there is something else.
pub fn answer(front: &Front, received: &[u8]) -> Option<Answer> {
    let (request, length) = head::parse(received, PATH)?;
    let handshake = check(front, &request).ok()?;
    let mut bytes = b"HTTP/1.1 101 Switching Protocols\r\n".to_vec();
    for (name, value) in &handshake.headers() {
        bytes.extend_from_slice(name.as_str().as_bytes());
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(value.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
    Some(Answer {
        bytes,
        length,
        wire: handshake.wire,
        passed: passed(front, request.headers()),
    })
}

/// What answers a connection's first request if that is a handshake, and how long the request was.
pub struct Answer {
    pub bytes: Vec<u8>,
    pub length: usize,
    pub wire: Wire,
    /// What the backend gets to see of its head.
    pub passed: Option<Box<HeaderMap>>,
}

/// The headers that the backend gets to see, if it is asked; most clients have none.
pub(super) fn passed(front: &Front, headers: &HeaderMap) -> Option<Box<HeaderMap>> {
    let webhook = front.shared.auth.webhook.as_ref()?;
    let passed = webhook.passed(headers);
    (!passed.is_empty()).then(|| Box::new(passed))
}

/// A handshake that is fine.
struct Handshake {
    /// The value of `Sec-WebSocket-Accept`.
    accept: HeaderValue,
    wire: Wire,
}

impl Handshake {
    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::with_capacity(4);
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, self.accept.clone());
        if self.wire == Wire::WebSocketProtobuf {
            let protocol = HeaderValue::from_static(PROTOBUF);
            headers.insert(header::SEC_WEBSOCKET_PROTOCOL, protocol);
        }
        headers
    }
}

pub async fn upgrade(
    State(front): State<Front>,
    Extension(peer): Extension<Peer>,
    request: Request,
) -> Response {
    match checked(&front, peer, &request) {
        Ok(handshake) => accept(&front, handshake, peer, &request),
        Err(refusal) => *refusal,
    }
}

/// For clients that only listen, in JSON.
pub async fn upgrade_unidirectional(
    State(front): State<Front>,
    Extension(peer): Extension<Peer>,
    request: Request,
) -> Response {
    match checked(&front, peer, &request) {
        Ok(Handshake {
            wire: Wire::WebSocketProtobuf,
            ..
        }) => {
            let text = "unidirectional connections speak JSON only\n";
            (StatusCode::BAD_REQUEST, text).into_response()
        }
        Ok(Handshake { accept: value, .. }) => {
            let wire = Wire::UniWebSocket;
            accept(
                &front,
                Handshake {
                    accept: value,
                    wire,
                },
                peer,
                &request,
            )
        }
        Err(refusal) => *refusal,
    }
}

fn checked(front: &Front, peer: Peer, request: &Request) -> Result<Handshake, Box<Response>> {
    match check(front, request) {
        Ok(handshake) => Ok(handshake),
        Err(refusal) => {
            let trusted = &front.shared.config.access.trusted_proxies;
            let client = client_address(peer.address.ip(), request.headers(), trusted);
            tracing::debug!(%client, status = %refusal.status(), "refused a WebSocket handshake");
            Err(refusal)
        }
    }
}

/// Answers a handshake, and has the connection taken over behind the answer.
fn accept(front: &Front, handshake: Handshake, peer: Peer, request: &Request) -> Response {
    let headers = handshake.headers();
    let passed = passed(front, request.headers());
    let handover = request.extensions().get::<Handover>();
    let handover = handover.expect("every HTTP/1.1 connection can be taken over");
    handover.after_answer(Opening {
        wire: handshake.wire,
        passed,
        head: Bytes::new(),
        commands: Bytes::new(),
        since: peer.since,
    });
    (StatusCode::SWITCHING_PROTOCOLS, headers, Body::empty()).into_response()
}

/// The answer to a handshake that is fine, or the one that says what is wrong with it.
fn check<B>(front: &Front, request: &axum::http::Request<B>) -> Result<Handshake, Box<Response>> {
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
            .live()
            .allowed_origins
            .allows(origin, text(header::HOST))
    {
        let text = format!("origin {origin} is not allowed here: add it to --allowed-origins\n");
        return Err((StatusCode::FORBIDDEN, text).into_response().into());
    }
    let is_protobuf = has_token(headers, header::SEC_WEBSOCKET_PROTOCOL, PROTOBUF);
    Ok(Handshake {
        accept: accept_value(key),
        wire: if is_protobuf {
            Wire::WebSocketProtobuf
        } else {
            Wire::WebSocketJson
        },
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_accept_value_is_that_of_rfc_6455() {
        let key = HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(accept_value(&key), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}
