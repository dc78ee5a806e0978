//! Pages of other origins: who may send requests, and what their browsers have to be told for it.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::websocket::Front;

/// How long browsers may remember the answer to a preflight: Chromium's own most.
const PREFLIGHT_SECONDS: &str = "7200";

/// Refuses requests of foreign origins, answers preflights, and puts on every answer what browsers ask for.
pub async fn guard(State(front): State<Front>, request: Request, next: Next) -> Response {
    let origin = request.headers().get(header::ORIGIN).cloned();
    if let Some(origin) = &origin
        && let Err(refusal) = check(&front, origin, request.headers())
    {
        return *refusal;
    }
    let headers = headers(origin);
    let mut response = if request.method() == Method::OPTIONS {
        preflight()
    } else {
        let mut request = request;
        request.extensions_mut().insert(Allowed(headers.clone()));
        next.run(request).await
    };
    response.headers_mut().extend(headers);
    response
}

/// The headers by which a browser lets a page read the answer: for handlers that write their own.
#[derive(Clone)]
pub struct Allowed(pub HeaderMap);

/// The answer to a request whose origin may not send it.
pub fn check(
    front: &Front,
    origin: &HeaderValue,
    headers: &HeaderMap,
) -> Result<(), Box<Response>> {
    let host = headers.get(header::HOST);
    let host = host.map(|host| host.to_str().unwrap_or("?"));
    let origin = origin.to_str().unwrap_or("?");
    if front.shared.live().allowed_origins.allows(origin, host) {
        return Ok(());
    }
    let text = format!("origin {origin} is not allowed here: add it to --allowed-origins\n");
    let vary = [(header::VARY, "Origin")];
    Err(Box::new(
        (StatusCode::FORBIDDEN, vary, text).into_response(),
    ))
}

fn headers(origin: Option<HeaderValue>) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(2);
    headers.insert(header::VARY, HeaderValue::from_static("Origin"));
    if let Some(origin) = origin {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    }
    headers
}

fn preflight() -> Response {
    let headers = [
        (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST"),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, "content-type"),
        (header::ACCESS_CONTROL_MAX_AGE, PREFLIGHT_SECONDS),
    ];
    (StatusCode::NO_CONTENT, headers).into_response()
}
