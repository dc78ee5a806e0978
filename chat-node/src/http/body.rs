//! Request bodies: whole, within a size and the time that a handshake may take.

use axum::body::Body;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};

use crate::node::Shared;

/// Reads a body, or says what is wrong with it.
pub async fn read(body: Body, max_bytes: usize, shared: &Shared) -> Result<Bytes, Box<Response>> {
    let patience = shared.config.limits.handshake_timeout;
    let whole = Limited::new(body, max_bytes).collect();
    let refuse = |status, text: String| Err(Box::new((status, text).into_response()));
    match tokio::time::timeout(patience, whole).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => refuse(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("expected a body of at most {max_bytes} bytes\n"),
        ),
        Ok(Err(_)) => refuse(StatusCode::BAD_REQUEST, "the body ended early\n".to_owned()),
        Err(_) => refuse(
            StatusCode::REQUEST_TIMEOUT,
            format!("expected the whole body within {patience:?}\n"),
        ),
    }
}
