//! Answers to reads that lost something, and replicas that lag.

use super::super::liar::{Copy, Replica, Reply};
use super::*;

/// The shard's log is filled from answers to which `spoil` is done a few times.
async fn fills_in_spite_of(spoil: impl Fn(&mut Vec<Reply>) + Send + 'static) -> Rig {
    let rig = Setup::default().start().await;
    let (room, _) = rig.open("room").await;
    rig.liar.copies(|_| Copy::Lost);
    spoil_three(&rig, spoil);
    rig.others_publish(&room, 30);
    rig.is_delivered(&room, 0).await;
    rig
}

/// The room's missed messages are read from answers to which `spoil` is done a few times.
async fn recovers_in_spite_of(spoil: impl Fn(&mut Vec<Reply>) + Send + 'static) -> Rig {
    let rig = Setup::with_log_of(3).start().await;
    let (room, start) = rig.open("room").await;
    rig.others_publish(&room, 30);
    rig.is_delivered(&room, 0).await;
    spoil_three(&rig, spoil);
    rig.recovers(&room, &start).await;
    rig
}

/// Batches of some messages are spoilt, three in all.
fn spoil_three(rig: &Rig, spoil: impl Fn(&mut Vec<Reply>) + Send + 'static) {
    let mut left = 3;
    rig.liar.answers(move |replies| {
        if left > 0 && replies.len() > 8 {
            left -= 1;
            spoil(replies);
        }
    });
}

#[tokio::test]
async fn an_answer_without_its_head_is_asked_for_again() {
    let without_head = |replies: &mut Vec<Reply>| drop(replies.drain(..5));
    let rig = fills_in_spite_of(without_head).await;
    assert_eq!(rig.metric("nats_broken_batches_total"), 3);
    let rig = recovers_in_spite_of(without_head).await;
    assert_eq!(rig.metric("nats_broken_batches_total"), 3);
}

#[tokio::test]
async fn an_answer_is_good_up_to_where_it_breaks() {
    let without_one = |replies: &mut Vec<Reply>| drop(replies.remove(5));
    let rig = fills_in_spite_of(without_one).await;
    assert_eq!(rig.metric("nats_broken_batches_total"), 3);
    let rig = recovers_in_spite_of(without_one).await;
    assert_eq!(rig.metric("nats_broken_batches_total"), 3);
}

#[tokio::test]
async fn an_answer_that_lost_its_last_messages_proves_no_end() {
    let without_last = |replies: &mut Vec<Reply>| {
        let end = replies.pop().unwrap();
        replies.truncate(5);
        replies.push(end);
    };
    fills_in_spite_of(without_last).await;
    recovers_in_spite_of(without_last).await;
}

