//! Who is in a room, on a node that runs alone.

use std::collections::BTreeSet;

use natter_tests::wait::until;
use natter_tests::{Client, Node};
use serde_json::{Value, json};

const CLASSES: &str = "roomClasses:
- {prefix: live, joinLeave: true}
- {prefix: open, presence: Anyone}
- {prefix: shut, presence: Server, joinLeave: true}
- {prefix: none, presence: None}";

async fn node() -> Node {
    Node::with(&["--workers", "3"])
        .config(CLASSES)
        .start()
        .await
}

/// A session and its id.
async fn connect(node: &Node) -> (Client, String) {
    let mut client = Client::open(node).await;
    let id = client.ask("connect", json!({})).await["client"].clone();
    (client, id.as_str().expect("a client has an id").to_owned())
}

async fn present(client: &mut Client, room: &str) -> BTreeSet<String> {
    let reply = client.ask("presence", json!({"channel": room})).await;
    let members = reply["presence"].as_object().expect("a map of members");
    for (id, info) in members {
        assert_eq!(
            (&info["client"], &info["user"]),
            (&json!(id), &json!("")),
            "{reply}"
        );
    }
    members.keys().cloned().collect()
}

async fn stats(client: &mut Client, room: &str) -> (u64, u64) {
    let reply = client.ask("presence_stats", json!({"channel": room})).await;
    let number = |name: &str| reply[name].as_u64().expect("a number");
    (number("num_clients"), number("num_users"))
}

/// A member that hears of joins and leaves.
async fn listen(client: &mut Client, room: &str) {
    client
        .ask("subscribe", json!({"channel": room, "join_leave": true}))
        .await;
}

/// The next join or leave: what, and whose.
async fn change(client: &mut Client, room: &str) -> (&'static str, String) {
    let push = client.push().await;
    assert_eq!(push["channel"], room, "{push}");
    for what in ["join", "leave"] {
        if let Some(id) = push[what]["info"]["client"].as_str() {
            assert_eq!(push[what]["info"]["user"], "", "{push}");
            return (what, id.to_owned());
        }
    }
    panic!("neither a join nor a leave: {push}");
}

#[tokio::test]
async fn members_on_all_workers_are_listed_and_counted_until_they_leave() {
    let node = node().await;
    let mut members = Vec::new();
    for _ in 0..9 {
        let (mut client, id) = connect(&node).await;
        client.subscribe("room").await;
        members.push((client, id));
    }
    let (mut asking, own) = connect(&node).await;
    asking.subscribe("room").await;
    let mut expected: BTreeSet<_> = members.iter().map(|(_, id)| id.clone()).collect();
    expected.insert(own);
    assert_eq!(present(&mut asking, "room").await, expected);
    // All anonymous sessions are one user.
    assert_eq!(stats(&mut asking, "room").await, (10, 1));
    let (mut first, id) = members.remove(0);
    first.ask("unsubscribe", json!({"channel": "room"})).await;
    expected.remove(&id);
    assert_eq!(present(&mut asking, "room").await, expected);
    members.clear();
    until("all others to be gone", async || {
        present(&mut asking, "room").await.len() == 1
    })
    .await;
    assert_eq!(stats(&mut asking, "room").await, (1, 1));
}

#[tokio::test]
async fn the_class_says_who_may_see_who_is_there() {
    let node = node().await;
    let (mut inside, id) = connect(&node).await;
    let (mut outside, _) = connect(&node).await;
    for room in ["room", "open:a", "shut:a", "none:a"] {
        inside.subscribe(room).await;
    }
    assert_eq!(
        present(&mut outside, "open:a").await,
        BTreeSet::from([id.clone()])
    );
    assert_eq!(present(&mut inside, "room").await, BTreeSet::from([id]));
    for method in ["presence", "presence_stats"] {
        for (room, code) in [
            ("room", 103),
            ("shut:a", 103),
            ("none:a", 108),
            ("what:a", 102),
        ] {
            let asked = json!({"channel": room});
            assert_eq!(outside.refused(method, asked).await, code, "{room}");
        }
        assert_eq!(
            inside.refused(method, json!({"channel": "shut:a"})).await,
            103
        );
        assert_eq!(inside.refused(method, json!({"channel": ""})).await, 107);
    }
    assert_eq!(stats(&mut outside, "open:b").await, (0, 0));
}

#[tokio::test]
async fn who_asks_too_often_is_told_so() {
    let node = Node::start(&["--presence-per-second-per-session", "3"]).await;
    let (mut client, _) = connect(&node).await;
    client.subscribe("room").await;
    let mut refused = 0;
    for _ in 0..10 {
        let reply = client.request("presence", json!({"channel": "room"})).await;
        refused += u32::from(reply["error"]["code"] == 111);
    }
    assert!((6..=7).contains(&refused), "{refused}");
}

