//! Each user may do what it needs, and nothing else.

use std::path::Path;
use std::time::Duration;

use async_nats::{Client, ConnectOptions, Event, HeaderMap, Message, Subscriber};
use futures_util::StreamExt;
use natter_tests::command::{make_users, run};
use natter_tests::wait::within;
use natter_tests::{Nats, NatsServers};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::mpsc;

/// A server with the users and streams of two shards.
struct Setup {
    servers: NatsServers,
    users: TempDir,
}

impl Setup {
    async fn new() -> Self {
        let users = TempDir::new().expect("there is a place for temporary files");
        make_users(users.path(), 2).await;
        let servers = NatsServers::with(1).users(users.path()).start().await;
        let (urls, key) = (servers.urls(), key(users.path(), "operator"));
        run(&[
            "nats",
            "init",
            "--nats-url",
            &urls,
            "--nats-credentials",
            &key,
            "--shards",
            "2",
            "--replicas",
            "1",
        ])
        .await
        .succeeded();
        Self { servers, users }
    }

    async fn user(&self, name: &str) -> User {
        User::connect(&self.servers, self.users.path(), name).await
    }
}

fn key(users: &Path, name: &str) -> String {
    users.join(format!("{name}.nk")).display().to_string()
}

/// A connection that tells what the server forbids.
struct User {
    client: Client,
    violations: mpsc::UnboundedReceiver<String>,
}

impl User {
    async fn connect(servers: &NatsServers, users: &Path, name: &str) -> Self {
        let seed = std::fs::read_to_string(key(users, name)).expect("a user has a key");
        let (tell, violations) = mpsc::unbounded_channel();
        let client = ConnectOptions::new()
            .nkey(seed.trim().to_owned())
            .custom_inbox_prefix(format!("_INBOX_{name}"))
            .request_timeout(Some(Duration::from_secs(10)))
            .event_callback(move |event| {
                if let Event::ServerError(error) = event {
                    let _ = tell.send(error.to_string());
                }
                std::future::ready(())
            })
            .connect(servers.urls())
            .await
            .expect("the server knows the user");
        Self { client, violations }
    }

    async fn request(&self, subject: &str, payload: impl Into<Vec<u8>>) -> Message {
        let request = self
            .client
            .request(subject.to_owned(), payload.into().into());
        request
            .await
            .unwrap_or_else(|error| panic!("{subject}: {error}"))
    }

    /// An answer of the API that is no error.
    async fn api(&self, call: &str, payload: Value) -> Value {
        let message = self
            .request(&format!("$JS.API.{call}"), payload.to_string())
            .await;
        let answer: Value = serde_json::from_slice(&message.payload).expect("an answer is JSON");
        assert!(answer.get("error").is_none(), "{call}: {answer}");
        answer
    }

    async fn subscribe(&self, subject: &str) -> Subscriber {
        let subscriber = self.client.subscribe(subject.to_owned()).await;
        self.settled().await;
        subscriber.expect("a valid subject")
    }

    /// The server has read everything that was sent to it, and what it said of that has arrived.
    async fn settled(&self) {
        self.request("$JS.API.STREAM.INFO.C_0", "").await;
    }

    async fn publish(&self, subject: &str) {
        let published = self.client.publish(subject.to_owned(), "x".into()).await;
        published.expect("a valid subject");
        self.client.flush().await.expect("a connection");
    }

    /// The next thing that the server forbids.
    async fn forbidden(&mut self, what: &str) -> String {
        let violation = within(&format!("a refusal of {what}"), self.violations.recv()).await;
        violation.expect("the client lives")
    }

    async fn may_not_publish(&mut self, subjects: &[&str]) {
        for subject in subjects {
            self.publish(subject).await;
            let text = self.forbidden(subject).await;
            assert!(
                text.contains(&format!(
                    "Permissions Violation for Publish to \"{subject}\""
                )),
                "{subject}: {text}"
            );
        }
    }

    async fn may_not_subscribe(&mut self, subjects: &[&str]) {
        for subject in subjects {
            let _subscriber = self.client.subscribe((*subject).to_owned()).await;
            let text = self.forbidden(subject).await;
            assert!(
                text.contains(&format!(
                    "Permissions Violation for Subscription to \"{subject}\""
                )),
                "{subject}: {text}"
            );
        }
    }

