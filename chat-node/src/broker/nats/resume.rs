//! Joins: what a client missed since its offset, and the cut after which the feed goes on.
//!
//! the shard's log, if it goes back far enough -> else the room's stored messages up to the log, then the log

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, WeakShared};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use super::room_reads::{RoomReads, Subjects};
use super::shard::{CATCH_UP, Hold, Shard};
use super::subject;
use crate::broker::{Epoch, Error, Joined, Position, Publication};
use crate::ids::RoomName;

/// The log may move on while older messages are read, so that there is more to read; but not for ever.
const ROUNDS: usize = 100;
/// What one resume may bring beyond the log. Whoever missed more is told that it cannot be recovered.
const MOST_PUBLICATIONS: usize = 100_000;
const MOST_BYTES: usize = 16 << 20;

/// A room's stored publications after an offset, up to the log.
#[derive(Clone, Debug)]
struct Missed {
    publications: Arc<[Arc<Publication>]>,
    /// Up to here the room has been read.
    up_to: u64,
    /// Nothing after the offset is missing.
    complete: bool,
}

/// Ends when nobody waits for it any more.
type Reading = Shared<BoxFuture<'static, Result<Missed, Error>>>;

/// A reading under way: of which epoch, and from which offset.
struct UnderWay {
    epoch: Epoch,
    from: u64,
    reading: WeakShared<BoxFuture<'static, Result<Missed, Error>>>,
}

#[derive(Clone)]
pub struct Resumes {
    reads: RoomReads,
    /// Clients that come back together are served by one reading.
    under_way: Arc<Mutex<HashMap<RoomName, UnderWay>>>,
    /// Readings run here, and not on the thread of whoever asks first.
    runtime: Handle,
}

impl Resumes {
    /// Must be called within the runtime that reads.
    pub fn new(reads: RoomReads) -> Self {
        Self {
            reads,
            under_way: Arc::default(),
            runtime: Handle::current(),
        }
    }

    /// Answers a join. `patience` is how long the shard may take to become ready.
    pub async fn join(
        self,
        shard: Arc<Shard>,
        room: RoomName,
        resume: Option<Position>,
        patience: Duration,
    ) -> Result<Joined, Error> {
        shard.readable(patience).await?;
        let Some(resume) = resume else {
            return unrecovered(&shard);
        };
        let from = resume.offset;
        let epoch = shard.lock().epoch.clone();
        let is_beginning = from == 0 && resume.epoch.is_empty();
        if resume.epoch != epoch && !is_beginning {
            return unrecovered(&shard);
        }
        if shard.lock().log.pos() < from {
            shard.hint(from);
            shard.reached(from, CATCH_UP).await?;
        }
        let mut publications = Vec::new();
        let mut covered = from;
        let mut hold = None;
        for _ in 0..ROUNDS {
            let low = {
                let state = shard.lock();
                if !state.ready || state.epoch != epoch {
                    return Err(Error::Unreachable);
                }
                let low = state.log.low();
                if covered >= low {
                    if state.log.erased_up_to(&room) > from {
                        drop(state);
                        return unrecovered(&shard);
                    }
                    // Read under the same lock as the position: this is the cut.
                    publications.extend(state.log.since(&room, covered));
                    return Ok(Joined {
                        position: state.position(),
                        recovered: true,
                        publications,
                    });
                }
                low
            };
            hold.get_or_insert_with(|| Hold::new(&shard));
            let missed = self.missed(&shard, &room, &epoch, covered, low).await?;
            if !missed.complete {
                return unrecovered(&shard);
            }
            let new = missed.publications.iter().filter(|p| p.offset > covered);
            publications.extend(new.cloned());
            covered = covered.max(missed.up_to);
        }
        Err(Error::Unreachable)
    }

    /// Reads the room's stored publications in `(from, low]`, together with others who want about the same.
    async fn missed(
        &self,
        shard: &Arc<Shard>,
        room: &RoomName,
        epoch: &Epoch,
        from: u64,
        low: u64,
    ) -> Result<Missed, Error> {
        loop {
            let (begun_from, reading) = self.reading(shard, room, epoch, from, low);
            let missed = reading.await?;
            // What is gone for one who was away longer may still be there for this one.
            if missed.complete || begun_from == from {
                return Ok(missed);
            }
        }
    }

    /// A reading that is under way and covers `from`, or a new one.
    fn reading(
        &self,
        shard: &Shard,
        room: &RoomName,
        epoch: &Epoch,
        from: u64,
        low: u64,
    ) -> (u64, Reading) {
        let mut under_way = self.under_way.lock().expect("no panic holds this lock");
        if let Some(one) = under_way.get(room)
            && one.from <= from
            && one.epoch == *epoch
            && let Some(reading) = one.reading.upgrade()
        {
            return (one.from, reading);
        }
        under_way.retain(|_, one| one.reading.upgrade().is_some_and(|it| it.peek().is_none()));
        let subjects = Subjects {
            shard: shard.index,
            filter: subject::events(shard.index, room),
        };
        let reads = self.reads.clone();
        let task = self
            .runtime
            .spawn(async move { read(&reads, &subjects, from, low).await });
        let reading = AbortOnDrop(task).boxed().shared();
        if let Some(weak) = reading.downgrade() {
            let one = UnderWay {
                epoch: epoch.clone(),
                from,
                reading: weak,
            };
            under_way.insert(room.clone(), one);
        }
        (from, reading)
    }
}

struct AbortOnDrop(JoinHandle<Result<Missed, Error>>);

impl Future for AbortOnDrop {
    type Output = Result<Missed, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let done = Pin::new(&mut self.0).poll(cx);
        done.map(|result| result.unwrap_or(Err(Error::Unreachable)))
    }
}

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn read(reads: &RoomReads, room: &Subjects, from: u64, low: u64) -> Result<Missed, Error> {
    let _permit = reads.permit().await?;
    let incomplete = Missed {
        publications: [].into(),
        up_to: low,
        complete: false,
    };
    let newest = reads.newest(room, low).await?;
    if newest.is_some_and(|newest| newest <= from) {
        // The room's newest is still there, and the client has it.
        return Ok(Missed {
            complete: true,
            ..incomplete
        });
    }
    // Asked before, so that what is gone anyway is not read, and after, as the oldest may go meanwhile.
    if from + 1 < reads.first(room.shard).await? {
        return Ok(incomplete);
    }
    let (mut publications, mut bytes, mut too_much) = (Vec::new(), 0, false);
    let until = newest.unwrap_or(0).min(low);
    let erased = reads
        .forward(room, from, until, u64::MAX, |publication| {
            if publication.offset > low {
                return ControlFlow::Break(());
            }
            bytes += publication.wire_bytes();
            publications.push(publication);
            too_much = publications.len() > MOST_PUBLICATIONS || bytes > MOST_BYTES;
            if too_much {
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        })
        .await?;
    let was_dropped = from + 1 < reads.first(room.shard).await?;
    if was_dropped || too_much || erased > from {
        return Ok(incomplete);
    }
    Ok(Missed {
        publications: publications.into(),
        up_to: low,
        complete: true,
    })
}

/// Fixes the cut for a member that recovers nothing.
fn unrecovered(shard: &Shard) -> Result<Joined, Error> {
    let state = shard.lock();
    if !state.ready {
        return Err(Error::Unreachable);
    }
    Ok(Joined {
        position: state.position(),
        recovered: false,
        publications: Vec::new(),
    })
}
