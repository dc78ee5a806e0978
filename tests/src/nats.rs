//! A NATS client of a test's own: looks at streams behind a node's back, and does to them what operators do.

use std::time::Duration;

use async_nats::{ConnectOptions, HeaderMap, ServerAddr};
use serde_json::{Value, json};

use crate::nats_server::{HEALTH_DEADLINE, NatsServers};
use crate::wait::until_some_within;

pub struct Nats {
    client: async_nats::Client,
}

/// How long one answer may take before it is asked for again.
const TIMEOUT: Duration = Duration::from_secs(2);

const MESSAGE_ID: &str = "Nats-Msg-Id";

const PAUSE: Duration = Duration::from_millis(50);

impl Nats {
    /// Connects to any of the servers: as `operator`, if there are users.
    pub async fn connect(servers: &NatsServers) -> Self {
        Self::connect_as(servers, "operator").await
    }

    /// Connects as one of the users, if there are any.
    pub async fn connect_as(servers: &NatsServers, user: &str) -> Self {
        let mut options = ConnectOptions::new()
            .ignore_discovered_servers()
            .request_timeout(Some(TIMEOUT))
            .custom_inbox_prefix(format!("_INBOX_{user}"));
        if let Some(file) = servers.key(user) {
            let seed = std::fs::read_to_string(file).expect("a user has a key");
            options = options.nkey(seed.trim().to_owned());
        }
        let urls = servers.iter().map(|server| server.url().parse());
        let urls: Vec<ServerAddr> = urls.map(|url| url.expect("a URL of our own")).collect();
        let client = options.connect(urls).await;
        let client = client.expect("a nats-server lets its user in");
        Self { client }
    }

    /// Sends one request; the answer as JSON, or why there is none.
    pub async fn request(
        &self,
        subject: &str,
        headers: &[(&str, &str)],
        payload: impl Into<Vec<u8>>,
    ) -> Result<Value, String> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, *value);
        }
        let request =
            self.client
                .request_with_headers(subject.to_owned(), map, payload.into().into());
        let message = request.await.map_err(|error| error.to_string())?;
        serde_json::from_slice(&message.payload).map_err(|error| error.to_string())
    }

    /// Stores a message once and returns what the stream answers: `stream`, `seq`, or `error`.
    pub async fn store(
        &self,
        subject: &str,
        headers: &[(&str, &str)],
        payload: impl Into<Vec<u8>>,
    ) -> Value {
        let payload = payload.into();
        // A server that was frozen may yet store what was asked of it before: an id makes it once.
        let id = format!("{:032x}", fastrand::u128(..));
        let mut headers = headers.to_vec();
        if !headers.iter().any(|(name, _)| *name == MESSAGE_ID) {
            headers.push((MESSAGE_ID, &id));
        }
        self.answered(subject, async || {
            self.request(subject, &headers, payload.clone()).await
        })
        .await
    }

    /// Calls `$JS.API.<call>` until there is an answer that is not "try again"; it may be an `error`.
    pub async fn call(&self, call: &str, request: Value) -> Value {
        let subject = format!("$JS.API.{call}");
        let request = request.to_string();
        self.answered(call, async || {
            self.request(&subject, &[], request.as_str()).await
        })
        .await
    }

    /// Calls `$JS.API.<call>`, which must succeed.
    pub async fn api(&self, call: &str, request: Value) -> Value {
        let answer = self.call(call, request).await;
        assert!(answer.get("error").is_none(), "{call}: {answer}");
        answer
    }

    pub async fn create_stream(&self, config: Value) -> Value {
        let name = config["name"].as_str().expect("a stream has a name");
        self.api(&format!("STREAM.CREATE.{name}"), config.clone())
            .await
    }

    /// Configuration and state, as the stream's leader knows them.
    pub async fn stream(&self, name: &str) -> Value {
        self.api(&format!("STREAM.INFO.{name}"), json!({})).await
    }

    pub async fn delete_stream(&self, name: &str) {
        self.api(&format!("STREAM.DELETE.{name}"), json!({})).await;
    }

    /// Removes all messages whose subject matches `filter`.
    pub async fn purge(&self, stream: &str, filter: &str) {
        let request = json!({"filter": filter});
        self.api(&format!("STREAM.PURGE.{stream}"), request).await;
    }

    /// Removes one message.
    pub async fn erase(&self, stream: &str, sequence: u64) {
        let request = json!({"seq": sequence});
        self.api(&format!("STREAM.MSG.DELETE.{stream}"), request)
            .await;
    }

    /// A stored message as the leader has it: `subject`, `seq`, `data` and `hdrs` in base64. None: there is none.
    pub async fn message(&self, stream: &str, sequence: u64) -> Option<Value> {
        let request = json!({"seq": sequence});
        let call = format!("STREAM.MSG.GET.{stream}");
        let mut answer = self.call(&call, request).await;
        answer.get_mut("message").map(Value::take)
    }

    async fn answered(
        &self,
        what: &str,
        mut request: impl AsyncFnMut() -> Result<Value, String>,
    ) -> Value {
        let what = format!("an answer to {what}");
        until_some_within(HEALTH_DEADLINE, PAUSE, &what, async || {
            let Ok(answer) = request().await else {
                // A server that is frozen or isolated looks well: go to another one.
                let _ = self.client.force_reconnect().await;
                return None;
            };
            // 503: no leader, or not ready for the call.
            (answer["error"]["code"] != 503).then_some(answer)
        })
        .await
    }
}
