use std::time::Duration;

use super::*;

fn id(publisher: u32, number: u32) -> Id {
    Id { publisher, number }
}

fn at(offset: u64, publisher: u32, number: u32) -> Publication {
    Publication {
        offset,
        id: id(publisher, number),
    }
}

fn position(offset: u64) -> Position {
    Position {
        offset,
        epoch: "e".into(),
    }
}

const SECOND: Duration = Duration::from_secs(1);

/// Subscribed anew at an offset, at the beginning of the run.
fn fresh(offset: u64, live: &[Publication]) -> Segment {
    Segment {
        entrance: 0,
        at: Duration::ZERO,
        asked: None,
        recovered: false,
        position: position(offset),
        missed: Vec::new(),
        live: live.to_vec(),
    }
}

/// Came back to another node and recovered.
fn resumed(from: u64, missed: &[Publication], to: u64, live: &[Publication]) -> Segment {
    Segment {
        entrance: 1,
        at: 5 * SECOND,
        asked: Some(position(from)),
        recovered: true,
        position: position(to),
        missed: missed.to_vec(),
        live: live.to_vec(),
    }
}

fn view(session: &str, segments: Vec<Segment>) -> View {
    View {
        session: session.into(),
        room: "r".into(),
        segments,
        to_the_end: true,
    }
}

/// Two publishers, and readers who stayed, who came back, who came late and who left early.
///
/// The room: p0-0 at 1, p1-0 at 2, p0-1 at 4, p0-2 at 7, p1-1 at 9.
fn clean() -> Log {
    let attempt = |second, publisher, number, outcome| Attempt {
        id: id(publisher, number),
        room: "r".into(),
        connection: 0,
        sent: second * SECOND,
        outcome,
    };
    let all = [
        at(1, 0, 0),
        at(2, 1, 0),
        at(4, 0, 1),
        at(7, 0, 2),
        at(9, 1, 1),
    ];
    Log {
        attempts: vec![
            attempt(1, 0, 0, Outcome::Acked),
            attempt(2, 1, 0, Outcome::Acked),
            attempt(3, 0, 1, Outcome::Unknown),
            attempt(4, 0, 2, Outcome::Acked),
            attempt(5, 1, 1, Outcome::Acked),
            attempt(6, 1, 2, Outcome::Unknown),
            attempt(7, 1, 3, Outcome::Refused),
        ],
        views: vec![
            view("stayed", vec![fresh(0, &all)]),
            view(
                "returned",
                vec![
                    fresh(0, &all[..1]),
                    resumed(1, &all[1..3], 5, &[]),
                    resumed(5, &[], 6, &all[3..]),
                ],
            ),
            View {
                to_the_end: false,
                ..view("left", vec![fresh(0, &all[..2])])
            },
            View {
                segments: vec![Segment {
                    at: 4 * SECOND,
                    ..fresh(5, &all[3..])
                }],
                ..view("late", Vec::new())
            },
        ],
    }
}

/// The kinds of violations in a clean log after a change, each with its session, offset and message.
fn found(rules: &Rules, change: impl FnOnce(&mut Log)) -> Vec<(Kind, String)> {
    let mut log = clean();
    change(&mut log);
    let report = check(&log, rules);
    let mut found: Vec<_> = report
        .violations
        .into_iter()
        .map(|it| {
            assert_eq!(&*it.room, "r");
            let session = it.session.unwrap_or_else(|| "-".into());
            let offset = it.offset.map_or("-".to_owned(), |it| it.to_string());
            let id = it.id.map_or("-".to_owned(), |it| it.to_string());
            (it.kind, format!("{session} {offset} {id}"))
        })
        .collect();
    found.sort();
    found
}

/// Like `found`, by the strictest rules.
fn strictly(change: impl FnOnce(&mut Log)) -> Vec<(Kind, String)> {
    found(&Rules::default(), change)
}

fn one(kind: Kind, what: &str) -> Vec<(Kind, String)> {
    vec![(kind, what.to_owned())]
}

const STAYED: usize = 0;
const RETURNED: usize = 1;
const LEFT: usize = 2;

#[test]
fn a_clean_log_is_clean_and_counted() {
    let report = check(&clean(), &Rules::default());
    report.assert_clean();
    assert_eq!((report.acked, report.unknown, report.refused), (4, 2, 1));
    assert_eq!((report.unknown_but_kept, report.late), (1, 0));
    assert_eq!(
        (report.resumes, report.recovered, report.unrecovered),
        (2, 2, 0)
    );
    assert_eq!((report.delivered, report.epochs), (5 + 5 + 2 + 2, 1));
}

