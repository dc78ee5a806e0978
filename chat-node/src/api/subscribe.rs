//! `subscribe`: puts a user's sessions into a room, on every node.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::auth::{given_json, unix_now};
use crate::broker::peers::order::What;
use crate::broker::peers::{Enter, Order, Position, Request, Response};
use crate::protocol::{ErrorCode, Refusal};

use super::params::{Since, bad, read};
use super::users::sessions;
use super::{Api, NOTHING, Outcome};

#[derive(Deserialize)]
struct Parameters<'a> {
    #[serde(borrow)]
    channel: Cow<'a, str>,
    info: Option<Box<RawValue>>,
    b64info: Option<String>,
    data: Option<Box<RawValue>>,
    b64data: Option<String>,
    #[serde(default)]
    expire_at: u64,
    #[serde(borrow)]
    recover_since: Option<Since<'a>>,
    #[serde(rename = "override")]
    overriding: Option<serde_json::Map<String, serde_json::Value>>,
}

pub async fn subscribe(api: &Api, params: &RawValue) -> Outcome {
    let Parameters {
        channel,
        info,
        b64info,
        data,
        b64data,
        expire_at,
        recover_since,
        overriding,
    } = read(params)?;
    let room = api.room(&channel)?;
    if let Some((name, _)) = overriding.iter().flatten().find(|(_, it)| !it.is_null()) {
        let detail = format!("override.{name} is not supported: the room's class decides");
        return Err(Refusal::new(ErrorCode::NotAvailable, detail));
    }
    if expire_at > 0 && expire_at <= unix_now() {
        return Err(bad("expire_at: that time is over"));
    }
    let json = |name, value, base64| {
        let json = given_json(name, value, base64).map_err(|error| bad(error.to_string()));
        json.map(Option::unwrap_or_default)
    };
    let enter = Enter {
        room: room.as_str().to_owned(),
        info: json("info", info, b64info)?,
        data: json("data", data, b64data)?,
        expire_at,
        since: recover_since.map(|since| Position {
            offset: since.offset,
            epoch: since.epoch.into_owned(),
        }),
    };
    let order = Order {
        what: Some(What::Enter(enter)),
        ..sessions(params)?
    };
    for (_, answer) in api.everywhere(Request::Order(order)).await? {
        if let Response::Done(done) = answer
            && done.error > 0
        {
            let code = ErrorCode::Application {
                code: done.error,
                temporary: false,
            };
            return Err(Refusal::new(code, done.detail));
        }
    }
    Ok(NOTHING.to_vec())
}
