//! One shard on this node: its log, who uses it, and how far it has come.

use std::sync::atomic::{
    AtomicBool, AtomicU64, AtomicUsize,
    Ordering::{Relaxed, SeqCst},
};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};

use super::shard_log::{Caps, ShardLog};
use super::subject::ShardIndex;
use crate::broker::{Epoch, Error, Position};

/// How long the log may take to come to a sequence that is known to exist.
pub const CATCH_UP: Duration = Duration::from_millis(800);

pub struct Shard {
    pub index: ShardIndex,
    state: Mutex<State>,
    /// Changes whenever the state may interest somebody who waits.
    seen: watch::Sender<Seen>,
    /// Rooms with members on this node, counted once per worker.
    open: AtomicUsize,
    first_opened: Notify,
    started: Instant,
    linger: Duration,
    /// The log could be read once: until then the node is not ready, so nobody can use the shard.
    joined: AtomicBool,
    /// When it was last used, in milliseconds since `started`.
    used_at: AtomicU64,
    /// The highest sequence that an acknowledgement or a client has named.
    hinted: AtomicU64,
    /// The follower knows that it has to look for hints: those that come meanwhile need not wake it.
    is_look_due: AtomicBool,
    /// The highest sequence that was acknowledged to a client of this node.
    acknowledged: AtomicU64,
    /// Readers who are on their way up to the log.
    pins: AtomicUsize,
    /// Wakes the follower.
    pub wake: Notify,
}

/// Keeps the log from running away from a reader, as long as it is held.
pub struct Hold(Arc<Shard>);

impl Hold {
    pub fn new(shard: &Arc<Shard>) -> Self {
        shard.pins.fetch_add(1, Relaxed);
        Self(shard.clone())
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.pins.fetch_sub(1, Relaxed);
    }
}

#[derive(Debug)]
pub struct State {
    pub epoch: Epoch,
    pub log: ShardLog,
    pub ready: bool,
}

