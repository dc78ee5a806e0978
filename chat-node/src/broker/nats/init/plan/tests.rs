use std::time::Duration;

use super::*;
use crate::broker::nats::api::State;

fn desired() -> Desired {
    Desired {
        shards: 3,
        replicas: 3,
        max_bytes: 512 << 20,
        max_age: Duration::from_secs(720 * 3600),
        message_bytes: 65_536,
        placement_tags: Vec::new(),
    }
}

fn run() -> Run {
    Run {
        dry_run: false,
        renew_epochs: false,
        shrink_history: false,
        recreate_missing: false,
        timeout: Duration::from_secs(1),
    }
}

fn info(config: StreamConfig, last_seq: u64) -> StreamInfo {
    let state = State {
        last_seq,
        ..State::default()
    };
    StreamInfo {
        config,
        created: "2026-11-21T10:00:00Z".to_owned(),
        ts: None,
        state,
        cluster: None,
    }
}

/// The stream of a shard as an earlier run left it.
fn made(shard: u16, last_seq: u64) -> StreamInfo {
    info(StreamConfig::desired(&desired(), shard, "old"), last_seq)
}

fn all_made() -> Vec<Option<StreamInfo>> {
    (0..3).map(|shard| Some(made(shard, 5))).collect()
}

/// What a run with these flags does about what was found.
fn plan(
    run: &Run,
    found: &[Option<StreamInfo>],
    others: &[StreamInfo],
) -> Result<Vec<Step>, Vec<String>> {
    Wanted::new(&desired(), run, || "new".to_owned()).plan(found, others)
}

fn lines(steps: &[Step]) -> Vec<String> {
    steps.iter().map(|step| said("C", step, false)).collect()
}

#[test]
fn streams_that_are_not_there_are_created_with_an_epoch_of_their_own() {
    let epochs = std::cell::Cell::new(0);
    let next = || {
        epochs.set(epochs.get() + 1);
        format!("e{}", epochs.get())
    };
    let (desired, run) = (desired(), run());
    let wanted = Wanted::new(&desired, &run, next);
    let steps = wanted.plan(&[None, None, None], &[]).unwrap();
    let created: Vec<_> = steps
        .iter()
        .map(|step| match step {
            Step::Create(config) => (
                config.name.as_str(),
                config.metadata["natter.epoch"].as_str(),
            ),
            other => panic!("expected a creation: {other:?}"),
        })
        .collect();
    assert_eq!(created, [("C_0", "e1"), ("C_1", "e2"), ("C_2", "e3")]);
    assert_eq!(
        summary(&steps, false),
        "streams ready: 3 created, 0 updated, 0 kept"
    );
}

#[test]
fn streams_that_are_as_they_should_be_are_kept() {
    let steps = plan(&run(), &all_made(), &[]).unwrap();
    assert_eq!(steps, [Step::Keep, Step::Keep, Step::Keep]);
}

#[test]
fn what_an_interrupted_run_left_out_is_created() {
    let steps = plan(&run(), &[Some(made(0, 0)), None, None], &[]).unwrap();
    assert_eq!(
        lines(&steps),
        ["C: as it should be", "C: created", "C: created"]
    );
}

#[test]
fn a_stream_that_was_lost_is_recreated_only_if_that_is_asked_for() {
    let found = [Some(made(0, 5)), None, Some(made(2, 0))];
    assert_eq!(
        plan(&run(), &found, &[]).unwrap_err(),
        [
            "C_1: is missing, though C_0 has been used: it was deleted or lost; restore it, or accept with \
          --recreate-missing that what it held is gone"
        ]
    );
    let accepted = Run {
        recreate_missing: true,
        ..run()
    };
    let steps = plan(&accepted, &found, &[]).unwrap();
    assert_eq!(
        lines(&steps),
        ["C: as it should be", "C: created", "C: as it should be"]
    );
}

#[test]
fn safe_differences_are_repaired_and_the_epoch_stays() {
    let mut found = all_made();
    let stream = found[1].as_mut().unwrap();
    stream.config.max_bytes = 1000;
    stream.config.num_replicas = 1;
    let steps = plan(&run(), &found, &[]).unwrap();
    assert_eq!(
        lines(&steps)[1],
        "C: updated: max_bytes from 1000 to 536870912, num_replicas from 1 to 3"
    );
    let Step::Update(update) = &steps[1] else {
        panic!("expected an update");
    };
    assert_eq!(update.config, made(1, 5).config);
    assert_eq!(
        summary(&steps, true),
        "dry run, nothing done; streams that would be: 0 created, 1 updated, 2 kept"
    );
}

