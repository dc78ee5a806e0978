//! Live copies that are lost, late or unreadable.

use std::sync::Condvar;
use std::sync::Mutex;

use super::super::liar::{Copy, Outcome, Replica};
use super::*;

#[tokio::test]
async fn a_lost_live_copy_is_read_when_another_one_passes_it() {
    let rig = Setup::without_audits().start().await;
    let (room, _) = rig.open("room").await;
    rig.liar.copies(|sequence| match sequence {
        2 | 3 => Copy::Lost,
        _ => Copy::Sent,
    });
    rig.others_publish(&room, 4);
    rig.is_delivered(&room, 0).await;
    assert_eq!(rig.metric("nats_filled_messages_total"), 3, "2, 3 and 4");
}

#[tokio::test]
async fn the_last_live_copy_of_a_quiet_shard_is_found_by_an_audit() {
    let rig = Setup::default().start().await;
    let (room, _) = rig.open("room").await;
    rig.liar.copies(|_| Copy::Lost);
    rig.others_publish(&room, 1);
    rig.is_delivered(&room, 0).await;
    assert_eq!(rig.metric("nats_gap_fills_total"), 1);
}

#[tokio::test]
async fn live_copies_in_any_order_are_delivered_in_theirs() {
    let rig = Setup::without_audits().start().await;
    let (room, _) = rig.open("room").await;
    rig.liar.copies(|_| Copy::Held);
    rig.others_publish(&room, 20);
    rig.liar.with(|cluster| {
        cluster.release(|held| {
            held.reverse();
            held.extend(held.clone());
        });
    });
    rig.is_delivered(&room, 0).await;
}

#[tokio::test]
async fn what_a_dying_leader_did_not_copy_is_delivered() {
    let rig = Setup::default().start().await;
    let (room, _) = rig.open("room").await;
    // The leader stores a message and dies, with the publisher's connection, before anybody hears of it.
    rig.liar.copies(|_| Copy::Lost);
    rig.liar.publishes([Outcome::StoredAndHungUp]);
    let published = rig.node.publish(&room, "once").await;
    assert_eq!(published.offset, 1);
    rig.is_delivered(&room, 0).await;
    // The publisher died, too: nobody asks for its message.
    rig.others_publish(&room, 1);
    rig.is_delivered(&room, 0).await;
}

#[tokio::test]
async fn an_acknowledgement_delivers_nothing_before_earlier_messages_of_others() {
    let mut setup = Setup::without_audits();
    setup.times.ask_leader = NEVER;
    let rig = setup.start().await;
    let (room, _) = rig.open("room").await;
    rig.liar.copies(|_| Copy::Held);
    rig.liar.lag(0);
    rig.others_publish(&room, 1);
    let own = rig.node.publish(&room, "own").await;
    assert_eq!(own.offset, 2);
    // The node knows of its message, looks for it, and gives it to nobody.
    let gap = async || rig.metric("nats_gap_fills_total") == 1;
    until("the gap to be seen", gap).await;
    assert!(rig.node.feed.of(&room).is_empty());
    rig.liar.with(|cluster| cluster.release(|_| {}));
    rig.liar.tell_the_truth();
    rig.is_delivered(&room, 0).await;
}

#[tokio::test]
async fn erased_messages_in_a_gap_are_passed_over() {
    let rig = Setup::without_audits().start().await;
    let (room, _) = rig.open("room").await;
    rig.liar.copies(|sequence| match sequence {
        5 => Copy::Sent,
        _ => Copy::Lost,
    });
    rig.others_publish(&room, 4);
    rig.liar.stream(|stream| stream.erase([2, 3]));
    rig.others_publish(&room, 1);
    rig.is_delivered(&room, 0).await;
    assert_eq!(offsets(&rig.node.feed.of(&room)), [1, 4, 5]);
}

#[tokio::test]
async fn erased_messages_at_the_end_of_a_gap_are_passed_over() {
    let rig = Setup::default().start().await;
    let (room, start) = rig.open("room").await;
    rig.liar.copies(|_| Copy::Lost);
    rig.others_publish(&room, 4);
    rig.liar.stream(|stream| stream.erase([3, 4]));
    rig.has_come_to(4).await;
    rig.liar.tell_the_truth();
    rig.others_publish(&room, 1);
    rig.is_delivered(&room, 0).await;
    rig.recovers(&room, &start).await;
}

