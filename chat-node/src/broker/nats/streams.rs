//! What a shard's stream must be: its settings, how a stream differs from them, its epoch. No IO.
//!
//! `chat-node nats init` repairs the differences that can be repaired; a node follows a stream only after
//! [`check_for_node`]. Changing anything here changes what every release of the node expects.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use data_encoding::BASE32_NOPAD;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::broker::DUPLICATE_WINDOW;

/// How a room's name chooses its shard; stands in the streams' metadata.
pub const HASH_VERSION: &str = "blake3-1";
/// The layout of the streams. A later release that needs other streams counts it up.
pub const LAYOUT_VERSION: u32 = 1;
/// What a stored message may have besides its payload; the limit counts headers.
pub const MESSAGE_OVERHEAD_BYTES: usize = 64 * 1024;

const EPOCH: &str = "natter.epoch";
const SHARDS: &str = "natter.shards";
const HASH: &str = "natter.hash";
const VERSION: &str = "natter.version";

/// The name of a shard's stream.
pub fn stream_name(shard: u16) -> String {
    format!("C_{shard}")
}

/// A stream's settings, with those of other releases of the server kept as they came.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StreamConfig {
    pub name: String,
    #[serde(default)]
    pub subjects: Vec<String>,
    pub retention: String,
    pub discard: String,
    pub storage: String,
    pub num_replicas: u32,
    /// Limits: -1 means none.
    pub max_bytes: i64,
    pub max_msgs: i64,
    pub max_msgs_per_subject: i64,
    /// Nanoseconds; 0 means for ever.
    pub max_age: u64,
    #[serde(default)]
    pub max_msg_size: i64,
    pub max_consumers: i64,
    /// Nanoseconds.
    #[serde(default)]
    pub duplicate_window: u64,
    #[serde(default)]
    pub republish: Option<Republish>,
    #[serde(default)]
    pub allow_direct: bool,
    #[serde(default)]
    pub allow_msg_ttl: bool,
    #[serde(default)]
    pub allow_msg_schedules: bool,
    #[serde(default)]
    pub allow_msg_counter: bool,
    #[serde(default)]
    pub allow_rollup_hdrs: bool,
    #[serde(default)]
    pub allow_atomic: bool,
    #[serde(default)]
    pub allow_batched: bool,
    #[serde(default)]
    pub deny_delete: bool,
    #[serde(default)]
    pub deny_purge: bool,
    #[serde(default)]
    pub compression: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub placement: Option<Placement>,
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Republish {
    #[serde(default)]
    pub src: String,
    pub dest: String,
    #[serde(default)]
    pub headers_only: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Placement {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub cluster: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// What is asked for when streams are set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Desired {
    pub shards: u16,
    pub replicas: u32,
    /// How large each stream may become.
    pub max_bytes: u64,
    pub max_age: Duration,
    /// The largest payload.
    pub message_bytes: usize,
    /// Servers that may hold the streams have all of these; empty means any server.
    pub placement_tags: Vec<String>,
}

impl StreamConfig {
    /// The stream of `shard`. `epoch` counts only when it is created.
    pub fn desired(desired: &Desired, shard: u16, epoch: &str) -> Self {
        let Desired {
            shards,
            replicas,
            max_bytes,
            max_age,
            message_bytes,
            placement_tags,
        } = desired;
        let subjects = format!("c.in.{shard}.*.*");
        Self {
            name: stream_name(shard),
            republish: Some(Republish {
                src: subjects.clone(),
                dest: format!("c.live.{shard}.{{{{wildcard(1)}}}}.{{{{wildcard(2)}}}}"),
                headers_only: false,
            }),
            subjects: vec![subjects],
            retention: "limits".to_owned(),
            discard: "old".to_owned(),
            storage: "file".to_owned(),
            num_replicas: *replicas,
            max_bytes: i64::try_from(*max_bytes).unwrap_or(i64::MAX),
            max_msgs: -1,
            max_msgs_per_subject: -1,
            max_age: nanoseconds(*max_age),
            max_msg_size: (message_bytes + MESSAGE_OVERHEAD_BYTES) as i64,
            max_consumers: 64,
            duplicate_window: nanoseconds(DUPLICATE_WINDOW),
            allow_direct: true,
            allow_msg_ttl: false,
            allow_msg_schedules: false,
            allow_msg_counter: false,
            allow_rollup_hdrs: false,
            allow_atomic: false,
            allow_batched: false,
            deny_delete: false,
            deny_purge: false,
            compression: "none".to_owned(),
            placement: (!placement_tags.is_empty()).then(|| Placement {
                tags: placement_tags.clone(),
                ..Placement::default()
            }),
            metadata: [
                (EPOCH, epoch.to_owned()),
                (SHARDS, shards.to_string()),
                (HASH, HASH_VERSION.to_owned()),
                (VERSION, LAYOUT_VERSION.to_string()),
            ]
            .map(|(key, value)| (key.to_owned(), value))
            .into(),
            other: Map::new(),
        }
    }

    /// These settings with every difference to `desired` removed that `repairs` names; the rest stays as it is.
    pub fn repaired(&self, desired: &Self, repairs: &[Difference]) -> Self {
        let (mut settings, wanted) = (settings(self), settings(desired));
        for Difference { field, .. } in repairs {
            if let Some(key) = field.strip_prefix("metadata.") {
                let (mut metadata, wanted) = (object(&settings, "metadata"), &wanted["metadata"]);
                metadata.insert(key.to_owned(), wanted[key].clone());
                settings.insert("metadata".to_owned(), metadata.into());
            } else if field == "placement.tags" {
                let (mut placement, wanted) =
                    (object(&settings, "placement"), &wanted["placement"]);
                placement.insert("tags".to_owned(), wanted["tags"].clone());
                settings.insert("placement".to_owned(), placement.into());
            } else if let Some(value) = wanted.get(field) {
                settings.insert(field.clone(), value.clone());
            } else {
                settings.remove(field);
            }
        }
        serde_json::from_value(settings.into()).expect("values of two streams make a stream")
    }

    /// The shard count that the stream was created for.
    pub fn shards(&self) -> Option<u16> {
        self.metadata.get(SHARDS)?.parse().ok()
    }

    pub fn has_epoch_of(&self, other: &Self) -> bool {
        self.metadata.get(EPOCH) == other.metadata.get(EPOCH)
    }

    /// Gives the stream the random part of another's epoch: no offset of before can be resumed from.
    pub fn take_epoch_of(&mut self, other: &Self) {
        if let Some(epoch) = other.metadata.get(EPOCH) {
            self.metadata.insert(EPOCH.to_owned(), epoch.clone());
        }
    }

    /// Settings that this release does not know and that are set.
    pub fn unknown_settings(&self) -> impl Iterator<Item = &str> {
        let unknown = |(key, value): &(&String, &Value)| {
            !is_empty(value) && !IGNORED.contains(&key.as_str()) && rule(key).is_none()
        };
        self.other
            .iter()
            .filter(unknown)
            .map(|(key, _)| key.as_str())
    }
}

/// The incarnation of a stream, as clients see it: 16 characters of base32.
pub fn epoch(created: &str, metadata: &BTreeMap<String, String>) -> String {
    let random = metadata.get(EPOCH).map_or("", String::as_str);
    let mut hash = blake3::Hasher::new();
    hash.update(created.as_bytes());
    hash.update(b"\0");
    hash.update(random.as_bytes());
    let mut text = BASE32_NOPAD.encode(&hash.finalize().as_bytes()[..10]);
    text.make_ascii_lowercase();
    text
}

/// A random value for `natter.epoch`.
pub fn random_epoch() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

/// One setting that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// As in the stream's configuration: `max_age`, `metadata.natter.shards`.
    pub field: String,
    pub expected: String,
    pub found: String,
    pub repair: Repair,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repair {
    /// An update of the stream repairs it and loses nothing.
    Safe,
    /// An update repairs it and drops stored messages: only if that is asked for.
    DropsHistory,
    /// The server refuses it, or offsets and rooms would change their meaning.
    Unsafe,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            field,
            expected,
            found,
            ..
        } = self;
        write!(f, "{field} is {found}, expected {expected}")
    }
}

