//! Which ids messages had lately: a message that is sent again is kept once.

use std::num::NonZeroUsize;
use std::time::Instant;

use lru::LruCache;

use super::super::{DUPLICATE_WINDOW, Error, MessageKey, Position};

/// About 10 MB.
const MOST: NonZeroUsize = NonZeroUsize::new(100_000).expect("not zero");

pub(super) struct Ids {
    seen: LruCache<MessageKey, Seen>,
}

struct Seen {
    at: Instant,
    digest: [u8; 32],
    position: Position,
}

impl Ids {
    pub(super) fn new() -> Self {
        Self {
            seen: LruCache::new(MOST),
        }
    }

    /// Where the message of that key was kept, if it was.
    pub(super) fn find(
        &mut self,
        key: &MessageKey,
        digest: &[u8; 32],
        now: Instant,
    ) -> Result<Option<Position>, Error> {
        let Some(seen) = self.seen.get(key) else {
            return Ok(None);
        };
        if now.saturating_duration_since(seen.at) >= DUPLICATE_WINDOW {
            return Ok(None);
        }
        match seen.digest == *digest {
            true => Ok(Some(seen.position.clone())),
            false => Err(Error::IdUsed),
        }
    }

    pub(super) fn insert(
        &mut self,
        key: MessageKey,
        digest: [u8; 32],
        position: Position,
        now: Instant,
    ) {
        let seen = Seen {
            at: now,
            digest,
            position,
        };
        self.seen.put(key, seen);
    }
}
