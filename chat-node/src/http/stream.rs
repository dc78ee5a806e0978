//! Answers without an end: they carry what a client is told.
//!
//! `POST /connection/http_stream` and `GET /connection/sse` are half of a connection, whose commands come beside it to
//! [`super::emulation`]; `uni_http_stream` and `uni_sse` are all of it. Over HTTP/1.1 the connection goes to a worker as
//! it is. Over HTTP/2 the worker gets one end of a socket pair, and what it writes there is copied into the stream.

mod pair;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;

use crate::protocol::{Wire, unidirectional};

use super::Peer;
use super::body::{self, Unread};
use super::cors::Allowed;
use super::handover::{Handover, Opening};
use super::websocket::{Front, passed};

pub const HTTP_STREAM: &str = "/connection/http_stream";
pub const SSE: &str = "/connection/sse";
pub const UNI_HTTP_STREAM: &str = "/connection/uni_http_stream";
pub const UNI_SSE: &str = "/connection/uni_sse";

/// The connect command is the body; Protobuf if it says so, else JSON.
pub async fn http_stream(State(front): State<Front>, request: Request) -> Response {
    let wire = if is_octets(request.headers()) {
        Wire::StreamProtobuf
    } else {
        Wire::LinesJson
    };
    let begin = Begin::of(&front, &request);
    match body(&front, request).await {
        Ok(body) if body.is_empty() => {
            bad("expected a connect command as the body, got an empty one\n")
        }
        Ok(commands) => begin.open(wire, commands).await,
        Err(unread) => unread.into_response(),
    }
}

/// The connect command stands in the query, as `EventSource` can send nothing else. It may hold a token: the query is
/// never logged.
pub async fn sse(State(front): State<Front>, request: Request) -> Response {
    if request.method() == Method::HEAD {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    match connect_in_query(&request) {
        Some(commands) => {
            let begin = Begin::of(&front, &request);
            begin.open(Wire::EventsJson, commands).await
        }
        None => bad("expected a connect command in the query: ?cf_connect=<JSON>\n"),
    }
}

/// The connect request is the body.
pub async fn uni_http_stream(State(front): State<Front>, request: Request) -> Response {
    let begin = Begin::of(&front, &request);
    match body(&front, request).await {
        Ok(body) => begin.open_unidirectional(Wire::UniLines, &body).await,
        Err(unread) => unread.into_response(),
    }
}

/// The connect request is the body, or stands in the query, or is empty.
pub async fn uni_sse(State(front): State<Front>, request: Request) -> Response {
    if request.method() == Method::HEAD {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    let begin = Begin::of(&front, &request);
    let connect = match connect_in_query(&request) {
        Some(connect) => Ok(connect),
        None => body(&front, request).await,
    };
    match connect {
        Ok(connect) if connect.is_empty() => {
            begin.open_unidirectional(Wire::UniEvents, b"{}").await
        }
        Ok(connect) => begin.open_unidirectional(Wire::UniEvents, &connect).await,
        Err(unread) => unread.into_response(),
    }
}

async fn body(front: &Front, request: Request) -> Result<Bytes, Unread> {
    let most = front.shared.live().limits.frame_bytes;
    let patience = front.shared.config.limits.handshake_timeout;
    body::read(request.into_body(), most, patience).await
}

fn bad(text: &'static str) -> Response {
    (StatusCode::BAD_REQUEST, text).into_response()
}

pub(super) fn is_octets(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/octet-stream"))
}

fn connect_in_query(request: &Request) -> Option<Bytes> {
    let query = request.uri().query()?.as_bytes();
    let mut pairs = form_urlencoded::parse(query);
    let (_, command) = pairs.find(|(name, _)| name == "cf_connect")?;
    (!command.trim().is_empty()).then(|| Bytes::from(command.into_owned()))
}

/// What a stream begins with, beside its first command.
struct Begin {
    front: Front,
    peer: Peer,
    /// Absent where the connection carries other streams, too.
    handover: Option<Handover>,
    headers: HeaderMap,
    /// What the backend gets to see of the request.
    passed: Option<Box<HeaderMap>>,
}

impl Begin {
    fn of(front: &Front, request: &Request) -> Self {
        let extensions = request.extensions();
        let peer = extensions.get::<Peer>();
        let allowed = extensions.get::<Allowed>();
        Self {
            front: front.clone(),
            peer: *peer.expect("every connection puts its peer into its requests"),
            handover: extensions.get().cloned(),
            headers: allowed.map_or_else(HeaderMap::new, |allowed| allowed.0.clone()),
            passed: passed(front, request.headers()),
        }
    }

    async fn open_unidirectional(self, wire: Wire, connect: &[u8]) -> Response {
        match unidirectional::command(connect) {
            Some(command) => self.open(wire, command.into()).await,
            None => bad("expected a connect request: a JSON object such as {\"token\":\"…\"}\n"),
        }
    }

    /// Begins the stream: the connection itself, or one of the streams on it, is a worker's from now on.
    async fn open(self, wire: Wire, commands: Bytes) -> Response {
        let mut headers = self.headers;
        let mut set = |name, value| headers.insert(name, HeaderValue::from_static(value));
        set(header::CONTENT_TYPE, wire.content_type());
        set(header::CACHE_CONTROL, "no-store");
        // Some proxies would otherwise keep messages back until there are many.
        set(header::HeaderName::from_static("x-accel-buffering"), "no");
        if let Some(handover) = self.handover {
            let head = head(&headers);
            let since = self.peer.since;
            handover
                .at_once(Opening {
                    wire,
                    passed: self.passed,
                    head,
                    commands,
                    since,
                })
                .await
        }
        match pair::open(&self.front, self.peer.since, wire, self.passed, commands) {
            Ok(body) => (headers, body).into_response(),
            Err(error) => {
                tracing::warn!(%error, "failed to open a stream");
                let text = "this node has no room for another stream, try again\n";
                (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
            }
        }
    }
}

/// An answer whose body ends with the connection: nothing has to be put around messages.
fn head(headers: &HeaderMap) -> Bytes {
    let mut head = b"HTTP/1.1 200 OK\r\nconnection: close\r\n".to_vec();
    for (name, value) in headers {
        head.extend_from_slice(name.as_str().as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    head.into()
}