#[tokio::test]
async fn joins_and_leaves_are_told_to_those_who_ask_for_them() {
    let node = node().await;
    let (mut ann, anns) = connect(&node).await;
    let (mut deaf, deafs) = connect(&node).await;
    listen(&mut ann, "live:a").await;
    assert_eq!(change(&mut ann, "live:a").await, ("join", anns.clone()));
    deaf.subscribe("live:a").await;
    assert_eq!(change(&mut ann, "live:a").await, ("join", deafs.clone()));
    let (mut ben, bens) = connect(&node).await;
    listen(&mut ben, "live:a").await;
    assert_eq!(change(&mut ann, "live:a").await, ("join", bens.clone()));
    assert_eq!(change(&mut ben, "live:a").await, ("join", bens.clone()));
    // In and out again in one go, and a connection that just ends.
    let id = ben.next_id();
    let (again, out) = (ben.next_id(), json!({"channel": "live:a"}));
    let back = json!({"channel": "live:a", "join_leave": true});
    ben.send(format!(
        "{}\n{}",
        json!({"id": id, "unsubscribe": out}),
        json!({"id": again, "subscribe": back})
    ))
    .await;
    assert_eq!(change(&mut ann, "live:a").await, ("leave", bens.clone()));
    assert_eq!(change(&mut ann, "live:a").await, ("join", bens.clone()));
    drop(ben);
    assert_eq!(change(&mut ann, "live:a").await, ("leave", bens));
    deaf.ask("unsubscribe", json!({"channel": "live:a"})).await;
    assert_eq!(change(&mut ann, "live:a").await, ("leave", deafs));
    ann.publish("live:a", json!("still here")).await;
    assert_eq!(ann.publication().await.data, "still here");
    assert!(deaf.take_unread().is_empty(), "nobody asked for it");
}

#[tokio::test]
async fn nobody_hears_of_joins_where_the_class_does_not_tell() {
    let node = node().await;
    for room in ["room", "shut:a"] {
        let (mut ann, _) = connect(&node).await;
        listen(&mut ann, room).await;
        let (mut ben, _) = connect(&node).await;
        ben.subscribe(room).await;
        ben.publish(room, json!("hi")).await;
        let first = ann.push().await;
        assert_eq!(first["pub"]["data"], "hi", "{first}");
    }
}

#[tokio::test]
async fn a_changed_class_tells_of_those_who_come_from_then_on() {
    let node = Node::with(&[])
        .config("roomClasses: [{prefix: live}]")
        .start()
        .await;
    let (mut early, _) = connect(&node).await;
    listen(&mut early, "live:a").await;
    node.rewrite_config("roomClasses: [{prefix: live, joinLeave: true}]");
    node.metric_becomes(r#"natter_config_reloads_total{result="ok"}"#, 1.0)
        .await;
    let (mut ann, anns) = connect(&node).await;
    listen(&mut ann, "live:a").await;
    assert_eq!(change(&mut ann, "live:a").await, ("join", anns));
    // Nobody was told that it came, so nobody is told that it leaves.
    drop(early);
    let (mut ben, bens) = connect(&node).await;
    until("the first to be gone", async || {
        stats(&mut ann, "live:a").await.0 == 1
    })
    .await;
    ben.subscribe("live:a").await;
    assert_eq!(change(&mut ann, "live:a").await, ("join", bens));
}

#[tokio::test]
async fn a_room_of_thousands_is_counted_exactly_and_listed_as_far_as_it_fits() {
    const MEMBERS: usize = 5000;
    let node = Node::with(&["--connects-per-second", "1000000", "--workers", "2"])
        .config(CLASSES)
        .start()
        .await;
    let mut crowd = Vec::with_capacity(MEMBERS);
    for _ in 0..MEMBERS {
        let mut client = Client::open(&node).await;
        let room: Value = json!({"channel": "open:crowd"});
        client
            .send(format!(
                "{}\n{}",
                json!({"id": 1, "connect": {}}),
                json!({"id": 2, "subscribe": room})
            ))
            .await;
        crowd.push(client);
    }
    let (mut asking, _) = connect(&node).await;
    until("everybody to be there", async || {
        stats(&mut asking, "open:crowd").await == (MEMBERS as u64, 1)
    })
    .await;
    assert_eq!(present(&mut asking, "open:crowd").await.len(), 4000);
    assert!(asking.last_text().len() < 1 << 20);
}
