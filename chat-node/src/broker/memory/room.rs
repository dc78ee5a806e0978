//! One incarnation of a room: its offset counter and the newest publications, oldest first.
//!
//! Offsets are contiguous and only the oldest publications are ever dropped, so what is kept is always
//! `dropped() + 1 ..= last` and an offset is an index.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::{Epoch, Error, HistoryQuery, Message, Position, Publication, Readable};
use super::Limits;

/// What a publication costs beside its data: itself, its places in the ring, the buffer's and the user's headers.
pub(super) const PUBLICATION_OVERHEAD: usize = 224;

pub(super) struct Room {
    /// How many of the node's workers want the live feed.
    pub(super) opened: usize,
    /// When `Rooms::sweep` looks at this room next: when its oldest publication came, or earlier.
    pub(super) in_by_age: Option<Instant>,
    epoch: Epoch,
    last: u64,
    bytes: usize,
    history: VecDeque<Kept>,
}

struct Kept {
    since: Instant,
    publication: Arc<Publication>,
}

impl Kept {
    fn bytes(&self) -> usize {
        self.publication.payload_bytes() + PUBLICATION_OVERHEAD
    }
}

impl Room {
    pub(super) fn new(epoch: Epoch) -> Self {
        Self {
            opened: 0,
            in_by_age: None,
            epoch,
            last: 0,
            bytes: 0,
            history: VecDeque::new(),
        }
    }

    /// Whether the node wants the live feed.
    pub(super) fn is_open(&self) -> bool {
        self.opened > 0
    }

    pub(super) fn position(&self) -> Position {
        Position {
            offset: self.last,
            epoch: Arc::clone(&self.epoch),
        }
    }

    /// How many publications are kept.
    pub(super) fn len(&self) -> usize {
        self.history.len()
    }

    /// What the kept publications cost.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// When the oldest publication that is kept came.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.history.front().map(|kept| kept.since)
    }

    /// Gives `message` the next offset and keeps it as far as the room's limits allow.
    pub(super) fn append(
        &mut self,
        message: Message,
        now: Instant,
        limits: &Limits,
    ) -> Arc<Publication> {
        let Message {
            data,
            author,
            tags,
            id: _,
        } = message;
        self.last += 1;
        let publication = Arc::new(Publication {
            offset: self.last,
            data,
            author,
            tags,
        });
        let kept = Kept {
            since: now,
            publication: Arc::clone(&publication),
        };
        // Make room first: the ring then never grows beyond the limit.
        while self.len() >= limits.max_messages_per_room
            || self.bytes + kept.bytes() > limits.max_bytes_per_room
        {
            if !self.drop_oldest() {
                return publication;
            }
        }
        self.bytes += kept.bytes();
        self.history.push_back(kept);
        publication
    }

    /// Returns false if nothing is kept.
    pub(super) fn drop_oldest(&mut self) -> bool {
        let Some(kept) = self.history.pop_front() else {
            return false;
        };
        self.bytes -= kept.bytes();
        // Give memory back in halves, so that the copies stay cheap for each publication.
        if self.len() < self.history.capacity() / 4 {
            self.history.shrink_to(self.len() * 2);
        }
        true
    }

    /// Drops everything that is kept; the offset counter goes on.
    pub(super) fn erase(&mut self) {
        while self.drop_oldest() {}
    }

    /// Drops at most `budget` publications that reached `max_age`, and returns how many it dropped.
    pub(super) fn expire(&mut self, now: Instant, max_age: Duration, budget: usize) -> usize {
        let mut dropped = 0;
        while dropped < budget
            && let Some(since) = self.oldest()
            && now.saturating_duration_since(since) >= max_age
        {
            self.drop_oldest();
            dropped += 1;
        }
        dropped
    }

    /// Drops the history and starts the incarnation `epoch`; the offset counter goes on.
    pub(super) fn restart(&mut self, epoch: Epoch) {
        self.epoch = epoch;
        self.bytes = 0;
        self.history = VecDeque::new();
    }

    /// Returns all publications after `from`, or `None` if that cannot be told or some are no longer kept.
    pub(super) fn missed_since(&self, from: &Position) -> Option<Vec<Arc<Publication>>> {
        let from_the_beginning = from.offset == 0 && from.epoch.is_empty();
        if from.epoch != self.epoch && !from_the_beginning {
            return None;
        }
        if from.offset < self.dropped() || from.offset > self.last {
            return None;
        }
        let missed = self.history.range(self.index_after(from.offset)..);
        Some(missed.map(|kept| Arc::clone(&kept.publication)).collect())
    }

    /// Returns the page of history that `query` asks for.
    pub(super) fn page(&self, query: &HistoryQuery) -> Result<Vec<Arc<Publication>>, Error> {
        let begin = self.index_after(query.after.min(self.last));
        let Some(since) = &query.since else {
            let readable = self.history.range(begin..);
            return Ok(match query.reverse {
                false => first_page(readable, query),
                true => first_page(readable.rev(), query),
            });
        };
        self.check_epoch(since)?;
        if since.offset > self.last {
            return Ok(Vec::new());
        }
        Ok(if query.reverse {
            let end = self.index_after(since.offset.saturating_sub(1));
            first_page(self.history.range(begin.min(end)..end).rev(), query)
        } else {
            let start = self.index_after(since.offset).max(begin);
            first_page(self.history.range(start..), query)
        })
    }

    /// How many publications are kept after `after`.
    pub(super) fn unread(&self, after: &Position) -> Result<u64, Error> {
        self.check_epoch(after)?;
        let read = after.offset.max(self.dropped());
        Ok(self.last.saturating_sub(read))
    }

    fn check_epoch(&self, position: &Position) -> Result<(), Error> {
        match position.epoch == self.epoch || position.epoch.is_empty() {
            true => Ok(()),
            false => Err(Error::ForeignEpoch),
        }
    }

    /// The offset after which publications are within `readable`.
    pub(super) fn readable_after(&self, readable: Readable, now: Instant) -> u64 {
        let by_count = readable
            .newest
            .map_or(0, |newest| self.last.saturating_sub(newest.into()));
        let by_age = readable.max_age.map_or(0, |max_age| {
            let is_old = |kept: &Kept| now.saturating_duration_since(kept.since) >= max_age;
            self.dropped() + self.history.partition_point(is_old) as u64
        });
        by_count.max(by_age)
    }

    /// The last offset that is not kept any more.
    fn dropped(&self) -> u64 {
        self.last - self.len() as u64
    }

    /// Where in `history` the first publication after `offset` stands; `offset` is at most `last`.
    fn index_after(&self, offset: u64) -> usize {
        offset.saturating_sub(self.dropped()) as usize
    }
}

fn first_page<'a>(
    history: impl Iterator<Item = &'a Kept>,
    query: &HistoryQuery,
) -> Vec<Arc<Publication>> {
    let mut page = Vec::new();
    let mut bytes = 0;
    for kept in history.take(query.limit) {
        bytes += kept.publication.wire_bytes();
        if bytes > query.max_bytes && !page.is_empty() {
            break;
        }
        page.push(Arc::clone(&kept.publication));
    }
    page
}