#[test]
#[should_panic(expected = "Hole in room r, session stayed, offset 2, message p1-0: after 1")]
fn a_violation_ends_the_test_with_what_is_known() {
    let mut log = clean();
    log.views[STAYED].segments[0].live.remove(1);
    check(&log, &Rules::default()).assert_clean();
}

#[test]
fn a_hole_in_what_came_live() {
    let found = strictly(|log| {
        log.views[STAYED].segments[0].live.remove(1);
    });
    assert_eq!(found, one(Kind::Hole, "stayed 2 p1-0"));
}

#[test]
fn a_hole_in_what_was_recovered() {
    let found = strictly(|log| {
        log.views[RETURNED].segments[1].missed.remove(0);
    });
    assert_eq!(found, one(Kind::Hole, "returned 2 p1-0"));
}

#[test]
fn a_hole_at_the_end_of_what_was_recovered() {
    // The reply's position says that 4 is behind it.
    let found = strictly(|log| {
        log.views[RETURNED].segments[1].missed.remove(1);
    });
    assert_eq!(found, one(Kind::Hole, "returned 4 p0-1"));
}

#[test]
fn a_hole_between_a_reply_and_what_came_live() {
    let found = strictly(|log| {
        log.views[RETURNED].segments[2].live.remove(0);
    });
    assert_eq!(found, one(Kind::Hole, "returned 7 p0-2"));
}

#[test]
fn a_hole_in_the_view_of_somebody_who_left() {
    let found = strictly(|log| {
        log.views[LEFT].segments[0].live.remove(0);
    });
    assert_eq!(found, one(Kind::Hole, "left 1 p0-0"));
}

#[test]
fn a_hole_of_a_message_of_unknown_outcome() {
    let found = strictly(|log| {
        log.views[STAYED].segments[0].live.remove(2);
    });
    assert_eq!(found, one(Kind::Hole, "stayed 4 p0-1"));
}

#[test]
fn an_end_that_one_reader_never_reached() {
    let found = strictly(|log| {
        log.views[STAYED].segments[0].live.pop();
    });
    assert_eq!(found, one(Kind::Unseen, "stayed 9 p1-1"));
}

#[test]
fn a_reader_who_began_anew() {
    let found = strictly(|log| {
        let segments = &mut log.views[RETURNED].segments;
        segments.truncate(2);
        segments[1] = Segment {
            at: 3 * SECOND,
            ..fresh(2, &[at(4, 0, 1), at(7, 0, 2), at(9, 1, 1)])
        };
    });
    assert_eq!(found, one(Kind::Unseen, "returned 2 p1-0"));
}

#[test]
fn an_acknowledged_message_that_nobody_saw() {
    let found = strictly(|log| {
        for view in &mut log.views {
            for segment in &mut view.segments {
                segment.missed.retain(|it| it.offset != 7);
                segment.live.retain(|it| it.offset != 7);
            }
        }
    });
    assert_eq!(found, one(Kind::Lost, "- - p0-2"));
}

#[test]
fn a_reader_who_left_cannot_prove_a_loss() {
    let found = strictly(|log| {
        log.views.retain(|view| &*view.session == "left");
    });
    assert_eq!(found, []);
}

#[test]
fn a_message_that_came_twice() {
    let found = strictly(|log| log.views[STAYED].segments[0].live.insert(2, at(2, 1, 0)));
    assert_eq!(found, one(Kind::Repeated, "stayed 2 p1-0"));
}

#[test]
fn a_message_that_came_in_a_reply_and_live() {
    let found = strictly(|log| log.views[RETURNED].segments[1].live.insert(0, at(4, 0, 1)));
    assert_eq!(found, one(Kind::Repeated, "returned 4 p0-1"));
}

#[test]
fn a_message_from_before_the_position_asked_for() {
    let found = strictly(|log| {
        log.views[RETURNED].segments[1]
            .missed
            .insert(0, at(1, 0, 0))
    });
    assert_eq!(found, one(Kind::Repeated, "returned 1 p0-0"));
}

#[test]
fn a_message_from_before_the_beginning() {
    let found = strictly(|log| {
        log.views[LEFT].segments = vec![fresh(1, &[at(1, 0, 0), at(2, 1, 0)])];
    });
    assert_eq!(found, one(Kind::Backwards, "left 1 p0-0"));
}

