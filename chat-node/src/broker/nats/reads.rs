//! Questions to JetStream about one stream, and what their answers are worth.
//!
//! Direct reads are answered by any replica, which may lag: a [`Batch`] says what it proves. What a leader says is true.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use serde_json::{Value, json};

use super::api::{self, ApiError, MessageReply, StreamInfo, code};
use super::batch::{Batch, Part, Stored};
use super::connection::Connection;
use super::link::Link;
use super::streams::stream_name;
use super::subject::{self, ShardIndex};
use crate::metrics::NatsMetrics;

/// How long a server may take for the next message of an answer.
pub const PATIENCE: Duration = Duration::from_millis(500);
/// Messages of one batch, and their bytes: what a client library's buffers take at once.
const BATCH_MESSAGES: u64 = 1000;
const BATCH_BYTES: u64 = 4 << 20;

/// What a stream's leader says of it.
#[derive(Debug)]
pub enum Info {
    Led(Box<StreamInfo>),
    /// There is no leader now: what was said is old.
    Leaderless,
    Missing,
    Refused(ApiError),
    /// No answer, or none that can be read.
    Silent,
}

/// Asks about the stream of `shard`. With `room_events`, the state counts the messages of these subjects.
pub async fn info(connection: &Connection, shard: ShardIndex, room_events: Option<&str>) -> Info {
    let question = room_events.map(|filter| json!({"subjects_filter": filter}).to_string());
    let subject = api::subject::info(&stream_name(shard));
    let mut answers = connection
        .ask(subject, None, question.unwrap_or_default().into())
        .await;
    let Some(answer) = answers.next(PATIENCE).await else {
        return Info::Silent;
    };
    // Without a leader of the whole API nobody answers: the library reports that as a status.
    if answer.status.is_some() {
        return Info::Leaderless;
    }
    match api::parse::<StreamInfo>(&answer.payload) {
        Ok(Ok(info)) if info.has_leader() => Info::Led(info.into()),
        Ok(Ok(_)) => Info::Leaderless,
        Ok(Err(error)) if error.is(code::STREAM_NOT_FOUND) => Info::Missing,
        Ok(Err(error)) if error.code == 503 => Info::Leaderless,
        Ok(Err(error)) => Info::Refused(error),
        Err(_) => Info::Silent,
    }
}

/// Reads of stored messages over the link for reads.
#[derive(Clone)]
pub struct Reads {
    link: Arc<Link>,
    metrics: NatsMetrics,
}

/// What a stream's leader has at a place.
#[derive(Debug, PartialEq, Eq)]
pub enum AtLeader {
    Stored(Option<Stored>, u64),
    Nothing,
    Unknown,
}

impl Reads {
    pub fn new(link: Arc<Link>, metrics: NatsMetrics) -> Self {
        Self { link, metrics }
    }

    pub async fn info(&self, shard: ShardIndex, room_events: Option<&str>) -> Info {
        match self.link.current() {
            Some(connection) => info(&connection, shard, room_events).await,
            None => Info::Silent,
        }
    }

    /// Reads messages from sequence `from` on whose subject matches `filter`. `None` if nobody answers.
    pub async fn next(
        &self,
        shard: ShardIndex,
        filter: &str,
        from: u64,
        most: u64,
    ) -> Option<Batch> {
        let batch = most.clamp(1, BATCH_MESSAGES);
        let question =
            json!({"seq": from, "next_by_subj": filter, "batch": batch, "max_bytes": BATCH_BYTES});
        self.batch(shard, question).await
    }

    /// Reads the first message that was stored at `time` or later and whose subject matches `filter`.
    pub async fn first_since(
        &self,
        shard: ShardIndex,
        filter: &str,
        time: SystemTime,
    ) -> Option<Batch> {
        let time = humantime::format_rfc3339_nanos(time).to_string();
        let question = json!({"start_time": time, "next_by_subj": filter, "batch": 1});
        self.batch(shard, question).await
    }

    /// Reads the newest message of each subject that matches `filter`, up to sequence `up_to`.
    pub async fn newest(
        &self,
        shard: ShardIndex,
        filter: &str,
        up_to: Option<u64>,
    ) -> Option<Batch> {
        let mut question = json!({"multi_last": [filter]});
        if let Some(up_to) = up_to {
            question["up_to_seq"] = up_to.into();
        }
        self.batch(shard, question).await
    }