#[tokio::test]
async fn a_gap_that_is_erased_and_larger_than_the_log_hides_nothing_before_it() {
    let rig = Setup::with_log_of(5).start().await;
    let (room, start) = rig.open("room").await;
    rig.liar.copies(|_| Copy::Lost);
    rig.liar.with(|cluster| {
        // All at once, so that they are read in one batch.
        let stream = cluster.streams.get_mut(&0).unwrap();
        let subject = subject::messages(0, &room);
        let payload = event::encode(&room, &message("x"), 0);
        for _ in 0..30 {
            stream.append(&subject, Default::default(), payload.clone());
        }
        stream.erase(3..30);
    });
    rig.is_delivered(&room, 0).await;
    assert_eq!(offsets(&rig.node.feed.of(&room)), [1, 2, 30]);
    rig.recovers(&room, &start).await;
}

#[tokio::test]
async fn what_a_replica_lacks_is_read_from_the_leader() {
    let rig = Setup::without_audits().start().await;
    let (room, _) = rig.open("room").await;
    rig.liar.replicas(|| Replica {
        lacks: [2, 3, 5].into(),
        ..Replica::default()
    });
    rig.liar.copies(|sequence| match sequence {
        6 => Copy::Sent,
        _ => Copy::Lost,
    });
    rig.others_publish(&room, 6);
    rig.is_delivered(&room, 0).await;
    let reads = rig.metric("nats_reads_total");
    assert!(reads < 20, "it asked {reads} times");
}

#[tokio::test]
async fn an_event_that_suits_no_client_stops_nothing() {
    let rig = Setup::with_log_of(3).start().await;
    let (room, start) = rig.open("room").await;
    let before = rig.liar.publish(&room, "before");
    let subject = subject::messages(0, &room);
    let unfit = [
        Bytes::new(),
        Bytes::from_static(b"\xff\xff garbage"),
        Bytes::from_static(b"{\"kind\":1}\n{\"kind\":1}"),
        stored(9, "room", 1, b"1"),
        stored(1, "another room", 1, b"1"),
        stored(1, "room", 7, b"1"),
        stored(1, "room", 1, b"{\"a\":\n"),
        stored(1, "room", 1, b"\"raw \n newline\""),
        stored(1, "room", 1, &[b'1'; 600 * 1024]),
    ];
    for payload in &unfit {
        rig.liar.write(&subject, payload.clone());
    }
    // Kinds and rooms that no node writes.
    let token = RoomToken::of("room");
    rig.liar.write(&format!("c.in.0.{token}.z"), "");
    rig.liar.write("c.in.0.room.m", "");
    // What one line can be made of is delivered.
    let lines = stored(1, "room", 1, b"{\n  \"a\": 1\n}");
    let lines = rig.liar.write(&subject, lines);
    let after = rig.liar.publish(&room, "after");
    rig.is_delivered(&room, 0).await;
    let delivered = rig.node.feed.of(&room);
    assert_eq!(offsets(&delivered), [before, lines, after]);
    assert_eq!(delivered[1].data, &b"{\"a\":1}"[..]);
    assert_eq!(
        rig.metric("nats_undeliverable_total"),
        unfit.len() as u64,
        "each is counted once"
    );
    rig.recovers(&room, &start).await;
    let history = rig.node.all_history(&room).await;
    assert_eq!(offsets(&history), [before, lines, after]);
}

/// A stored event with these fields.
fn stored(kind: u8, room: &str, content_type: u8, data: &[u8]) -> Bytes {
    let mut event = vec![0x08, kind, 0x12, room.len() as u8];
    event.extend_from_slice(room.as_bytes());
    event.extend_from_slice(&[0x18, content_type, 0x22]);
    let mut length = data.len();
    while length >= 0x80 {
        event.push(length as u8 | 0x80);
        length >>= 7;
    }
    event.push(length as u8);
    event.extend_from_slice(data);
    event.into()
}

