//! The one order of each room and epoch, put together from all views.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;

use super::Attempts;
use super::log::{Attempt, Id, Log, Name, Outcome, Rules};
use super::report::{Kind, Report, Violation};

#[derive(Default)]
pub(super) struct Orders<'a> {
    rooms: HashMap<&'a Name, BTreeMap<&'a Name, Order>>,
    /// Where a message was seen first.
    places: HashMap<Id, Place<'a>>,
}

type Order = BTreeMap<u64, Id>;

#[derive(Clone, Copy)]
struct Place<'a> {
    room: &'a Name,
    epoch: &'a Name,
    offset: u64,
    session: &'a Name,
}

impl<'a> Orders<'a> {
    /// Reports what cannot be in any order: two messages at one place, one at two, and what must not be there.
    pub(super) fn of(log: &'a Log, attempts: &Attempts<'_>, report: &mut Report) -> Self {
        let mut orders = Self::default();
        // What is wrong with a place, or with a message, is said once, not for each reader.
        let mut said = BTreeSet::new();
        for view in &log.views {
            for segment in &view.segments {
                for publication in segment.missed.iter().chain(&segment.live) {
                    let place = Place {
                        room: &view.room,
                        epoch: &segment.position.epoch,
                        offset: publication.offset,
                        session: &view.session,
                    };
                    let id = publication.id;
                    if let Some((kind, detail)) = orders.add(id, place, attempts)
                        && said.insert((kind, view.room.clone(), place.offset, id))
                    {
                        report.violations.push(Violation {
                            kind,
                            room: view.room.clone(),
                            session: Some(view.session.clone()),
                            offset: Some(place.offset),
                            id: Some(id),
                            detail,
                        });
                    }
                }
            }
        }
        orders
    }

    /// Puts a message into its room's order, or says why it cannot be there.
    fn add(&mut self, id: Id, place: Place<'a>, attempts: &Attempts<'_>) -> Option<(Kind, String)> {
        match attempts.get(&id) {
            Some((_, attempt)) if attempt.room != *place.room => {
                let detail = format!("it was sent to {}", attempt.room);
                return Some((Kind::Foreign, detail));
            }
            None => return Some((Kind::Foreign, "nobody sent it".to_owned())),
            Some(_) => {}
        }
        let order = self.rooms.entry(place.room).or_default();
        let order = order.entry(place.epoch).or_default();
        let first = *self.places.entry(id).or_insert(place);
        if let Some(other) = order.get(&place.offset).filter(|other| **other != id) {
            let session = self.places.get(other).map_or("?", |it| it.session);
            let detail = format!("session {session} saw {other} there, in {}", place.epoch);
            return Some((Kind::Conflict, detail));
        }
        if first.epoch != place.epoch || first.offset != place.offset {
            let Place {
                epoch,
                offset,
                session,
                ..
            } = first;
            let detail = format!(
                "in {}; session {session} saw it as {offset} of {epoch}",
                place.epoch
            );
            return Some((Kind::Doubled, detail));
        }
        let known = order.insert(place.offset, id).is_some();
        let (_, attempt) = attempts.get(&id)?;
        if !known && attempt.outcome == Outcome::Refused {
            return Some((Kind::RefusedButKept, String::new()));
        }
        None
    }

    pub(super) fn has(&self, id: Id) -> bool {
        self.places.contains_key(&id)
    }

    pub(super) fn offset(&self, id: Id) -> Option<u64> {
        self.places.get(&id).map(|place| place.offset)
    }

    /// What a room has after `start` up to `end`.
    pub(super) fn between(
        &self,
        room: &Name,
        epoch: &Name,
        start: u64,
        end: u64,
    ) -> impl Iterator<Item = (u64, Id)> {
        let order = self.rooms.get(room).and_then(|epochs| epochs.get(epoch));
        let range = (Bound::Excluded(start), Bound::Included(end));
        // A range must not begin after its end.
        let order = order.filter(|_| start < end);
        order
            .into_iter()
            .flat_map(move |order| order.range(range))
            .map(|(offset, id)| (*offset, *id))
    }

    /// A room has a new epoch only after a loss.
    pub(super) fn check_epochs(&self, rules: &Rules, report: &mut Report) {
        for (room, epochs) in &self.rooms {
            report.epochs = report.epochs.max(epochs.len());
            if epochs.len() > 1 + rules.losses.len() {
                report.violations.push(Violation {
                    kind: Kind::NewEpoch,
                    room: Name::clone(room),
                    session: None,
                    offset: None,
                    id: None,
                    detail: format!("{:?}", epochs.keys().collect::<Vec<_>>()),
                });
            }
        }
    }

    /// Messages of one publisher stand in the order in which they were sent.
    pub(super) fn check_senders(
        &self,
        attempts: &Attempts<'_>,
        rules: &Rules,
        report: &mut Report,
    ) {
        for (room, epochs) in &self.rooms {
            for (epoch, order) in epochs {
                let mut latest = Latest::default();
                for (offset, id) in order {
                    let Some((sent, attempt)) = attempts.get(id) else {
                        continue;
                    };
                    let Some((overtaker, same_connection)) = latest.put(*sent, attempt) else {
                        continue;
                    };
                    let may_be_late = !same_connection || rules.late_unknowns;
                    if may_be_late && attempt.outcome == Outcome::Unknown {
                        report.late += 1;
                        continue;
                    }
                    let connection = if same_connection {
                        "the same"
                    } else {
                        "another"
                    };
                    report.violations.push(Violation {
                        kind: Kind::Overtaken,
                        room: Name::clone(room),
                        session: None,
                        offset: Some(*offset),
                        id: Some(*id),
                        detail: format!(
                            "{:?}, sent at {:.1?}, in {epoch}; {overtaker} stands before it, sent after it through {connection} connection",
                            attempt.outcome, attempt.sent
                        ),
                    });
                }
            }
        }
    }
}

/// What was sent last of all that stands before some place in a room: by publisher, and by publisher and connection.
#[derive(Default)]
struct Latest {
    publishers: HashMap<u32, (usize, Id)>,
    connections: HashMap<(u32, usize), (usize, Id)>,
}

impl Latest {
    /// Goes on to the next place. Returns who was sent later and stands before it, and whether through its connection.
    fn put(&mut self, sent: usize, attempt: &Attempt) -> Option<(Id, bool)> {
        let this = (sent, attempt.id);
        let publisher = attempt.id.publisher;
        let connection = (publisher, attempt.connection);
        let connection = self.connections.entry(connection).or_insert(this);
        let publisher = self.publishers.entry(publisher).or_insert(this);
        let (of_connection, of_publisher) = (*connection, *publisher);
        *connection = this.max(of_connection);
        *publisher = this.max(of_publisher);
        if of_connection > this {
            return Some((of_connection.1, true));
        }
        (of_publisher > this).then_some((of_publisher.1, false))
    }
}
