//! Calls and ephemeral events between nodes, over a real nats-server.

use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use tokio::time::Instant;

use super::server::until;
use super::*;
use crate::broker::contract::node::{json, room_named};
use crate::broker::peers::{self, Failure, FailureCode, Ping, Pong};
use crate::broker::{NodeState, Tags};

const PING: Request = Request::Ping(Ping {});
const PATIENCE: Duration = Duration::from_secs(3);

/// What a node of these tests answers.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Manner {
    Pongs,
    KeepsSilent,
    Fails,
    SaysTooMuch,
}

struct Answering {
    manner: Manner,
    recorder: Arc<Recorder>,
    calls: AtomicUsize,
}

impl Peer for Answering {
    fn answer(&self, from: &str, request: Request) -> Pending<Response> {
        self.calls.fetch_add(1, Relaxed);
        match self.manner {
            Manner::Pongs => self.recorder.answer(from, request),
            Manner::KeepsSilent => Box::pin(pending()),
            Manner::Fails => Box::pin(async {
                Response::Failure(Failure::new(FailureCode::NotReady, "starting"))
            }),
            Manner::SaysTooMuch => Box::pin(async {
                let text = "x".repeat(2 << 20);
                Response::Failure(Failure::new(FailureCode::NotReady, text))
            }),
        }
    }

    fn hear(&self, from: &str, room: &RoomName, event: Event) {
        self.recorder.hear(from, room, event);
    }
}

struct TestNode {
    nats: Arc<Nats>,
    peer: Arc<Answering>,
}

async fn node(server: &Server, name: &str, manner: Manner) -> TestNode {
    let recorder = Arc::<Recorder>::default();
    let peer = Arc::new(Answering {
        manner,
        recorder: recorder.clone(),
        calls: AtomicUsize::new(0),
    });
    let settings = Settings {
        node: name.to_owned(),
        ..settings(server)
    };
    let metrics = Metrics::new(1).unwrap().nats().unwrap();
    let nats = Nats::start(settings, recorder, peer.clone(), metrics);
    until("the broker to be ready", async || nats.readiness().is_ok()).await;
    nats.announce(NodeLoad {
        node: name.to_owned(),
        connections: 0,
        capacity: 1,
        version: "0".to_owned(),
        state: NodeState::Serving,
    });
    TestNode { nats, peer }
}

async fn know_each_other(nodes: &[&TestNode]) {
    until("the nodes to know each other", async || {
        nodes.iter().all(|n| n.nats.nodes().len() == nodes.len())
    })
    .await;
}

