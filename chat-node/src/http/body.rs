//! Request bodies: whole, within a size and a time.

use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};

/// Why there is no body.
#[derive(Debug, thiserror::Error)]
pub enum Unread {
    #[error("expected a body of at most {most} bytes")]
    TooLarge { most: usize },
    #[error("the body ended early")]
    Cut,
    #[error("expected the whole body within {patience:?}")]
    Late { patience: Duration },
}

impl Unread {
    pub fn status(&self) -> StatusCode {
        match self {
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Cut => StatusCode::BAD_REQUEST,
            Self::Late { .. } => StatusCode::REQUEST_TIMEOUT,
        }
    }
}

impl IntoResponse for Unread {
    fn into_response(self) -> Response {
        (self.status(), format!("{self}\n")).into_response()
    }
}

/// Reads a body of at most `most` bytes that arrives within `patience`.
pub async fn read(body: Body, most: usize, patience: Duration) -> Result<Bytes, Unread> {
    // Told before it is sent, where the head says how much it will be.
    if body.size_hint().lower() > most as u64 {
        return Err(Unread::TooLarge { most });
    }
    let whole = Limited::new(body, most).collect();
    match tokio::time::timeout(patience, whole).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Unread::TooLarge { most }),
        Ok(Err(_)) => Err(Unread::Cut),
        Err(_) => Err(Unread::Late { patience }),
    }
}
