//! Clients that come back: to a node that is behind or cold, and after something was dropped or erased.

use super::super::liar::Copy;
use super::*;

fn at(offset: u64, like: &Position) -> Position {
    let epoch = like.epoch.clone();
    Position { offset, epoch }
}

#[tokio::test]
async fn a_client_that_is_ahead_of_the_node_is_waited_for() {
    let rig = Setup::without_audits().start().await;
    let (room, start) = rig.open("room").await;
    rig.liar.copies(|_| Copy::Lost);
    rig.others_publish(&room, 3);
    let joined = rig.recovers(&room, &at(2, &start)).await;
    assert_eq!(offsets(&joined.publications), [3]);
    rig.is_delivered(&room, 0).await;
    let ahead = rig.others_publish(&room, 2)[1];
    let joined = rig.recovers(&room, &at(ahead, &start)).await;
    assert_eq!(joined.position.offset, ahead);
}

#[tokio::test]
async fn an_offset_that_nobody_has_is_answered_in_time() {
    let rig = Setup::without_audits().start().await;
    let (room, start) = rig.open("room").await;
    rig.others_publish(&room, 3);
    for _ in 0..2 {
        let begun = tokio::time::Instant::now();
        let joined = rig.nats.join(&room, Some(at(1000, &start))).await;
        assert_eq!(joined.unwrap_err(), Error::Unreachable);
        assert!(begun.elapsed() < Duration::from_secs(2));
    }
    // Nor does it hurt those who come later.
    let begun = tokio::time::Instant::now();
    rig.recovers(&room, &start).await;
    assert!(begun.elapsed() < Duration::from_millis(700));
}

#[tokio::test]
async fn a_node_with_a_cold_log_recovers_from_every_offset() {
    let liar = Liar::start(1).await;
    let rooms = [room_named("a"), room_named("b"), room_named("c")];
    for n in 0..60_usize {
        // The first room falls silent before the log begins.
        liar.publish(&rooms[if n < 40 { n % 3 } else { 1 + n % 2 }], "x");
    }
    let rig = Setup::with_log_of(10).join(liar).await;
    rig.is_ready().await;
    let position = rig.open("a").await.1;
    assert_eq!(position.offset, 60);
    for offset in 0..=60 {
        for room in &rooms {
            rig.recovers(room, &at(offset, &position)).await;
        }
    }
    assert!(rig.node.feed.of(&rooms[1]).is_empty(), "old is not live");
}

/// A busy and a quiet room in a stream that has dropped everything before 40; the quiet room's newest is 30.
async fn with_eviction() -> (Rig, RoomName, RoomName, Position) {
    let rig = Setup::with_log_of(3).start().await;
    let (busy, start) = rig.open("busy").await;
    let quiet = room_named("quiet");
    rig.others_publish(&busy, 29);
    rig.others_publish(&quiet, 1);
    rig.others_publish(&busy, 30);
    rig.is_delivered(&busy, 0).await;
    rig.liar.stream(|stream| stream.evict_before(40));
    (rig, busy, quiet, start)
}

#[tokio::test]
async fn what_was_dropped_while_a_client_was_away_is_admitted() {
    let (rig, busy, quiet, start) = with_eviction().await;
    for offset in [0, 1, 29, 38] {
        rig.does_not_recover(&busy, &at(offset, &start)).await;
        rig.does_not_recover(&quiet, &at(offset, &start)).await;
    }
    for offset in [39, 40, 50, 60] {
        rig.recovers(&busy, &at(offset, &start)).await;
        rig.recovers(&quiet, &at(offset, &start)).await;
    }
}

#[tokio::test]
async fn a_quiet_room_outlives_what_others_drop() {
    let (rig, _, quiet, _) = with_eviction().await;
    // Whoever joined the quiet room late was told the shard's position, not that of the room's newest message.
    let joined = rig.node.join(&quiet, None).await;
    assert_eq!(joined.position.offset, 60);
    rig.others_publish(&room_named("busy"), 20);
    rig.liar.stream(|stream| stream.evict_before(55));
    rig.has_come_to(80).await;
    let joined = rig.recovers(&quiet, &joined.position).await;
    assert_eq!(joined.position.offset, 80);
}

#[tokio::test]
async fn what_is_dropped_while_it_is_read_is_admitted() {
    let rig = Setup::with_log_of(3).start().await;
    let (room, start) = rig.open("room").await;
    rig.others_publish(&room, 30);
    rig.is_delivered(&room, 0).await;
    // The messages can be read, and are gone when the stream is asked what it still has.
    rig.liar
        .infos(|info| info["state"]["first_seq"] = 11.into());
    rig.does_not_recover(&room, &at(5, &start)).await;
    rig.recovers(&room, &at(10, &start)).await;
}

#[tokio::test]
async fn a_new_room_is_recovered_from_the_beginning_while_nothing_was_dropped() {
    let (rig, busy, quiet, start) = with_eviction().await;
    let beginning = Position {
        offset: 0,
        epoch: "".into(),
    };
    rig.does_not_recover(&busy, &beginning).await;
    rig.does_not_recover(&quiet, &beginning).await;
    drop(rig);
    let rig = Setup::with_log_of(3).start().await;
    let (room, _) = rig.open("room").await;
    rig.others_publish(&room, 30);
    rig.is_delivered(&room, 0).await;
    rig.recovers(&room, &beginning).await;
    rig.recovers(&room_named("empty"), &beginning).await;
    // Another stream's epoch.
    rig.does_not_recover(&room, &start).await;
}

#[tokio::test]
async fn erased_messages_are_not_missed() {
    let rig = Setup::with_log_of(3).start().await;
    let (room, start) = rig.open("room").await;
    rig.others_publish(&room, 30);
    rig.is_delivered(&room, 0).await;
    rig.liar.stream(|stream| {
        stream.erase([1, 2, 3, 10, 11, 26]);
    });
    // Erasing the first messages looks like eviction to whoever has not seen them.
    rig.does_not_recover(&room, &start).await;
    for offset in 3..=30 {
        rig.recovers(&room, &at(offset, &start)).await;
    }
    // Everything that was missed, and with it the room's newest.
    rig.liar.stream(|stream| stream.erase(20..26));
    rig.liar.stream(|stream| stream.erase(27..=27));
    rig.recovers(&room, &at(19, &start)).await;
}

#[tokio::test]
async fn clients_that_come_back_together_are_served_by_few_reads() {
    let rig = Setup::with_log_of(3).start().await;
    let (room, start) = rig.open("room").await;
    rig.others_publish(&room, 500);
    rig.is_delivered(&room, 0).await;
    let before = rig.metric("nats_reads_total");
    let joins = (0..100).map(|_| rig.recovers(&room, &start));
    futures_util::future::join_all(joins).await;
    let reads = rig.metric("nats_reads_total") - before;
    assert!(reads < 20, "it read {reads} times");
}
