//! Pages of a room's history: from the log where it has them, else from the stream.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use super::event;
use super::room_reads::{RoomReads, Subjects};
use super::shard::Shard;
use super::subject;
use crate::broker::{Error, HistoryPage, HistoryQuery, Publication};
use crate::ids::RoomName;

/// How far back the stream is read at first for each publication that is wanted, and at most in one go.
const FIRST_STRIDE: u64 = 2;
const LARGEST_WINDOW: u64 = 100_000;

/// Answers a query. `patience` is how long the shard may take to become ready.
pub async fn page(
    reads: RoomReads,
    shard: Arc<Shard>,
    room: RoomName,
    mut query: HistoryQuery,
    patience: Duration,
) -> Result<HistoryPage, Error> {
    shard.readable(patience).await?;
    // A replica that lags may have it still.
    query.after = query.after.max(shard.lock().log.erased_up_to(&room));
    let since = query.since.as_ref();
    let epoch = shard.lock().epoch.clone();
    let is_future = match since {
        Some(since) => !shard.comes_to(since, &epoch).await?,
        None => false,
    };
    let room = Room { reads, shard, room };
    let mut page = Page::new(&query);
    if query.limit > 0 && !is_future {
        match (query.reverse, since) {
            (false, since) => {
                let from = since.map_or(0, |since| since.offset).max(query.after);
                room.forward(from, &mut page).await?
            }
            (true, since) => {
                let end = since.map_or(u64::MAX, |since| since.offset);
                room.backward(query.after, end, &mut page).await?;
            }
        }
    }
    let position = room.shard.lock().position();
    if position.epoch != epoch {
        // What was read may be of either incarnation.
        return Err(Error::Unreachable);
    }
    Ok(HistoryPage {
        position,
        publications: page.publications,
    })
}

struct Room {
    reads: RoomReads,
    shard: Arc<Shard>,
    room: RoomName,
}

impl Room {
    fn messages(&self) -> Subjects {
        Subjects {
            shard: self.shard.index,
            filter: subject::messages(self.shard.index, &self.room),
        }
    }

    /// Publications after `from`, oldest first.
    async fn forward(&self, mut from: u64, page: &mut Page) -> Result<(), Error> {
        while !page.is_full {
            let low = {
                let state = self.shard.lock();
                let low = state.log.low();
                if from >= low {
                    for publication in state.log.since(&self.room, from) {
                        if page.push(publication).is_break() {
                            break;
                        }
                    }
                    return Ok(());
                }
                low
            };
            let _permit = self.reads.permit().await?;
            let messages = self.messages();
            let newest = self.reads.newest(&messages, low).await?;
            let until = newest.unwrap_or(0).min(low);
            let reading =
                self.reads
                    .forward(&messages, from, until, page.wanted(), |publication| {
                        if publication.offset > low {
                            return ControlFlow::Break(());
                        }
                        page.push(publication)
                    });
            reading.await?;
            from = low;
        }
        Ok(())
    }

    /// Publications before `end` and after `after`, newest first.
    async fn backward(&self, after: u64, end: u64, page: &mut Page) -> Result<(), Error> {
        let low = {
            let state = self.shard.lock();
            let low = state.log.low();
            let newest_first = state.log.newest_first(&self.room, low.max(after));
            for publication in newest_first.filter(|publication| publication.offset < end) {
                if page.push(publication.clone()).is_break() {
                    break;
                }
            }
            low
        };
        let mut end = end.min(low + 1);
        if page.is_full || end <= after + 1 {
            return Ok(());
        }
        let _permit = self.reads.permit().await?;
        let messages = self.messages();
        let mut window = page
            .wanted()
            .saturating_mul(FIRST_STRIDE)
            .min(LARGEST_WINDOW);
        // Each round jumps to the newest message before `end` and reads a window that ends with it.
        while !page.is_full
            && end > after + 1
            && let Some(newest) = self.reads.newest_before(&messages, end).await?
            && newest.sequence > after
        {
            let from = newest.sequence.saturating_sub(window).max(after);
            // The newest ones of the window count; it may hold many more.
            let wanted = usize::try_from(page.wanted()).unwrap_or(usize::MAX);
            let mut found = VecDeque::new();
            if newest.sequence - from > 1 && page.wanted() > 1 {
                let reading =
                    self.reads
                        .forward(&messages, from, newest.sequence, u64::MAX, |publication| {
                            if publication.offset > newest.sequence {
                                return ControlFlow::Break(());
                            }
                            if found.len() == wanted {
                                found.pop_front();
                            }
                            found.push_back(publication);
                            ControlFlow::Continue(())
                        });
                reading.await?;
                end = from + 1;
            } else {
                end = newest.sequence;
                let (room, kind) = (newest.room, newest.kind);
                let event = event::decode(room, kind, newest.sequence, newest.payload);
                found.extend(event.ok().flatten().map(|event| event.publication));
            }
            if (found.len() as u64) < page.wanted() / 4 {
                window = window.saturating_mul(4).min(LARGEST_WINDOW);
            }
            for publication in found.into_iter().rev() {
                if page.push(publication).is_break() {
                    break;
                }
            }
        }
        Ok(())
    }
}

/// What has been gathered of a page.
struct Page {
    publications: Vec<Arc<Publication>>,
    limit: usize,
    max_bytes: usize,
    bytes: usize,
    is_full: bool,
}

impl Page {
    fn new(query: &HistoryQuery) -> Self {
        Self {
            publications: Vec::new(),
            limit: query.limit,
            max_bytes: query.max_bytes,
            bytes: 0,
            is_full: query.limit == 0,
        }
    }

    /// How many publications the page still takes.
    fn wanted(&self) -> u64 {
        (self.limit - self.publications.len()) as u64
    }

    /// Adds the next publication, unless it exceeds the page's bytes. Breaks when the page is full.
    fn push(&mut self, publication: Arc<Publication>) -> ControlFlow<()> {
        self.bytes += publication.wire_bytes();
        if self.bytes > self.max_bytes && !self.publications.is_empty() {
            self.is_full = true;
        } else {
            self.publications.push(publication);
            self.is_full = self.publications.len() >= self.limit || self.bytes > self.max_bytes;
        }
        if self.is_full {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }
}
