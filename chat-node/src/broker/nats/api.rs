//! JetStream's JSON API: subjects to ask on, and what comes back. No IO.
//!
//! Answers are parsed as far as Natter reads them; fields that it does not know are skipped.

use std::collections::BTreeMap;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};

use super::streams::StreamConfig;

/// Values of [`ApiError::err_code`].
pub mod code {
    /// Direct and stored reads: no such message.
    pub const NO_MESSAGE: u32 = 10037;
    pub const NOT_ENABLED_FOR_ACCOUNT: u32 = 10039;
    /// The message with its headers is larger than `max_msg_size`.
    pub const MESSAGE_TOO_LARGE: u32 = 10054;
    /// A stream of this name exists with another configuration.
    pub const STREAM_NAME_IN_USE: u32 = 10058;
    pub const STREAM_NOT_FOUND: u32 = 10059;
    /// `Nats-Expected-Stream` names another stream than the one that took the subject.
    pub const STREAM_NOT_MATCH: u32 = 10060;
    pub const NOT_ENABLED: u32 = 10076;
    /// An earlier message with this id is being stored; whether it will be is not known yet.
    pub const DUPLICATE_IN_PROCESS: u32 = 10158;
}

/// Subjects of the API, for one stream.
pub mod subject {
    pub fn create(stream: &str) -> String {
        format!("$JS.API.STREAM.CREATE.{stream}")
    }

    pub fn update(stream: &str) -> String {
        format!("$JS.API.STREAM.UPDATE.{stream}")
    }

    pub fn info(stream: &str) -> String {
        format!("$JS.API.STREAM.INFO.{stream}")
    }

    pub fn purge(stream: &str) -> String {
        format!("$JS.API.STREAM.PURGE.{stream}")
    }

    /// Answered by any replica, which may lag.
    pub fn direct_get(stream: &str) -> String {
        format!("$JS.API.DIRECT.GET.{stream}")
    }

    /// Answered by the leader.
    pub fn message_get(stream: &str) -> String {
        format!("$JS.API.STREAM.MSG.GET.{stream}")
    }

    pub fn message_delete(stream: &str) -> String {
        format!("$JS.API.STREAM.MSG.DELETE.{stream}")
    }
}

/// What the API answered instead of the thing that was asked for.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, thiserror::Error)]
#[error("{description} (code {code}, error {err_code})")]
pub struct ApiError {
    /// As in HTTP.
    pub code: u16,
    /// One of the numbers in [`code`], or another.
    #[serde(default)]
    pub err_code: u32,
    #[serde(default)]
    pub description: String,
}

impl ApiError {
    pub fn is(&self, err_code: u32) -> bool {
        self.err_code == err_code
    }
}

/// An answer of the API: what was asked for, or why not.
pub type Answer<T> = Result<T, ApiError>;

/// Parses an answer. The outer error means that the payload is not what the API sends.
pub fn parse<T: DeserializeOwned>(payload: &[u8]) -> Result<Answer<T>, serde_json::Error> {
    #[derive(Deserialize)]
    struct Refusal {
        error: Option<ApiError>,
    }
    // First: a refused publish also has the fields of an acknowledgement, with sequence 0.
    if let Refusal { error: Some(error) } = serde_json::from_slice(payload)? {
        return Ok(Err(error));
    }
    serde_json::from_slice(payload).map(Ok)
}

/// The acknowledgement of a publish.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct PubAck {
    pub stream: String,
    pub seq: u64,
    /// The id was stored before, at `seq`.
    #[serde(default)]
    pub duplicate: bool,
}

/// A stream as it is. Also the answer to its creation and its update.
#[derive(Clone, Debug, Deserialize)]
pub struct StreamInfo {
    pub config: StreamConfig,
    /// RFC 3339; kept by restores.
    pub created: String,
    /// When this was gathered.
    #[serde(default)]
    pub ts: Option<String>,
    pub state: State,
    /// Absent on a single server.
    #[serde(default)]
    pub cluster: Option<ClusterInfo>,
}