/// Which values of a setting are accepted, and whether a wrong one can be repaired.
enum Rule {
    Equal(Repair),
    /// A larger value is as good; no limit is larger than any.
    AtLeast,
    /// Growing is safe, shrinking is not.
    Grows {
        shrinking: Repair,
    },
}

fn rule(field: &str) -> Option<Rule> {
    use Repair::{DropsHistory, Safe, Unsafe};
    Some(match field {
        "max_bytes" | "max_age" => Rule::Grows {
            shrinking: DropsHistory,
        },
        "num_replicas" => Rule::Grows { shrinking: Unsafe },
        "max_msgs" | "max_msgs_per_subject" | "max_msg_size" | "duplicate_window" => Rule::AtLeast,
        "discard"
        | "discard_new_per_subject"
        | "republish"
        | "allow_direct"
        | "max_consumers"
        | "compression"
        | "no_ack"
        | "allow_rollup_hdrs"
        | "allow_atomic"
        | "allow_batched"
        | "subject_delete_marker_ttl" => Rule::Equal(Safe),
        "name"
        | "subjects"
        | "retention"
        | "storage"
        | "persist_mode"
        | "sealed"
        | "deny_delete"
        | "deny_purge"
        | "allow_msg_ttl"
        | "allow_msg_schedules"
        | "allow_msg_counter"
        | "mirror"
        | "sources"
        | "subject_transform" => Rule::Equal(Unsafe),
        _ => return None,
    })
}

