//! How many messages a room has after an offset: from the log where it goes back so far, else counted by the stream.

use std::sync::Arc;
use std::time::Duration;

use super::room_reads::{RoomReads, Subjects};
use super::shard::Shard;
use super::subject;
use crate::broker::{Error, Position};
use crate::ids::RoomName;

/// Counts that are taken before there is none: servers that never agree are in trouble.
const COUNTS: usize = 20;

/// The number of the room's messages after `after`. `patience` is how long the shard may take to become ready.
pub async fn unread(
    reads: RoomReads,
    shard: Arc<Shard>,
    room: RoomName,
    after: Position,
    patience: Duration,
) -> Result<u64, Error> {
    shard.readable(patience).await?;
    let epoch = shard.lock().epoch.clone();
    if !shard.comes_to(&after, &epoch).await? {
        return Ok(0);
    }
    let (from, low, in_log) = {
        let state = shard.lock();
        let from = after.offset.max(state.log.erased_up_to(&room));
        let low = state.log.low();
        let in_log = state.log.newest_first(&room, from.max(low)).count();
        (from, low, in_log as u64)
    };
    if from >= low {
        return Ok(in_log);
    }
    let messages = Subjects {
        shard: shard.index,
        filter: subject::messages(shard.index, &room),
    };
    let _permit = reads.permit().await?;
    let older = between(&reads, &messages, from, low).await?;
    if shard.lock().epoch != epoch {
        // What was counted may be of either incarnation.
        return Err(Error::Unreachable);
    }
    Ok(older + in_log)
}

/// The number of the room's messages after `from` and not after `low`.
async fn between(
    reads: &RoomReads,
    messages: &Subjects,
    from: u64,
    low: u64,
) -> Result<u64, Error> {
    let mut last = None;
    for _ in 0..COUNTS {
        let all = reads.count_from(messages, from + 1).await?;
        let beyond = reads.count_from(messages, low + 1).await?;
        let [all, beyond] = [all, beyond].map(|found| found.map_or(0, |(_, count)| count));
        // Each count is some replica's, at some moment, and the two of a pair may differ in what came last: two pairs
        // that agree did not.
        match all.checked_sub(beyond) {
            Some(count) if last == Some(count) => return Ok(count),
            count => last = count,
        }
    }
    Err(Error::Unreachable)
}
