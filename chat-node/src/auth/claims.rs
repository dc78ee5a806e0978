//! What a token or the backend says of a session, checked: JSON -> [`Identity`], [`RoomPass`]. No IO.
//!
//! Names and meanings are Centrifugo's. What this node has no use for is ignored: `meta`, `override`, `jti`, `iat`.

use bytes::Bytes;
use data_encoding::BASE64;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::broker::MAX_INFO_BYTES;
use crate::ids::UserId;
use crate::protocol::compact::compact;

/// Every publication of a user carries the name.
const MAX_USER_BYTES: usize = 255;

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0}")]
pub struct BadClaims(pub String);

/// Who a session is, and what comes with that.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    pub user: UserId,
    /// Compact JSON, as all that is handed on to readers.
    pub info: Option<Bytes>,
    /// Seconds since 1970; `None`: never.
    pub expires_at: Option<u64>,
    /// The rooms that the session is put into.
    pub rooms: Vec<GivenRoom>,
    /// What the connect reply hands to the client.
    pub data: Option<Bytes>,
    /// The client has a token, and can show another one before this expires.
    pub is_refreshable: bool,
}

/// A room that a session is put into without asking for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GivenRoom {
    pub name: String,
    pub info: Option<Bytes>,
    pub data: Option<Bytes>,
    pub expires_at: Option<u64>,
}

/// The leave of one user to join one room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomPass {
    pub room: String,
    pub user: UserId,
    pub info: Option<Bytes>,
    pub expires_at: Option<u64>,
}

/// The claims of a connection token.
#[derive(Debug, Deserialize)]
pub struct ConnectionClaims {
    sub: Option<String>,
    exp: Option<f64>,
    expire_at: Option<i64>,
    info: Option<Box<RawValue>>,
    b64info: Option<String>,
    channels: Option<Vec<String>>,
    subs: Option<Subs>,
    channel: Option<String>,
}

/// The claims of a subscription token.
#[derive(Debug, Deserialize)]
pub struct SubscriptionClaims {
    sub: Option<String>,
    channel: Option<String>,
    exp: Option<f64>,
    expire_at: Option<i64>,
    info: Option<Box<RawValue>>,
    b64info: Option<String>,
}

/// What the backend answers to a connect.
#[derive(Debug, Deserialize)]
pub struct ConnectResult {
    user: Option<String>,
    expire_at: Option<i64>,
    info: Option<Box<RawValue>>,
    b64info: Option<String>,
    data: Option<Box<RawValue>>,
    b64data: Option<String>,
    channels: Option<Vec<String>>,
    subs: Option<Subs>,
}

type Subs = std::collections::BTreeMap<String, Options>;

#[derive(Debug, Default, Deserialize)]
struct Options {
    expire_at: Option<i64>,
    info: Option<Box<RawValue>>,
    b64info: Option<String>,
    data: Option<Box<RawValue>>,
    b64data: Option<String>,
}

impl TryFrom<ConnectionClaims> for Identity {
    type Error = BadClaims;

    fn try_from(claims: ConnectionClaims) -> Result<Self, BadClaims> {
        // Whoever is handed the leave to join a room is not meant to be that user everywhere.
        if claims.channel.is_some_and(|channel| !channel.is_empty()) {
            let what = "it is a subscription token: it names a channel";
            return Err(BadClaims(what.to_owned()));
        }
        Ok(Self {
            user: user("sub", claims.sub)?,
            info: json("info", claims.info, claims.b64info)?,
            expires_at: expiry(claims.expire_at, claims.exp),
            rooms: rooms(claims.channels, claims.subs)?,
            data: None,
            is_refreshable: true,
        })
    }
}

impl TryFrom<ConnectResult> for Identity {
    type Error = BadClaims;

    fn try_from(result: ConnectResult) -> Result<Self, BadClaims> {
        Ok(Self {
            user: user("user", result.user)?,
            info: json("info", result.info, result.b64info)?,
            expires_at: expiry(result.expire_at, None),
            rooms: rooms(result.channels, result.subs)?,
            data: json("data", result.data, result.b64data)?,
            is_refreshable: false,
        })
    }
}

impl TryFrom<SubscriptionClaims> for RoomPass {
    type Error = BadClaims;

    fn try_from(claims: SubscriptionClaims) -> Result<Self, BadClaims> {
        let room = claims.channel.unwrap_or_default();
        if room.is_empty() {
            return Err(BadClaims("it names no channel".to_owned()));
        }
        Ok(Self {
            room,
            user: user("sub", claims.sub)?,
            info: json("info", claims.info, claims.b64info)?,
            expires_at: expiry(claims.expire_at, claims.exp),
        })
    }
}

fn user(claim: &str, name: Option<String>) -> Result<UserId, BadClaims> {
    let name = name.unwrap_or_default();
    match name.len() {
        0..=MAX_USER_BYTES => Ok(UserId::named(&name)),
        bytes => Err(BadClaims(format!(
            "{claim} has {bytes} bytes, at most {MAX_USER_BYTES} are allowed"
        ))),
    }
}

/// `expire_at` is about the session and wins; 0 there means never. `exp` is about the token, and about the session
/// where nothing else is said.
fn expiry(expire_at: Option<i64>, exp: Option<f64>) -> Option<u64> {
    match expire_at {
        Some(at) => u64::try_from(at).ok().filter(|at| *at > 0),
        // Before 1970 is as much in the past as any time.
        None => exp.map(|at| at.max(1.0) as u64),
    }
}