    async fn batch(&self, shard: ShardIndex, question: Value) -> Option<Batch> {
        self.metrics.reads.inc();
        let connection = self.link.current()?;
        let subject = api::subject::direct_get(&stream_name(shard));
        let mut answers = connection
            .ask(subject, None, question.to_string().into())
            .await;
        let mut batch = Batch::default();
        loop {
            let Some(answer) = answers.next(PATIENCE).await else {
                self.link.suspect(&connection);
                self.metrics.stale_reads.inc();
                // What has come is a chain: good as far as it goes.
                batch.broken = true;
                return batch.read.is_some().then_some(batch);
            };
            if !batch.take(part(answer)) {
                break;
            }
        }
        if batch.broken {
            self.metrics.broken_batches.inc();
        }
        Some(batch)
    }

    /// Up to where everything from `from` on was erased, if the leader says so: it knew that there was more before it
    /// was asked for it.
    pub async fn erased_up_to(&self, shard: ShardIndex, from: u64) -> Option<u64> {
        let connection = self.link.current()?;
        let Info::Led(info) = info(&connection, shard, None).await else {
            return None;
        };
        let last = info.state.last_seq;
        let next = self
            .at_leader_over(&connection, shard, from, Some(">"))
            .await;
        (next == AtLeader::Nothing && last >= from).then_some(last)
    }

    /// The server that answers may be cut off from the others: try another one.
    pub fn suspect(&self) {
        if let Some(connection) = self.link.current() {
            self.link.suspect(&connection);
        }
    }

    /// Asks the leader for the message at `sequence`, or with `filter` for the next one that matches from there on.
    pub async fn at_leader(
        &self,
        shard: ShardIndex,
        sequence: u64,
        filter: Option<&str>,
    ) -> AtLeader {
        match self.link.current() {
            Some(connection) => {
                self.at_leader_over(&connection, shard, sequence, filter)
                    .await
            }
            None => AtLeader::Unknown,
        }
    }

    async fn at_leader_over(
        &self,
        connection: &Arc<Connection>,
        shard: ShardIndex,
        sequence: u64,
        filter: Option<&str>,
    ) -> AtLeader {
        self.metrics.reads.inc();
        let mut question = json!({"seq": sequence});
        if let Some(filter) = filter {
            question["next_by_subj"] = filter.into();
        }
        let subject = api::subject::message_get(&stream_name(shard));
        let mut answers = connection
            .ask(subject, None, question.to_string().into())
            .await;
        let Some(answer) = answers.next(PATIENCE).await else {
            self.link.suspect(connection);
            return AtLeader::Unknown;
        };
        match api::parse::<MessageReply>(&answer.payload) {
            Ok(Ok(MessageReply { message })) => {
                let Some(time) = parse_time(&message.time) else {
                    return AtLeader::Unknown;
                };
                let stored = stored(message.seq, &message.subject, time, message.data);
                AtLeader::Stored(stored, message.seq)
            }
            Ok(Err(error)) if error.is(code::NO_MESSAGE) => AtLeader::Nothing,
            Ok(Err(_)) | Err(_) => AtLeader::Unknown,
        }
    }
}

pub fn parse_time(text: &str) -> Option<SystemTime> {
    humantime::parse_rfc3339(text).ok()
}

fn stored(sequence: u64, subject: &str, time: SystemTime, payload: Bytes) -> Option<Stored> {
    let (room, kind) = subject::parse_event(subject)?;
    Some(Stored {
        sequence,
        room,
        kind,
        time,
        payload,
    })
}

/// The value of a header that is a number.
pub fn number(message: &async_nats::Message, header: &str) -> Option<u64> {
    text(message, header)?.parse().ok()
}

pub fn text<'a>(message: &'a async_nats::Message, header: &str) -> Option<&'a str> {
    Some(message.headers.as_ref()?.get(header)?.as_str())
}

fn part(message: async_nats::Message) -> Part {
    let last = number(&message, "Nats-Last-Sequence");
    match message.status.map(|status| status.as_u16()) {
        Some(204) => Part::End {
            last,
            up_to: number(&message, "Nats-UpTo-Sequence"),
            pending: number(&message, "Nats-Num-Pending"),
        },
        Some(404) => Part::Nothing,
        Some(_) => Part::Refused,
        None => {
            let time = text(&message, "Nats-Time-Stamp").and_then(parse_time);
            let (Some(sequence), Some(time)) = (number(&message, "Nats-Sequence"), time) else {
                return Part::Refused;
            };
            let subject = text(&message, "Nats-Subject")
                .unwrap_or_default()
                .to_owned();
            Part::Message {
                sequence,
                previous: last,
                event: stored(sequence, &subject, time, message.payload),
            }
        }
    }
}