impl StreamInfo {
    /// Whether the answer comes from a stream that has a leader; without one it is old state.
    pub fn has_leader(&self) -> bool {
        match &self.cluster {
            None => true,
            Some(cluster) => cluster.leader.as_ref().is_some_and(|name| !name.is_empty()),
        }
    }

    /// Replicas, the leader's included, that are up and have everything.
    pub fn current_replicas(&self) -> usize {
        self.cluster.as_ref().map_or(1, |cluster| {
            let current = |peer: &&Peer| peer.current && !peer.offline;
            usize::from(self.has_leader()) + cluster.replicas.iter().filter(current).count()
        })
    }
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
pub struct State {
    pub messages: u64,
    pub bytes: u64,
    /// 1 or more; `last_seq + 1` if there is no message.
    pub first_seq: u64,
    pub last_seq: u64,
    #[serde(default)]
    pub first_ts: Option<String>,
    #[serde(default)]
    pub last_ts: Option<String>,
    #[serde(default)]
    pub num_subjects: u64,
    #[serde(default)]
    pub num_deleted: u64,
    #[serde(default)]
    pub consumer_count: u64,
    /// Messages of each subject; only if the request had a `subjects_filter`.
    #[serde(default)]
    pub subjects: Option<BTreeMap<String, u64>>,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
pub struct ClusterInfo {
    #[serde(default)]
    pub name: Option<String>,
    #[serde(default)]
    pub leader: Option<String>,
    /// The others.
    #[serde(default)]
    pub replicas: Vec<Peer>,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
pub struct Peer {
    pub name: String,
    #[serde(default)]
    pub current: bool,
    #[serde(default)]
    pub offline: bool,
    #[serde(default)]
    pub lag: u64,
}

/// The leader's answer to a read of one message.
#[derive(Clone, Debug, Deserialize)]
pub struct MessageReply {
    pub message: StoredMessage,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct StoredMessage {
    pub subject: String,
    pub seq: u64,
    /// RFC 3339.
    pub time: String,
    #[serde(default, deserialize_with = "base64_bytes")]
    pub data: Bytes,
}

fn base64_bytes<'de, D: Deserializer<'de>>(from: D) -> Result<Bytes, D::Error> {
    let text = <std::borrow::Cow<'de, str>>::deserialize(from)?;
    let bytes = BASE64_STANDARD.decode(text.as_bytes());
    bytes.map(Bytes::from).map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    const INFO: &str = r#"{"type":"io.nats.jetstream.api.v1.stream_info_response","total":0,"offset":0,"limit":0,
        "config":{"name":"C_0","subjects":["c.in.0.*.*"],"retention":"limits","max_consumers":64,"max_msgs":-1,
        "max_bytes":536870912,"max_age":2592000000000000,"max_msgs_per_subject":-1,"max_msg_size":131072,
        "discard":"old","storage":"file","num_replicas":3,"duplicate_window":300000000000,"compression":"none",
        "republish":{"src":"c.in.0.*.*","dest":"c.live.0.{{wildcard(1)}}.{{wildcard(2)}}"},"allow_direct":true,
        "mirror_direct":false,"sealed":false,"deny_delete":false,"deny_purge":false,"allow_rollup_hdrs":false,
        "consumer_limits":{},"allow_msg_ttl":false,"metadata":{"_nats.ver":"2.15.1","natter.epoch":"abc"}},
        "created":"2026-11-21T10:00:00.123456789Z",
        "state":{"messages":5,"bytes":300,"first_seq":1,"first_ts":"2026-11-21T10:00:01Z","last_seq":5,
        "last_ts":"2026-11-21T10:00:02Z","num_subjects":1,"consumer_count":0,"subjects":{"c.in.0.room.m":5}},
        "cluster":{"name":"natter","raft_group":"S-R3F-x","leader":"n1","replicas":[
        {"name":"n2","current":true,"active":1000,"peer":"p2"},
        {"name":"n3","current":false,"offline":true,"active":2000,"lag":7,"peer":"p3"}]},
        "ts":"2026-11-21T10:00:03Z"}"#;