/// `channels` and `subs` say the same; a room that stands in both has what `subs` says of it.
fn rooms(channels: Option<Vec<String>>, subs: Option<Subs>) -> Result<Vec<GivenRoom>, BadClaims> {
    let mut subs = subs.unwrap_or_default();
    for channel in channels.unwrap_or_default() {
        subs.entry(channel).or_default();
    }
    let given = subs.into_iter().map(|(name, options)| {
        Ok(GivenRoom {
            info: json("info", options.info, options.b64info)?,
            data: json("data", options.data, options.b64data)?,
            expires_at: expiry(options.expire_at, None),
            name,
        })
    });
    given.collect()
}

/// A claim that is any JSON, or bytes in base64: which are JSON, too, or else reach readers as the base64 they came in.
pub fn json(
    claim: &str,
    value: Option<Box<RawValue>>,
    base64: Option<String>,
) -> Result<Option<Bytes>, BadClaims> {
    let bad = |what: &dyn std::fmt::Display| BadClaims(format!("{claim} {what}"));
    let from_base64 = match base64.filter(|text| !text.is_empty()) {
        None => None,
        Some(text) => {
            let bytes = BASE64
                .decode(text.as_bytes())
                .map_err(|_| bad(&"is not base64"))?;
            Some(
                serde_json::from_slice(&bytes)
                    .or_else(|_| RawValue::from_string(format!("\"{text}\"")))
                    .map_err(|_| bad(&"is not base64"))?,
            )
        }
    };
    let Some(raw): Option<Box<RawValue>> = from_base64.or(value) else {
        return Ok(None);
    };
    let compact = compact(raw.get()).map_err(|error| bad(&error))?;
    match compact.len() {
        0..=MAX_INFO_BYTES => Ok(Some(compact)),
        bytes => Err(bad(&format_args!(
            "has {bytes} bytes, at most {MAX_INFO_BYTES} are allowed"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection(json: &str) -> Result<Identity, BadClaims> {
        serde_json::from_str::<ConnectionClaims>(json)
            .unwrap()
            .try_into()
    }

    #[test]
    fn a_session_expires_with_its_token_unless_something_else_is_said() {
        let expires = |json: &str| connection(json).unwrap().expires_at;
        assert_eq!(expires("{}"), None);
        assert_eq!(expires(r#"{"exp":1700000000}"#), Some(1_700_000_000));
        assert_eq!(expires(r#"{"exp":1700000000.9}"#), Some(1_700_000_000));
        assert_eq!(
            expires(r#"{"exp":1700000000,"expire_at":1800000000}"#),
            Some(1_800_000_000)
        );
        assert_eq!(expires(r#"{"exp":1700000000,"expire_at":0}"#), None);
    }

    #[test]
    fn the_leave_to_join_a_room_opens_no_session() {
        assert!(connection(r#"{"sub":"ann","channel":"room"}"#).is_err());
        for none in ["null", r#""""#] {
            assert!(connection(&format!(r#"{{"sub":"ann","channel":{none}}}"#)).is_ok());
        }
    }

    #[test]
    fn info_is_any_json_on_one_line() {
        let info = |json: &str| connection(json).map(|identity| identity.info);
        assert_eq!(info("{}"), Ok(None));
        assert_eq!(
            info(r#"{"info":{ "name" : "Ann" }}"#),
            Ok(Some(r#"{"name":"Ann"}"#.into()))
        );
        assert_eq!(
            info(r#"{"b64info":"eyAiYSI6IDEgfQ=="}"#),
            Ok(Some(r#"{"a":1}"#.into()))
        );
        assert_eq!(info(r#"{"b64info":"/w=="}"#), Ok(Some(r#""/w==""#.into())));
        assert_eq!(
            info(r#"{"b64info":"?"}"#),
            Err(BadClaims("info is not base64".to_owned()))
        );
        let deep = format!(r#"{{"info":{}1{}}}"#, "[".repeat(200), "]".repeat(200));
        assert!(info(&deep).is_err());
        let long = format!(r#"{{"info":"{}"}}"#, "x".repeat(MAX_INFO_BYTES));
        assert!(info(&long).is_err());
    }

    #[test]
    fn channels_and_subs_are_one_list_of_rooms() {
        let identity = connection(
            r#"{"channels":["b","a"],"subs":{"a":{"info":1,"override":{"presence":{"value":true}}},"c":{"data":{"x":2}}}}"#,
        );
        let rooms = identity.unwrap().rooms;
        let names: Vec<_> = rooms.iter().map(|room| room.name.as_str()).collect();
        assert_eq!(names, ["a", "b", "c"]);
        assert_eq!(rooms[0].info.as_deref(), Some(&b"1"[..]));
        assert_eq!(rooms[2].data.as_deref(), Some(&br#"{"x":2}"#[..]));
    }

    #[test]
    fn a_subscription_token_names_its_channel() {
        let pass = |json: &str| {
            RoomPass::try_from(serde_json::from_str::<SubscriptionClaims>(json).unwrap())
        };
        assert!(pass(r#"{"sub":"ann"}"#).is_err());
        assert_eq!(pass(r#"{"sub":"ann","channel":"r"}"#).unwrap().room, "r");
    }

    #[test]
    fn a_user_is_no_longer_than_publications_can_bear() {
        let long = format!(r#"{{"sub":"{}"}}"#, "u".repeat(256));
        assert!(connection(&long).is_err());
        assert_eq!(connection("{}").unwrap().user, UserId::ANONYMOUS);
    }
}