#[tokio::test]
async fn a_node_that_joins_a_busy_shard_does_not_read_what_is_old() {
    let liar = Liar::start(1).await;
    let room = room_named("room");
    for n in 0..5000 {
        liar.publish(&room, &n.to_string());
    }
    // The first answers about the stream are late; meanwhile live copies come.
    let mut asked = 0;
    liar.infos(move |info| {
        asked += 1;
        if asked <= 2 {
            *info = serde_json::Value::Null;
        }
    });
    let setup = Setup::with_log_of(100);
    let rig = setup.join(liar).await;
    rig.nats.open(&room);
    let live = async || rig.liar.opened("feed") > 0;
    until("the node to follow", live).await;
    until("the node to be ready", async || {
        rig.others_publish(&room, 1);
        rig.nats.readiness().is_ok()
    })
    .await;
    let start = rig.node.join(&room, None).await.position;
    rig.others_publish(&room, 1);
    rig.is_delivered(&room, start.offset).await;
    let delivered = rig.node.feed.of(&room);
    assert!(delivered[0].offset > 5000, "{}", delivered[0].offset);
    let reads = rig.metric("nats_reads_total");
    assert!(reads < 10, "it read {reads} times");
}

#[tokio::test]
async fn what_is_published_while_the_feed_is_away_is_delivered() {
    let rig = Setup::without_audits().start().await;
    let (room, _) = rig.open("room").await;
    rig.others_publish(&room, 2);
    rig.is_delivered(&room, 0).await;
    for _ in 0..3 {
        rig.liar.with(|cluster| cluster.hang_up("feed"));
        rig.others_publish(&room, 2);
        rig.is_delivered(&room, 0).await;
    }
    assert_eq!(rig.liar.opened("feed"), 4);
}

#[tokio::test]
async fn a_shard_that_was_left_is_followed_again_without_a_hole() {
    let mut setup = Setup::default();
    setup.times.linger = Duration::from_millis(50);
    let rig = setup.start().await;
    let (room, start) = rig.open("room").await;
    rig.others_publish(&room, 2);
    rig.is_delivered(&room, 0).await;
    rig.nats.close(&room);
    let left = async || rig.metric("nats_shards_followed") == 0;
    until("the shard to be left", left).await;
    let away = rig.others_publish(&room, 3);
    rig.nats.open(&room);
    let joined = rig.recovers(&room, &start).await;
    assert_eq!(joined.position.offset, away[2]);
    rig.others_publish(&room, 1);
    rig.is_delivered(&room, joined.position.offset).await;
}

/// The library keeps 65,536 messages for a subscriber and drops the rest.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_the_library_dropped_is_read() {
    const MESSAGES: usize = 66_500;
    let gate = Arc::new(Gate::default());
    let liar = Liar::start(1).await;
    let (feed, recorder) = (gate.clone(), gate.recorder.clone());
    let setup = Setup::without_audits();
    let rig = setup.join_feeding(liar, feed, recorder).await;
    rig.is_ready().await;
    let (room, _) = rig.open("room").await;
    gate.close(true);
    rig.others_publish(&room, MESSAGES);
    let dropped = async || rig.metric("nats_dropped_total") > 0;
    until("the library to drop something", dropped).await;
    gate.close(false);
    rig.has_come_to(MESSAGES as u64).await;
    rig.is_delivered(&room, 0).await;
    assert!(rig.metric("nats_filled_messages_total") > 0);
}

/// A feed that stands still until it is opened.
#[derive(Default)]
struct Gate {
    recorder: Arc<node::Recorder>,
    closed: Mutex<bool>,
    opened: Condvar,
}

impl Feed for Gate {
    fn deliver(&self, room: &RoomName, publication: &Arc<Publication>) {
        let closed = self.closed.lock().unwrap();
        drop(self.opened.wait_while(closed, |closed| *closed).unwrap());
        self.recorder.deliver(room, publication);
    }

    fn interrupt(&self, affected: &dyn Fn(&RoomName) -> bool, epoch: &crate::broker::Epoch) {
        self.recorder.interrupt(affected, epoch);
    }
}

impl Gate {
    fn close(&self, closed: bool) {
        *self.closed.lock().unwrap() = closed;
        self.opened.notify_all();
    }
}
