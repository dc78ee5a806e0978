//! One session's view of one room, read as that session had to understand it.

use std::time::Duration;

use super::log::{Name, Position, Publication, Rules, Segment, View};
use super::report::{Kind, Report, Violation};

/// What the session could rely on.
pub(super) struct Reading {
    pub runs: Vec<Run>,
    /// The session had to see all that was sent from then on. None: it was never in the room.
    pub due_from: Option<Duration>,
}

/// What was seen without a break.
pub(super) struct Run {
    pub epoch: Name,
    /// The segment that began it.
    pub segment: usize,
    /// All after `start` up to `end` must be there.
    pub start: u64,
    pub end: u64,
    /// Offsets in their order, each with the segment in which it came.
    pub seen: Vec<(u64, usize)>,
}

/// Divides a view into runs, and reports what is wrong within it.
pub(super) fn read(view: &View, rules: &Rules, report: &mut Report) -> Reading {
    let mut reader = Reader {
        view,
        rules,
        report,
        runs: Vec::new(),
    };
    let mut due_from = None;
    for (number, segment) in view.segments.iter().enumerate() {
        if reader.begin(number, segment) || due_from.is_none() {
            due_from = Some(segment.at);
        }
        reader.take(number, &segment.missed);
        reader.reach(number, segment.position.offset);
        reader.take(number, &segment.live);
    }
    let mut runs = reader.runs;
    for run in &mut runs {
        // What came out of order was reported as such; it is no hole.
        run.seen.sort_unstable();
    }
    Reading { runs, due_from }
}

struct Reader<'a> {
    view: &'a View,
    rules: &'a Rules,
    report: &'a mut Report,
    runs: Vec<Run>,
}

impl Reader<'_> {
    /// Goes on with the run, or begins another one. True: history was lost in between, and that is excused.
    fn begin(&mut self, number: usize, segment: &Segment) -> bool {
        let Some(asked) = &segment.asked else {
            self.begin_run(number, &segment.position);
            return false;
        };
        self.report.resumes += 1;
        self.report.recovered += segment.missed.len();
        if !segment.recovered {
            let excused = self.is_excused(segment, asked);
            if excused {
                self.report.unrecovered += 1;
            } else {
                let detail = format!("at {:?}, {}", segment.at, describe(number, segment));
                self.violation(Kind::Unrecovered, Some(asked.offset), None, detail);
            }
            self.begin_run(number, &segment.position);
            return excused;
        }
        if !asked.epoch.is_empty() && asked.epoch != segment.position.epoch {
            let detail = format!("recovered across epochs, {}", describe(number, segment));
            self.violation(Kind::NewEpoch, Some(asked.offset), None, detail);
            self.begin_run(number, &segment.position);
            return false;
        }
        match self.runs.last() {
            None => self.begin_run(
                number,
                &Position {
                    offset: asked.offset,
                    epoch: segment.position.epoch.clone(),
                },
            ),
            Some(run) if run.end == asked.offset && run.epoch == asked.epoch => {}
            Some(run) => {
                let detail = format!("was at {}, {}", run.end, describe(number, segment));
                self.violation(Kind::BadLog, Some(asked.offset), None, detail);
            }
        }
        false
    }

    fn begin_run(&mut self, segment: usize, position: &Position) {
        self.runs.push(Run {
            epoch: position.epoch.clone(),
            segment,
            start: position.offset,
            end: position.offset,
            seen: Vec::new(),
        });
    }

    /// `recovered: false` is fine once the history of the asked epoch was destroyed.
    fn is_excused(&self, segment: &Segment, asked: &Position) -> bool {
        let lost = self
            .rules
            .losses
            .iter()
            .any(|loss| loss.start <= segment.at);
        lost && asked.epoch != segment.position.epoch
    }

    fn take(&mut self, number: usize, publications: &[Publication]) {
        self.report.delivered += publications.len();
        for publication in publications {
            let Publication { offset, id } = *publication;
            let Some(run) = self.runs.last_mut() else {
                continue;
            };
            let end = run.end;
            if offset > end {
                run.end = offset;
                run.seen.push((offset, number));
                continue;
            }
            let repeated = run.seen.iter().rev().any(|(it, _)| *it == offset);
            run.seen.push((offset, number));
            let kind = if repeated {
                Kind::Repeated
            } else {
                Kind::Backwards
            };
            let segment = describe(number, &self.view.segments[number]);
            let detail = format!("the session was at {end}, {segment}");
            self.violation(kind, Some(offset), Some(id), detail);
        }
    }

    /// Moves the run's end to the position that a reply names.
    fn reach(&mut self, number: usize, offset: u64) {
        let Some(run) = self.runs.last_mut() else {
            return;
        };
        let end = run.end;
        run.end = end.max(offset);
        if offset < end {
            let segment = describe(number, &self.view.segments[number]);
            let detail = format!("the session was at {end}, {segment}");
            self.violation(Kind::PositionBack, Some(offset), None, detail);
        }
    }

    fn violation(
        &mut self,
        kind: Kind,
        offset: Option<u64>,
        id: Option<super::Id>,
        detail: String,
    ) {
        self.report.violations.push(Violation {
            kind,
            room: self.view.room.clone(),
            session: Some(self.view.session.clone()),
            offset,
            id,
            detail,
        });
    }
}

/// The subscribe that began a segment.
fn describe(number: usize, segment: &Segment) -> String {
    let Position { offset, epoch } = &segment.position;
    let asked = segment.asked.as_ref().map_or_else(
        || "anew".to_owned(),
        |asked| format!("from {} of {}", asked.offset, asked.epoch),
    );
    format!(
        "segment {number} by entrance {}: subscribed {asked}, got {} publications, {offset} of {epoch}, recovered {}",
        segment.entrance,
        segment.missed.len(),
        segment.recovered
    )
}
