//! Publishing: one attempt after the other with the same id, until the message is acknowledged or time is up.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_nats::HeaderMap;
use bytes::Bytes;
use data_encoding::HEXLOWER;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use super::api::{self, ApiError, PubAck, code};
use super::event;
use super::health::{Health, Trouble};
use super::link::Link;
use super::reads::{AtLeader, Reads};
use super::shard::Shard;
use super::streams::stream_name;
use super::subject;
use crate::broker::{Error, Message, Position};
use crate::ids::RoomName;

/// A server that has refused a publish for so long may be the reason.
const CUT_OFF: Duration = Duration::from_secs(1);
const SHORTEST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

#[derive(Clone)]
pub struct Publisher {
    pub link: Arc<Link>,
    pub reads: Reads,
    pub health: Arc<Health>,
    /// How long one attempt may wait for its acknowledgement.
    pub attempt: Duration,
    /// When the client is told that the outcome is not known.
    pub timeout: Duration,
}

/// Why an attempt brought no acknowledgement.
enum Failed {
    /// The same id may be tried again.
    Retry(String),
    Refused(ApiError),
}

impl Publisher {
    /// Publishes to `room`, which belongs to `shard`, and returns its position once a quorum keeps it.
    ///
    /// Errors: `Unreachable` if no acknowledgement came in time; the message is stored at most once, perhaps later.
    pub async fn publish(
        self,
        shard: Arc<Shard>,
        room: RoomName,
        message: Message,
    ) -> Result<Position, Error> {
        let deadline = Instant::now() + self.timeout;
        // A stream that is not what it should be takes nothing.
        shard.ready(self.timeout).await?;
        let id = message_id(&room, &message);
        let payload = event::encode(&room, &message, now_ms());
        let subject = subject::messages(shard.index, &room);
        let Some(ack) = (self.attempts(&shard, &subject, &id, payload, deadline)).await? else {
            let text = format!(
                "stream {} acknowledged nothing within {:?}; publishes answer a temporary error",
                stream_name(shard.index),
                self.timeout
            );
            self.health.raise(Trouble::Publish(shard.index), text);
            return Err(Error::Unreachable);
        };
        self.health.clear(Trouble::Publish(shard.index));
        if ack.duplicate {
            let same = self.is_same(&shard, &room, &message, ack.seq);
            timeout_at(deadline, same)
                .await
                .map_err(|_| Error::Unreachable)??;
        }
        shard.acknowledge(ack.seq);
        let epoch = shard.lock().epoch.clone();
        Ok(Position {
            offset: ack.seq,
            epoch,
        })
    }

    /// Stores something that is no message, and returns where.
    pub async fn store(
        &self,
        shard: &Shard,
        subject: &str,
        payload: Bytes,
        deadline: Instant,
    ) -> Result<u64, Error> {
        let id = random_id();
        let attempts = self.attempts(shard, subject, &id, payload, deadline);
        let ack = attempts.await?.ok_or(Error::Unreachable)?;
        Ok(ack.seq)
    }

    /// Tries until there is an acknowledgement; `None` if there was none before `deadline`.
    async fn attempts(
        &self,
        shard: &Shard,
        subject: &str,
        id: &str,
        payload: Bytes,
        deadline: Instant,
    ) -> Result<Option<PubAck>, Error> {
        let mut pause = SHORTEST_PAUSE;
        let begun = Instant::now();
        while Instant::now() < deadline {
            let attempt = self.attempt(shard, subject, id, payload.clone(), deadline);
            match attempt.await {
                Ok(ack) => return Ok(Some(ack)),
                Err(Failed::Refused(error)) => {
                    tracing::warn!(
                        "NATS: stream {} refused a message: {error}",
                        stream_name(shard.index)
                    );
                    return Err(Error::Refused(error.description));
                }
                Err(Failed::Retry(why)) => {
                    self.health.metrics().publish_retries.inc();
                    tracing::debug!(shard = shard.index, why, "NATS: publish is tried again");
                    // A server that is cut off from the others answers at once, and for as long as it is.
                    if begun.elapsed() > CUT_OFF
                        && let Some(connection) = self.link.current()
                    {
                        self.link.suspect(&connection);
                    }
                }
            }
            let next = Instant::now() + pause.mul_f64(0.5 + fastrand::f64() / 2.0);
            sleep_until(next.min(deadline)).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        Ok(None)
    }

    async fn attempt(
        &self,
        shard: &Shard,
        subject: &str,
        id: &str,
        payload: Bytes,
        deadline: Instant,
    ) -> Result<PubAck, Failed> {
        let connected = timeout_at(deadline, self.link.connected()).await;
        let Ok(connection) = connected else {
            return Err(Failed::Retry("no connection".to_owned()));
        };
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Msg-Id", id);
        headers.insert("Nats-Expected-Stream", stream_name(shard.index).as_str());
        let begun = Instant::now();
        let until = (begun + self.attempt).min(deadline);
        let asked = timeout_at(
            until,
            connection.ask(subject.to_owned(), Some(headers), payload),
        )
        .await;
        let answer = match asked {
            Ok(answers) if answers.is_too_large => {
                let description = "the message exceeds the server's max_payload".to_owned();
                return Err(Failed::Refused(ApiError {
                    code: 400,
                    err_code: code::MESSAGE_TOO_LARGE,
                    description,
                }));
            }
            Ok(mut answers) => answers.next(until - Instant::now()).await,
            Err(_) => None,
        };
        let Some(answer) = answer else {
            // An attempt that began late proves nothing, but those of clients that are told soon never have all the time.
            if begun.elapsed() >= self.attempt.min(self.timeout / 2) {
                self.link.suspect(&connection);
            }
            return Err(Failed::Retry("no acknowledgement".to_owned()));
        };
        if let Some(status) = answer.status {
            return Err(Failed::Retry(format!("status {status}")));
        }
        match api::parse::<PubAck>(&answer.payload) {
            Ok(Ok(ack)) => Ok(ack),
            Ok(Err(error)) if is_final(&error) => Err(Failed::Refused(error)),
            Ok(Err(error)) => Err(Failed::Retry(error.to_string())),
            Err(error) => Err(Failed::Retry(error.to_string())),
        }
    }

    /// An id that was stored before must have been stored for this very message.
    async fn is_same(
        &self,
        shard: &Shard,
        room: &RoomName,
        message: &Message,
        sequence: u64,
    ) -> Result<(), Error> {
        loop {
            match self.reads.at_leader(shard.index, sequence, None).await {
                AtLeader::Stored(Some(stored), _) => {
                    let same = event::is_same(room, message, stored.payload);
                    return if same { Ok(()) } else { Err(Error::IdUsed) };
                }
                AtLeader::Stored(None, _) => return Err(Error::IdUsed),
                // It was stored, and erased since.
                AtLeader::Nothing => return Ok(()),
                AtLeader::Unknown => sleep(SHORTEST_PAUSE).await,
            }
        }
    }
}

/// Trying again would bring the same answer.
fn is_final(error: &ApiError) -> bool {
    error.is(code::MESSAGE_TOO_LARGE)
        || error.is(code::STREAM_NOT_MATCH)
        || (error.code == 400 && !error.is(code::DUPLICATE_IN_PROCESS))
}

/// What makes a retry be stored once.
fn message_id(room: &RoomName, message: &Message) -> String {
    match message.key(room) {
        Some(key) => HEXLOWER.encode(&key),
        None => random_id(),
    }
}

fn random_id() -> String {
    format!("{:032x}", fastrand::u128(..))
}

pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as i64)
}