#[test]
fn two_messages_out_of_order() {
    let found = strictly(|log| log.views[STAYED].segments[0].live.swap(1, 2));
    assert_eq!(found, one(Kind::Backwards, "stayed 2 p1-0"));
}

#[test]
fn a_message_that_was_stored_twice() {
    let found = strictly(|log| {
        for view in [STAYED, RETURNED, 3] {
            let last = log.views[view].segments.last_mut().unwrap();
            last.live.push(at(12, 1, 0));
        }
    });
    assert_eq!(found, one(Kind::Doubled, "stayed 12 p1-0"));
}

#[test]
fn a_message_of_unknown_outcome_that_was_stored_twice() {
    let found = strictly(|log| {
        for view in [STAYED, RETURNED, 3] {
            let last = log.views[view].segments.last_mut().unwrap();
            last.live.push(at(12, 0, 1));
        }
    });
    assert_eq!(found, one(Kind::Doubled, "stayed 12 p0-1"));
}

#[test]
fn two_readers_who_saw_different_orders() {
    let found = strictly(|log| {
        log.views[STAYED].segments[0].live[3] = at(7, 1, 1);
        log.views[STAYED].segments[0].live[4] = at(9, 0, 2);
    });
    let kinds: Vec<_> = found.iter().map(|(kind, _)| *kind).collect();
    assert!(kinds.contains(&Kind::Conflict), "{found:?}");
}

#[test]
fn a_message_that_overtook_an_earlier_one_of_its_sender() {
    let swapped = |log: &mut Log| log.attempts.swap(0, 3);
    let overtaken = [
        (Kind::Overtaken, "- 4 p0-1".to_owned()),
        (Kind::Overtaken, "- 7 p0-2".to_owned()),
    ];
    // The first of the three was sent last: it stands before both.
    assert_eq!(strictly(swapped), overtaken);
    let acked_first = |log: &mut Log| {
        log.attempts.swap(1, 4);
    };
    assert_eq!(strictly(acked_first), one(Kind::Overtaken, "- 9 p1-1"));
    let late = Rules {
        late_unknowns: true,
        ..Rules::default()
    };
    assert_eq!(found(&late, acked_first), one(Kind::Overtaken, "- 9 p1-1"));
}

#[test]
fn a_message_of_unknown_outcome_may_come_late_where_the_rules_say_so() {
    // p0-1 was sent before p0-0, and is stored after it.
    let swapped = |log: &mut Log| log.attempts.swap(0, 2);
    assert_eq!(strictly(swapped), one(Kind::Overtaken, "- 4 p0-1"));
    let rules = Rules {
        late_unknowns: true,
        ..Rules::default()
    };
    assert_eq!(found(&rules, swapped), []);
    let mut log = clean();
    swapped(&mut log);
    assert_eq!(check(&log, &rules).late, 1);
}

#[test]
fn a_message_of_unknown_outcome_may_come_after_those_of_later_connections() {
    // p0-1 is sent, its connection ends, p0-0 is sent and stored before it.
    let reconnected = |log: &mut Log| {
        log.attempts.swap(0, 2);
        for attempt in &mut log.attempts[1..] {
            attempt.connection = 1;
        }
    };
    assert_eq!(strictly(reconnected), []);
    let acked = |log: &mut Log| {
        reconnected(log);
        log.attempts[0].outcome = Outcome::Acked;
    };
    assert_eq!(strictly(acked), one(Kind::Overtaken, "- 4 p0-1"));
}

#[test]
fn a_refused_message_that_is_there() {
    let found = strictly(|log| {
        for view in [STAYED, RETURNED, 3] {
            let last = log.views[view].segments.last_mut().unwrap();
            last.live.push(at(12, 1, 3));
        }
    });
    assert_eq!(found, one(Kind::RefusedButKept, "stayed 12 p1-3"));
}

#[test]
fn a_message_that_nobody_sent() {
    let found = strictly(|log| log.views[STAYED].segments[0].live.push(at(12, 9, 9)));
    assert_eq!(found, one(Kind::Foreign, "stayed 12 p9-9"));
}

#[test]
fn a_message_of_another_room() {
    let found = strictly(|log| {
        log.attempts[5].room = "other".into();
        log.views[STAYED].segments[0].live.push(at(12, 1, 2));
    });
    assert_eq!(found, one(Kind::Foreign, "stayed 12 p1-2"));
}

#[test]
fn a_reply_whose_position_is_behind_the_one_asked_for() {
    let found = strictly(|log| log.views[RETURNED].segments[2].position.offset = 4);
    assert_eq!(found, one(Kind::PositionBack, "returned 4 -"));
}

