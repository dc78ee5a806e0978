//! Decides whether messages were lost, doubled or reordered. Pure: a log of a run goes in, a report comes out.
//!
//! ```text
//! views -> runs (view.rs) -> one order for each room and epoch (order.rs) -> what is missing where
//! ```
//!
//! A run is what a session saw without a break: from the position of one subscribe, over resumes that recovered, to its last
//! position. It must have exactly what the room's order has between the two. The order is put together from all views: what
//! nobody saw is missing only if it was acknowledged.

mod log;
mod order;
mod report;
#[cfg(test)]
mod tests;
mod view;

use std::collections::{HashMap, HashSet};
use std::time::Duration;

pub use log::{Attempt, Id, Log, Name, Outcome, Position, Publication, Rules, Segment, View};
use order::Orders;
pub use report::{Kind, Report, Violation};
use view::{Reading, Run};

/// What was tried, by message; the number says how many were tried before.
type Attempts<'a> = HashMap<Id, (usize, &'a Attempt)>;

/// Checks every promise about messages.
pub fn check(log: &Log, rules: &Rules) -> Report {
    let mut report = Report::default();
    let attempts = count(log, &mut report);
    let readings: Vec<_> = log
        .views
        .iter()
        .map(|view| view::read(view, rules, &mut report))
        .collect();
    let orders = Orders::of(log, &attempts, &mut report);
    orders.check_epochs(rules, &mut report);
    orders.check_senders(&attempts, rules, &mut report);
    let mut rooms: HashMap<&Name, Vec<&Attempt>> = HashMap::new();
    for attempt in &log.attempts {
        rooms.entry(&attempt.room).or_default().push(attempt);
    }
    for (view, reading) in log.views.iter().zip(&readings) {
        let mut known: HashSet<_> = publications(view).map(|it| it.id).collect();
        for run in &reading.runs {
            known.extend(holes(view, run, &orders, &mut report));
        }
        let sent = rooms.get(&view.room).map_or(&[][..], Vec::as_slice);
        check_end(view, reading, sent, &known, &orders, rules, &mut report);
    }
    check_lost(log, &readings, &orders, rules, &mut report);
    report.unknown_but_kept = attempts
        .values()
        .filter(|(_, it)| it.outcome == Outcome::Unknown && orders.has(it.id))
        .count();
    report
}

/// Counts outcomes, and makes sure that ids are unique.
fn count<'a>(log: &'a Log, report: &mut Report) -> Attempts<'a> {
    let mut attempts = Attempts::new();
    for (number, attempt) in log.attempts.iter().enumerate() {
        match attempt.outcome {
            Outcome::Acked => report.acked += 1,
            Outcome::Unknown => report.unknown += 1,
            Outcome::Refused => report.refused += 1,
        }
        if attempts.insert(attempt.id, (number, attempt)).is_some() {
            report.violations.push(Violation {
                kind: Kind::BadLog,
                room: attempt.room.clone(),
                session: None,
                offset: None,
                id: Some(attempt.id),
                detail: "two attempts have one id".to_owned(),
            });
        }
    }
    attempts
}

fn publications(view: &View) -> impl Iterator<Item = &Publication> {
    let segments = view.segments.iter();
    segments.flat_map(|segment| segment.missed.iter().chain(&segment.live))
}

/// Reports what the run spans and does not have; returns it.
fn holes(view: &View, run: &Run, orders: &Orders<'_>, report: &mut Report) -> Vec<Id> {
    let mut missing = Vec::new();
    let mut seen = run.seen.iter().peekable();
    let mut before = (run.start, run.segment);
    for (offset, id) in orders.between(&view.room, &run.epoch, run.start, run.end) {
        while let Some(next) = seen.next_if(|(it, _)| *it < offset) {
            before = *next;
        }
        if let Some(next) = seen.next_if(|(it, _)| *it == offset) {
            before = *next;
            continue;
        }
        let place = |(offset, segment): (u64, usize)| {
            let entrance = view.segments[segment].entrance;
            format!("{offset} (segment {segment}, entrance {entrance})")
        };
        let after = seen
            .peek()
            .map_or_else(|| format!("the position {}", run.end), |next| place(**next));
        missing.push(id);
        report.violations.push(Violation {
            kind: Kind::Hole,
            room: view.room.clone(),
            session: Some(view.session.clone()),
            offset: Some(offset),
            id: Some(id),
            detail: format!("after {} came {after}", place(before)),
        });
    }
    missing
}

/// Reports what others saw, and this view must have too, but ended or began anew without it.
fn check_end(
    view: &View,
    reading: &Reading,
    sent: &[&Attempt],
    known: &HashSet<Id>,
    orders: &Orders<'_>,
    rules: &Rules,
    report: &mut Report,
) {
    for attempt in sent {
        let due = is_due(attempt, view, reading, rules) && orders.has(attempt.id);
        if !due || known.contains(&attempt.id) {
            continue;
        }
        let last = view.segments.last();
        report.violations.push(Violation {
            kind: Kind::Unseen,
            room: view.room.clone(),
            session: Some(view.session.clone()),
            offset: orders.offset(attempt.id),
            id: Some(attempt.id),
            detail: format!(
                "sent at {:?}; the view ended at {} in segment {} by entrance {}",
                attempt.sent,
                reading.runs.last().map_or(0, |run| run.end),
                view.segments.len().saturating_sub(1),
                last.map_or(0, |segment| segment.entrance),
            ),
        });
    }
}

/// Reports what was acknowledged and never seen, though somebody watched to the end.
fn check_lost(
    log: &Log,
    readings: &[Reading],
    orders: &Orders<'_>,
    rules: &Rules,
    report: &mut Report,
) {
    // When the first of a room's readers began who had to see all to the end.
    let mut watched: HashMap<&Name, Duration> = HashMap::new();
    for (view, reading) in log.views.iter().zip(readings) {
        if let Some(from) = reading.due_from.filter(|_| view.to_the_end) {
            let first = watched.entry(&view.room).or_insert(from);
            *first = from.min(*first);
        }
    }
    for attempt in &log.attempts {
        let due = watched
            .get(&attempt.room)
            .is_some_and(|from| attempt.sent >= *from);
        let acked = attempt.outcome == Outcome::Acked && !is_excused(attempt, rules);
        if due && acked && !orders.has(attempt.id) {
            report.violations.push(Violation {
                kind: Kind::Lost,
                room: attempt.room.clone(),
                session: None,
                offset: None,
                id: Some(attempt.id),
                detail: format!("sent at {:?}, acknowledged, seen by nobody", attempt.sent),
            });
        }
    }
}

/// Must this message be in the view?
fn is_due(attempt: &Attempt, view: &View, reading: &Reading, rules: &Rules) -> bool {
    view.to_the_end
        && attempt.outcome == Outcome::Acked
        && reading.due_from.is_some_and(|from| attempt.sent >= from)
        && !is_excused(attempt, rules)
}

fn is_excused(attempt: &Attempt, rules: &Rules) -> bool {
    rules.losses.iter().any(|loss| attempt.sent < loss.end)
}
