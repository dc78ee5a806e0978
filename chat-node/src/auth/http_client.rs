//! Requests to services of the operator's: over TLS with the system's authorities, bounded in size.
//!
//! Who asks bounds the time.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

/// No answer that is waited for here is longer.
const MAX_ANSWER_BYTES: usize = 1 << 20;
const IDLE: Duration = Duration::from_secs(30);

#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("failed to reach it: {0}")]
    Unreachable(String),
    #[error("it answered with status {0}")]
    Status(StatusCode),
    #[error("its answer broke off or has more than {MAX_ANSWER_BYTES} bytes")]
    Answer,
}

impl Failure {
    /// Whether the same request may be answered a moment later.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Answer => true,
            Self::Status(status) => status.is_server_error(),
        }
    }
}

#[derive(Clone)]
pub enum HttpClient {
    Plain(Client<HttpConnector, Full<Bytes>>),
    Tls(Client<HttpsConnector<HttpConnector>, Full<Bytes>>),
}

impl HttpClient {
    /// A client for `uri`'s scheme. Errors: TLS is needed, and the system knows no authorities.
    pub fn new(uri: &Uri) -> Result<Self, std::io::Error> {
        let mut builder = Client::builder(TokioExecutor::new());
        builder
            .pool_idle_timeout(IDLE)
            .pool_timer(TokioTimer::new());
        if uri.scheme_str() != Some("https") {
            return Ok(Self::Plain(builder.build_http()));
        }
        let tls = HttpsConnectorBuilder::new().with_native_roots()?;
        let connector = tls.https_only().enable_http1().build();
        Ok(Self::Tls(builder.build(connector)))
    }

    pub async fn get(&self, uri: &Uri) -> Result<Bytes, Failure> {
        let mut request = Request::new(Full::default());
        *request.uri_mut() = uri.clone();
        self.send(request).await
    }

    pub async fn post(&self, uri: &Uri, headers: HeaderMap, body: Bytes) -> Result<Bytes, Failure> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = uri.clone();
        *request.headers_mut() = headers;
        self.send(request).await
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Result<Bytes, Failure> {
        let answer = match self {
            Self::Plain(client) => client.request(request).await,
            Self::Tls(client) => client.request(request).await,
        };
        let answer = answer.map_err(|error| Failure::Unreachable(chain(&error)))?;
        if answer.status() != StatusCode::OK {
            return Err(Failure::Status(answer.status()));
        }
        let body = Limited::new(answer.into_body(), MAX_ANSWER_BYTES);
        let body = body.collect().await.map_err(|_| Failure::Answer)?;
        Ok(body.to_bytes())
    }
}

/// An error with its causes: the outermost of this client's says nothing.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