    /// Nothing was forbidden since the last refusal.
    async fn was_not_refused(&mut self) {
        self.settled().await;
        assert_eq!(self.violations.try_recv().ok(), None);
    }
}

async fn next(subscriber: &mut Subscriber, what: &str) -> Message {
    within(what, subscriber.next())
        .await
        .expect("a subscription that lasts")
}

fn header<'a>(message: &'a Message, name: &str) -> &'a str {
    let headers: &HeaderMap = message.headers.as_ref().expect("a message with headers");
    headers.get(name).map_or("", |value| value.as_str())
}

#[tokio::test]
async fn a_node_may_publish_follow_and_read() {
    let setup = Setup::new().await;
    let mut node = setup.user("node").await;

    let mut live = node.subscribe("c.live.>").await;
    for (subject, kind) in [("c.in.1.ROOM.m", "m"), ("c.in.1.ROOM.a", "a")] {
        let ack = node.request(subject, "hello").await;
        let ack: Value = serde_json::from_slice(&ack.payload).expect("an acknowledgement is JSON");
        assert_eq!(ack["stream"], "C_1", "{ack}");
        let message = next(&mut live, "what the server republishes").await;
        assert_eq!(message.subject.as_str(), format!("c.live.1.ROOM.{kind}"));
        assert_eq!(&message.payload[..], b"hello");
        assert_eq!(header(&message, "Nats-Sequence"), ack["seq"].to_string());
    }

    let info = node.api("STREAM.INFO.C_1", json!({})).await;
    assert_eq!(info["state"]["last_seq"], 2);
    node.api("INFO", json!({})).await;
    let message = node.api("STREAM.MSG.GET.C_1", json!({"seq": 1})).await;
    assert_eq!(message["message"]["subject"], "c.in.1.ROOM.m");
    let message = node
        .request("$JS.API.DIRECT.GET.C_1", json!({"seq": 2}).to_string())
        .await;
    assert_eq!(header(&message, "Nats-Subject"), "c.in.1.ROOM.a");
    let message = node
        .request("$JS.API.DIRECT.GET.C_1.c.in.1.ROOM.m", "")
        .await;
    assert_eq!(header(&message, "Nats-Sequence"), "1");
    node.was_not_refused().await;
}

#[tokio::test]
async fn nodes_may_talk_to_each_other() {
    let setup = Setup::new().await;
    let (mut one, mut other) = (setup.user("node").await, setup.user("node").await);
    for subject in ["c.eph.0.ROOM", "c.node.n1.hello"] {
        let mut heard = other.subscribe(subject).await;
        one.publish(subject).await;
        next(&mut heard, subject).await;
    }
    let mut asked = other.subscribe("c.who.0.ROOM").await;
    let answer = tokio::spawn({
        let client = one.client.clone();
        async move { client.request("c.who.0.ROOM", "who".into()).await }
    });
    let question = next(&mut asked, "a question").await;
    let reply = question
        .reply
        .expect("a question says where the answer goes");
    assert!(reply.starts_with("_INBOX_node."), "{reply}");
    let published = other.client.publish(reply, "we".into()).await;
    published.expect("a valid subject");
    let answer = within("an answer", answer).await.expect("the task ends");
    assert_eq!(&answer.expect("an answer").payload[..], b"we");
    one.was_not_refused().await;
    other.was_not_refused().await;
}

