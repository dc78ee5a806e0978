//! The server API's port: `POST /api/<method>` with a key and JSON.
//!
//! Whoever has no key learns nothing, not even which methods there are.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Method as Verb, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use serde_json::value::RawValue;

use crate::api::keys::Keys;
use crate::api::{Api, Method};

use super::body;

/// The largest request: many messages in a batch, or one for many rooms.
const MAX_BODY_BYTES: usize = 8 << 20;
/// How long a request may take to arrive.
const BODY_PATIENCE: Duration = Duration::from_secs(30);

struct Front {
    api: Api,
    keys: Arc<Keys>,
}

pub fn router(api: Api, keys: Arc<Keys>) -> Router {
    Router::new()
        .route("/api/{method}", any(call))
        .fallback(elsewhere)
        .with_state(Arc::new(Front { api, keys }))
}

async fn elsewhere(State(front): State<Arc<Front>>, headers: HeaderMap) -> Response {
    match is_let_in(&front.keys, &headers) {
        true => refused(StatusCode::NOT_FOUND, "expected POST /api/<method>"),
        false => unauthorized(),
    }
}

async fn call(
    State(front): State<Arc<Front>>,
    Path(method): Path<String>,
    verb: Verb,
    headers: HeaderMap,
    body: Body,
) -> Response {
    if !is_let_in(&front.keys, &headers) {
        return unauthorized();
    }
    let Some(method) = Method::named(&method) else {
        let known = Method::ALL.map(Method::name).join(", ");
        let text = format!("there is no such method; there are {known}");
        return refused(StatusCode::NOT_FOUND, &text);
    };
    if verb != Verb::POST {
        let text = "expected a POST request with the parameters as JSON";
        let refused = refused(StatusCode::METHOD_NOT_ALLOWED, text);
        return ([(header::ALLOW, "POST")], refused).into_response();
    }
    let body = match body::read(body, MAX_BODY_BYTES, BODY_PATIENCE).await {
        Ok(body) => body,
        Err(unread) => return refused(unread.status(), &unread.to_string()),
    };
    let params: &RawValue = match serde_json::from_slice(&body) {
        Ok(params) => params,
        Err(error) => {
            let text = format!("expected a JSON object: {error}");
            return refused(StatusCode::BAD_REQUEST, &text);
        }
    };
    let answer = front.api.call(method, params).await;
    ([(header::CONTENT_TYPE, "application/json")], answer).into_response()
}

/// The key stands in `X-API-Key`, or after `apikey` in `Authorization`.
fn is_let_in(keys: &Keys, headers: &HeaderMap) -> bool {
    if let Some(key) = headers.get("x-api-key") {
        return keys.accepts(key.as_bytes());
    }
    let authorization = headers.get(header::AUTHORIZATION);
    let authorization = authorization.map_or(&b""[..], |value| value.as_bytes());
    match authorization.split_at_checked(7) {
        Some((scheme, key)) => scheme.eq_ignore_ascii_case(b"apikey ") && keys.accepts(key),
        None => false,
    }
}

fn unauthorized() -> Response {
    let text = "expected a key of this server API in X-API-Key";
    let challenge = [(header::WWW_AUTHENTICATE, "apikey")];
    (challenge, refused(StatusCode::UNAUTHORIZED, text)).into_response()
}

/// Errors outside of a method: no method's answer has this shape with another status than 200.
fn refused(status: StatusCode, text: &str) -> Response {
    let json = serde_json::json!({"error": {"code": status.as_u16(), "message": text}});
    let kind = [(header::CONTENT_TYPE, "application/json")];
    (status, kind, json.to_string()).into_response()
}
