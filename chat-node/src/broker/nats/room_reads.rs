//! Reads of one room's stored events, older than the log. Nothing is believed to be the end without proof.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, SystemTime};

use tokio::sync::Semaphore;
use tokio::time::sleep;

use super::batch::Stored;
use super::event;
use super::reads::{Info, Reads};
use super::subject::ShardIndex;
use crate::broker::{Error, Publication};

/// Between two reads that bring nothing, and how many of those in a row are too many.
const RETRY: Duration = Duration::from_millis(20);
const RETRIES: usize = 100;
/// Rooms that are read at the same time: servers have other work.
const AT_ONCE: usize = 16;
/// More that wait are turned away: their clients come again.
const MOST_WAITING: usize = 512;
/// So many servers, perhaps the same one, must say that they have nothing.
const ASKED_IN_VAIN: usize = 3;
/// After so many answers without proof the server that gives them may be cut off from the others.
const UNCONVINCING: usize = 20;

#[derive(Clone)]
pub struct RoomReads {
    reads: Reads,
    permits: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
}

/// One room's events of some kind: its shard and the subjects to read.
#[derive(Clone, Debug)]
pub struct Subjects {
    pub shard: ShardIndex,
    pub filter: String,
}

/// A place in the queue of readings.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(waiting: &Arc<AtomicUsize>) -> Result<Self, Error> {
        let place = Self(waiting.clone());
        match waiting.fetch_add(1, Relaxed) < MOST_WAITING {
            true => Ok(place),
            false => Err(Error::Unreachable),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl RoomReads {
    pub fn new(reads: Reads) -> Self {
        Self {
            reads,
            permits: Arc::new(Semaphore::new(AT_ONCE)),
            waiting: Arc::default(),
        }
    }

    /// Waits until this reading may begin, unless too many wait already.
    pub async fn permit(&self) -> Result<impl Drop + use<>, Error> {
        let _place = Place::take(&self.waiting)?;
        let permit = self.permits.clone().acquire_owned().await;
        permit.map_err(|_| Error::Unreachable)
    }

    /// The newest sequence of the room, as a server sees it that has come at least to `low`.
    pub async fn newest(&self, room: &Subjects, low: u64) -> Result<Option<u64>, Error> {
        let (shard, filter) = (room.shard, room.filter.as_str());
        for retry in 0..RETRIES {
            if retry == UNCONVINCING {
                self.reads.suspect();
            }
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
            sleep(RETRY).await;
        }
        Err(Error::Unreachable)
    }

    /// The newest event before `end`, as a server sees it that has come at least to `end - 1`.
    pub async fn newest_before(&self, room: &Subjects, end: u64) -> Result<Option<Stored>, Error> {
        let Some(up_to) = end.checked_sub(1).filter(|up_to| *up_to > 0) else {
            return Ok(None);
        };
        for _ in 0..RETRIES {
            match self
                .reads
                .newest(room.shard, &room.filter, Some(up_to))
                .await
            {
                Some(mut batch) if !batch.broken && batch.read.is_some() => {
                    // A replica that lags has an older one for the newest: nothing may lie between it and the end.
                    if let Some(read) = batch.read
                        && self.is_followed_by_none(room, read, end).await?
                    {
                        return Ok(batch.events.pop());
                    }
                }
                // Nothing so early, unless the replica lags or the room was always empty.
                Some(batch) if batch.nothing || batch.up_to.is_some() => {
                    if let Info::Led(info) = self.reads.info(room.shard, None).await {
                        let oldest = self.reads.next(room.shard, &room.filter, 1, 1).await;
                        let begins_later = oldest
                            .and_then(|oldest| oldest.read)
                            .is_some_and(|oldest| oldest >= end);
                        if begins_later
                            || info.state.first_seq >= end
                            || self.newest(room, up_to).await?.is_none()
                        {
                            return Ok(None);
                        }
                    }
                }
                _ => {}
            }
            sleep(RETRY).await;
        }
        Err(Error::Unreachable)
    }

    /// Whether the room has nothing after `sequence` and before `end`.
    async fn is_followed_by_none(
        &self,
        room: &Subjects,
        sequence: u64,
        end: u64,
    ) -> Result<bool, Error> {
        let next = self
            .reads
            .next(room.shard, &room.filter, sequence + 1, 1)
            .await;
        match next.and_then(|next| next.read) {
            Some(next) => Ok(next >= end),
            None => Ok(self.newest(room, end - 1).await? == Some(sequence)),
        }
    }

    /// The first event of the room that is stored at `from` or later, and how many there are from it on, as some replica
    /// knows.
    pub async fn count_from(
        &self,
        room: &Subjects,
        from: u64,
    ) -> Result<Option<(u64, u64)>, Error> {
        for _ in 0..RETRIES {
            match self.reads.next(room.shard, &room.filter, from, 1).await {
                Some(batch) if batch.nothing => return Ok(None),
                Some(batch) => {
                    if let (Some(first), Some(pending)) = (batch.read, batch.pending) {
                        return Ok(Some((first, pending + 1)));
                    }
                }
                None => {}
            }
            sleep(RETRY).await;
        }
        Err(Error::Unreachable)
    }

    /// The first event of the room that was stored at `time` or later.
    pub async fn first_since(
        &self,
        room: &Subjects,
        time: SystemTime,
    ) -> Result<Option<u64>, Error> {
        let (mut retries, mut nothing) = (0, 0);
        while retries < RETRIES {
            match self.reads.first_since(room.shard, &room.filter, time).await {
                Some(batch) if batch.nothing => nothing += 1,
                Some(batch) if batch.read.is_some() => return Ok(batch.read),
                _ => {}
            }
            // A replica that lags may say so, too: the next one to answer may be another.
            if nothing == ASKED_IN_VAIN {
                return Ok(None);
            }
            retries += 1;
            sleep(RETRY).await;
        }
        Err(Error::Unreachable)
    }

    /// The first sequence that the stream still has.
    pub async fn first(&self, shard: ShardIndex) -> Result<u64, Error> {
        Ok(self.ends(shard).await?.0)
    }

    /// The last sequence that the stream has given.
    pub async fn last(&self, shard: ShardIndex) -> Result<u64, Error> {
        Ok(self.ends(shard).await?.1)
    }

    async fn ends(&self, shard: ShardIndex) -> Result<(u64, u64), Error> {
        for _ in 0..RETRIES {
            if let Info::Led(info) = self.reads.info(shard, None).await {
                return Ok((info.state.first_seq, info.state.last_seq));
            }
            sleep(RETRY).await;
        }
        Err(Error::Unreachable)
    }

    /// Reads publications after `from`, ascending, until sequence `until`, which exists, has been read or passed, or
    /// `take` breaks off. `most` is about how many are wanted. Returns up to where the room was erased, as far as it read.
    pub async fn forward(
        &self,
        room: &Subjects,
        from: u64,
        until: u64,
        most: u64,
        mut take: impl FnMut(Arc<Publication>) -> ControlFlow<()>,
    ) -> Result<u64, Error> {
        let (mut read, mut retries) = (from, 0);
        let mut erased = 0;
        while read < until {
            let batch = self
                .reads
                .next(room.shard, &room.filter, read + 1, most)
                .await;
            let Some((batch, end)) = batch.and_then(|batch| batch.read.map(|end| (batch, end)))
            else {
                retries += 1;
                if retries > RETRIES {
                    return Err(Error::Unreachable);
                }
                sleep(RETRY).await;
                continue;
            };
            for stored in batch.events {
                if let Some(erasure) = event::erasure(stored.room, stored.kind, &stored.payload) {
                    erased = erased.max(erasure.up_to);
                }
                // What can be given to nobody has been told of when it was new.
                let event =
                    event::decode(stored.room, stored.kind, stored.sequence, stored.payload);
                if let Ok(Some(event)) = event
                    && take(event.publication).is_break()
                {
                    return Ok(erased);
                }
            }
            (read, retries) = (end, 0);
        }
        Ok(erased)
    }
}