/// Settings that mean nothing to Natter, or are compared by their parts.
const IGNORED: [&str; 6] = [
    "metadata",
    "placement",
    "description",
    "mirror_direct",
    "first_seq",
    "consumer_limits",
];

/// What a node relies on. The rest is the affair of whoever sets the streams up.
const NODE_RELIES_ON: [&str; 21] = [
    "subjects",
    "republish",
    "retention",
    "discard",
    "discard_new_per_subject",
    "storage",
    "persist_mode",
    "no_ack",
    "sealed",
    "mirror",
    "sources",
    "subject_transform",
    "max_msgs_per_subject",
    "max_msg_size",
    "duplicate_window",
    "allow_direct",
    "allow_msg_schedules",
    "allow_msg_counter",
    "subject_delete_marker_ttl",
    "metadata.natter.epoch",
    "metadata.natter.version",
];

/// Every setting of `actual` that is not as `desired` has it. The value of the epoch may be any.
pub fn differences(actual: &StreamConfig, desired: &StreamConfig) -> Vec<Difference> {
    let mut found = metadata_differences(&actual.metadata, &desired.metadata);
    let (actual_settings, desired_settings) = (settings(actual), settings(desired));
    let fields: BTreeSet<_> = actual_settings
        .keys()
        .chain(desired_settings.keys())
        .collect();
    for field in fields {
        let Some(rule) = rule(field) else { continue };
        let value =
            |settings: &Map<String, Value>| settings.get(field).cloned().unwrap_or_default();
        let (actual, desired) = (value(&actual_settings), value(&desired_settings));
        let repair = match rule {
            _ if same(&actual, &desired) => continue,
            Rule::Equal(repair) => repair,
            Rule::AtLeast if size(&actual) >= size(&desired) => continue,
            Rule::Grows { shrinking } if size(&actual) > size(&desired) => shrinking,
            Rule::AtLeast | Rule::Grows { .. } => Repair::Safe,
        };
        found.push(Difference {
            field: field.clone(),
            expected: shown(field, &desired),
            found: shown(field, &actual),
            repair,
        });
    }
    found.extend(placement_difference(actual, desired));
    found
}

/// Nothing is asked of the placement if there are no tags.
fn placement_difference(actual: &StreamConfig, desired: &StreamConfig) -> Option<Difference> {
    let none = Placement::default();
    let tags = |config: &StreamConfig| {
        let mut tags = config.placement.as_ref().unwrap_or(&none).tags.clone();
        tags.sort();
        tags
    };
    let (actual, desired) = (tags(actual), tags(desired));
    (!desired.is_empty() && actual != desired).then(|| Difference {
        field: "placement.tags".to_owned(),
        expected: format!("[{}]", desired.join(", ")),
        found: format!("[{}]", actual.join(", ")),
        repair: Repair::Safe,
    })
}

fn metadata_differences(
    actual: &BTreeMap<String, String>,
    desired: &BTreeMap<String, String>,
) -> Vec<Difference> {
    let differs = |(key, expected): (&String, &String)| {
        let found = actual.get(key);
        let (accepted, repair) = match key.as_str() {
            EPOCH => (found.is_some_and(|epoch| !epoch.is_empty()), Repair::Unsafe),
            VERSION => (found == Some(expected), repair_of_version(found)),
            _ => (found == Some(expected), Repair::Unsafe),
        };
        let expected = match key.as_str() {
            EPOCH => "a random value",
            _ => expected,
        };
        (!accepted).then(|| Difference {
            field: format!("metadata.{key}"),
            expected: expected.to_owned(),
            found: found.map_or("missing", String::as_str).to_owned(),
            repair,
        })
    };
    desired.iter().filter_map(differs).collect()
}