#[test]
fn one_unsafe_difference_stops_everything() {
    let mut found = all_made();
    found[0].as_mut().unwrap().config.max_bytes = 1000;
    found[1].as_mut().unwrap().config.storage = "memory".to_owned();
    found[2].as_mut().unwrap().config.num_replicas = 5;
    let stream = &mut found[2].as_mut().unwrap().config;
    stream
        .metadata
        .insert("natter.version".to_owned(), "2".to_owned());
    assert_eq!(
        plan(&run(), &found, &[]).unwrap_err(),
        [
            "C_1: storage is memory, expected file; this cannot be changed in a stream that exists",
            "C_2: metadata.natter.version is 2, expected 1; a later release made the stream; use that one",
            "C_2: num_replicas is 5, expected 3; copies are not taken away",
        ]
    );
}

#[test]
fn history_is_dropped_only_if_that_is_asked_for() {
    let mut found = all_made();
    found[0].as_mut().unwrap().config.max_age = 0;
    assert_eq!(
        plan(&run(), &found, &[]).unwrap_err(),
        [
            "C_0: max_age is unlimited, expected 720h; a change would delete what is stored beyond it; \
          --shrink-history does so"
        ]
    );
    let accepted = Run {
        shrink_history: true,
        ..run()
    };
    let steps = plan(&accepted, &found, &[]).unwrap();
    assert_eq!(
        lines(&steps)[0],
        "C: updated: max_age from unlimited to 720h"
    );
}

#[test]
fn another_number_of_shards_is_the_only_thing_said() {
    let more = Desired {
        shards: 16,
        ..desired()
    };
    let stream = |shard| Some(info(StreamConfig::desired(&more, shard, "old"), 5));
    let refusal = "history.shards (--shards) is 3, but C_0 is one of 16 streams; their number cannot change, \
                   as it decides in which stream a room lies: run with --shards 16";
    assert_eq!(
        plan(&run(), &[stream(0), None, None], &[]).unwrap_err(),
        [refusal]
    );
    // Even if all that is left are streams beyond the number that is asked for.
    let others = [stream(9).unwrap()];
    let refusal = refusal.replace("C_0", "C_9");
    assert_eq!(
        plan(&run(), &[None, None, None], &others).unwrap_err(),
        [refusal]
    );
}

#[test]
fn a_stream_of_somebody_else_is_never_taken_over() {
    let mut found = all_made();
    found[0].as_mut().unwrap().config.metadata.clear();
    assert_eq!(
        plan(&run(), &found, &[]).unwrap_err(),
        [
            "C_0: was made by something else, as its metadata lacks natter.shards; remove it if nothing needs it"
        ]
    );

    let mut other = made(0, 0);
    other.config.name = "AUDIT".to_owned();
    other.config.subjects = vec!["c.in.>".to_owned()];
    other.config.metadata.clear();
    assert_eq!(
        plan(&run(), &all_made(), &[other]).unwrap_err(),
        ["AUDIT: is no stream of the nodes, but takes their subjects (c.in.>); remove it"]
    );
}

#[test]
fn epochs_are_renewed_once() {
    let renew = Run {
        renew_epochs: true,
        ..run()
    };
    let steps = plan(&renew, &all_made(), &[]).unwrap();
    assert_eq!(lines(&steps)[2], "C: updated: a new epoch");
    let renewed: Vec<_> = steps
        .into_iter()
        .map(|step| match step {
            Step::Update(update) => Some(info(update.config, 5)),
            other => panic!("expected an update: {other:?}"),
        })
        .collect();
    let epoch = &renewed[0].as_ref().unwrap().config.metadata["natter.epoch"];
    assert_eq!(epoch, "new");
    let steps = plan(&renew, &renewed, &[]).unwrap();
    assert_eq!(steps, [Step::Keep, Step::Keep, Step::Keep]);
}

#[test]
fn servers_are_recent_and_take_the_largest_message() {
    for version in ["2.15.0", "2.15.1", "2.16.0-RC.1", "v2.15.3", "3.0.0-dev"] {
        assert_eq!(
            check_server(version, 1 << 20, &desired()),
            Ok(()),
            "{version}"
        );
    }
    for version in ["2.14.9", "2.9.0", "1.99.0", "", "dev"] {
        let refusal = check_server(version, 1 << 20, &desired()).unwrap_err();
        assert!(refusal.contains("2.15 or later"), "{version}: {refusal}");
    }
    assert_eq!(
        check_server("2.15.1", 131_071, &desired()).unwrap_err(),
        "max_payload of the server is 131071, and 131072 are needed for messages of 65536 bytes with their headers"
    );
}

#[test]
fn fewer_than_three_replicas_are_warned_of() {
    assert_eq!(warning(&desired()), None);
    let one = Desired {
        replicas: 1,
        ..desired()
    };
    assert!(warning(&one).unwrap().contains("replicas is 1"));
}