impl State {
    /// The shard's position stands for that of each of its rooms: quiet ones then outlive what others drop.
    pub fn position(&self) -> Position {
        Position {
            offset: self.log.pos(),
            epoch: self.epoch.clone(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    ready: bool,
    pos: u64,
}

impl Shard {
    pub fn new(index: ShardIndex, linger: Duration) -> Self {
        let caps = Caps {
            entries: 0,
            bytes: 0,
        };
        let (ready, pos) = (false, 0);
        Self {
            index,
            state: Mutex::new(State {
                epoch: "".into(),
                log: ShardLog::new(0, 0, caps),
                ready,
            }),
            seen: watch::Sender::new(Seen { ready, pos }),
            open: AtomicUsize::new(0),
            first_opened: Notify::new(),
            started: Instant::now(),
            linger,
            joined: AtomicBool::new(false),
            used_at: AtomicU64::new(0),
            hinted: AtomicU64::new(0),
            is_look_due: AtomicBool::new(false),
            acknowledged: AtomicU64::new(0),
            pins: AtomicUsize::new(0),
            wake: Notify::new(),
        }
    }

    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic holds this lock")
    }

    /// Changes the state and tells those who wait.
    pub fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        let result = change(&mut state);
        let seen = Seen {
            ready: state.ready,
            pos: state.log.pos(),
        };
        drop(state);
        if seen.ready {
            self.joined.store(true, Relaxed);
        }
        self.seen
            .send_if_modified(|before| std::mem::replace(before, seen) != seen);
        result
    }

    pub fn open(&self) {
        if self.open.fetch_add(1, Relaxed) == 0 {
            self.first_opened.notify_one();
        }
        self.touch();
    }

    pub fn close(&self) {
        self.touch();
        self.open.fetch_sub(1, Relaxed);
    }

    /// Whether rooms have members on this node.
    pub fn is_open(&self) -> bool {
        self.open.load(Relaxed) > 0
    }

    /// Waits until rooms have members on this node. One task may wait.
    pub async fn opened(&self) {
        while !self.is_open() {
            self.first_opened.notified().await;
        }
    }

    /// Somebody uses the shard: it is followed for a while.
    pub fn touch(&self) {
        let now = self.started.elapsed().as_millis() as u64;
        self.used_at.store(now, Relaxed);
        if !self.seen.borrow().ready {
            self.wake.notify_one();
        }
    }

    pub fn is_pinned(&self) -> bool {
        self.pins.load(Relaxed) > 0
    }

    pub fn has_joined(&self) -> bool {
        self.joined.load(Relaxed)
    }

    /// Whether the shard is to be followed.
    pub fn is_used(&self) -> bool {
        let used_at = Duration::from_millis(self.used_at.load(Relaxed));
        self.is_open() || !self.has_joined() || self.started.elapsed() < used_at + self.linger
    }

    /// Sequence `exists` was seen by somebody: the follower looks whether it comes.
    pub fn hint(&self, exists: u64) {
        let is_new = self.hinted.fetch_max(exists, SeqCst) < exists;
        // An acknowledgement often comes before the live copy: the follower is woken for the first of many.
        if is_new && self.seen.borrow().pos < exists && !self.is_look_due.swap(true, SeqCst) {
            self.wake.notify_one();
        }
    }

    /// The follower is about to look at what was hinted: the next hint wakes it again.
    pub fn begin_look(&self) {
        self.is_look_due.store(false, SeqCst);
    }

    /// A client of this node knows that `sequence` exists, and expects to read it here.
    pub fn acknowledge(&self, sequence: u64) {
        self.acknowledged.fetch_max(sequence, Relaxed);
        self.hint(sequence);
    }

    /// The highest sequence that somebody has seen.
    pub fn hinted(&self) -> u64 {
        self.hinted.load(SeqCst)
    }

    /// What was hinted at does not exist.
    pub fn forget_hints(&self) {
        self.hinted.store(0, Relaxed);
    }

    /// Sequences of another epoch mean nothing.
    pub fn begin_anew(&self) {
        self.forget_hints();
        self.acknowledged.store(0, Relaxed);
    }

    /// Whether the log lacks something up to `sequence`, or cannot be read at all.
    pub fn is_behind(&self, sequence: u64) -> bool {
        let seen = *self.seen.borrow();
        !seen.ready || seen.pos < sequence
    }

    /// Waits until the log can be read.
    pub async fn ready(&self, patience: Duration) -> Result<(), Error> {
        self.touch();
        if self.seen.borrow().ready {
            return Ok(());
        }
        self.wait(patience, |seen| seen.ready).await
    }

    /// Waits until the log can be read, and for a moment until it has what was acknowledged here: the feed is about as
    /// fast as an acknowledgement, and clients expect to read what they have written.
    pub async fn readable(&self, patience: Duration) -> Result<(), Error> {
        self.ready(patience).await?;
        let acknowledged = self.acknowledged.load(Relaxed);
        if self.seen.borrow().pos < acknowledged {
            let _ = self.reached(acknowledged, CATCH_UP).await;
        }
        Ok(())
    }

    /// Waits until the log has come to `sequence`.
    pub async fn reached(&self, sequence: u64, patience: Duration) -> Result<(), Error> {
        self.wait(patience, |seen| seen.ready && seen.pos >= sequence)
            .await
    }

    /// Whether the log comes to a position that a client names: this node may be behind the one that told it.
    ///
    /// Errors: `ForeignEpoch` if the position is of another epoch than `epoch`.
    pub async fn comes_to(&self, position: &Position, epoch: &Epoch) -> Result<bool, Error> {
        if !position.epoch.is_empty() && position.epoch != *epoch {
            return Err(Error::ForeignEpoch);
        }
        if position.offset <= self.lock().log.pos() {
            return Ok(true);
        }
        self.hint(position.offset);
        Ok(self.reached(position.offset, CATCH_UP).await.is_ok())
    }

    async fn wait(&self, patience: Duration, until: impl Fn(&Seen) -> bool) -> Result<(), Error> {
        let mut seen = self.seen.subscribe();
        match tokio::time::timeout(patience, seen.wait_for(until)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Error::Unreachable),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn the_follower_is_woken_for_the_first_hint_after_each_look() {
        let shard = Shard::new(0, Duration::ZERO);
        let is_woken = || shard.wake.notified().now_or_never().is_some();
        shard.hint(5);
        assert!(is_woken());
        shard.hint(6);
        assert!(!is_woken(), "it looks for 6 too");
        shard.begin_look();
        shard.hint(6);
        assert!(!is_woken(), "nothing new");
        shard.hint(7);
        assert!(is_woken());
    }
}