fn names(answers: &[(String, Result<Response, CallError>)]) -> Vec<&str> {
    answers.iter().map(|(name, _)| name.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_answered_by_the_node_that_it_names() {
    let server = Server::start(SHARDS).await;
    let a = node(&server, "a", Manner::Pongs).await;
    let b = node(&server, "b", Manner::Fails).await;
    let c = node(&server, "c", Manner::SaysTooMuch).await;
    assert_eq!(
        b.nats.call("a", PING, PATIENCE).await,
        Ok(Response::Pong(Pong {}))
    );
    assert_eq!(
        a.nats.call("b", PING, PATIENCE).await,
        Err(CallError::Refused("starting".to_owned()))
    );
    assert_eq!(
        a.nats.call("c", PING, PATIENCE).await,
        Err(CallError::TooLarge)
    );
    assert_eq!(
        a.nats.call("a", PING, PATIENCE).await,
        Err(CallError::NoSuchNode),
        "its own name"
    );
    let calls = [&a, &b, &c].map(|node| node.peer.calls.load(Relaxed));
    assert_eq!(calls, [1, 1, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_does_not_answer_is_given_up_in_time() {
    let server = Server::start(SHARDS).await;
    let a = node(&server, "a", Manner::Pongs).await;
    let _b = node(&server, "b", Manner::KeepsSilent).await;
    let begun = Instant::now();
    let patience = Duration::from_millis(300);
    let call = a.nats.call("b", PING, patience).await;
    assert_eq!(call, Err(CallError::Unreachable));
    assert!(begun.elapsed() >= patience && begun.elapsed() < PATIENCE);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_others_answer_and_who_does_not_is_named() {
    let server = Server::start(SHARDS).await;
    let a = node(&server, "a", Manner::Pongs).await;
    let b = node(&server, "b", Manner::Pongs).await;
    let c = node(&server, "c", Manner::Fails).await;
    know_each_other(&[&a, &b, &c]).await;
    let begun = Instant::now();
    let gathered = a.nats.call_others(PING, PATIENCE).await;
    assert_eq!(names(&gathered.answers), ["b", "c"]);
    assert_eq!(gathered.silent, [""; 0]);
    assert!(begun.elapsed() < PATIENCE / 2, "nobody was waited for");

    let d = node(&server, "d", Manner::KeepsSilent).await;
    know_each_other(&[&a, &b, &c, &d]).await;
    let begun = Instant::now();
    let patience = Duration::from_millis(700);
    let gathered = a.nats.call_others(PING, patience).await;
    assert_eq!(names(&gathered.answers), ["b", "c"]);
    assert_eq!(gathered.silent, ["d"]);
    assert!(begun.elapsed() >= patience);
    assert_eq!(a.peer.calls.load(Relaxed), 0, "nobody asks itself");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_for_a_node_that_is_gone_without_a_word() {
    let server = Server::start(SHARDS).await;
    let a = node(&server, "a", Manner::Pongs).await;
    let b = node(&server, "b", Manner::Pongs).await;
    know_each_other(&[&a, &b]).await;
    drop(b);
    let begun = Instant::now();
    until("the server to know that b is gone", async || {
        a.nats.call("b", PING, PATIENCE).await == Err(CallError::NoSuchNode)
    })
    .await;
    // It still stands in the directory, and perhaps it still has clients.
    assert_eq!(a.nats.nodes().len(), 2);
    let gathered = a.nats.call_others(PING, Duration::from_secs(20)).await;
    assert_eq!(gathered.silent, ["b"]);
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_this_release_does_not_know_is_answered_so() {
    use prost::Message as _;
    let server = Server::start(SHARDS).await;
    let a = node(&server, "a", Manner::Pongs).await;
    let client = async_nats::connect(format!("127.0.0.1:{}", server.port)).await;
    // Field 1000 of a later release.
    let later = [0xc2, 0x3e, 0x00].as_slice();
    let answer = client.unwrap().request("c.node.a.call", later.into()).await;
    let answer = peers::Answer::decode(answer.unwrap().payload).unwrap();
    assert_eq!(answer.node, "a");
    assert_eq!(answer.result(), Err(CallError::Unsupported));
    assert_eq!(a.peer.calls.load(Relaxed), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_calls_at_once_are_all_answered() {
    let server = Server::start(SHARDS).await;
    let a = node(&server, "a", Manner::Pongs).await;
    let b = node(&server, "b", Manner::Pongs).await;
    let calls = (0..2000).map(|_| a.nats.call("b", PING, Duration::from_secs(20)));
    for answer in futures_util::future::join_all(calls).await {
        assert_eq!(answer, Ok(Response::Pong(Pong {})));
    }
    assert_eq!(b.peer.calls.load(Relaxed), 2000);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_in_a_room_is_told_to_nodes_with_rooms_of_its_shard_in_order() {
    let server = Server::start(1).await;
    let of_one_shard = |name: &'static str| {
        let (server, settings) = (&server, settings(&server));
        async move {
            let recorder = Arc::<Recorder>::default();
            let settings = Settings {
                node: name.to_owned(),
                shards: 1,
                ..settings
            };
            let metrics = Metrics::new(1).unwrap().nats().unwrap();
            let nats = Nats::start(settings, recorder.clone(), recorder.clone(), metrics);
            until("the broker to be ready", async || nats.readiness().is_ok()).await;
            let _ = server;
            (nats, recorder)
        }
    };
    let (teller, _) = of_one_shard("teller").await;
    let (inside, heard_inside) = of_one_shard("inside").await;
    let (_outside, heard_outside) = of_one_shard("outside").await;
    let (room, other) = (room_named("a"), room_named("b"));
    inside.open(&room);
    let event = |n: usize| {
        Event::Publication(peers::Publication {
            data: json(n),
            tags: Tags::from([("a".to_owned(), "b".to_owned())]),
        })
    };
    until("the first event", async || {
        teller.tell_others(&other, event(0));
        !heard_inside.heard().is_empty()
    })
    .await;
    for n in 1..=100 {
        teller.tell_others(&room, event(n));
    }
    let of_room = || {
        let heard = heard_inside.heard().into_iter();
        let of_room = heard.filter(|(_, of, _)| *of == room_named("a"));
        of_room.collect::<Vec<_>>()
    };
    until("all events", async || of_room().len() == 100).await;
    let expected = (1..=100).map(|n| ("teller".to_owned(), room.clone(), event(n)));
    assert_eq!(of_room(), expected.collect::<Vec<_>>());
    assert_eq!(heard_outside.heard(), []);
}
