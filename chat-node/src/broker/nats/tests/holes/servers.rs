//! Servers that are cut off, frozen, leaving, too old or set up for something else.

use super::super::liar::Server;
use super::*;

#[tokio::test]
async fn a_node_on_a_server_that_is_cut_off_goes_to_another_one() {
    let rig = Setup::with_log_of(3).start().await;
    let (room, start) = rig.open("room").await;
    rig.others_publish(&room, 5);
    rig.is_delivered(&room, 0).await;
    // Everything goes by one server, which is mute and looks healthy.
    let server = rig.all_go_to_one_server().await;
    rig.liar.with(|cluster| cluster.isolate(server));
    rig.others_publish(&room, 5);
    rig.is_delivered(&room, 0).await;
    rig.node.publish(&room, "own").await;
    rig.is_delivered(&room, 0).await;
    rig.recovers(&room, &start).await;
    for purpose in ["feed", "publish", "reads"] {
        assert_ne!(rig.liar.server_of(purpose), Some(server), "{purpose}");
    }
}

impl Rig {
    /// Breaks connections until all are to the same server.
    async fn all_go_to_one_server(&self) -> usize {
        let purposes = ["feed", "publish", "reads"];
        let mut server = None;
        until("all connections to go to one server", async || {
            server = self.liar.server_of("feed");
            let others = purposes.iter().filter(|p| {
                let goes_to = self.liar.server_of(p);
                goes_to.is_some() && goes_to != server
            });
            for purpose in others {
                self.liar.with(|cluster| cluster.hang_up(purpose));
            }
            server.is_some() && purposes.iter().all(|p| self.liar.server_of(p) == server)
        })
        .await;
        server.unwrap()
    }
}

#[tokio::test]
async fn a_node_stays_with_the_server_that_it_fled_to() {
    let setup = Setup {
        shards: 8,
        ..Setup::default()
    };
    let rig = setup.start().await;
    let server = rig.all_go_to_one_server().await;
    rig.liar.with(|cluster| cluster.isolate(server));
    let opened = rig.liar.opened("feed");
    until("the node to flee", async || {
        rig.liar.opened("feed") > opened
    })
    .await;
    // Every shard has found out by itself that the server is mute: one flight is enough.
    let audits = rig.metric("nats_audits_total");
    let more = async || rig.metric("nats_audits_total") > audits + 24;
    until("more audits", more).await;
    assert_eq!(rig.liar.opened("feed"), opened + 1);
    assert_ne!(rig.liar.server_of("feed"), Some(server));
}

#[tokio::test]
async fn a_frozen_server_is_left() {
    let rig = Setup::with_log_of(3).start().await;
    let (room, start) = rig.open("room").await;
    rig.others_publish(&room, 10);
    rig.is_delivered(&room, 0).await;
    let server = rig.all_go_to_one_server().await;
    rig.liar
        .with(|cluster| cluster.servers[server] = Server::Frozen);
    rig.others_publish(&room, 5);
    rig.node.publish(&room, "own").await;
    rig.is_delivered(&room, 0).await;
    rig.recovers(&room, &start).await;
}

#[tokio::test]
async fn publishes_leave_a_mute_server_even_if_a_client_is_told_soon() {
    let mut setup = Setup::impatient();
    setup.times.attempt = Duration::from_secs(2);
    let rig = setup.start().await;
    let (room, _) = rig.open("room").await;
    let server = rig.all_go_to_one_server().await;
    rig.liar.with(|cluster| cluster.isolate(server));
    let error = rig.nats.publish(&room, message("x")).await;
    assert_eq!(error, Err(Error::Unreachable));
    let fled = async || rig.liar.server_of("publish") == Some(1 - server);
    until("publishes to go elsewhere", fled).await;
}

#[tokio::test]
async fn a_server_that_dies_is_replaced() {
    let rig = Setup::default().start().await;
    let (room, start) = rig.open("room").await;
    let server = rig.all_go_to_one_server().await;
    rig.liar.with(|cluster| cluster.shut_down(server));
    rig.others_publish(&room, 3);
    rig.node.publish(&room, "own").await;
    rig.is_delivered(&room, 0).await;
    rig.recovers(&room, &start).await;
    // No server at all: known to whoever looks, and over when one is back.
    rig.liar.with(|cluster| cluster.shut_down(1 - server));
    let troubles = async || rig.metric("nats_troubles") == 3;
    until("three broken connections", troubles).await;
    assert_eq!(rig.metric("nats_connected"), 0);
    rig.liar
        .with(|cluster| cluster.servers[server] = Server::Up);
    rig.node.publish(&room, "back").await;
    rig.is_delivered(&room, 0).await;
    until("the end of trouble", async || {
        rig.metric("nats_troubles") == 0
    })
    .await;
}

#[tokio::test]
async fn a_server_that_says_it_leaves_is_left_before() {
    let rig = Setup::default().start().await;
    let (room, _) = rig.open("room").await;
    let server = rig.all_go_to_one_server().await;
    rig.liar.with(|cluster| {
        for purpose in ["feed", "publish", "reads"] {
            let info = r#"INFO {"server_id":"liar","version":"2.15.1","ldm":true}"#;
            cluster.say(purpose, info);
        }
    });
    until("the connections to move", async || {
        let moved = |purpose| rig.liar.server_of(purpose) == Some(1 - server);
        ["feed", "publish", "reads"].into_iter().all(moved)
    })
    .await;
    rig.others_publish(&room, 3);
    rig.is_delivered(&room, 0).await;
    assert_eq!(rig.metric("nats_troubles"), 0);
}