#[tokio::test]
async fn an_answer_without_an_end_is_good_as_far_as_it_goes() {
    let rig = fills_in_spite_of(|replies| replies.truncate(9)).await;
    assert!(rig.metric("nats_silent_reads_total") >= 1);
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_again() {
    let rig = recovers_in_spite_of(Vec::clear).await;
    assert!(rig.metric("nats_silent_reads_total") >= 1);
}

#[tokio::test]
async fn a_gap_waits_for_a_replica_that_lags() {
    let mut setup = Setup::default();
    setup.times.ask_leader = NEVER;
    let rig = setup.start().await;
    let (room, _) = rig.open("room").await;
    rig.liar.copies(|_| Copy::Lost);
    rig.liar.lag(2);
    rig.others_publish(&room, 6);
    rig.has_come_to(2).await;
    let reads = rig.metric("nats_reads_total");
    let more = async || rig.metric("nats_reads_total") > reads + 3;
    until("the node to ask again", more).await;
    assert_eq!(rig.delivered(&room, 0), rig.kept(&room, 0)[..2]);
    rig.liar.lag(None);
    rig.is_delivered(&room, 0).await;
}

#[tokio::test]
async fn the_leader_fills_what_replicas_do_not_give() {
    let rig = Setup::default().start().await;
    let (room, _) = rig.open("room").await;
    rig.liar.copies(|_| Copy::Lost);
    rig.liar.lag(2);
    let last = rig.others_publish(&room, 300)[299];
    rig.liar.stream(|stream| stream.erase(280..=last - 1));
    rig.is_delivered(&room, 0).await;
}

/// What is missing comes from a replica that is behind at first and says that there is nothing more.
#[tokio::test]
async fn a_lagging_replica_ends_no_resume() {
    let rig = Setup::with_log_of(3).start().await;
    let (busy, start) = rig.open("busy").await;
    let quiet = room_named("quiet");
    let late = room_named("late");
    let first = rig.liar.publish(&quiet, "first");
    rig.others_publish(&busy, 10);
    let end = rig.liar.last();
    rig.liar.publish(&quiet, "second");
    rig.liar.publish(&late, "only");
    rig.others_publish(&busy, 10);
    rig.is_delivered(&busy, 0).await;
    for room in [&busy, &quiet, &late] {
        for offset in [0, first, end - 1, end] {
            let mut asked = 0;
            rig.liar.replicas(move || {
                asked += 1;
                Replica {
                    end: (asked <= 4).then_some(end),
                    ..Replica::default()
                }
            });
            let epoch = start.epoch.clone();
            rig.recovers(room, &Position { offset, epoch }).await;
        }
    }
}

/// Every second answer comes from a replica that is far behind; those of memory say nothing else about it.
#[tokio::test]
async fn lagging_replicas_make_no_holes_in_history() {
    for in_memory in [false, true] {
        let rig = Setup::with_log_of(3).start().await;
        let (room, _) = rig.open("room").await;
        for _ in 0..12 {
            rig.others_publish(&room, 2);
            rig.others_publish(&room_named("other"), 5);
        }
        rig.is_delivered(&room, 0).await;
        rig.has_come_to(rig.liar.last()).await;
        let mut chance = fastrand::Rng::with_seed(7);
        rig.liar.replicas(move || Replica {
            end: (chance.u8(..3) == 0).then_some(40),
            in_memory,
            ..Replica::default()
        });
        let kept: Vec<u64> = rig.kept(&room, 0).iter().map(|p| p.offset).collect();
        for limit in [3, 1000] {
            for reverse in [false, true] {
                let mut read = Vec::new();
                let mut since = None;
                loop {
                    let page = rig.node.history(&room, since.as_ref(), limit, reverse);
                    let page = page.await;
                    let Some(last) = page.publications.last() else {
                        break;
                    };
                    since = Some(Position {
                        offset: last.offset,
                        epoch: page.position.epoch,
                    });
                    read.extend(offsets(&page.publications));
                }
                if reverse {
                    read.reverse();
                }
                assert_eq!(read, kept, "{limit} {reverse} {in_memory}");
            }
        }
    }
}

#[tokio::test]
async fn reads_that_nobody_answers_fail_in_time() {
    let mut setup = Setup::impatient();
    setup.log.entries = 3;
    let rig = setup.start().await;
    let (room, start) = rig.open("room").await;
    rig.others_publish(&room, 10);
    rig.is_delivered(&room, 0).await;
    rig.liar.answers(Vec::clear);
    let join = rig.nats.join(&room, Some(start.clone()));
    let history = rig.nats.history(&room, whole());
    let begun = tokio::time::Instant::now();
    let (joined, page) = tokio::join!(join, history);
    assert!(begun.elapsed() < Duration::from_secs(2));
    assert_eq!(joined.unwrap_err(), Error::Unreachable);
    assert_eq!(page.unwrap_err(), Error::Unreachable);
    rig.liar.tell_the_truth();
    rig.recovers(&room, &start).await;
}

fn whole() -> crate::broker::HistoryQuery {
    crate::broker::HistoryQuery {
        limit: usize::MAX,
        max_bytes: usize::MAX,
        ..Default::default()
    }
}
