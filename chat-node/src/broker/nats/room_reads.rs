//! Reads of one room's stored events, older than the log. Nothing is believed to be the end without proof.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};

use super::batch::Stored;
use super::event;
use super::reads::{Info, Reads};
use super::subject::ShardIndex;
use crate::broker::{Error, Publication};

/// Between two reads that bring nothing, and how long that may go on.
const RETRY: Duration = Duration::from_millis(20);
const GIVE_UP: Duration = Duration::from_secs(2);
/// Rooms that are read at the same time: servers have other work.
const AT_ONCE: usize = 16;

#[derive(Clone)]
pub struct RoomReads {
    reads: Reads,
    permits: Arc<Semaphore>,
}

/// One room's events of some kind: its shard and the subjects to read.
#[derive(Clone, Debug)]
pub struct Subjects {
    pub shard: ShardIndex,
    pub filter: String,
}

/// Reads that bring nothing are made again, for a while.
struct Retries {
    begun: Instant,
}

impl Retries {
    fn begin() -> Self {
        Self {
            begun: Instant::now(),
        }
    }

    async fn pause(&self) -> Result<(), Error> {
        if self.begun.elapsed() >= GIVE_UP {
            return Err(Error::Unreachable);
        }
        sleep(RETRY).await;
        Ok(())
    }
}

impl RoomReads {
    pub fn new(reads: Reads) -> Self {
        Self {
            reads,
            permits: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }

    /// Waits until this reading may begin.
    pub async fn permit(&self) -> Result<impl Drop + use<>, Error> {
        let permit = self.permits.clone().acquire_owned().await;
        permit.map_err(|_| Error::Unreachable)
    }

    /// The newest sequence of the room, as a server sees it that has come at least to `low`.
    pub async fn newest(&self, room: &Subjects, low: u64) -> Result<Option<u64>, Error> {
        let (shard, filter) = (room.shard, room.filter.as_str());
        let retries = Retries::begin();
        loop {
            match self.reads.newest(shard, filter, None).await {
                Some(batch) if batch.up_to.is_some_and(|up_to| up_to >= low) => {
                    return Ok(batch.read);
                }
                // A replica that lags may say so, too: the leader decides.
                Some(batch) if batch.nothing => {
                    if let Info::Led(info) = self.reads.info(shard, Some(filter)).await
                        && info.state.last_seq >= low
                        && info
                            .state
                            .subjects
                            .is_none_or(|subjects| subjects.is_empty())
                    {
                        return Ok(None);
                    }
                }
                _ => {}
            }
            retries.pause().await?;
        }
    }

    /// The newest event before `end`.
    pub async fn newest_before(&self, room: &Subjects, end: u64) -> Result<Option<Stored>, Error> {
        let Some(up_to) = end.checked_sub(1).filter(|up_to| *up_to > 0) else {
            return Ok(None);
        };
        let retries = Retries::begin();
        loop {
            let newest = self.reads.newest(room.shard, &room.filter, Some(up_to));
            // How far the answering server has come cannot be told from this: the answer's end repeats the question.
            if let Some(mut newest) = newest.await.filter(|newest| !newest.broken) {
                let next = newest.read.unwrap_or(0) + 1;
                if self.has_none(room, next, end).await? {
                    return Ok(newest.events.pop());
                }
            }
            retries.pause().await?;
        }
    }

    /// Whether it is proven that nothing of the room stands in `from..end`.
    async fn has_none(&self, room: &Subjects, from: u64, end: u64) -> Result<bool, Error> {
        let next = self.reads.next(room.shard, &room.filter, from, 1).await;
        if let Some(next) = next.and_then(|next| next.read) {
            return Ok(next >= end);
        }
        let newest = self.newest(room, end - 1).await?;
        Ok(newest.is_none_or(|newest| newest < from))
    }

    /// The first sequence that the stream still has.
    pub async fn first(&self, shard: ShardIndex) -> Result<u64, Error> {
        let retries = Retries::begin();
        loop {
            if let Info::Led(info) = self.reads.info(shard, None).await {
                return Ok(info.state.first_seq);
            }
            retries.pause().await?;
        }
    }

    /// Reads publications after `from`, ascending, until sequence `until`, which exists, has been read or passed, or
    /// `take` breaks off. `most` is about how many are wanted.
    pub async fn forward(
        &self,
        room: &Subjects,
        from: u64,
        until: u64,
        most: u64,
        mut take: impl FnMut(Arc<Publication>) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        let (mut read, mut retries) = (from, Retries::begin());
        while read < until {
            let batch = self
                .reads
                .next(room.shard, &room.filter, read + 1, most)
                .await;
            let Some((batch, end)) = batch.and_then(|batch| batch.read.map(|end| (batch, end)))
            else {
                retries.pause().await?;
                continue;
            };
            for stored in batch.events {
                // What can be given to nobody has been told of when it was new.
                let event =
                    event::decode(stored.room, stored.kind, stored.sequence, stored.payload);
                if let Ok(Some(event)) = event
                    && take(event.publication).is_break()
                {
                    return Ok(());
                }
            }
            (read, retries) = (end, Retries::begin());
        }
        Ok(())
    }
}
