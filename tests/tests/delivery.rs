//! Members get the reply first and then every later publication exactly once, in the room's one order.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use natter_tests::{Client, NO_RATES, Node, Publication};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

/// A node where anyone may publish, as fast as they can, and nothing is forgotten.
async fn node() -> Arc<Node> {
    let flags = [
        "--history-max-messages",
        "1000000",
        "--history-max-bytes",
        "100000000",
        "--workers",
        "3",
    ];
    let start = Node::with(&[&NO_RATES[..], &flags].concat());
    let classes = "roomClasses: [{prefix: default, publish: Anyone}]";
    Arc::new(start.config(classes).start().await)
}

/// Three clients that publish to the room without a pause until they are told to stop.
struct Flood {
    stop: Arc<AtomicBool>,
    publishers: Vec<JoinHandle<u64>>,
    last: Client,
}

/// The room's last message.
const END: &str = "end";

impl Flood {
    async fn start(node: &Node) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut publishers = Vec::new();
        for publisher in 0..3 {
            let client = Client::connect(node).await;
            publishers.push(tokio::spawn(publish(client, publisher, stop.clone())));
        }
        let last = Client::connect(node).await;
        Self {
            stop,
            publishers,
            last,
        }
    }

    /// Lets every publisher finish, then publishes the room's last message. Returns how many each has published.
    async fn end(mut self) -> Vec<u64> {
        self.stop.store(true, Relaxed);
        let mut counts = Vec::new();
        for publisher in self.publishers {
            counts.push(publisher.await.expect("every message is acknowledged"));
        }
        self.last.publish("room", json!(END)).await;
        counts
    }
}

/// Publishes numbered messages, ten under way at a time, and returns how many were acknowledged.
async fn publish(mut client: Client, publisher: usize, stop: Arc<AtomicBool>) -> u64 {
    let mut number = 0;
    while !stop.load(Relaxed) {
        let mut asked = Vec::new();
        for _ in 0..10 {
            let data = json!({"publisher": publisher, "number": number});
            asked.push(
                client
                    .command("publish", json!({"channel": "room", "data": data}))
                    .await,
            );
            number += 1;
        }
        for id in asked {
            assert_eq!(client.reply(id).await.get("error"), None);
        }
    }
    number
}

/// A member: where it came in, and what it has heard since.
struct Member {
    client: Client,
    from: u64,
    epoch: Value,
    heard: Vec<Publication>,
}

impl Member {
    async fn join(node: &Node) -> Self {
        let mut client = Client::connect(node).await;
        let id = client
            .command("subscribe", json!({"channel": "room"}))
            .await;
        let first = client.next().await;
        assert_eq!(first["id"], id, "something came before the subscribe reply");
        let reply = &first["subscribe"];
        Self {
            from: reply["offset"]
                .as_u64()
                .expect("a subscribe reply has an offset"),
            epoch: reply["epoch"].clone(),
            heard: Publication::list(reply),
            client,
        }
    }

    fn position(&self) -> u64 {
        self.heard.last().map_or(self.from, |last| last.offset)
    }

    async fn hear(&mut self) {
        self.heard.push(self.client.publication().await);
    }

    /// Hears on until the room's last message.
    async fn hear_all(mut self) -> Self {
        while self.heard.last().is_none_or(|last| last.data != END) {
            self.hear().await;
        }
        self
    }

    /// Comes back on a new connection.
    async fn resume(&mut self, node: &Node) {
        self.client = Client::connect(node).await;
        self.subscribe_again().await;
    }

    async fn subscribe_again(&mut self) {
        let parameters = json!({
            "channel": "room", "recover": true, "offset": self.position(), "epoch": self.epoch, "flag": 1,
        });
        let id = self.client.command("subscribe", parameters).await;
        let first = self.client.next().await;
        assert_eq!(first["id"], id, "something came before the subscribe reply");
        let reply = &first["subscribe"];
        assert_eq!(
            (&reply["recovered"], &reply["was_recovering"]),
            (&json!(true), &json!(true)),
            "{first}"
        );
        assert_eq!(reply["epoch"], self.epoch);
        self.heard.extend(Publication::list(reply));
    }

    /// Leaves the room and comes back, all on one connection.
    async fn leave_and_return(&mut self) {
        let id = self
            .client
            .command("unsubscribe", json!({"channel": "room"}))
            .await;
        loop {
            let next = self.client.next().await;
            if next["id"] == id {
                break;
            }
            self.heard.extend(Publication::list(
                &json!({"publications": [next["push"]["pub"]]}),
            ));
        }
        self.subscribe_again().await;
    }

    /// Checks that this member has heard what `first` has after its own beginning.
    fn has_heard_the_rest(&self, first: &Self) {
        let rest = first.heard.iter().filter(|it| it.offset > self.from);
        let rest: Vec<_> = rest.cloned().collect();
        let offsets = |list: &[Publication]| list.iter().map(|it| it.offset).collect::<Vec<_>>();
        assert_eq!(offsets(&self.heard), offsets(&rest), "from {}", self.from);
        assert_eq!(self.heard, rest, "from {}", self.from);
        assert_eq!(self.epoch, first.epoch);
    }

