//! Commands as clients send them: JSON text -> [`Command`]s, borrowed from the text. Protobuf makes the same of bytes.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::StreamDeserializer;
use serde_json::de::StrRead;
use serde_json::value::RawValue;

/// One command. `id` is 0 where the client wants no reply.
#[derive(Debug)]
pub struct Command<'a> {
    pub id: u32,
    pub request: Request<'a>,
    /// The command's own bytes on the wire.
    pub bytes: usize,
}

#[derive(Debug)]
pub enum Request<'a> {
    Connect(Connect<'a>),
    Subscribe(Subscribe<'a>),
    Unsubscribe(InChannel<'a>),
    Publish(Publish<'a>),
    History(History<'a>),
    Presence(InChannel<'a>),
    PresenceStats(InChannel<'a>),
    Ping,
    Send,
    Rpc,
    Refresh(Refresh<'a>),
    SubRefresh(SubRefresh<'a>),
    /// The empty object: the answer to the server's ping.
    Pong,
    /// An id and nothing this node knows.
    Unknown,
}

impl Request<'_> {
    /// The method's name, as metrics and error texts call it.
    pub fn method(&self) -> &'static str {
        match self {
            Self::Connect(_) => "connect",
            Self::Subscribe(_) => "subscribe",
            Self::Unsubscribe(_) => "unsubscribe",
            Self::Publish(_) => "publish",
            Self::History(_) => "history",
            Self::Presence(_) => "presence",
            Self::PresenceStats(_) => "presence_stats",
            Self::Ping => "ping",
            Self::Send => "send",
            Self::Rpc => "rpc",
            Self::Refresh(_) => "refresh",
            Self::SubRefresh(_) => "sub_refresh",
            Self::Pong => "pong",
            Self::Unknown => "unknown",
        }
    }
}

impl<'a> Request<'a> {
    /// The room that the command is about, as it came.
    pub fn channel(&self) -> Option<Text<'a>> {
        match self {
            Self::Subscribe(request) => Some(request.channel),
            Self::Unsubscribe(request) => Some(request.channel),
            Self::Publish(request) => Some(request.channel),
            Self::History(request) => Some(request.channel),
            Self::Presence(request) | Self::PresenceStats(request) => Some(request.channel),
            Self::SubRefresh(request) => Some(request.channel),
            _ => None,
        }
    }
}

#[derive(Debug, serde::Deserialize)]
pub struct Connect<'a> {
    #[serde(borrow, default)]
    pub token: Text<'a>,
    /// Where the client is in the rooms that it was put into before.
    #[serde(borrow, default)]
    pub subs: Option<HashMap<String, Object<Resume<'a>>>>,
    /// For the backend, as the rest; the name of somebody without an account.
    #[serde(borrow, default)]
    pub data: Data<'a>,
    #[serde(borrow, default)]
    pub name: Text<'a>,
    #[serde(borrow, default)]
    pub version: Text<'a>,
    #[serde(default)]
    pub headers: Option<HashMap<String, String>>,
}

/// What a client wants of a room that it is put into.
#[derive(Debug, Default, serde::Deserialize)]
pub struct Resume<'a> {
    #[serde(default)]
    pub recover: bool,
    #[serde(default)]
    pub offset: Offset,
    #[serde(borrow, default)]
    pub epoch: Text<'a>,
}

#[derive(Debug, serde::Deserialize)]
pub struct Refresh<'a> {
    #[serde(borrow, default)]
    pub token: Text<'a>,
}

#[derive(Debug, serde::Deserialize)]
pub struct SubRefresh<'a> {
    #[serde(borrow, default)]
    pub channel: Text<'a>,
    #[serde(borrow, default)]
    pub token: Text<'a>,
}

#[derive(Debug, serde::Deserialize)]
pub struct Subscribe<'a> {
    #[serde(borrow, default)]
    pub channel: Text<'a>,
    #[serde(borrow, default)]
    pub token: Text<'a>,
    #[serde(default)]
    pub recover: bool,
    #[serde(default)]
    pub offset: Offset,
    #[serde(borrow, default)]
    pub epoch: Text<'a>,
    #[serde(default)]
    pub flag: i64,
    /// What is subscribed to: 0 is a stream, as all rooms are.
    #[serde(default, rename = "type")]
    pub kind: i32,
    /// Whether the client wants to hear of joins and leaves.
    #[serde(default)]
    pub join_leave: bool,
}

impl Subscribe<'_> {
    /// Whether the client wants an error rather than `recovered: false`: it loads its state anew by itself.
    pub fn rejects_unrecovered(&self) -> bool {
        self.flag & 2 != 0
    }
}

#[derive(Debug, serde::Deserialize)]
pub struct InChannel<'a> {
    #[serde(borrow, default)]
    pub channel: Text<'a>,
}

