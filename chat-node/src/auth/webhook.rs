//! The connect webhook: the backend is asked who a session without a token is.
//!
//! One POST in the shape of Centrifugo's connect proxy; tried again within the deadline while the backend cannot be
//! reached or is broken. Whatever is no clear yes lets nobody in.

mod answer;

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Uri, header};
use serde_json::value::RawValue;
use tokio::runtime::Handle;
use tokio::time::{sleep, timeout};

use super::http_client::{Failure, HttpClient};
use super::{Denied, Identity};
use crate::config::ConnectWebhook;
use crate::ids::SessionId;
use crate::metrics::AuthMetrics;
use crate::protocol::{ErrorCode, Refusal};

/// How much earlier than `timeoutSeconds` the client has its answer: an SDK that waits as long must not have given up.
const AHEAD: Duration = Duration::from_millis(500);
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// What the backend is told of a session that connects.
#[derive(Debug, serde::Serialize)]
pub struct Question {
    #[serde(serialize_with = "as_text")]
    pub client: SessionId,
    pub transport: &'static str,
    pub protocol: &'static str,
    pub encoding: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// Those of the client's request that the configuration names.
    #[serde(skip)]
    pub headers: HeaderMap,
}

fn as_text<S: serde::Serializer>(id: &SessionId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(id)
}

pub type Welcome = Pin<Box<dyn Future<Output = Result<Identity, Denied>> + Send>>;

pub struct Webhook {
    uri: Uri,
    client: HttpClient,
    runtime: Handle,
    patience: Duration,
    token_file: Option<PathBuf>,
    /// Headers of clients' requests that the backend gets to see.
    passed: Vec<HeaderName>,
    metrics: AuthMetrics,
    is_failing: AtomicBool,
}

#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("{0}")]
    Request(#[from] Failure),
    #[error("there was no answer in time{0}")]
    Late(String),
    #[error("its answer cannot be used: {0}")]
    Answer(String),
    #[error("the file of its token cannot be used: {0}")]
    Token(String),
}

impl Webhook {
    /// Asks on the runtime that this is called in. Errors: TLS is needed, and the system knows no authorities.
    pub fn new(config: &ConnectWebhook, uri: Uri, metrics: AuthMetrics) -> std::io::Result<Self> {
        let patience = Duration::from_secs(config.timeout_seconds);
        Ok(Self {
            client: HttpClient::new(&uri)?,
            uri,
            runtime: Handle::current(),
            patience: patience.saturating_sub(AHEAD),
            token_file: config.token_file.clone(),
            passed: config.headers.clone(),
            metrics,
            is_failing: AtomicBool::new(false),
        })
    }

    /// The headers of a client's request that the backend gets to see.
    pub fn passed(&self, headers: &HeaderMap) -> HeaderMap {
        let mut passed = HeaderMap::new();
        for name in &self.passed {
            for value in headers.get_all(name) {
                passed.append(name, value.clone());
            }
        }
        passed
    }

    /// Adds headers that the client has written into its command; those of its request, which a proxy may have set,
    /// win.
    pub fn add_emulated<'a>(
        &self,
        headers: &mut HeaderMap,
        emulated: impl Iterator<Item = (&'a str, &'a str)>,
    ) {
        for (name, value) in emulated {
            let name = self
                .passed
                .iter()
                .find(|known| name.eq_ignore_ascii_case(known.as_str()));
            if let (Some(name), Ok(value)) = (name, HeaderValue::from_str(value))
                && !headers.contains_key(name)
            {
                headers.insert(name, value);
            }
        }
    }

    pub fn ask(self: &Arc<Self>, question: Question) -> Welcome {
        let webhook = self.clone();
        let asking = self
            .runtime
            .spawn(async move { webhook.welcome(question).await });
        Box::pin(async {
            // It is aborted only with the process.
            asking.await.unwrap_or_else(|_| Err(unavailable()))
        })
    }

    async fn welcome(&self, question: Question) -> Result<Identity, Denied> {
        let begun = Instant::now();
        let answered = self.answer(question).await;
        self.metrics.asked_backend(
            begun.elapsed(),
            match &answered {
                Ok(Ok(_)) => "accepted",
                Ok(Err(_)) => "refused",
                Err(_) => "failed",
            },
        );
        let was_failing = self.is_failing.swap(answered.is_err(), Relaxed);
        let uri = &self.uri;
        match (was_failing, &answered) {
            (false, Err(trouble)) => {
                tracing::warn!(%uri, %trouble, "the connect webhook fails: nobody without a token gets in");
            }
            (true, Ok(_)) => tracing::info!(%uri, "the connect webhook works again"),
            _ => {}
        }
        answered.unwrap_or_else(|_| Err(unavailable()))
    }

    async fn answer(&self, question: Question) -> Result<Result<Identity, Denied>, Trouble> {
        let headers = self.headers(&question).await?;
        let body = serde_json::to_vec(&question).expect("texts and JSON can be written as JSON");
        let mut last = None;
        let answered = timeout(
            self.patience,
            self.attempts(headers, body.into(), &mut last),
        )
        .await;
        let body = match answered {
            Ok(body) => body?,
            Err(_) => {
                let last = last.map_or(String::new(), |failure| format!("; before: {failure}"));
                return Err(Trouble::Late(last));
            }
        };
        answer::read(&body).map_err(Trouble::Answer)
    }

    async fn attempts(
        &self,
        headers: HeaderMap,
        body: Bytes,
        last: &mut Option<Failure>,
    ) -> Result<Bytes, Failure> {
        let mut pause = FIRST_PAUSE;
        loop {
            let failure = match self
                .client
                .post(&self.uri, headers.clone(), body.clone())
                .await
            {
                Ok(answer) => return Ok(answer),
                Err(failure) if failure.may_pass() => failure,
                Err(failure) => return Err(failure),
            };
            *last = Some(failure);
            sleep(pause).await;
            pause *= 2;
        }
    }

    async fn headers(&self, question: &Question) -> Result<HeaderMap, Trouble> {
        let mut headers = question.headers.clone();
        let json = HeaderValue::from_static("application/json");
        headers.insert(header::CONTENT_TYPE, json);
        if let Some(file) = self.token_file.clone() {
            // Read each time: so it may be exchanged, and is nowhere else.
            let read = tokio::task::spawn_blocking(move || bearer(&file)).await;
            let value = read.map_err(|error| error.to_string()).flatten();
            headers.insert(header::AUTHORIZATION, value.map_err(Trouble::Token)?);
        }
        Ok(headers)
    }
}

/// The header that the token in `file` makes. Errors do not show the token.
pub fn bearer(file: &std::path::Path) -> Result<HeaderValue, String> {
    let text = std::fs::read_to_string(file).map_err(|error| error.to_string())?;
    let token = text.trim();
    let mut value = HeaderValue::from_str(&format!("Bearer {token}"))
        .ok()
        .filter(|_| !token.is_empty())
        .ok_or("expected one line of text")?;
    value.set_sensitive(true);
    Ok(value)
}

fn unavailable() -> Denied {
    let detail = "it cannot be asked just now who you are, try again";
    Denied::Refused(Refusal::new(ErrorCode::Internal, detail))
}
