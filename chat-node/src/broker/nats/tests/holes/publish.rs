//! Publishes that are refused, forgotten, stored twice or stored late.

use std::collections::BTreeSet;

use tokio::time::Instant;

use super::super::liar::Outcome;
use super::*;

/// What a user's session publishes with an id of its own.
fn by(user: &str, client: SessionId, id: &str, text: &str) -> Message {
    let user = match user {
        "" => UserId::ANONYMOUS,
        user => UserId::named(user),
    };
    Message {
        author: Some(Author::plain(user, client)),
        id: Some(id.into()),
        ..message(text)
    }
}

fn times(count: usize, outcome: &Outcome) -> Vec<Outcome> {
    vec![outcome.clone(); count]
}

#[tokio::test]
async fn a_message_whose_acknowledgement_is_lost_is_stored_once() {
    let rig = Setup::default().start().await;
    let (room, _) = rig.open("room").await;
    rig.liar.publishes(times(2, &Outcome::AckLost));
    let position = rig.node.publish(&room, "once").await;
    assert_eq!((position.offset, rig.liar.last()), (1, 1));
    assert_eq!(rig.metric("nats_publish_retries_total"), 2);
    rig.is_delivered(&room, 0).await;
}

#[tokio::test]
async fn what_may_pass_is_tried_again() {
    let rig = Setup::default().start().await;
    let (room, _) = rig.open("room").await;
    let passing = [
        Outcome::Lost,
        Outcome::NoResponders,
        Outcome::InProcess,
        Outcome::Refused(429, 10167, "too many requests"),
        Outcome::Refused(503, 10008, "JetStream system temporarily unavailable"),
        Outcome::Refused(503, 10077, "no space left on device"),
        Outcome::HungUp,
        Outcome::StoredAndHungUp,
    ];
    for (n, outcome) in passing.into_iter().enumerate() {
        rig.liar.publishes([outcome.clone()]);
        let position = rig.node.publish(&room, n).await;
        assert_eq!(position.offset, n as u64 + 1, "{outcome:?}");
        assert_eq!(rig.liar.last(), n as u64 + 1, "{outcome:?}");
    }
    assert_eq!(rig.metric("nats_publish_retries_total"), 8);
    let attempts = rig.liar.with(|cluster| cluster.attempts.clone());
    let ids: BTreeSet<_> = attempts.iter().collect();
    assert_eq!((attempts.len(), ids.len()), (16, 8), "a retry has its id");
    rig.is_delivered(&room, 0).await;
}

#[tokio::test]
async fn what_cannot_pass_is_refused_at_once() {
    let rig = Setup::default().start().await;
    let (room, _) = rig.open("room").await;
    for (err_code, text) in [
        (10054, "message size exceeds maximum allowed"),
        (10060, "expected stream does not match"),
    ] {
        rig.liar.publishes([Outcome::Refused(400, err_code, text)]);
        let error = rig.nats.publish(&room, message("x")).await;
        assert_eq!(error, Err(Error::Refused(text.to_owned())));
    }
    assert_eq!(rig.liar.with(|cluster| cluster.attempts.len()), 2);
    assert_eq!(rig.liar.last(), 0);
    // A server that was set up for smaller messages than the streams.
    rig.liar.with(|cluster| {
        cluster.max_payload = 1000;
        cluster.hang_up("publish");
    });
    rig.node.publish(&room, "small").await;
    let large = message("x".repeat(1000));
    let error = rig.nats.publish(&room, large).await;
    assert!(matches!(error, Err(Error::Refused(_))), "{error:?}");
    assert_eq!((rig.liar.opened("publish"), rig.liar.last()), (2, 1));
}