#[derive(Debug, serde::Deserialize)]
pub struct Publish<'a> {
    #[serde(borrow, default)]
    pub channel: Text<'a>,
    /// Any JSON. A missing `data` is an error, `null` is data.
    #[serde(borrow, default)]
    pub data: Data<'a>,
}

#[derive(Debug, serde::Deserialize)]
pub struct History<'a> {
    #[serde(borrow, default)]
    pub channel: Text<'a>,
    #[serde(borrow, default)]
    pub since: Option<Object<Since<'a>>>,
    /// 0 asks for the position alone, a negative number for as many as one page holds.
    #[serde(default)]
    pub limit: i32,
    #[serde(default)]
    pub reverse: bool,
}

#[derive(Debug, serde::Deserialize)]
pub struct Since<'a> {
    #[serde(default)]
    pub offset: Offset,
    #[serde(borrow, default)]
    pub epoch: Text<'a>,
}

/// What a client sends for others to read: JSON, as far as it can be. What is not fails its command, not its session.
#[derive(Clone, Copy, Debug, Default)]
pub enum Data<'a> {
    #[default]
    Absent,
    Json(&'a RawValue),
    NotJson {
        bytes: usize,
    },
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("data is not JSON: rooms are shared with clients that read nothing else")]
pub struct NotJson;

impl<'a> Data<'a> {
    /// Bytes that should be JSON; none at all are no data.
    pub fn of_bytes(bytes: &'a [u8]) -> Self {
        match serde_json::from_slice(bytes) {
            _ if bytes.is_empty() => Self::Absent,
            Ok(json) => Self::Json(json),
            Err(_) => Self::NotJson { bytes: bytes.len() },
        }
    }

    pub fn json(self) -> Result<Option<&'a RawValue>, NotJson> {
        match self {
            Self::Absent => Ok(None),
            Self::Json(json) => Ok(Some(json)),
            Self::NotJson { .. } => Err(NotJson),
        }
    }

    /// The size as it came.
    pub fn bytes(self) -> usize {
        match self {
            Self::Absent => 0,
            Self::Json(json) => json.get().len(),
            Self::NotJson { bytes } => bytes,
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Data<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <&RawValue>::deserialize(deserializer).map(Self::Json)
    }
}

/// A string that is decoded only when used, so that one bad name fails its command and not its session.
#[derive(Clone, Copy, Debug, Default)]
pub struct Text<'a>(Source<'a>);

#[derive(Clone, Copy, Debug, Default)]
enum Source<'a> {
    #[default]
    Absent,
    Json(&'a RawValue),
    Plain(&'a str),
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("not a valid string (a lone surrogate escape?)")]
pub struct BadText;

impl<'a> Text<'a> {
    /// Text that needs no decoding.
    pub fn plain(text: &'a str) -> Self {
        Self(Source::Plain(text))
    }

    /// The text; empty if the field was absent or null.
    pub fn decode(self) -> Result<Cow<'a, str>, BadText> {
        #[derive(serde::Deserialize)]
        struct Borrowed<'a>(#[serde(borrow)] Cow<'a, str>);
        match self.0 {
            Source::Absent => Ok(Cow::Borrowed("")),
            Source::Plain(text) => Ok(Cow::Borrowed(text)),
            Source::Json(raw) => serde_json::from_str::<Borrowed<'a>>(raw.get())
                .map(|text| text.0)
                .map_err(|_| BadText),
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(deserializer)?;
        match raw.get().as_bytes().first() {
            Some(b'"') => Ok(Self(Source::Json(raw))),
            Some(b'n') => Ok(Self(Source::Absent)),
            _ => Err(de::Error::custom("expected a string")),
        }
    }
}

/// An unsigned number, or its decimal digits in a string, as some SDKs send it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offset(pub u64);

impl<'de> Deserialize<'de> for Offset {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl Visitor<'_> for Either {
            type Value = Offset;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an unsigned offset")
            }
            fn visit_u64<E>(self, number: u64) -> Result<Offset, E> {
                Ok(Offset(number))
            }
            fn visit_str<E: de::Error>(self, digits: &str) -> Result<Offset, E> {
                digits.parse().map(Offset).map_err(E::custom)
            }
            fn visit_unit<E>(self) -> Result<Offset, E> {
                Ok(Offset(0))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// A JSON object and nothing else: serde's structs would take an array too.
#[derive(Debug)]
pub struct Object<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OnlyMap<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for OnlyMap<T> {
            type Value = Object<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Object<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Object)
            }
        }
        deserializer.deserialize_map(OnlyMap(PhantomData))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Command<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneMethod;
        impl<'de> Visitor<'de> for OneMethod {
            type Value = Command<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a command object")
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Command<'de>, A::Error> {
                read_command(map)
            }
        }
        deserializer.deserialize_map(OneMethod)
    }
}

