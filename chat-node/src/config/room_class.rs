//! Room classes: a room's prefix -> who may do what in it, and how much history is readable.
//!
//! Names, values and defaults are those of the ChatService's `roomClasses`.

use std::collections::HashMap;
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::FileError;
use super::duration::{DAY, SECOND, between};
use super::nearest::nearest;
use super::value::MAX_COUNT;
use crate::broker::Readable;

/// The class of rooms without a prefix.
const DEFAULT: &str = "default";
const MAX_CLASSES: usize = 64;
const MAX_PREFIX_CHARS: usize = 64;

/// The classes by prefix; class `default` always exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomClasses {
    by_prefix: HashMap<String, RoomClass>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RoomClass {
    pub subscribe: SubscribeAccess,
    pub publish: PublishAccess,
    pub history: ReadAccess,
    pub presence: ReadAccess,
    /// Whether members are told of joins and leaves.
    pub join_leave: bool,
    /// How many publications are readable; `None`: all that are stored.
    pub history_max_messages: Option<u32>,
    /// How old a readable publication may be; `None`: as old as what is stored.
    pub history_max_age: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub enum SubscribeAccess {
    #[default]
    Anyone,
    Token,
    Server,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub enum PublishAccess {
    Anyone,
    #[default]
    Subscribers,
    Token,
    Server,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub enum ReadAccess {
    Anyone,
    #[default]
    Subscribers,
    Server,
    None,
}

impl RoomClass {
    /// How much of what is kept members may read and recover.
    pub fn readable(&self) -> Readable {
        Readable {
            newest: self.history_max_messages,
            max_age: self.history_max_age,
        }
    }
}

impl RoomClasses {
    /// The class of `room`, by its prefix before the first `:`; `None` if there is no such class.
    pub fn of(&self, room: &str) -> Option<&RoomClass> {
        let prefix = room.split_once(':').map_or(DEFAULT, |(prefix, _)| prefix);
        self.by_prefix.get(prefix)
    }

    /// Reads the list under the file's key `roomClasses`.
    pub(super) fn from_value(value: Value) -> Result<Self, FileError> {
        let entries = match value {
            Value::Null => Vec::new(),
            Value::Array(entries) if entries.len() <= MAX_CLASSES => entries,
            _ => {
                let expected = format!("expected a list of at most {MAX_CLASSES} classes");
                return Err(FileError::value("roomClasses", expected));
            }
        };
        let mut classes = Self::default();
        let mut prefixes = Vec::new();
        for (index, entry) in entries.into_iter().enumerate() {
            let mut fields = Fields::of(format!("roomClasses[{index}]"), entry)?;
            let prefix = fields.prefix()?;
            if prefixes.contains(&prefix) {
                return Err(fields.wrong("prefix", format!("'{prefix}' stands twice")));
            }
            classes.by_prefix.insert(prefix.clone(), fields.class()?);
            prefixes.push(prefix);
        }
        Ok(classes)
    }
}

impl Default for RoomClasses {
    fn default() -> Self {
        let by_prefix = HashMap::from([(DEFAULT.to_owned(), RoomClass::default())]);
        Self { by_prefix }
    }
}

/// The fields of one entry; taken one by one, so that an error can say which is wrong.
struct Fields {
    path: String,
    left: Map<String, Value>,
    known: Vec<String>,
}

impl Fields {
    fn of(path: String, entry: Value) -> Result<Self, FileError> {
        match entry {
            Value::Object(left) => Ok(Self {
                path,
                left,
                known: Vec::new(),
            }),
            _ => Err(FileError::value(&path, "expected a mapping with a prefix")),
        }
    }

    fn prefix(&mut self) -> Result<String, FileError> {
        let prefix: Option<String> = self.take("prefix", "a text")?;
        prefix
            .filter(|prefix| (1..=MAX_PREFIX_CHARS).contains(&prefix.chars().count()))
            .filter(|prefix| !prefix.contains([':', '#']))
            .ok_or_else(|| {
                let expected =
                    format!("expected 1 to {MAX_PREFIX_CHARS} characters without ':' and '#'");
                self.wrong("prefix", expected)
            })
    }

    /// Reads the rest of the entry; refuses fields no class has.
    fn class(mut self) -> Result<RoomClass, FileError> {
        let read_access = "one of Anyone, Subscribers, Server, None";
        let class = RoomClass {
            subscribe: self
                .take("subscribe", "one of Anyone, Token, Server")?
                .unwrap_or_default(),
            publish: self
                .take("publish", "one of Anyone, Subscribers, Token, Server")?
                .unwrap_or_default(),
            history: self.take("history", read_access)?.unwrap_or_default(),
            presence: self.take("presence", read_access)?.unwrap_or_default(),
            join_leave: self.take("joinLeave", "true or false")?.unwrap_or_default(),
            history_max_messages: self.max_messages()?,
            history_max_age: self.max_age()?,
        };
        let Some(unknown) = self.left.keys().next() else {
            return Ok(class);
        };
        let path = format!("{}.{unknown}", self.path);
        let nearest = nearest(&path, self.known.iter().map(String::as_str)).map(str::to_owned);
        Err(FileError::UnknownKey { path, nearest })
    }

    fn max_messages(&mut self) -> Result<Option<u32>, FileError> {
        let name = "historyMaxMessages";
        let expected = format!("a whole number from 1 to {MAX_COUNT}");
        let count: Option<u32> = self.take(name, &expected)?;
        match count {
            Some(count) if !(1..=MAX_COUNT).contains(&count.into()) => {
                Err(self.wrong(name, format!("expected {expected}, found {count}")))
            }
            _ => Ok(count),
        }
    }

    fn max_age(&mut self) -> Result<Option<Duration>, FileError> {
        let name = "historyMaxAge";
        let text: Option<String> = self.take(name, "a duration such as 720h")?;
        text.map(|text| {
            let age = between(SECOND..=36_525 * DAY)(&text);
            age.map_err(|expected| self.wrong(name, format!("{expected}, found '{text}'")))
        })
        .transpose()
    }

    fn take<T: DeserializeOwned>(
        &mut self,
        name: &str,
        expected: &str,
    ) -> Result<Option<T>, FileError> {
        self.known.push(format!("{}.{name}", self.path));
        let value = self.left.remove(name).unwrap_or_default();
        let found = value.to_string();
        // The text "None" is an access; only an absent or empty field is no value.
        let field = (!value.is_null())
            .then(|| serde_json::from_value(value))
            .transpose();
        field.map_err(|_| self.wrong(name, format!("expected {expected}, found {found}")))
    }

    fn wrong(&self, name: &str, problem: String) -> FileError {
        FileError::value(&format!("{}.{name}", self.path), problem)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_prefix_decides_and_unknown_prefixes_have_no_class() {
        let classes = RoomClasses::from_value(json!([
            {"prefix": "news", "publish": "Server", "history": "None", "joinLeave": true,
             "historyMaxMessages": 10, "historyMaxAge": "1h30m"},
        ]))
        .unwrap();
        assert_eq!(classes.of("lobby"), Some(&RoomClass::default()));
        assert_eq!(classes.of("default:lobby"), Some(&RoomClass::default()));
        assert_eq!(classes.of("other:lobby"), None);
        assert_eq!(classes.of(":lobby"), None);
        let news = RoomClass {
            publish: PublishAccess::Server,
            history: ReadAccess::None,
            join_leave: true,
            history_max_messages: Some(10),
            history_max_age: Some(Duration::from_secs(5400)),
            ..RoomClass::default()
        };
        assert_eq!(classes.of("news:today"), Some(&news));
        assert_eq!(classes.of("news:today:late"), Some(&news));
        assert_eq!(classes.of("news"), Some(&RoomClass::default()));
    }

    #[test]
    fn an_entry_named_default_is_the_class_of_rooms_without_a_prefix() {
        let classes =
            RoomClasses::from_value(json!([{"prefix": "default", "subscribe": "Token"}])).unwrap();
        let lobby = classes.of("lobby").unwrap();
        assert_eq!(lobby.subscribe, SubscribeAccess::Token);
        assert_eq!(lobby.publish, PublishAccess::Subscribers);
    }

    #[test]
    fn an_empty_list_leaves_the_default_class() {
        for empty in [json!(null), json!([])] {
            let classes = RoomClasses::from_value(empty).unwrap();
            assert_eq!(classes.of("lobby"), Some(&RoomClass::default()));
        }
    }

    #[test]
    fn errors_name_the_entry_the_field_and_what_was_expected() {
        for (value, text) in [
            (
                json!("news"),
                "roomClasses: expected a list of at most 64 classes",
            ),
            (
                json!(["news"]),
                "roomClasses[0]: expected a mapping with a prefix",
            ),
            (
                json!([{}]),
                "roomClasses[0].prefix: expected 1 to 64 characters without ':' and '#'",
            ),
            (
                json!([{"prefix": "a:b"}]),
                "roomClasses[0].prefix: expected 1 to 64 characters without ':' and '#'",
            ),
            (
                json!([{"prefix": 5}]),
                "roomClasses[0].prefix: expected a text, found 5",
            ),
            (
                json!([{"prefix": "a"}, {"prefix": "a"}]),
                "roomClasses[1].prefix: 'a' stands twice",
            ),
            (
                json!([{"prefix": "a", "subscribe": "None"}]),
                "roomClasses[0].subscribe: expected one of Anyone, Token, Server, found \"None\"",
            ),
            (
                json!([{"prefix": "a", "joinLeave": "yes"}]),
                "roomClasses[0].joinLeave: expected true or false, found \"yes\"",
            ),
            (
                json!([{"prefix": "a", "historyMaxMessages": 0}]),
                "roomClasses[0].historyMaxMessages: expected a whole number from 1 to 2147483647, found 0",
            ),
            (
                json!([{"prefix": "a", "historyMaxAge": "7"}]),
                "roomClasses[0].historyMaxAge: expected a duration from 1s to 100years, such as 5s or 1h30m, found '7'",
            ),
            (
                json!([{"prefix": "a", "presense": "Anyone"}]),
                "unknown key 'roomClasses[0].presense', did you mean 'roomClasses[0].presence'?",
            ),
        ] {
            let error = RoomClasses::from_value(value).unwrap_err();
            assert_eq!(error.to_string(), text);
        }
    }
}