/// An older layout is brought up to date; a newer one is left to the release that made it.
fn repair_of_version(found: Option<&String>) -> Repair {
    match found.and_then(|version| version.parse::<u32>().ok()) {
        Some(version) if version < LAYOUT_VERSION => Repair::Safe,
        _ => Repair::Unsafe,
    }
}

/// Checks what a node relies on before it follows the stream of a shard.
///
/// Errors: a sentence for the operator on call: the setting, both values, and what to do.
pub fn check_for_node(
    actual: &StreamConfig,
    shard: u16,
    shards: u16,
    message_bytes: usize,
) -> Result<(), String> {
    let name = stream_name(shard);
    let found = |key| actual.metadata.get(key).map(String::as_str);
    let Some(stream_shards) = found(SHARDS) else {
        return Err(format!(
            "stream {name} was not set up for Natter: its metadata lacks {SHARDS}; remove it if nothing \
             else needs it and run `chat-node nats init`"
        ));
    };
    if stream_shards != shards.to_string() {
        return Err(format!(
            "stream {name} is one of {stream_shards} shards, but history.shards (--shards) of this node is \
             {shards}; start the node with --shards {stream_shards}"
        ));
    }
    let stream_hash = found(HASH).unwrap_or("missing");
    if stream_hash != HASH_VERSION {
        return Err(format!(
            "stream {name} places rooms by the hash '{stream_hash}', this node by '{HASH_VERSION}'; start a \
             release of the node that knows '{stream_hash}'"
        ));
    }
    // Limits and copies are the operator's choice, whatever they are.
    let chosen = Desired {
        shards,
        replicas: actual.num_replicas,
        max_bytes: 0,
        max_age: Duration::ZERO,
        message_bytes,
        placement_tags: Vec::new(),
    };
    let differences = differences(actual, &StreamConfig::desired(&chosen, shard, ""));
    let mut relied_on = differences
        .into_iter()
        .filter(|difference| NODE_RELIES_ON.contains(&difference.field.as_str()));
    match relied_on.next() {
        None => Ok(()),
        Some(difference) => {
            let remedy = match difference.repair {
                Repair::Safe => "run `chat-node nats init`, which repairs it",
                _ => "it cannot be repaired in place: `chat-node nats init` says more",
            };
            Err(format!("stream {name}: {difference}; {remedy}"))
        }
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn settings(config: &StreamConfig) -> Map<String, Value> {
    match serde_json::to_value(config) {
        Ok(Value::Object(settings)) => settings,
        _ => Map::new(),
    }
}

fn object(settings: &Map<String, Value>, key: &str) -> Map<String, Value> {
    let value = settings.get(key).and_then(Value::as_object);
    value.cloned().unwrap_or_default()
}

/// Whether two values mean the same: the server leaves out what is empty.
fn same(a: &Value, b: &Value) -> bool {
    a == b || (is_empty(a) && is_empty(b))
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Number(number) => number.as_i64() == Some(0),
        Value::String(text) => text.is_empty() || text == "none" || text == "default",
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.values().all(is_empty),
        Value::Bool(true) => false,
    }
}

/// The size of a limit; none is the largest.
fn size(value: &Value) -> u64 {
    value
        .as_u64()
        .filter(|limit| *limit > 0)
        .unwrap_or(u64::MAX)
}

/// A value as people write it.
fn shown(field: &str, value: &Value) -> String {
    let limit = value.as_u64().filter(|limit| *limit > 0);
    match (field, limit) {
        ("max_age" | "duplicate_window" | "subject_delete_marker_ttl", Some(nanoseconds)) => {
            shown_duration(Duration::from_nanos(nanoseconds))
        }
        ("max_age" | "max_bytes" | "max_msgs" | "max_msgs_per_subject" | "max_msg_size", None) => {
            "unlimited".to_owned()
        }
        _ if value.is_null() => "not set".to_owned(),
        _ => match value {
            Value::String(text) => text.clone(),
            value => value.to_string(),
        },
    }
}

/// `720h` as it was given, and not `30days`.
fn shown_duration(duration: Duration) -> String {
    let (hours, rest) = (duration.as_secs() / 3600, duration.as_secs() % 3600);
    match (hours, rest, duration.subsec_nanos()) {
        (1.., 0, 0) => format!("{hours}h"),
        _ => humantime::format_duration(duration).to_string(),
    }
}

#[cfg(test)]
mod tests;