#[tokio::test]
async fn a_node_may_not_forge_snoop_or_change_streams() {
    let setup = Setup::new().await;
    let mut node = setup.user("node").await;
    node.may_not_publish(&[
        "c.live.0.ROOM.m",
        "c.live.1.ROOM.a",
        "c.in.0.ROOM",
        "c.in.0.ROOM.m.x",
        "c.sched.0.ROOM.x",
        "_INBOX_operator.x",
        "_INBOX_node.x",
        "anything",
        "$KV.B.k",
        "$SYS.REQ.SERVER.PING",
        "$JS.API.STREAM.NAMES",
        "$JS.API.STREAM.LIST",
        "$JS.API.STREAM.CREATE.X",
        "$JS.API.STREAM.CREATE.C_0",
        "$JS.API.STREAM.UPDATE.C_0",
        "$JS.API.STREAM.DELETE.C_0",
        "$JS.API.STREAM.PURGE.C_0",
        "$JS.API.STREAM.MSG.DELETE.C_0",
        "$JS.API.STREAM.SNAPSHOT.C_0",
        "$JS.API.STREAM.RESTORE.C_0",
        "$JS.API.STREAM.LEADER.STEPDOWN.C_0",
        "$JS.API.STREAM.PEER.REMOVE.C_0",
        "$JS.API.STREAM.INFO.C_2",
        "$JS.API.STREAM.MSG.GET.C_2",
        "$JS.API.DIRECT.GET.C_2",
        "$JS.API.CONSUMER.CREATE.C_0",
        "$JS.API.CONSUMER.CREATE.C_0.x.c.in.0.ROOM.m",
        "$JS.API.CONSUMER.DURABLE.CREATE.C_0.x",
        "$JS.API.CONSUMER.MSG.NEXT.C_0.x",
    ])
    .await;
    node.may_not_subscribe(&[
        ">",
        "*",
        "c.>",
        "c.in.>",
        "c.in.0.*.*",
        "c.in.0.ROOM.m",
        "_INBOX.>",
        "_INBOX_operator.>",
        "_INBOX_moderator.>",
        "$JS.>",
        "$JS.API.>",
        "$JS.EVENT.>",
        "$JS.EVENT.ADVISORY.API",
        "$SYS.>",
    ])
    .await;
    let operator = Nats::connect(&setup.servers).await;
    for stream in ["C_0", "C_1"] {
        let info = operator.stream(stream).await;
        assert_eq!(info["state"]["last_seq"], 0, "{info}");
    }
}

#[tokio::test]
async fn a_moderator_may_erase_and_nothing_else() {
    let setup = Setup::new().await;
    let node = setup.user("node").await;
    for room in ["A", "A", "B"] {
        node.request(&format!("c.in.0.{room}.m"), "hello").await;
    }
    let mut moderator = setup.user("moderator").await;
    let erased = moderator
        .api("STREAM.MSG.DELETE.C_0", json!({"seq": 1}))
        .await;
    assert_eq!(erased["success"], true);
    let purged = moderator
        .api("STREAM.PURGE.C_0", json!({"filter": "c.in.0.B.*"}))
        .await;
    assert_eq!(purged["purged"], 1);
    let info = moderator.api("STREAM.INFO.C_0", json!({})).await;
    assert_eq!(info["state"]["messages"], 1);
    moderator.was_not_refused().await;

    moderator
        .may_not_publish(&[
            "c.in.0.ROOM.m",
            "c.live.0.ROOM.m",
            "c.eph.0.ROOM",
            "c.who.0.ROOM",
            "c.node.n1.hello",
            "anything",
            "_INBOX_node.x",
            "$JS.API.INFO",
            "$JS.API.STREAM.NAMES",
            "$JS.API.STREAM.CREATE.X",
            "$JS.API.STREAM.UPDATE.C_0",
            "$JS.API.STREAM.DELETE.C_0",
            "$JS.API.STREAM.PURGE.C_2",
            "$JS.API.STREAM.MSG.GET.C_0",
            "$JS.API.DIRECT.GET.C_0",
            "$JS.API.CONSUMER.CREATE.C_0",
        ])
        .await;
    moderator
        .may_not_subscribe(&[
            "c.live.>",
            "c.in.>",
            "c.eph.>",
            "c.node.>",
            "_INBOX_node.>",
            "_INBOX.>",
            ">",
        ])
        .await;
}

#[tokio::test]
async fn nobody_is_let_in_without_a_key_of_the_account() {
    let setup = Setup::new().await;
    let anonymous = ConnectOptions::new().connect(setup.servers.urls()).await;
    anonymous.expect_err("nobody is anonymous");
    let strangers = TempDir::new().expect("there is a place for temporary files");
    make_users(strangers.path(), 2).await;
    let seed = std::fs::read_to_string(key(strangers.path(), "node")).expect("a user has a key");
    let stranger = ConnectOptions::with_nkey(seed.trim().to_owned());
    let stranger = stranger.connect(setup.servers.urls()).await;
    stranger.expect_err("keys of others open nothing");
}
