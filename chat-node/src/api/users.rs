//! `disconnect`, `unsubscribe`, `refresh`: a user's sessions, on every node. Whose they are is read here for `subscribe`, too.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::broker::peers::order::What;
use crate::broker::peers::{Close, Leave, Order, Refresh, Request};
use crate::ids::SessionId;
use crate::protocol::{CloseReason, Refusal};

use super::params::{InChannel, bad, read};
use super::{Api, NOTHING, Outcome};

#[derive(Deserialize)]
struct Sessions<'a> {
    #[serde(borrow)]
    user: Cow<'a, str>,
    #[serde(borrow)]
    client: Option<Cow<'a, str>>,
    #[serde(borrow)]
    session: Option<Cow<'a, str>>,
    #[serde(borrow)]
    whitelist: Option<Vec<Cow<'a, str>>>,
}

#[derive(Deserialize)]
struct Disconnect<'a> {
    #[serde(borrow)]
    disconnect: Option<Reason<'a>>,
}

#[derive(Deserialize)]
struct Reason<'a> {
    #[serde(default)]
    code: u32,
    #[serde(borrow, default)]
    reason: Cow<'a, str>,
}

pub async fn disconnect(api: &Api, params: &RawValue) -> Outcome {
    let Disconnect { disconnect } = read(params)?;
    let reason = match disconnect {
        None => CloseReason::FORCED,
        Some(Reason { code: 0, reason }) if reason.is_empty() => CloseReason::FORCED,
        Some(Reason { code, reason }) => CloseReason::given(code, reason.into_owned())
            .map_err(|error| bad(format!("disconnect: {error}")))?,
    };
    let what = What::Close(Close {
        code: reason.code.into(),
        reason: reason.reason.into_owned(),
    });
    order(api, params, what).await
}

pub async fn unsubscribe(api: &Api, params: &RawValue) -> Outcome {
    let InChannel { channel } = read(params)?;
    let room = api.room(&channel)?;
    let what = What::Leave(Leave {
        room: room.as_str().to_owned(),
    });
    order(api, params, what).await
}

#[derive(Deserialize)]
struct Expiry {
    expired: Option<bool>,
    expire_at: Option<u64>,
}

pub async fn refresh(api: &Api, params: &RawValue) -> Outcome {
    let Expiry { expired, expire_at } = read(params)?;
    let what = match expired {
        Some(true) => What::Close(Close {
            code: CloseReason::EXPIRED.code.into(),
            reason: CloseReason::EXPIRED.reason.into_owned(),
        }),
        _ => What::Refresh(Refresh {
            expire_at: expire_at.unwrap_or(0),
        }),
    };
    order(api, params, what).await
}

/// Has every node do it to the sessions that the parameters name.
async fn order(api: &Api, params: &RawValue, what: What) -> Outcome {
    let order = Order {
        what: Some(what),
        ..sessions(params)?
    };
    api.everywhere(Request::Order(order)).await?;
    Ok(NOTHING.to_vec())
}

/// The sessions that the parameters name.
pub fn sessions(params: &RawValue) -> Result<Order, Refusal> {
    let Sessions {
        user,
        client,
        session,
        whitelist,
    } = read(params)?;
    if session.is_some_and(|session| !session.is_empty()) {
        return Err(bad("session is not supported: client names a session"));
    }
    let client = client.filter(|client| !client.is_empty());
    if user.is_empty() && client.is_none() {
        return Err(bad(
            "user is empty: anonymous sessions need their client's id",
        ));
    }
    let id = |name: &str, text: &str| {
        let id = SessionId::parse(text).map(|id| id.to_string());
        id.ok_or_else(|| bad(format!("{name}: {text:?} is no client's id")))
    };
    let except = whitelist.into_iter().flatten();
    Ok(Order {
        user: user.into_owned(),
        client: client
            .map(|client| id("client", &client))
            .transpose()?
            .unwrap_or_default(),
        except: except
            .map(|client| id("whitelist", &client))
            .collect::<Result<_, _>>()?,
        what: None,
    })
}
