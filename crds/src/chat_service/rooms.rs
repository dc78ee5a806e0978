//! Rooms: what is kept of them, who may do what in them, and what clients may use up.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::shape::{AGE, empty, int, text};

/// What is kept of messages, and for how long.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct History {
    /// How long messages are kept, such as 720h or 1h30m.
    #[serde(default = "max_age")]
    #[schemars(length(max = 32), regex(pattern = AGE))]
    pub max_age: String,
    /// How much is kept of each shard; then its oldest messages go, of whatever room.
    #[serde(default = "max_bytes_per_shard")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = Rule::new("isQuantity(self) && quantity(self).isGreaterThan(quantity('0'))").message("must be a quantity such as 512Mi"))]
    pub max_bytes_per_shard: String,
    /// Streams over which rooms are spread. It cannot be changed.
    #[serde(default = "int::<8>")]
    #[schemars(range(min = 1, max = 64))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("shards cannot change: it decides where every room is stored"))]
    pub shards: i32,
}

fn max_age() -> String {
    text("720h")
}

fn max_bytes_per_shard() -> String {
    text("512Mi")
}

/// Rooms whose names begin with `prefix:`.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RoomClass {
    /// What stands before the first `:` of the room's name; `default` is for rooms without one.
    #[schemars(length(min = 1, max = 64), regex(pattern = "^[^:#]+$"))]
    pub prefix: String,
    /// Who may join: Anyone, Token (a token that names the room) or Server (only by the server API).
    #[serde(default)]
    pub subscribe: SubscribeAccess,
    /// Who may publish: Anyone, Subscribers, Token or Server.
    #[serde(default)]
    pub publish: PublishAccess,
    /// Who may read what was published: Anyone, Subscribers, Server or None.
    #[serde(default)]
    pub history: ReadAccess,
    /// Who may see who is there: Anyone, Subscribers, Server or None.
    #[serde(default)]
    pub presence: ReadAccess,
    /// Members are told of joins and leaves.
    #[serde(default)]
    pub join_leave: bool,
    /// How many messages are readable and recoverable; narrows what is stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub history_max_messages: Option<i32>,
    /// How old a readable message may be; narrows what is stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), regex(pattern = AGE))]
    pub history_max_age: Option<String>,
}

#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SubscribeAccess {
    #[default]
    Anyone,
    Token,
    Server,
}

#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PublishAccess {
    Anyone,
    #[default]
    Subscribers,
    Token,
    Server,
}

#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReadAccess {
    Anyone,
    #[default]
    Subscribers,
    Server,
    None,
}

/// What clients may use up.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// Connections of a replica.
    #[serde(default = "int::<30000>")]
    #[schemars(range(min = 1))]
    pub connections: i32,
    /// New connections of a replica in a second.
    #[serde(default = "int::<1000>")]
    #[schemars(range(min = 1))]
    pub connects_per_second: i32,
    /// Largest message, in bytes.
    #[serde(default = "int::<65536>")]
    #[schemars(range(min = 1, max = 524_288))]
    pub message_bytes: i32,
    /// Rooms that one session may have joined.
    #[serde(default = "int::<128>")]
    #[schemars(range(min = 1, max = 10_000))]
    pub rooms_per_session: i32,
    /// Messages that one session may publish in a second.
    #[serde(default = "int::<50>")]
    #[schemars(range(min = 1))]
    pub publishes_per_second_per_session: i32,
    /// Messages that all sessions of a replica together may publish to one room in a second.
    #[serde(default = "int::<500>")]
    #[schemars(range(min = 1))]
    pub publishes_per_second_per_room: i32,
}

impl Default for History {
    fn default() -> Self {
        empty()
    }
}

impl Default for Limits {
    fn default() -> Self {
        empty()
    }
}
