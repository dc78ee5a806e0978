//! What of a room is readable where not all of it is: the offset before its newest so many, and before a time.
//!
//! the shard's log, if it goes back far enough -> else counts and times of the stream, never its messages

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::room_reads::{RoomReads, Subjects};
use super::shard::Shard;
use super::subject;
use crate::broker::{Error, Readable};
use crate::ids::RoomName;

/// The offset after which the room's publications are within `readable`. `patience` is how long the shard may take to
/// become ready.
pub async fn after(
    reads: RoomReads,
    shard: Arc<Shard>,
    room: RoomName,
    readable: Readable,
    patience: Duration,
) -> Result<u64, Error> {
    shard.readable(patience).await?;
    let stream = Stream {
        messages: Subjects {
            shard: shard.index,
            filter: subject::messages(shard.index, &room),
        },
        reads,
    };
    let by_age = match readable.max_age {
        Some(max_age) => stream.by_age(&shard, max_age).await?,
        None => 0,
    };
    let by_count = match readable.newest {
        Some(newest) => stream.by_count(&shard, &room, newest.into()).await?,
        None => 0,
    };
    Ok(by_age.max(by_count))
}

struct Stream {
    reads: RoomReads,
    messages: Subjects,
}

impl Stream {
    async fn by_age(&self, shard: &Shard, max_age: Duration) -> Result<u64, Error> {
        let Some(time) = SystemTime::now().checked_sub(max_age) else {
            return Ok(0);
        };
        let low = {
            let state = shard.lock();
            if let Some(before) = state.log.before(time) {
                return Ok(before);
            }
            state.log.low()
        };
        let _permit = self.reads.permit().await?;
        let first = self.reads.first_since(&self.messages, time).await?;
        // Whatever the log holds is younger.
        Ok(first.map_or(low, |first| (first - 1).min(low)))
    }

    async fn by_count(&self, shard: &Shard, room: &RoomName, newest: u64) -> Result<u64, Error> {
        let low = {
            let state = shard.lock();
            let mut newest_first = state.log.newest_first(room, state.log.low());
            if let Some(last) = newest_first.nth(newest as usize - 1) {
                return Ok(last.offset - 1);
            }
            state.log.low()
        };
        if low == 0 {
            return Ok(0);
        }
        let _permit = self.reads.permit().await?;
        // From `reaches` on there are at least as many as are readable, from `falls_short` on there are less.
        let (mut reaches, mut falls_short) = match self.reads.count_from(&self.messages, 1).await? {
            Some((first, count)) if count > newest => (first, low + 1),
            _ => return Ok(0),
        };
        while falls_short - reaches > 1 {
            let middle = reaches + (falls_short - reaches) / 2;
            match self.reads.count_from(&self.messages, middle).await? {
                Some((first, count)) if count == newest => return Ok(first - 1),
                // The next one lies beyond what is known to be too few: a replica that is ahead of the log.
                Some((first, count)) if count > newest && first < falls_short => reaches = first,
                _ => falls_short = middle,
            }
        }
        Ok(reaches - 1)
    }
}
