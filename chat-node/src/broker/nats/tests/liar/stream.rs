//! A stream in memory: what it keeps, and what may happen to it.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use serde_json::json;

use super::super::super::streams::{Desired, StreamConfig, random_epoch, stream_name};
use super::wire::{Headers, Publish, Reply};

pub struct Stream {
    pub config: StreamConfig,
    pub created: SystemTime,
    pub messages: BTreeMap<u64, Kept>,
    pub last: u64,
    /// The newest message's, even after it was erased.
    pub last_time: SystemTime,
    /// The messages' ids within the window.
    ids: HashMap<String, u64>,
}

pub struct Kept {
    pub subject: String,
    pub headers: Headers,
    pub payload: Bytes,
    pub time: SystemTime,
}

impl Stream {
    pub fn new(shard: u16, shards: u16) -> Self {
        let desired = Desired {
            shards,
            replicas: 3,
            max_bytes: 64 << 20,
            max_age: Duration::from_secs(3600),
            message_bytes: 65_536,
            placement_tags: Vec::new(),
        };
        Self {
            config: StreamConfig::desired(&desired, shard, &random_epoch()),
            created: SystemTime::now(),
            messages: BTreeMap::new(),
            last: 0,
            last_time: SystemTime::UNIX_EPOCH,
            ids: HashMap::new(),
        }
    }

    pub fn takes(&self, subject: &str) -> bool {
        let mut patterns = self.config.subjects.iter();
        patterns.any(|pattern| super::wire::matches(pattern, subject))
    }

    /// 0 before there was any message; the next sequence if there are none left.
    pub fn first(&self) -> u64 {
        match self.messages.first_key_value() {
            Some((first, _)) => *first,
            None if self.last == 0 => 0,
            None => self.last + 1,
        }
    }

    /// Stores a message if it should be. Returns its sequence, if it is new, and the acknowledgement.
    pub fn publish(&mut self, publish: &Publish) -> (Option<u64>, Reply) {
        let name = &self.config.name;
        let expected = publish.headers.get("Nats-Expected-Stream");
        if expected.is_some_and(|expected| expected != name) {
            return (None, refusal(400, 10060, "expected stream does not match"));
        }
        let id = publish.headers.get("Nats-Msg-Id").map(str::to_owned);
        if let Some(known) = id.as_ref().and_then(|id| self.ids.get(id)) {
            return (None, duplicate(name, *known));
        }
        if (publish.headers.len() + publish.payload.len()) as i64 > self.config.max_msg_size {
            let text = "message size exceeds maximum allowed";
            return (None, refusal(400, 10054, text));
        }
        let ack = json!({"stream": name, "seq": self.last + 1});
        let (headers, payload) = (publish.headers.clone(), publish.payload.clone());
        let sequence = self.append(&publish.subject, headers, payload);
        if let Some(id) = id {
            self.ids.insert(id, sequence);
        }
        (Some(sequence), Reply::json(&ack))
    }

    pub fn append(&mut self, subject: &str, headers: Headers, payload: Bytes) -> u64 {
        self.last += 1;
        // Each message has a time of its own.
        self.last_time = SystemTime::now().max(self.last_time + Duration::from_nanos(1));
        let kept = Kept {
            subject: subject.to_owned(),
            headers,
            payload,
            time: self.last_time,
        };
        self.messages.insert(self.last, kept);
        self.last
    }

    /// The subject of a message's live copy, and the copy.
    pub fn copy(&self, sequence: u64) -> Option<(String, Reply)> {
        let kept = self.messages.get(&sequence)?;
        let mut earlier = self.messages.range(..sequence).rev();
        let before = earlier.find(|(_, earlier)| earlier.subject == kept.subject);
        let headers = self.headed(sequence, kept).with(
            "Nats-Last-Sequence",
            before.map_or(0, |(before, _)| *before),
        );
        let payload = kept.payload.clone();
        let subject = kept.subject.replacen("c.in.", "c.live.", 1);
        Some((subject, Reply { headers, payload }))
    }

    /// The headers of a message with those that say where it stands.
    pub fn headed(&self, sequence: u64, kept: &Kept) -> Headers {
        kept.headers
            .clone()
            .with("Nats-Stream", &self.config.name)
            .with("Nats-Subject", &kept.subject)
            .with("Nats-Sequence", sequence)
            .with("Nats-Time-Stamp", timestamp(kept.time))
    }

    /// A moderator erases messages.
    pub fn erase(&mut self, sequences: impl IntoIterator<Item = u64>) {
        for sequence in sequences {
            self.messages.remove(&sequence).unwrap();
        }
    }

    /// The limits drop the oldest messages.
    pub fn evict_before(&mut self, first: u64) {
        self.messages = self.messages.split_off(&first);
    }

    /// A volume or a backup is put back: what came after `last` never was.
    pub fn restore(&mut self, last: u64) {
        self.messages.split_off(&(last + 1));
        self.last = last;
        self.ids.retain(|_, sequence| *sequence <= last);
    }

    /// What `nats init --renew-epochs` does.
    pub fn renew_epoch(&mut self) {
        let epoch = ("natter.epoch".to_owned(), random_epoch());
        self.config.metadata.extend([epoch]);
    }

    /// The window of duplicates is over.
    pub fn forget_ids(&mut self) {
        self.ids.clear();
    }
}

impl Default for Stream {
    fn default() -> Self {
        Self::new(0, 1)
    }
}

pub fn refusal(code: u16, err_code: u32, description: &str) -> Reply {
    let error = json!({"code": code, "err_code": err_code, "description": description});
    Reply::json(&json!({"error": error, "stream": stream_name(0), "seq": 0}))
}

pub fn duplicate(stream: &str, sequence: u64) -> Reply {
    Reply::json(&json!({"stream": stream, "seq": sequence, "duplicate": true}))
}

/// As the server writes times: up to nine digits, without zeros at the end.
pub fn timestamp(time: SystemTime) -> String {
    let text = humantime::format_rfc3339_nanos(time).to_string();
    let text = text.trim_end_matches('Z').trim_end_matches('0');
    format!("{}Z", text.trim_end_matches('.'))
}
