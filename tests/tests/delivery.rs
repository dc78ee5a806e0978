//! Members get the reply first and then every later publication exactly once, in the room's one order.

use std::time::Duration;

use natter_tests::{Client, NO_RATES, Node, Publication};
use serde_json::{Value, json};

const PUBLISHERS: usize = 3;
const EACH: usize = 300;
const TOTAL: usize = PUBLISHERS * EACH;
/// How many publishes of one publisher may be unanswered.
const WINDOW: usize = 10;

/// Where a member stands: what it has heard and where it can resume.
struct Heard {
    from: u64,
    epoch: Value,
    publications: Vec<Publication>,
}

/// A node where anyone may publish, as fast as they can, and nothing is forgotten.
async fn node() -> Node {
    let flags = ["--history-max-messages", "100000", "--workers", "3"];
    let start = Node::with(&[&NO_RATES[..], &flags].concat());
    let classes = "roomClasses: [{prefix: default, publish: Anyone}]";
    start.config(classes).start().await
}

/// Publishes `EACH` messages, several at a time.
async fn flood(mut client: Client, publisher: usize) {
    let mut asked = std::collections::VecDeque::new();
    for number in 0..EACH {
        let data = json!({"publisher": publisher, "number": number});
        asked.push_back(
            client
                .command("publish", json!({"channel": "room", "data": data}))
                .await,
        );
        if asked.len() == WINDOW {
            let id = asked.pop_front().expect("the window is not empty");
            assert_eq!(client.reply(id).await.get("error"), None);
        }
    }
    for id in asked {
        assert_eq!(client.reply(id).await.get("error"), None);
    }
}

/// Starts publishers that need not be members of the room.
async fn publishers(node: &Node) -> Vec<tokio::task::JoinHandle<()>> {
    let mut tasks = Vec::new();
    for publisher in 0..PUBLISHERS {
        let client = Client::connect(node).await;
        tasks.push(tokio::spawn(flood(client, publisher)));
    }
    tasks
}

/// Hears everything after a subscribe, until the flood's last publication.
async fn hear(mut client: Client) -> Heard {
    let id = client
        .command("subscribe", json!({"channel": "room"}))
        .await;
    let first = client.next().await;
    assert_eq!(first["id"], id, "something came before the subscribe reply");
    let reply = &first["subscribe"];
    let from = reply["offset"]
        .as_u64()
        .expect("a subscribe reply has an offset");
    let mut publications = Publication::list(reply);
    while last_offset(from, &publications) < TOTAL as u64 {
        publications.push(client.publication().await);
    }
    Heard {
        from,
        epoch: reply["epoch"].clone(),
        publications,
    }
}

/// The embedded broker counts a room's publications from 1.
fn last_offset(from: u64, publications: &[Publication]) -> u64 {
    publications.last().map_or(from, |last| last.offset)
}

/// Everyone must have heard what the first member heard after their own beginning.
fn is_the_rest(all: &[Publication], from: u64, heard: &[Publication]) {
    let expected: Vec<_> = all
        .iter()
        .filter(|publication| publication.offset > from)
        .collect();
    let offsets = |list: &[&Publication]| list.iter().map(|it| it.offset).collect::<Vec<_>>();
    let heard: Vec<_> = heard.iter().collect();
    assert_eq!(offsets(&expected), offsets(&heard), "from {from}");
    assert_eq!(expected, heard, "from {from}");
}

/// The first member's list itself: nothing missing, nothing twice, each publisher's messages in its order.
fn is_complete(all: &[Publication]) {
    assert_eq!(all.len(), TOTAL);
    assert!(all.is_sorted_by(|one, next| one.offset < next.offset));
    for publisher in 0..PUBLISHERS {
        let theirs = all.iter().filter(|it| it.data["publisher"] == publisher);
        let numbers: Vec<_> = theirs.map(|it| it.data["number"].as_u64()).collect();
        assert_eq!(numbers, (0..EACH as u64).map(Some).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn who_joins_during_a_flood_hears_every_later_publication_once_in_order() {
    let node = node().await;
    let first = tokio::spawn(hear(Client::connect(&node).await));
    node.metric_becomes("natter_members", 1.0).await;
    let publishers = publishers(&node).await;
    let mut joiners = Vec::new();
    for _ in 0..12 {
        tokio::time::sleep(Duration::from_millis(fastrand::u64(0..10))).await;
        joiners.push(tokio::spawn(hear(Client::connect(&node).await)));
    }
    let first = first.await.expect("the first member hears all");
    is_complete(&first.publications);
    for joiner in joiners {
        let joiner = joiner.await.expect("a joiner hears the rest");
        assert_eq!(joiner.epoch, first.epoch);
        is_the_rest(&first.publications, joiner.from, &joiner.publications);
    }
    for publisher in publishers {
        publisher.await.expect("every message is acknowledged");
    }
}

/// Leaves and resumes again and again, at random places, until the flood's last publication.
async fn resume_often(node: &Node, position: (u64, Value)) -> Vec<Publication> {
    let (from, epoch) = position;
    let mut heard = Vec::new();
    while last_offset(from, &heard) < TOTAL as u64 {
        let mut client = Client::connect(node).await;
        let offset = last_offset(from, &heard);
        let reply = client.resume("room", offset, &epoch).await;
        assert_eq!(
            (&reply["recovered"], &reply["was_recovering"]),
            (&json!(true), &json!(true)),
            "{reply}"
        );
        assert_eq!(reply["epoch"], epoch);
        heard.extend(Publication::list(&reply));
        for _ in 0..fastrand::usize(0..60) {
            if last_offset(from, &heard) == TOTAL as u64 {
                break;
            }
            heard.push(client.publication().await);
        }
        if fastrand::bool() {
            client.leave().await;
        }
    }
    heard
}

#[tokio::test]
async fn who_resumes_during_a_flood_misses_nothing_and_hears_nothing_twice() {
    let node = std::sync::Arc::new(node().await);
    let mut early = Client::connect(&node).await;
    let reply = early.subscribe("room").await;
    let position = (
        reply["offset"].as_u64().expect("an offset"),
        reply["epoch"].clone(),
    );
    let first = tokio::spawn(hear(Client::connect(&node).await));
    node.metric_becomes("natter_members", 2.0).await;
    let publishers = publishers(&node).await;
    let resumers: Vec<_> = (0..4)
        .map(|_| {
            let (node, position) = (node.clone(), position.clone());
            tokio::spawn(async move { resume_often(&node, position).await })
        })
        .collect();
    let first = first.await.expect("the first member hears all");
    is_complete(&first.publications);
    for resumer in resumers {
        let heard = resumer.await.expect("a resumer hears all");
        is_the_rest(&first.publications, position.0, &heard);
    }
    for publisher in publishers {
        publisher.await.expect("every message is acknowledged");
    }
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