#[tokio::test]
async fn a_message_that_nobody_acknowledges_is_unknown_in_time_and_not_tried_again() {
    let rig = Setup::impatient().start().await;
    let (room, _) = rig.open("room").await;
    for outcome in [
        Outcome::Lost,
        Outcome::NoResponders,
        Outcome::InProcess,
        Outcome::HungUp,
    ] {
        rig.liar.publishes(times(100, &outcome));
        let begun = Instant::now();
        let error = rig.nats.publish(&room, message("x")).await;
        let took = begun.elapsed();
        assert_eq!(error, Err(Error::Unreachable), "{outcome:?}");
        let patience = Duration::from_millis(400);
        assert!(took >= patience && took < 4 * patience, "{took:?}");
        assert_eq!(rig.metric("nats_troubles"), 1, "{outcome:?}");
        rig.liar.tell_the_truth();
        let attempts = rig
            .liar
            .with(|cluster| std::mem::take(&mut cluster.attempts));
        // While something else is tried as often as needed, nothing comes of the old one.
        rig.liar.publishes(times(3, &Outcome::NoResponders));
        rig.node.publish(&room, "after").await;
        let later = rig
            .liar
            .with(|cluster| std::mem::take(&mut cluster.attempts));
        assert!(!later.contains(&attempts[0]), "{outcome:?}");
        assert_eq!(rig.metric("nats_troubles"), 0);
    }
    rig.is_delivered(&room, 0).await;
}

/// What the library has for a connection that broke must not be stored when there is a new one.
#[tokio::test]
async fn nothing_waits_in_the_library_for_a_new_connection() {
    let rig = Setup::impatient().start().await;
    let (room, _) = rig.open("room").await;
    // Nothing leaves the network any more, which takes some megabytes.
    rig.liar.with(|cluster| cluster.read(false));
    let text = "x".repeat(60_000);
    let publishes = (0..500).map(|_| rig.nats.publish(&room, message(&text)));
    for result in futures_util::future::join_all(publishes).await {
        assert_eq!(result, Err(Error::Unreachable));
    }
    rig.liar.with(|cluster| {
        for purpose in ["publish", "feed", "reads"] {
            cluster.hang_up(purpose);
        }
        cluster.read(true);
    });
    let begun = rig.liar.opened("publish");
    let new = async || rig.liar.opened("publish") > begun;
    until("a new connection", new).await;
    until("a publish", async || {
        rig.nats.publish(&room, message("new")).await.is_ok()
    })
    .await;
    let kept = rig.kept(&room, 0);
    let old = kept
        .iter()
        .filter(|publication| publication.data.len() > 100);
    // The one that was half on its way may have come whole.
    assert_eq!(old.count(), 0);
}

#[tokio::test]
async fn a_message_lost_between_sending_and_acknowledging_is_stored_once() {
    let rig = Setup::default().start().await;
    let (room, _) = rig.open("room").await;
    for outcome in [Outcome::HungUp, Outcome::StoredAndHungUp] {
        rig.liar.publishes([outcome]);
        rig.node.publish(&room, "x").await;
    }
    assert_eq!(rig.liar.last(), 2);
    assert_eq!(rig.liar.opened("publish"), 3);
    rig.is_delivered(&room, 0).await;
}

#[tokio::test]
async fn an_old_attempt_that_a_frozen_server_stores_is_no_second_message() {
    let rig = Setup::default().start().await;
    let (room, _) = rig.open("room").await;
    rig.liar.publishes(times(2, &Outcome::Frozen));
    rig.node.publish(&room, "first").await;
    rig.node.publish(&room, "second").await;
    rig.liar.with(|cluster| cluster.thaw());
    rig.node.publish(&room, "third").await;
    assert_eq!(rig.liar.last(), 3);
    rig.is_delivered(&room, 0).await;
}

#[tokio::test]
async fn an_unknown_message_that_is_stored_late_is_seen_by_whoever_resumes() {
    let rig = Setup::impatient().start().await;
    let (room, start) = rig.open("room").await;
    rig.liar.publishes([Outcome::Frozen]);
    rig.liar.publishes(times(100, &Outcome::Lost));
    let session = SessionId::random();
    let late = by("ann", session, "1", "late");
    let error = rig.nats.publish(&room, late.clone()).await;
    assert_eq!(error, Err(Error::Unreachable));
    assert!(rig.recovers(&room, &start).await.publications.is_empty());
    rig.liar.tell_the_truth();
    rig.liar.with(|cluster| cluster.thaw());
    rig.is_delivered(&room, 0).await;
    let joined = rig.recovers(&room, &start).await;
    assert_eq!(joined.publications[0].author, late.author);
    // Sent again all the same, from the session that follows, it is still one message.
    let again = by("ann", SessionId::random(), "1", "late");
    assert_eq!(rig.nats.publish(&room, again).await.unwrap().offset, 1);
    assert_eq!(rig.liar.last(), 1);
}