    /// Checks that nothing is missing: each publisher's messages in its order, and offsets that grow.
    fn has_heard_all(&self, counts: &[u64]) {
        assert!(
            self.heard
                .is_sorted_by(|one, next| one.offset < next.offset)
        );
        assert_eq!(self.heard.len() as u64, counts.iter().sum::<u64>() + 1);
        for (publisher, count) in counts.iter().enumerate() {
            let theirs = self
                .heard
                .iter()
                .filter(|it| it.data["publisher"] == publisher);
            let numbers: Vec<_> = theirs.map(|it| it.data["number"].as_u64()).collect();
            assert_eq!(numbers, (0..*count).map(Some).collect::<Vec<_>>());
        }
    }
}

async fn done<T>(task: JoinHandle<T>) -> T {
    task.await.expect("a member hears all it should")
}

#[tokio::test]
async fn who_joins_during_a_flood_hears_every_later_publication_once_in_order() {
    let node = node().await;
    let first = tokio::spawn(Member::join(&node).await.hear_all());
    let flood = Flood::start(&node).await;
    let mut joiners = Vec::new();
    for _ in 0..30 {
        joiners.push(tokio::spawn(Member::join(&node).await.hear_all()));
    }
    let counts = flood.end().await;
    let first = done(first).await;
    first.has_heard_all(&counts);
    let mut beginnings = Vec::new();
    for joiner in joiners {
        let joiner = done(joiner).await;
        joiner.has_heard_the_rest(&first);
        beginnings.push(joiner.from);
    }
    beginnings.dedup();
    assert!(
        beginnings.len() > 10,
        "hardly anyone joined during the flood: {beginnings:?}"
    );
}

#[tokio::test]
async fn who_resumes_during_a_flood_misses_nothing_and_hears_nothing_twice() {
    let node = node().await;
    let first = tokio::spawn(Member::join(&node).await.hear_all());
    let mut members = Vec::new();
    for _ in 0..4 {
        members.push(Member::join(&node).await);
    }
    let flood = Flood::start(&node).await;
    let resume_often = async |mut member: Member, node: Arc<Node>| {
        for _ in 0..12 {
            for _ in 0..fastrand::usize(0..40) {
                member.hear().await;
            }
            member.resume(&node).await;
        }
        member
    };
    let resumers: Vec<_> = members
        .into_iter()
        .map(|member| tokio::spawn(resume_often(member, node.clone())))
        .collect();
    let mut resumed = Vec::new();
    for resumer in resumers {
        resumed.push(tokio::spawn(done(resumer).await.hear_all()));
    }
    let counts = flood.end().await;
    let first = done(first).await;
    first.has_heard_all(&counts);
    for member in resumed {
        done(member).await.has_heard_the_rest(&first);
    }
}

#[tokio::test]
async fn who_leaves_and_returns_on_one_connection_misses_nothing_and_hears_nothing_twice() {
    let node = node().await;
    let first = tokio::spawn(Member::join(&node).await.hear_all());
    let mut member = Member::join(&node).await;
    let flood = Flood::start(&node).await;
    for _ in 0..30 {
        for _ in 0..fastrand::usize(0..20) {
            member.hear().await;
        }
        member.leave_and_return().await;
    }
    let member = tokio::spawn(member.hear_all());
    let counts = flood.end().await;
    let first = done(first).await;
    first.has_heard_all(&counts);
    done(member).await.has_heard_the_rest(&first);
}

#[tokio::test]
async fn members_of_all_workers_hear_one_order() {
    let node = node().await;
    let mut members = Vec::new();
    for _ in 0..9 {
        members.push(Client::join(&node, "room").await);
    }
    for number in 0..90 {
        let writer = number % members.len();
        members[writer]
            .command("publish", json!({"channel": "room", "data": number}))
            .await;
    }
    let mut orders = Vec::new();
    for member in &mut members {
        let mut order = Vec::new();
        for _ in 0..90 {
            order.push(member.publication().await);
        }
        orders.push(order);
    }
    assert!(orders[0].is_sorted_by(|one, next| one.offset < next.offset));
    assert!(orders.iter().all(|order| *order == orders[0]));
}

#[tokio::test]
async fn a_publication_reaches_its_room_only() {
    let node = node().await;
    let mut one = Client::join(&node, "one").await;
    let mut other = Client::join(&node, "other").await;
    one.publish("one", json!(1)).await;
    assert_eq!(one.publication().await.data, 1);
    other.publish("other", json!(2)).await;
    let push = other.push().await;
    assert_eq!(
        (&push["channel"], &push["pub"]["data"]),
        (&json!("other"), &json!(2))
    );
    one.hears_nothing_for(natter_tests::wait::QUIET).await;
}

#[tokio::test]
async fn a_member_of_many_rooms_hears_all_of_them() {
    let node = node().await;
    let mut reader = Client::connect(&node).await;
    let mut writer = Client::connect(&node).await;
    for room in 0..50 {
        reader.subscribe(&format!("room {room}")).await;
        writer.subscribe(&format!("room {room}")).await;
    }
    for room in 0..50 {
        writer.publish(&format!("room {room}"), json!(room)).await;
    }
    let mut heard = Vec::new();
    for _ in 0..50 {
        heard.push(
            reader.push().await["channel"]
                .as_str()
                .expect("a push has a channel")
                .to_owned(),
        );
    }
    heard.sort();
    heard.dedup();
    assert_eq!(heard.len(), 50);
}

#[tokio::test]
async fn nobody_hears_of_a_member_that_died() {
    let node = node().await;
    let mut reader = Client::join(&node, "room").await;
    let dead = Client::join(&node, "room").await;
    drop(dead);
    node.metric_becomes("natter_members", 1.0).await;
    reader.publish("room", json!("still here")).await;
    assert_eq!(reader.publication().await.data, "still here");
}