#[tokio::test]
async fn what_a_server_does_not_permit_is_told() {
    let rig = Setup::default().start().await;
    let (room, _) = rig.open("room").await;
    let violation = r#"-ERR 'Permissions Violation for Publish to "c.in.0.x.m"'"#;
    rig.liar.with(|cluster| cluster.say("publish", violation));
    until("the alarm", async || rig.metric("nats_troubles") == 1).await;
    let troubles = rig.nats.health.troubles();
    assert!(
        troubles.contains("Permissions Violation for Publish"),
        "{troubles}"
    );
    // Everything else goes on, and with new rights comes a new connection.
    rig.node.publish(&room, "x").await;
    rig.is_delivered(&room, 0).await;
    rig.liar.with(|cluster| cluster.hang_up("publish"));
    until("the alarm's end", async || rig.metric("nats_troubles") == 0).await;
}

/// A node that cannot start for this reason, what it says, and that it starts once `cure` is done.
async fn waits(break_it: impl FnOnce(&Liar), expected: &[&str], cure: impl FnOnce(&Liar)) {
    let liar = Liar::start(1).await;
    break_it(&liar);
    let rig = Setup::impatient().join(liar).await;
    let told = async || {
        let text = rig.nats.readiness().unwrap_err();
        expected.iter().all(|expected| text.contains(expected))
    };
    let deadline = tokio::time::timeout(Duration::from_secs(10), until("a reason", told));
    assert!(deadline.await.is_ok(), "{:?}", rig.nats.readiness());
    let joined = rig.nats.join(&room_named("room"), None).await;
    assert_eq!(joined.unwrap_err(), Error::Unreachable);
    let published = rig.nats.publish(&room_named("room"), message("x")).await;
    assert_eq!(published, Err(Error::Unreachable));
    assert!(rig.metric("nats_troubles") > 0);
    cure(&rig.liar);
    rig.is_ready().await;
    let (room, _) = rig.open("room").await;
    rig.node.publish(&room, "x").await;
    rig.is_delivered(&room, 0).await;
}

#[tokio::test]
async fn a_node_waits_for_servers_that_are_new_enough() {
    waits(
        |liar| liar.with(|cluster| cluster.version = "2.14.9"),
        &["is version 2.14.9; 2.15.0 or newer is needed"],
        |liar| liar.with(|cluster| cluster.version = "2.16.0-preview.1"),
    )
    .await;
}

#[tokio::test]
async fn a_node_waits_for_a_stream_with_the_right_settings() {
    waits(
        |liar| {
            liar.stream(|stream| {
                stream.config.duplicate_window = 60_000_000_000;
            });
        },
        &[
            "stream C_0: duplicate_window is 1m, expected 5m",
            "nats init",
        ],
        |liar| {
            liar.stream(|stream| {
                stream.config.duplicate_window = 300_000_000_000;
            });
        },
    )
    .await;
}

#[tokio::test]
async fn a_node_waits_for_a_stream_whose_copies_are_complete() {
    let headers_only = |only: bool| {
        move |liar: &Liar| {
            liar.stream(|stream| stream.config.republish.as_mut().unwrap().headers_only = only);
        }
    };
    let expected = [
        "stream C_0: republish is {",
        "headers_only\":true",
        "headers_only\":false",
    ];
    waits(headers_only(true), &expected, headers_only(false)).await;
}

#[tokio::test]
async fn a_node_waits_for_a_stream_of_its_number_of_shards() {
    let shards = |count: &'static str| {
        move |liar: &Liar| {
            let shards = ("natter.shards".to_owned(), count.to_owned());
            liar.stream(|stream| stream.config.metadata.extend([shards]));
        }
    };
    let expected = "stream C_0 is one of 16 shards, but history.shards (--shards) of this node is 1; start the node \
                    with --shards 16";
    waits(shards("16"), &[expected], shards("1")).await;
}

#[tokio::test]
async fn a_node_waits_for_a_stream_of_its_hash() {
    let hash = |version: &'static str| {
        move |liar: &Liar| {
            let hash = ("natter.hash".to_owned(), version.to_owned());
            liar.stream(|stream| stream.config.metadata.extend([hash]));
        }
    };
    let expected = "stream C_0 places rooms by the hash 'blake3-2', this node by 'blake3-1'";
    waits(hash("blake3-2"), &[expected], hash("blake3-1")).await;
}

/// Nobody is led to a node that is not ready, so nobody asks for what it waits for.
#[tokio::test]
async fn a_node_waits_for_its_stream_as_long_as_it_takes() {
    let mut setup = Setup::default();
    setup.times.linger = Duration::ZERO;
    let liar = Liar::start(1).await;
    let mut stream = None;
    liar.with(|cluster| stream = cluster.streams.remove(&0));
    let rig = setup.join(liar).await;
    let asked = async || rig.metric("nats_audits_total") > 3;
    until("the stream to be asked for several times", asked).await;
    let text = rig.nats.readiness().unwrap_err();
    assert!(text.contains("stream C_0 is missing"), "{text}");
    rig.liar
        .with(|cluster| cluster.streams.extend(stream.map(|stream| (0, stream))));
    rig.is_ready().await;
}

#[tokio::test]
async fn a_node_waits_for_a_stream_and_for_its_leader() {
    let mut stream = None;
    let liar = Liar::start(1).await;
    liar.with(|cluster| stream = cluster.streams.remove(&0));
    let rig = Setup::impatient().join(liar).await;
    let told = async |expected: &str| {
        until(expected, async || {
            rig.nats.readiness().unwrap_err().contains(expected)
        })
        .await;
    };
    told("stream C_0 is missing; create it with `chat-node nats init`").await;
    rig.liar.infos(|info| info["cluster"]["leader"] = "".into());
    rig.liar
        .with(|cluster| cluster.streams.insert(0, stream.take().unwrap()));
    told("stream C_0 has no leader that answers").await;
    rig.liar.tell_the_truth();
    rig.is_ready().await;
}
