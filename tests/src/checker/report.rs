//! What the checker found, for a test to assert and for a person to read.

use std::collections::BTreeMap;
use std::fmt;

use super::log::{Id, Name};

#[derive(Debug, Default)]
pub struct Report {
    pub acked: usize,
    pub unknown: usize,
    /// Those of unknown outcome that were there after all.
    pub unknown_but_kept: usize,
    pub refused: usize,
    /// Publications seen, over all views.
    pub delivered: usize,
    /// Subscribes that asked for what was missed.
    pub resumes: usize,
    /// Publications that came in replies to them.
    pub recovered: usize,
    /// Those that were answered with `recovered: false`, which a loss excused.
    pub unrecovered: usize,
    /// Messages of unknown outcome that later ones overtook, which the rules allowed.
    pub late: usize,
    /// The most epochs that a room had.
    pub epochs: usize,
    pub violations: Vec<Violation>,
}

/// One promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    pub kind: Kind,
    pub room: Name,
    pub session: Option<Name>,
    pub offset: Option<u64>,
    pub id: Option<Id>,
    /// What else helps to understand it.
    pub detail: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Acknowledged, and no reader saw it.
    Lost,
    /// Not in a view that spans it, between what came before it and after it.
    Hole,
    /// Acknowledged and seen by others, but the view ended before it or began anew after it.
    Unseen,
    /// In a view more than once.
    Repeated,
    /// In a view after one with a higher offset, or not above where the view began.
    Backwards,
    /// One message with two places in its room, or in two epochs.
    Doubled,
    /// Two messages with one offset.
    Conflict,
    /// A message overtook an earlier one of its publisher.
    Overtaken,
    /// Seen although it had been refused for good.
    RefusedButKept,
    /// Nobody had sent it to that room.
    Foreign,
    /// `recovered: false` though history was there.
    Unrecovered,
    /// A new epoch though history was there, or `recovered: true` across epochs.
    NewEpoch,
    /// A reply's position is behind what the session had before or what the reply brings.
    PositionBack,
    /// The log contradicts itself: a defect of the harness.
    BadLog,
}

impl Report {
    /// Panics with the whole report unless all promises were kept.
    pub fn assert_clean(&self) {
        assert!(self.violations.is_empty(), "{self}");
    }

    /// How often each promise was broken.
    pub fn counts(&self) -> BTreeMap<Kind, usize> {
        let mut counts = BTreeMap::new();
        for violation in &self.violations {
            *counts.entry(violation.kind).or_default() += 1;
        }
        counts
    }
}

/// How many of one kind are worth reading.
const EXAMPLES: usize = 8;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            acked,
            unknown,
            unknown_but_kept,
            refused,
            delivered,
            resumes,
            recovered,
            unrecovered,
            late,
            epochs,
            violations,
        } = self;
        writeln!(
            f,
            "{acked} acknowledged, {unknown} unknown ({unknown_but_kept} of them kept, {late} late), {refused} refused; \
             {delivered} delivered, {recovered} of them by {resumes} resumes, {unrecovered} resumes could not; \
             {epochs} epochs; {} violations",
            violations.len()
        )?;
        for (kind, count) in self.counts() {
            writeln!(f, "{kind:?}: {count}")?;
            let examples = violations.iter().filter(|it| it.kind == kind);
            for violation in examples.take(EXAMPLES) {
                writeln!(f, "    {violation}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} in room {}", self.kind, self.room)?;
        if let Some(session) = &self.session {
            write!(f, ", session {session}")?;
        }
        if let Some(offset) = self.offset {
            write!(f, ", offset {offset}")?;
        }
        if let Some(id) = self.id {
            write!(f, ", message {id}")?;
        }
        write!(f, ": {}", self.detail)
    }
}
