//! `publish` and `broadcast`: the server speaks in one room, or says the same in many.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use data_encoding::BASE64;
use futures_util::{StreamExt, stream};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::broker::peers::{self, Event};
use crate::broker::{MAX_TAGS_BYTES, Message, Tags, tags_bytes};
use crate::protocol::compact::compact;
use crate::protocol::{ErrorCode, Refusal};

use super::params::{InChannel, bad, present, read};
use super::{Api, NOTHING, Outcome, error, listed, wrapped};

/// Rooms of a broadcast that are published to at a time.
const AT_A_TIME: usize = 64;
const MAX_KEY_BYTES: usize = 1024;

#[derive(Deserialize)]
struct Parameters<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    b64data: Option<Cow<'a, str>>,
    skip_history: Option<bool>,
    tags: Option<Tags>,
    #[serde(borrow)]
    idempotency_key: Option<Cow<'a, str>>,
    version: Option<u64>,
    #[serde(borrow)]
    version_epoch: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Channels<'a> {
    #[serde(borrow)]
    channels: Vec<Cow<'a, str>>,
}

/// What is to be said, checked.
struct Content {
    data: Bytes,
    tags: Option<Arc<Tags>>,
    id: Option<Arc<str>>,
    is_kept: bool,
}

pub async fn publish(api: &Api, params: &RawValue) -> Outcome {
    let InChannel { channel } = read(params)?;
    let content = content(api, params)?;
    say(api, &channel, &content).await
}

pub async fn broadcast(api: &Api, params: &RawValue) -> Outcome {
    let Channels { channels } = read(params)?;
    if channels.is_empty() {
        return Err(bad("channels is empty"));
    }
    let content = content(api, params)?;
    let each = channels
        .iter()
        .map(|channel| response(api, channel, &content));
    let responses = stream::iter(each.collect::<Vec<_>>()).buffered(AT_A_TIME);
    let responses: Vec<_> = responses.collect().await;
    Ok(wrapped("responses", &listed(&responses)))
}

async fn response(api: &Api, channel: &str, content: &Content) -> Vec<u8> {
    match say(api, channel, content).await {
        Ok(result) => wrapped("result", &result),
        Err(refusal) => error(&refusal),
    }
}

fn content(api: &Api, params: &RawValue) -> Result<Content, Refusal> {
    let Parameters {
        data,
        b64data,
        skip_history,
        tags,
        idempotency_key,
        version,
        version_epoch,
    } = read(params)?;
    if version.is_some_and(|version| version > 0) || version_epoch.is_some_and(|e| !e.is_empty()) {
        let detail = "version is not supported: every publication gets a place in its room";
        return Err(Refusal::new(ErrorCode::NotAvailable, detail));
    }
    let decoded;
    let json = match (data, b64data.filter(|data| !data.is_empty())) {
        (Some(data), None) => data,
        (None, Some(data)) => {
            decoded = BASE64
                .decode(data.as_bytes())
                .map_err(|error| bad(format!("b64data is not base64: {error}")))?;
            serde_json::from_slice(&decoded).map_err(|_| {
                bad("b64data holds no JSON, which is all that readers of every kind can be given")
            })?
        }
        (Some(_), Some(_)) => return Err(bad("expected data or b64data, got both")),
        (None, None) => return Err(bad("missing field `data`")),
    };
    let data = compact(json.get()).map_err(|error| bad(error.to_string()))?;
    let most = api.shared.live().limits.message_bytes;
    let limit = |what: &str, bytes: usize, most: usize| {
        let detail = format!("{what} has {bytes} bytes, at most {most} are allowed");
        Err(Refusal::new(ErrorCode::LimitExceeded, detail))
    };
    if data.len() > most {
        return limit("message", data.len(), most);
    }
    let tags = tags.filter(|tags| !tags.is_empty());
    let bytes = tags.as_ref().map_or(0, tags_bytes);
    if bytes > MAX_TAGS_BYTES {
        return limit("tags", bytes, MAX_TAGS_BYTES);
    }
    let id = idempotency_key.filter(|key| !key.is_empty());
    if let Some(key) = id.as_ref().filter(|key| key.len() > MAX_KEY_BYTES) {
        return limit("idempotency_key", key.len(), MAX_KEY_BYTES);
    }
    let is_kept = !skip_history.unwrap_or(false);
    if !is_kept && id.is_some() {
        let detail = "idempotency_key needs history: what is not kept cannot be recognised";
        return Err(bad(detail));
    }
    Ok(Content {
        data,
        tags: tags.map(Arc::new),
        id: id.map(Into::into),
        is_kept,
    })
}

async fn say(api: &Api, channel: &str, content: &Content) -> Outcome {
    let room = api.room(channel)?;
    let Content {
        data,
        tags,
        id,
        is_kept,
    } = content;
    if !is_kept {
        let publication = peers::Publication {
            data: data.clone(),
            tags: tags.as_deref().cloned().unwrap_or_default(),
        };
        let event = Event::Publication(publication.clone());
        api.shared.broker.tell_others(&room, event);
        api.peer.tell_members(&room, publication);
        return Ok(NOTHING.to_vec());
    }
    let message = Message {
        data: data.clone(),
        author: None,
        tags: tags.clone(),
        id: id.clone(),
    };
    let position = api.shared.broker.publish(&room, message).await?;
    let result = serde_json::json!({"offset": position.offset, "epoch": &*position.epoch});
    Ok(result.to_string().into_bytes())
}
