//! What a truthful server answers to questions about a stream. The tests in `truth.rs` compare it with a real one.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use data_encoding::BASE64;
use serde_json::{Value, json};

use super::stream::{Kept, Stream, timestamp};
use super::wire::{Reply, matches};

/// Bytes of a batch if the question does not say.
const MAX_PENDING: u64 = 64 << 20;
const TYPE: &str = "io.nats.jetstream.api.v1";

/// What the replica has that answers a direct read.
#[derive(Clone, Default)]
pub struct Replica {
    /// Where it ends, if it lags.
    pub end: Option<u64>,
    /// Or how many sequences it is behind.
    pub behind: u64,
    /// What it never got, though it got what follows.
    pub lacks: BTreeSet<u64>,
    /// It is not kept in files.
    pub in_memory: bool,
}

impl Replica {
    /// Where the replica of `stream` ends.
    fn end(&self, stream: &Stream) -> u64 {
        let end = self.end.unwrap_or(stream.last).min(stream.last);
        end.saturating_sub(self.behind)
    }

    fn has(&self, stream: &Stream, sequence: u64) -> bool {
        sequence <= self.end(stream) && !self.lacks.contains(&sequence)
    }
}

/// Answers a direct read.
pub fn direct_get(stream: &Stream, question: &[u8], replica: &Replica) -> Vec<Reply> {
    if question.is_empty() {
        return vec![Reply::status("408 Empty Request")];
    }
    let Ok(question) = serde_json::from_slice::<Value>(question) else {
        return vec![Reply::status("408 Malformed Request")];
    };
    if let Some(filters) = question["multi_last"].as_array() {
        let filters: Vec<&str> = filters.iter().filter_map(Value::as_str).collect();
        return newest(stream, &filters, question["up_to_seq"].as_u64(), replica);
    }
    let (from, filter) = (
        question["seq"].as_u64().unwrap_or(0),
        question["next_by_subj"].as_str(),
    );
    if from == 0 && filter.is_none() {
        return vec![Reply::status("408 Empty Request")];
    }
    let wanted = |(_, kept): &(&u64, &Kept)| filter.is_none_or(|f| matches(f, &kept.subject));
    let mut found = stream
        .messages
        .range(from..)
        .filter(|(s, _)| replica.has(stream, **s));
    let batch = &question["batch"];
    if !(batch.is_null() || batch.is_u64()) {
        return vec![Reply::status("408 Malformed Request")];
    }
    let Some(batch) = batch.as_u64() else {
        let found = match filter {
            Some(_) => found.find(wanted),
            None => found.next().filter(|(sequence, _)| **sequence == from),
        };
        return vec![found.map_or_else(not_found, |(sequence, kept)| Reply {
            headers: stream.headed(*sequence, kept),
            payload: kept.payload.clone(),
        })];
    };
    let max_bytes = question["max_bytes"].as_u64().unwrap_or(MAX_PENDING);
    let found: Vec<_> = found.filter(wanted).collect();
    if found.is_empty() {
        return vec![not_found()];
    }
    let (mut replies, mut last, mut bytes) = (Vec::new(), 0, 0);
    let mut pending = found.len();
    for (sequence, kept) in found.into_iter().take(batch as usize) {
        pending -= 1;
        replies.push(linked(stream, *sequence, kept, pending, last));
        last = *sequence;
        bytes += kept.subject.len() + kept.headers.len() + kept.payload.len();
        if bytes as u64 >= max_bytes {
            break;
        }
    }
    replies.push(end_of_batch(pending, last, None));
    replies
}

/// The newest message of each subject. Facts on which reads rest:
/// - `Nats-UpTo-Sequence` repeats `up_to_seq`, and proves nothing; only without it does it say where the replica ends;
/// - a replica in files that has not come to `up_to_seq` answers 404, as if there were nothing; one in memory does not.
fn newest(stream: &Stream, filters: &[&str], asked: Option<u64>, replica: &Replica) -> Vec<Reply> {
    let end = replica.end(stream);
    let up_to = asked.filter(|up_to| *up_to > 0).unwrap_or(end);
    let mut newest = BTreeMap::new();
    if up_to <= end || replica.in_memory {
        let messages = stream.messages.range(..=up_to);
        for (sequence, kept) in messages.filter(|(s, _)| replica.has(stream, **s)) {
            if filters.iter().any(|filter| matches(filter, &kept.subject)) {
                newest.insert(&kept.subject, *sequence);
            }
        }
    }
    if newest.is_empty() {
        return vec![Reply::status("404 No Results")];
    }
    let mut sequences: Vec<u64> = newest.into_values().collect();
    sequences.sort_unstable();
    let (mut replies, mut last, mut pending) = (Vec::new(), 0, sequences.len());
    for sequence in sequences {
        pending -= 1;
        let kept = &stream.messages[&sequence];
        replies.push(linked(stream, sequence, kept, pending, last));
        last = sequence;
    }
    replies.push(end_of_batch(pending, last, Some(up_to)));
    replies
}

