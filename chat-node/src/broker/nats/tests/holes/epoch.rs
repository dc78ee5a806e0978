//! Streams that go back in time, come anew, or seem to.

use serde_json::Value;

use super::super::liar::{Copy, Stream};
use super::*;

impl Rig {
    /// Waits until the shard cannot be read, and says why.
    async fn alarms(&self, expected: &str) {
        until("an alarm", async || self.metric("nats_troubles") > 0).await;
        let troubles = self.nats.health.troubles();
        assert!(troubles.contains(expected), "{troubles}");
        let joined = self.nats.join(&room_named("room"), None).await;
        assert_eq!(joined.unwrap_err(), Error::Unreachable);
        let published = self.nats.publish(&room_named("room"), message("x")).await;
        assert_eq!(published.unwrap_err(), Error::Unreachable);
    }

    /// After a new epoch: members were told to come anew, nothing of before can be resumed, and all goes on.
    async fn begins_anew(&self, room: &RoomName, old: &Position) {
        let interrupted = self.node.feed.wait_for_interruptions(1).await;
        assert_eq!(interrupted, [vec![room.clone()]]);
        until("the node to go on", async || {
            let joined = self.nats.join(room, None).await;
            joined.is_ok_and(|joined| joined.position.epoch != old.epoch)
        })
        .await;
        self.does_not_recover(room, old).await;
        let start = self.node.join(room, None).await.position;
        self.others_publish(room, 3);
        self.node.publish(room, "own").await;
        until("the room to go on", async || {
            self.node.join(room, None).await.position.offset >= self.liar.last()
        })
        .await;
        self.recovers(room, &start).await;
        self.node.feed.wait_for(room, self.liar.last()).await;
        assert_eq!(self.metric("nats_troubles"), 0);
    }

    fn renew_epoch(&self) {
        self.liar.stream(Stream::renew_epoch);
    }
}

async fn with_ten_messages() -> (Rig, RoomName, Position) {
    let rig = Setup::impatient().start().await;
    let (room, _) = rig.open("room").await;
    rig.others_publish(&room, 10);
    rig.is_delivered(&room, 0).await;
    let position = rig.node.join(&room, None).await.position;
    (rig, room, position)
}

#[tokio::test]
async fn a_stream_that_went_back_in_time_is_not_followed() {
    let (rig, room, old) = with_ten_messages().await;
    rig.liar.stream(|stream| stream.restore(6));
    rig.alarms("it ends at 6 and was at 10 before").await;
    // What comes now has offsets that members know as others.
    rig.others_publish(&room, 8);
    rig.alarms("renew-epochs").await;
    assert_eq!(rig.node.feed.of(&room).len(), 10);
    rig.renew_epoch();
    rig.begins_anew(&room, &old).await;
}

#[tokio::test]
async fn sequences_that_are_used_again_are_delivered_to_nobody() {
    let mut setup = Setup::impatient();
    setup.times.backwards = NEVER;
    let rig = setup.start().await;
    let (room, _) = rig.open("room").await;
    rig.others_publish(&room, 10);
    rig.is_delivered(&room, 0).await;
    let old = rig.node.join(&room, None).await.position;
    rig.liar.with(|cluster| {
        let stream = cluster.streams.get_mut(&0).unwrap();
        stream.restore(6);
        // It was not noticed that the stream was shorter: when the leader is asked, it is longer.
        let payload = event::encode(&room, &message("again"), 0);
        for _ in 0..8 {
            let subject = subject::messages(0, &room);
            stream.append(&subject, Default::default(), payload.clone());
        }
        for sequence in 7..=14 {
            cluster.send_copy(0, sequence);
        }
    });
    rig.alarms("it has used sequences again").await;
    assert_eq!(rig.node.feed.of(&room).len(), 10);
    rig.renew_epoch();
    rig.begins_anew(&room, &old).await;
}