/// When the stream has forgotten the id, the message itself is what tells a client not to send it again.
#[tokio::test]
async fn an_unknown_message_that_was_stored_is_recovered_after_the_window() {
    let rig = Setup::impatient().start().await;
    let (room, start) = rig.open("room").await;
    rig.liar.publishes([Outcome::AckLost]);
    rig.liar.publishes(times(100, &Outcome::Lost));
    let error = rig.nats.publish(&room, message("x")).await;
    assert_eq!(error, Err(Error::Unreachable));
    rig.liar.stream(|stream| stream.forget_ids());
    let joined = rig.recovers(&room, &start).await;
    assert_eq!(joined.publications.len(), 1);
}

#[tokio::test]
async fn the_same_message_twice_in_flight_is_stored_once() {
    let rig = Setup::default().start().await;
    let (room, _) = rig.open("room").await;
    let session = SessionId::random();
    for (n, outcome) in [Outcome::Stored, Outcome::Frozen, Outcome::InProcess]
        .into_iter()
        .enumerate()
    {
        rig.liar.publishes([outcome]);
        let twice = || {
            let id = n.to_string();
            rig.nats.publish(&room, by("ann", session, &id, "x"))
        };
        let (one, other) = tokio::join!(twice(), twice());
        assert_eq!(one, other);
        assert_eq!(one.unwrap().offset, n as u64 + 1);
    }
    rig.liar.with(|cluster| cluster.thaw());
    assert_eq!(rig.liar.last(), 3);
    rig.is_delivered(&room, 0).await;
}

#[tokio::test]
async fn nobodys_id_hides_anothers_message() {
    let rig = Setup::default().start().await;
    let (room, _) = rig.open("room").await;
    let (one, other) = (SessionId::random(), SessionId::random());
    let all = [
        ("room", by("ann", one, "1", "x")),
        ("room", by("bob", one, "1", "x")),
        ("other room", by("ann", one, "1", "x")),
        ("room", by("", one, "1", "x")),
        ("room", by("", other, "1", "x")),
        ("room", by("ann", one, "2", "x")),
    ];
    for (n, (name, message)) in all.into_iter().enumerate() {
        let position = rig.nats.publish(&room_named(name), message).await;
        assert_eq!(position.unwrap().offset, n as u64 + 1);
    }
    let server = Message {
        id: Some("1".into()),
        ..message("x")
    };
    assert_eq!(rig.nats.publish(&room, server).await.unwrap().offset, 7);
    rig.is_delivered(&room, 0).await;
}

#[tokio::test]
async fn an_id_that_was_used_for_something_else_is_refused() {
    let rig = Setup::default().start().await;
    let (room, _) = rig.open("room").await;
    let session = SessionId::random();
    let first = rig.nats.publish(&room, by("ann", session, "1", "x"));
    let first = first.await.unwrap();
    let again = rig.nats.publish(&room, by("ann", session, "1", "x"));
    assert_eq!(again.await, Ok(first));
    let other = rig.nats.publish(&room, by("ann", session, "1", "y"));
    assert_eq!(other.await, Err(Error::IdUsed));
    // Whatever the reason: an acknowledgement for the message of another user, or of another room.
    for (name, user) in [("room", "bob"), ("room", ""), ("other room", "ann")] {
        rig.liar.publishes([Outcome::Duplicate(1)]);
        let room = room_named(name);
        let other = rig.nats.publish(&room, by(user, session, "9", "x"));
        assert_eq!(other.await, Err(Error::IdUsed), "{name} {user}");
    }
    assert_eq!(rig.liar.last(), 1);
}

#[tokio::test]
async fn a_message_does_not_overtake_the_one_before_it() {
    let rig = Setup::default().start().await;
    let (room, _) = rig.open("room").await;
    for n in 0..5 {
        let outcomes = [
            Outcome::Lost,
            Outcome::Frozen,
            Outcome::AckLost,
            Outcome::HungUp,
        ];
        rig.liar.publishes([outcomes[n % 4].clone()]);
        rig.node.publish(&room, n).await;
    }
    rig.liar.with(|cluster| cluster.thaw());
    let expected = (0..5).map(node::json).collect::<Vec<_>>();
    rig.is_delivered(&room, 0).await;
    let delivered = rig.delivered(&room, 0);
    let delivered: Vec<_> = delivered.into_iter().map(|p| p.data).collect();
    assert_eq!(delivered, expected);
}