fn read_command<'de, A: MapAccess<'de>>(mut map: A) -> Result<Command<'de>, A::Error> {
    let mut id = None;
    let mut method = None;
    let mut unknown = false;
    while let Some(Key(key)) = map.next_key()? {
        let found = match key.as_ref() {
            "id" => {
                id = map.next_value()?;
                continue;
            }
            "connect" => of(&mut map, Request::Connect)?,
            "subscribe" => of(&mut map, Request::Subscribe)?,
            "unsubscribe" => of(&mut map, Request::Unsubscribe)?,
            "publish" => of(&mut map, Request::Publish)?,
            "history" => of(&mut map, Request::History)?,
            "presence" => of(&mut map, Request::Presence)?,
            "presence_stats" => of(&mut map, Request::PresenceStats)?,
            "ping" => of(&mut map, |Anything {}| Request::Ping)?,
            "send" => of(&mut map, |Anything {}| Request::Send)?,
            "rpc" => of(&mut map, |Anything {}| Request::Rpc)?,
            "refresh" => of(&mut map, Request::Refresh)?,
            "sub_refresh" => of(&mut map, Request::SubRefresh)?,
            _ => {
                map.next_value::<de::IgnoredAny>()?;
                unknown = true;
                continue;
            }
        };
        if found.is_some() && std::mem::replace(&mut method, found).is_some() {
            return Err(de::Error::custom("more than one method in a command"));
        }
    }
    let request = match method {
        Some(request) => request,
        None if id.is_none() && !unknown => Request::Pong,
        None => Request::Unknown,
    };
    Ok(Command {
        id: id.unwrap_or(0),
        request,
        bytes: 0,
    })
}

/// Reads one method's parameters; `null` counts as absent.
fn of<'de, A: MapAccess<'de>, T: Deserialize<'de>>(
    map: &mut A,
    request: impl FnOnce(T) -> Request<'de>,
) -> Result<Option<Request<'de>>, A::Error> {
    let parameters = map.next_value::<Option<Object<T>>>()?;
    Ok(parameters.map(|object| request(object.0)))
}

/// Parameters that are not looked at (yet), but must be an object.
#[derive(Debug, serde::Deserialize)]
struct Anything {}

#[derive(serde::Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

/// The commands of one frame's text, in order.
pub struct Commands<'a> {
    text: &'a str,
    stream: StreamDeserializer<'a, StrRead<'a>, Command<'a>>,
}

#[derive(Debug, thiserror::Error)]
#[error("expected command objects in JSON, {0}")]
pub struct BadCommand(serde_json::Error);

impl<'a> Commands<'a> {
    pub fn new(text: &'a str) -> Self {
        Self {
            text,
            stream: serde_json::Deserializer::from_str(text).into_iter(),
        }
    }

    /// What has not been read yet.
    pub fn rest(&self) -> &'a str {
        &self.text[self.stream.byte_offset()..]
    }
}

impl<'a> Iterator for Commands<'a> {
    type Item = Result<Command<'a>, BadCommand>;