/// A stream that was put back while the node still missed some of it: what was missed does not exist any more.
#[tokio::test]
async fn a_gap_that_can_never_be_filled_does_not_hide_that_a_stream_went_back() {
    let (rig, room, old) = with_ten_messages().await;
    rig.liar.copies(|sequence| match sequence {
        15 => Copy::Sent,
        _ => Copy::Lost,
    });
    rig.liar.with(|cluster| {
        let stream = cluster.streams.get_mut(&0).unwrap();
        let payload = event::encode(&room, &message("gone"), 0);
        for _ in 0..5 {
            let subject = subject::messages(0, &room);
            stream.append(&subject, Default::default(), payload.clone());
        }
        cluster.send_copy(0, 15);
        cluster.streams.get_mut(&0).unwrap().restore(8);
    });
    rig.alarms("it ends at 8 and was at 10 before").await;
    rig.liar.tell_the_truth();
    assert_eq!(rig.node.feed.of(&room).len(), 10);
    rig.renew_epoch();
    rig.begins_anew(&room, &old).await;
}

#[tokio::test]
async fn a_stream_that_was_made_anew_interrupts_its_members() {
    let (rig, room, old) = with_ten_messages().await;
    rig.liar.stream(|stream| {
        *stream = Stream::new(0, 1);
    });
    rig.begins_anew(&room, &old).await;
}

#[tokio::test]
async fn a_missing_stream_is_told_of_and_not_made() {
    let (rig, room, old) = with_ten_messages().await;
    let stream = rig.liar.with(|cluster| cluster.streams.remove(&0).unwrap());
    rig.alarms("stream C_0 is missing; create it with `chat-node nats init`")
        .await;
    assert!(rig.liar.with(|cluster| cluster.streams.is_empty()));
    // It was only away: nothing has changed.
    rig.liar.with(|cluster| cluster.streams.insert(0, stream));
    let back = async || rig.nats.join(&room, None).await.is_ok();
    until("the stream to be read again", back).await;
    rig.recovers(&room, &old).await;
    rig.liar
        .with(|cluster| cluster.streams.insert(0, Stream::new(0, 1)));
    rig.begins_anew(&room, &old).await;
}

#[tokio::test]
async fn what_is_said_without_a_leader_is_old_and_not_believed() {
    for leader in [Value::Null, "".into()] {
        let (rig, room, position) = with_ten_messages().await;
        let old = leader.clone();
        rig.liar.infos(move |info| {
            info["cluster"]["leader"] = old.clone();
            info["state"]["last_seq"] = 3.into();
            info["config"]["metadata"]["natter.epoch"] = "old".into();
        });
        let audits = rig.metric("nats_audits_total");
        let more = async || rig.metric("nats_audits_total") > audits + 8;
        until("some audits", more).await;
        rig.liar.publish(&room, "eleven");
        rig.is_delivered(&room, 0).await;
        rig.recovers(&room, &position).await;
        assert_eq!(rig.metric("nats_troubles"), 0);
    }
}

/// Live copies of a new stream that look as if they continued the old one.
#[tokio::test]
async fn offsets_of_two_epochs_are_never_mixed_in_a_resume() {
    let rig = Setup::with_log_of(3).start().await;
    let (room, old) = rig.open("room").await;
    rig.others_publish(&room, 30);
    rig.is_delivered(&room, 0).await;
    // A resume is under way that waits for a replica, when the stream is made anew.
    rig.liar.lag(10);
    let resume = rig.nats.join(&room, Some(old.clone()));
    let resume = tokio::spawn(resume);
    let reads = rig.metric("nats_reads_total");
    let more = async || rig.metric("nats_reads_total") > reads + 3;
    until("the resume to wait", more).await;
    rig.liar.stream(|stream| *stream = Stream::new(0, 1));
    rig.node.feed.wait_for_interruptions(1).await;
    rig.others_publish(&room, 20);
    rig.liar.lag(None);
    rig.has_come_to(20).await;
    let beginning = Position {
        offset: 0,
        epoch: "".into(),
    };
    let joined = rig.recovers(&room, &beginning).await;
    assert_eq!(joined.publications.len(), 20);
    let resumed = resume.await.unwrap();
    assert!(
        resumed.as_ref().is_ok_and(|joined| !joined.recovered)
            || resumed
                .as_ref()
                .is_err_and(|error| *error == Error::Unreachable),
        "{resumed:?}"
    );
}
