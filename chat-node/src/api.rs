//! The server API: what backends may do with rooms and sessions. Method and parameters in, a result or an error out.
//!
//! http/api.rs -> call -> one file per method -> broker, workers of all nodes
//!
//! It knows no HTTP; whoever comes here has shown a key. The server is bound by the limits on rooms and messages, but
//! by no room class: what is for the server alone is for this.

mod batch;
mod channels;
mod everywhere;
mod history;
mod info;
pub mod keys;
mod params;
mod presence;
mod publish;
mod subscribe;
mod users;

use std::sync::Arc;
use std::time::Instant;

use serde_json::value::RawValue;

use crate::node::Shared;
use crate::peer::LocalPeer;
use crate::protocol::{ErrorCode, Refusal};

/// What backends call: methods by their names in the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Publish,
    Broadcast,
    Subscribe,
    Unsubscribe,
    Disconnect,
    Refresh,
    Presence,
    PresenceStats,
    History,
    HistoryRemove,
    Channels,
    Info,
    Batch,
}

impl Method {
    pub const ALL: [Self; 13] = [
        Self::Publish,
        Self::Broadcast,
        Self::Subscribe,
        Self::Unsubscribe,
        Self::Disconnect,
        Self::Refresh,
        Self::Presence,
        Self::PresenceStats,
        Self::History,
        Self::HistoryRemove,
        Self::Channels,
        Self::Info,
        Self::Batch,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Broadcast => "broadcast",
            Self::Subscribe => "subscribe",
            Self::Unsubscribe => "unsubscribe",
            Self::Disconnect => "disconnect",
            Self::Refresh => "refresh",
            Self::Presence => "presence",
            Self::PresenceStats => "presence_stats",
            Self::History => "history",
            Self::HistoryRemove => "history_remove",
            Self::Channels => "channels",
            Self::Info => "info",
            Self::Batch => "batch",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.name() == name)
    }
}

/// A result as JSON, or why there is none.
type Outcome = Result<Vec<u8>, Refusal>;

/// The result of methods that have nothing to say.
const NOTHING: &[u8] = b"{}";

#[derive(Clone)]
pub struct Api {
    shared: Arc<Shared>,
    peer: Arc<LocalPeer>,
}

impl Api {
    pub fn new(shared: Arc<Shared>, peer: Arc<LocalPeer>) -> Self {
        Self { shared, peer }
    }

    /// Does what is asked, and returns the whole answer: `{"result":…}`, `{"error":…}`, or a batch's `{"replies":…}`.
    pub async fn call(&self, method: Method, params: &RawValue) -> Vec<u8> {
        let outcome = match method {
            Method::Batch => self.timed(method, batch::batch(self, params)).await,
            _ => self.single(method, params).await,
        };
        match outcome {
            Ok(replies) if method == Method::Batch => replies,
            Ok(result) => wrapped("result", &result),
            Err(refusal) => error(&refusal),
        }
    }

    /// Everything but a batch.
    async fn single(&self, method: Method, params: &RawValue) -> Outcome {
        let done = async {
            match method {
                Method::Publish => publish::publish(self, params).await,
                Method::Broadcast => publish::broadcast(self, params).await,
                Method::Subscribe => subscribe::subscribe(self, params).await,
                Method::Unsubscribe => users::unsubscribe(self, params).await,
                Method::Refresh => users::refresh(self, params).await,
                Method::Disconnect => users::disconnect(self, params).await,
                Method::History => history::history(self, params).await,
                Method::HistoryRemove => history::remove(self, params).await,
                Method::Channels => channels::channels(self, params).await,
                Method::Info => info::info(self).await,
                Method::Presence => presence::presence(self, params).await,
                Method::PresenceStats => presence::stats(self, params).await,
                Method::Batch => {
                    let detail = "a batch cannot be in a batch";
                    Err(Refusal::new(ErrorCode::BadRequest, detail))
                }
            }
        };
        self.timed(method, done).await
    }

    async fn timed(&self, method: Method, done: impl Future<Output = Outcome>) -> Outcome {
        let begun = Instant::now();
        let outcome = done.await;
        let code = outcome.as_ref().err().map(|refusal| refusal.code.code());
        let metrics = &self.shared.metrics.api;
        metrics.called(method.name(), code, begun.elapsed());
        outcome
    }
}

/// `{"<name>":<json>}`
fn wrapped(name: &str, json: &[u8]) -> Vec<u8> {
    let mut object = Vec::with_capacity(name.len() + json.len() + 5);
    object.extend_from_slice(b"{\"");
    object.extend_from_slice(name.as_bytes());
    object.extend_from_slice(b"\":");
    object.extend_from_slice(json);
    object.push(b'}');
    object
}

/// `[<json>,<json>,…]`
fn listed(list: &[Vec<u8>]) -> Vec<u8> {
    let mut array = vec![b'['];
    for (at, json) in list.iter().enumerate() {
        if at > 0 {
            array.push(b',');
        }
        array.extend_from_slice(json);
    }
    array.push(b']');
    array
}

/// `{"error":{…}}`
fn error(refusal: &Refusal) -> Vec<u8> {
    let error = serde_json::json!({"code": refusal.code.code(), "message": refusal.message()});
    wrapped("error", error.to_string().as_bytes())
}