/// A message of a batch: the first one names 0 as the one before it.
fn linked(stream: &Stream, sequence: u64, kept: &Kept, pending: usize, last: u64) -> Reply {
    let headers = stream.headed(sequence, kept);
    Reply {
        headers: headers
            .with("Nats-Num-Pending", pending)
            .with("Nats-Last-Sequence", last),
        payload: kept.payload.clone(),
    }
}

fn end_of_batch(pending: usize, last: u64, up_to: Option<u64>) -> Reply {
    let mut end = Reply::status("204 EOB");
    end.headers = end
        .headers
        .with("Nats-Num-Pending", pending)
        .with("Nats-Last-Sequence", last);
    if let Some(up_to) = up_to {
        end.headers = end.headers.with("Nats-UpTo-Sequence", up_to);
    }
    end
}

fn not_found() -> Reply {
    Reply::status("404 Message Not Found")
}

/// Answers a read as the leader.
pub fn message_get(stream: &Stream, question: &[u8]) -> Value {
    let question: Value = serde_json::from_slice(question).unwrap();
    let from = question["seq"].as_u64().unwrap();
    let mut found = stream.messages.range(from..);
    let found = match question["next_by_subj"].as_str() {
        Some(filter) => found.find(|(_, kept)| matches(filter, &kept.subject)),
        None => found.next().filter(|(sequence, _)| **sequence == from),
    };
    let kind = format!("{TYPE}.stream_msg_get_response");
    let Some((sequence, kept)) = found else {
        return json!({"type": kind, "error": error(404, 10037, "no message found")});
    };
    let mut message = json!({
        "subject": kept.subject,
        "seq": sequence,
        "data": BASE64.encode(&kept.payload),
        "time": timestamp(kept.time),
    });
    if kept.headers.len() > 0 {
        message["hdrs"] = BASE64.encode(kept.headers.as_str().as_bytes()).into();
    }
    json!({"type": kind, "message": message})
}

pub fn stream_info(stream: &Stream, question: &[u8]) -> Value {
    let filter: Value = serde_json::from_slice(question).unwrap_or_default();
    let filter = filter["subjects_filter"].as_str();
    let mut subjects = BTreeMap::<&str, u64>::new();
    for kept in stream.messages.values() {
        *subjects.entry(&kept.subject).or_default() += 1;
    }
    let (messages, first, last) = (stream.messages.len() as u64, stream.first(), stream.last);
    let size = |kept: &Kept| kept.subject.len() + kept.headers.len() + kept.payload.len() + 22;
    let oldest = stream.messages.values().next();
    let mut state = json!({
        "messages": messages,
        "bytes": stream.messages.values().map(size).sum::<usize>(),
        "first_seq": first,
        "first_ts": oldest.map_or_else(zero_time, |kept| timestamp(kept.time)),
        "last_seq": last,
        "last_ts": if last == 0 { zero_time() } else { timestamp(stream.last_time) },
        "consumer_count": 0,
    });
    // What is zero is left out.
    if !subjects.is_empty() {
        state["num_subjects"] = subjects.len().into();
    }
    let deleted = (last + 1).saturating_sub(first.max(1)) - messages;
    if deleted > 0 {
        state["num_deleted"] = deleted.into();
    }
    let (mut total, mut limit) = (0, 0);
    if let Some(filter) = filter {
        subjects.retain(|subject, _| matches(filter, subject));
        if !subjects.is_empty() {
            (total, limit) = (subjects.len(), 100_000);
            state["subjects"] = json!(subjects);
        }
    }
    json!({
        "type": format!("{TYPE}.stream_info_response"),
        "total": total,
        "offset": 0,
        "limit": limit,
        "config": stream.config,
        "created": timestamp(stream.created),
        "state": state,
        "cluster": {"name": "liars", "leader": "liar-0", "replicas": []},
        "ts": timestamp(SystemTime::now()),
    })
}

/// The answers about a stream that does not exist.
pub fn no_stream(kind: &str) -> Value {
    let error = error(404, 10059, "stream not found");
    match kind {
        "stream_info_response" => {
            json!({"type": format!("{TYPE}.{kind}"), "error": error, "total": 0, "offset": 0, "limit": 0})
        }
        kind => json!({"type": format!("{TYPE}.{kind}"), "error": error}),
    }
}

fn error(code: u16, err_code: u32, description: &str) -> Value {
    json!({"code": code, "err_code": err_code, "description": description})
}

fn zero_time() -> String {
    "0001-01-01T00:00:00Z".to_owned()
}