    fn next(&mut self) -> Option<Self::Item> {
        let before = self.stream.byte_offset();
        let command = self.stream.next()?.map_err(BadCommand);
        Some(command.map(|command| Command {
            bytes: self.stream.byte_offset() - before,
            ..command
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn one(text: &str) -> Command<'_> {
        let mut commands = Commands::new(text);
        let command = commands.next().unwrap().unwrap();
        assert!(commands.next().is_none());
        command
    }

    #[test]
    fn commands_are_read_as_sdks_send_them() {
        let text = concat!(
            r#"{"connect":{"name":"js"},"id":3}"#,
            "\n",
            r#"{"subscribe":{"channel":"room","flag":1,"recover":true,"offset":33,"epoch":"ep"},"id":4}"#
        );
        let mut commands = Commands::new(text);
        assert!(matches!(
            commands.next(),
            Some(Ok(Command {
                id: 3,
                request: Request::Connect(_),
                ..
            }))
        ));
        let Some(Ok(Command {
            id: 4,
            request: Request::Subscribe(subscribe),
            ..
        })) = commands.next()
        else {
            panic!("no subscribe");
        };
        assert_eq!(subscribe.channel.decode().unwrap(), "room");
        assert!(subscribe.recover && subscribe.offset == Offset(33));
        assert!(commands.next().is_none());
    }

    #[test]
    fn an_empty_object_is_a_pong_and_an_id_alone_is_unknown() {
        assert!(matches!(one("{}").request, Request::Pong));
        assert!(matches!(one(r#"{"id":5}"#).request, Request::Unknown));
        assert!(matches!(
            one(r#"{"id":5,"dance":{}}"#).request,
            Request::Unknown
        ));
        assert!(matches!(one(r#"{"dance":{}}"#).request, Request::Unknown));
    }

    #[test]
    fn offsets_may_be_decimal_strings() {
        let text =
            r#"{"id":1,"history":{"channel":"r","since":{"offset":"1700000000001"},"limit":-1}}"#;
        let Request::History(history) = one(text).request else {
            panic!()
        };
        assert_eq!(history.since.unwrap().0.offset, Offset(1_700_000_000_001));
        assert_eq!(history.limit, -1);
    }

    #[test]
    fn a_lone_surrogate_spoils_its_name_and_not_the_frame() {
        let Request::Subscribe(subscribe) =
            one(r#"{"id":1,"subscribe":{"channel":"a\ud800"}}"#).request
        else {
            panic!()
        };
        assert_eq!(subscribe.channel.decode(), Err(BadText));
    }

    #[test]
    fn data_may_be_null_but_not_absent() {
        let data = |text| {
            let Request::Publish(publish) = one(text).request else {
                panic!()
            };
            publish.data.json().unwrap().map(RawValue::get)
        };
        assert_eq!(
            data(r#"{"id":1,"publish":{"channel":"r","data":null}}"#),
            Some("null")
        );
        assert_eq!(data(r#"{"id":1,"publish":{"channel":"r"}}"#), None);
    }

    #[test]
    fn what_is_not_a_command_object_is_refused() {
        for text in [
            "hello",
            "42",
            "[]",
            r#""x""#,
            r#"{"id":"1","ping":{}}"#,
            r#"{"id":1,"ping":[]}"#,
            r#"{"id":1,"subscribe":"room"}"#,
            r#"{"id":1,"subscribe":{"channel":5}}"#,
            r#"{"id":-1,"ping":{}}"#,
            r#"{"id":1,"ping":{},"send":{}}"#,
            r#"{"id":1,"ping":{}"#,
            r#"{"id":4294967296,"ping":{}}"#,
            r#"{"id":1,"subscribe":{"channel":"r","offset":-1}}"#,
        ] {
            assert!(Commands::new(text).next().unwrap().is_err(), "{text}");
        }
    }

    /// Text that is nearly a frame of commands.
    fn nearly_commands() -> impl Strategy<Value = String> {
        let whole = prop_oneof![
            Just(r#"{"connect":{"name":"js"},"id":1}"#),
            Just(r#"{"id":2,"subscribe":{"channel":"r","recover":true,"offset":"7","epoch":"e"}}"#),
            Just(r#"{"publish":{"channel":"r","data":{"a":[1,"\\n",null]}},"id":3}"#),
            Just(r#"{"id":4,"history":{"channel":"r","since":{"offset":5},"limit":-1}}"#),
            Just(r#"{"send":{"data":1}}"#),
            Just("{}"),
        ];
        let separator = prop_oneof![Just("\n"), Just(""), Just(" \r\n\n"), Just(",")];
        let damage = (any::<prop::sample::Index>(), "[\\PC\n]{0,3}");
        (
            prop::collection::vec((whole, separator), 0..5),
            prop::option::weighted(0.7, damage),
        )
            .prop_map(|(commands, damage)| {
                let mut text: String = commands
                    .into_iter()
                    .flat_map(|(command, separator)| [command, separator])
                    .collect();
                if let Some((at, junk)) = damage {
                    let mut at = at.index(text.len() + 1);
                    while !text.is_char_boundary(at) {
                        at -= 1;
                    }
                    text.insert_str(at, &junk);
                }
                text
            })
    }

    proptest! {
        #[test]
        fn any_text_is_read_to_its_end_or_its_first_error(text in prop_oneof![any::<String>(), nearly_commands()]) {
            let mut commands = Commands::new(&text);
            let mut bytes = 0;
            while let Some(Ok(command)) = commands.next() {
                prop_assert!(command.bytes > 0);
                bytes += command.bytes;
            }
            prop_assert!(bytes <= text.len());
            prop_assert!(commands.next().is_none());
        }

        #[test]
        fn commands_that_were_held_read_the_same_later(text in nearly_commands(), stop in 0usize..5) {
            let read = |text: &str| -> Vec<_> {
                Commands::new(text).map(|command| command.map(|c| (c.id, c.request.method())).ok()).collect()
            };
            let mut commands = Commands::new(&text);
            let mut split: Vec<_> = commands
                .by_ref()
                .take(stop)
                .map(|command| command.map(|c| (c.id, c.request.method())).ok())
                .collect();
            if !split.contains(&None) {
                split.extend(read(commands.rest()));
            }
            prop_assert_eq!(split, read(&text));
        }
    }
}