#[test]
fn a_session_that_did_not_go_on_where_it_was() {
    let found = strictly(|log| {
        let segment = &mut log.views[RETURNED].segments[2];
        segment.asked = Some(position(3));
    });
    assert_eq!(found, one(Kind::BadLog, "returned 3 -"));
}

#[test]
fn two_attempts_with_one_id() {
    let found = strictly(|log| log.attempts.push(log.attempts[6].clone()));
    assert_eq!(found, one(Kind::BadLog, "- - p1-3"));
}

/// What came back finds another epoch, in which only what was sent afterwards is.
fn lose_history(log: &mut Log) {
    let epoch = || Position {
        offset: 1,
        epoch: "new".into(),
    };
    for view in &mut log.views {
        view.segments.truncate(1);
        view.segments[0].live.retain(|it| it.offset <= 2);
        if !view.to_the_end || &*view.session == "late" {
            view.to_the_end = false;
            continue;
        }
        let offset = view.segments[0].live.last().map_or(0, |it| it.offset);
        view.segments.push(Segment {
            recovered: false,
            position: epoch(),
            at: 4 * SECOND + SECOND / 2,
            ..resumed(offset, &[], 1, &[at(2, 1, 1)])
        });
    }
}

#[test]
fn a_new_epoch_without_a_loss() {
    let found = strictly(lose_history);
    let kinds: Vec<_> = found.iter().map(|(kind, _)| *kind).collect();
    let count = |kind| kinds.iter().filter(|it| **it == kind).count();
    assert_eq!(count(Kind::Unrecovered), 2, "{found:?}");
    assert_eq!(count(Kind::NewEpoch), 1, "{found:?}");
}

#[test]
fn a_new_epoch_after_a_loss_is_fine() {
    let rules = Rules {
        losses: vec![3 * SECOND..4 * SECOND],
        ..Rules::default()
    };
    assert_eq!(found(&rules, lose_history), []);
    let mut log = clean();
    lose_history(&mut log);
    let report = check(&log, &rules);
    assert_eq!((report.unrecovered, report.epochs), (2, 2));
}

#[test]
fn a_loss_excuses_nothing_that_was_sent_after_it() {
    let rules = Rules {
        losses: vec![3 * SECOND..4 * SECOND],
        ..Rules::default()
    };
    let lost = found(&rules, |log| {
        lose_history(log);
        for view in &mut log.views {
            view.segments
                .last_mut()
                .unwrap()
                .live
                .retain(|it| it.id != id(1, 1));
        }
    });
    assert_eq!(lost, one(Kind::Lost, "- - p1-1"));
}

#[test]
fn a_resume_that_failed_within_an_epoch_is_never_excused() {
    let rules = Rules {
        losses: vec![3 * SECOND..4 * SECOND],
        ..Rules::default()
    };
    let found = found(&rules, |log| {
        log.views[RETURNED].segments[2].recovered = false;
    });
    assert_eq!(found, one(Kind::Unrecovered, "returned 5 -"));
}

#[test]
fn a_resume_from_the_very_beginning_has_all() {
    let first = |log: &mut Log| {
        log.views[RETURNED].segments.drain(..2);
        log.views[RETURNED].segments[0] = Segment {
            asked: Some(Position {
                offset: 0,
                epoch: "".into(),
            }),
            ..resumed(
                0,
                &[at(1, 0, 0), at(2, 1, 0), at(4, 0, 1)],
                6,
                &[at(7, 0, 2), at(9, 1, 1)],
            )
        };
    };
    assert_eq!(strictly(first), []);
    let found = strictly(|log| {
        first(log);
        log.views[RETURNED].segments[0].missed.remove(0);
    });
    assert_eq!(found, one(Kind::Hole, "returned 1 p0-0"));
}

#[test]
fn a_recovery_across_epochs_is_none() {
    let found = strictly(|log| {
        let segment = &mut log.views[RETURNED].segments[2];
        segment.asked = Some(Position {
            offset: 5,
            epoch: "other".into(),
        });
    });
    assert_eq!(found, one(Kind::NewEpoch, "returned 5 -"));
}

#[test]
fn an_id_is_what_it_prints() {
    for text in ["p0-0", "p3-17"] {
        assert_eq!(text.parse::<Id>().unwrap().to_string(), text);
    }
    for text in ["", "p", "p1", "3-17", "p1-", "p-1", "p1-2-3"] {
        assert_eq!(text.parse::<Id>(), Err(()), "{text}");
    }
}