    #[test]
    fn a_stream_of_a_cluster_is_read() {
        let info: StreamInfo = parse(INFO.as_bytes()).unwrap().unwrap();
        assert_eq!(info.config.name, "C_0");
        assert_eq!(info.config.metadata["natter.epoch"], "abc");
        assert_eq!(info.created, "2026-11-21T10:00:00.123456789Z");
        assert_eq!((info.state.first_seq, info.state.last_seq), (1, 5));
        assert_eq!(info.state.subjects.as_ref().unwrap()["c.in.0.room.m"], 5);
        assert!(info.has_leader());
        assert_eq!(info.current_replicas(), 2);
    }

    #[test]
    fn only_a_cluster_can_lack_a_leader() {
        let mut info: StreamInfo = parse(INFO.as_bytes()).unwrap().unwrap();
        for leader in [None, Some(String::new())] {
            info.cluster.as_mut().unwrap().leader = leader;
            assert!(!info.has_leader());
        }
        info.cluster = None;
        assert!(info.has_leader());
        assert_eq!(info.current_replicas(), 1);
    }

    #[test]
    fn an_error_is_told_apart_from_a_broken_answer() {
        let missing =
            br#"{"error":{"code":404,"err_code":10059,"description":"stream not found"}}"#;
        let error = parse::<StreamInfo>(missing).unwrap().unwrap_err();
        assert!(error.is(code::STREAM_NOT_FOUND));
        assert_eq!(
            error.to_string(),
            "stream not found (code 404, error 10059)"
        );
        for broken in ["", "{}", "[]", "{\"config\":{}}"] {
            assert!(parse::<StreamInfo>(broken.as_bytes()).is_err(), "{broken}");
        }
    }

    #[test]
    fn a_refused_publish_is_no_acknowledgement() {
        let refused = br#"{"error":{"code":400,"err_code":10060,"description":"expected stream does not match"},"stream":"C_0","seq":0}"#;
        let error = parse::<PubAck>(refused).unwrap().unwrap_err();
        assert!(error.is(code::STREAM_NOT_MATCH));
        let ack = parse::<PubAck>(br#"{"stream":"C_0","seq":9,"duplicate":true}"#);
        let stored = PubAck {
            stream: "C_0".to_owned(),
            seq: 9,
            duplicate: true,
        };
        assert_eq!(ack.unwrap(), Ok(stored));
        let ack = parse::<PubAck>(br#"{"stream":"C_0","seq":9}"#).unwrap();
        assert!(!ack.unwrap().duplicate);
    }

    #[test]
    fn a_stored_message_has_its_bytes() {
        let hdrs = BASE64_STANDARD.encode("NATS/1.0\r\nNats-Msg-Id: a:b\r\nOther: x\r\n\r\n");
        let data = BASE64_STANDARD.encode([0, 255, 1]);
        let reply = format!(
            r#"{{"type":"x","message":{{"subject":"c.in.0.r.m","seq":3,"hdrs":"{hdrs}","data":"{data}","time":"2026-11-21T10:00:00Z"}}}}"#
        );
        let message = parse::<MessageReply>(reply.as_bytes())
            .unwrap()
            .unwrap()
            .message;
        assert_eq!((message.seq, &message.data[..]), (3, &[0, 255, 1][..]));
        let bare = br#"{"message":{"subject":"s","seq":1,"time":"t"}}"#;
        let message = parse::<MessageReply>(bare).unwrap().unwrap().message;
        assert!(message.data.is_empty());
        let broken = br#"{"message":{"subject":"s","seq":1,"time":"t","data":"%%"}}"#;
        assert!(parse::<MessageReply>(broken).is_err());
    }
}
