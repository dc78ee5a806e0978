//! Reading what a room keeps, page by page.

use natter_tests::{Client, NO_RATES, Node, Publication};
use serde_json::{Value, json};

/// A client in a room with ten messages, whose offsets are their numbers.
async fn ten(node: &Node) -> (Client, Value) {
    let mut client = Client::connect(node).await;
    let epoch = client.subscribe("room").await["epoch"].clone();
    for number in 1..=10 {
        client.publish("room", json!(number)).await;
        client.publication().await;
    }
    (client, epoch)
}

/// The offsets of the page that `query` asks for; the page must know the room's end.
async fn page(client: &mut Client, epoch: &Value, mut query: Value) -> Vec<u64> {
    query["channel"] = json!("room");
    let page = client.ask("history", query).await;
    assert_eq!(
        (&page["offset"], &page["epoch"]),
        (&json!(10), epoch),
        "{page}"
    );
    let publications = Publication::list(&page);
    assert!(publications.iter().all(|it| it.data == it.offset), "{page}");
    publications.iter().map(|it| it.offset).collect()
}

#[tokio::test]
async fn limit_0_asks_for_the_position_alone() {
    let node = Node::start(&[]).await;
    let (mut client, epoch) = ten(&node).await;
    assert_eq!(page(&mut client, &epoch, json!({})).await, [0; 0]);
    assert_eq!(page(&mut client, &epoch, json!({"limit": 0})).await, [0; 0]);
    assert_eq!(
        page(&mut client, &epoch, json!({"limit": 0, "reverse": true})).await,
        [0; 0]
    );
}

#[tokio::test]
async fn a_negative_limit_asks_for_all() {
    let node = Node::start(&[]).await;
    let (mut client, epoch) = ten(&node).await;
    let all: Vec<_> = (1..=10).collect();
    assert_eq!(page(&mut client, &epoch, json!({"limit": -1})).await, all);
    assert_eq!(page(&mut client, &epoch, json!({"limit": 100})).await, all);
}

#[tokio::test]
async fn a_limit_takes_so_many_from_the_end_that_it_reads_from() {
    let node = Node::start(&[]).await;
    let (mut client, epoch) = ten(&node).await;
    assert_eq!(
        page(&mut client, &epoch, json!({"limit": 3})).await,
        [1, 2, 3]
    );
    let newest = json!({"limit": 3, "reverse": true});
    assert_eq!(page(&mut client, &epoch, newest).await, [10, 9, 8]);
}

#[tokio::test]
async fn since_is_where_reading_goes_on() {
    let node = Node::start(&[]).await;
    let (mut client, epoch) = ten(&node).await;
    let since = |offset: u64, limit: i32, reverse: bool| json!({"since": {"offset": offset, "epoch": epoch}, "limit": limit, "reverse": reverse});
    assert_eq!(page(&mut client, &epoch, since(3, 2, false)).await, [4, 5]);
    assert_eq!(page(&mut client, &epoch, since(0, 2, false)).await, [1, 2]);
    assert_eq!(
        page(&mut client, &epoch, since(8, -1, false)).await,
        [9, 10]
    );
    assert_eq!(
        page(&mut client, &epoch, since(10, -1, false)).await,
        [0; 0]
    );
    assert_eq!(
        page(&mut client, &epoch, since(11, -1, false)).await,
        [0; 0]
    );
    assert_eq!(page(&mut client, &epoch, since(3, -1, true)).await, [2, 1]);
    assert_eq!(page(&mut client, &epoch, since(11, -1, true)).await, [0; 0]);
    assert_eq!(page(&mut client, &epoch, since(1, -1, true)).await, [0; 0]);
}

#[tokio::test]
async fn since_without_epoch_means_the_present_one() {
    let node = Node::start(&[]).await;
    let (mut client, epoch) = ten(&node).await;
    let query = json!({"since": {"offset": 8}, "limit": -1});
    assert_eq!(page(&mut client, &epoch, query).await, [9, 10]);
}

#[tokio::test]
async fn a_foreign_epoch_is_refused_and_the_session_lives() {
    let node = Node::start(&[]).await;
    let (mut client, _) = ten(&node).await;
    let query = json!({"channel": "room", "since": {"offset": 3, "epoch": "other"}, "limit": 5});
    assert_eq!(client.refused("history", query).await, 112);
    client.is_alive().await;
}

#[tokio::test]
async fn an_empty_room_has_an_empty_history() {
    let node = Node::start(&[]).await;
    let mut client = Client::join(&node, "room").await;
    let page = client
        .ask("history", json!({"channel": "room", "limit": -1}))
        .await;
    assert_eq!(
        (&page["offset"], &page["publications"]),
        (&json!(0), &json!([])),
        "{page}"
    );
    assert!(
        page["epoch"]
            .as_str()
            .is_some_and(|epoch| !epoch.is_empty()),
        "{page}"
    );
}

#[tokio::test]
async fn a_page_says_who_wrote() {
    let node = Node::start(&[]).await;
    let mut client = Client::open(&node).await;
    let id = client.ask("connect", json!({})).await["client"].clone();
    client.subscribe("room").await;
    client.publish("room", json!(1)).await;
    let page = client
        .ask("history", json!({"channel": "room", "limit": 1}))
        .await;
    assert_eq!(page["publications"][0]["info"]["client"], id, "{page}");
}

#[tokio::test]
async fn only_the_newest_messages_are_kept() {
    let node = Node::start(&["--history-max-messages", "5"]).await;
    let (mut client, epoch) = ten(&node).await;
    assert_eq!(
        page(&mut client, &epoch, json!({"limit": -1})).await,
        [6, 7, 8, 9, 10]
    );
}

#[tokio::test]
async fn history_survives_that_everyone_leaves() {
    let node = Node::start(&[]).await;
    let (client, epoch) = ten(&node).await;
    client.leave().await;
    node.metric_becomes("natter_members", 0.0).await;
    let mut other = Client::join(&node, "room").await;
    assert_eq!(page(&mut other, &epoch, json!({"limit": 1})).await, [1]);
}

#[tokio::test]
async fn a_long_history_is_read_in_pages_that_fit_a_frame() {
    let node = Node::start(&NO_RATES).await;
    let mut client = Client::join(&node, "room").await;
    for _ in 0..40 {
        client.publish("room", json!("x".repeat(50_000))).await;
        client.publication().await;
    }
    for reverse in [false, true] {
        let mut read = Vec::new();
        let mut query = json!({"channel": "room", "limit": -1, "reverse": reverse});
        while read.len() < 40 {
            let page = client.ask("history", query.clone()).await;
            let offsets: Vec<_> = Publication::list(&page)
                .iter()
                .map(|it| it.offset)
                .collect();
            let last = *offsets.last().expect("a page moves on");
            read.extend(offsets);
            query["since"] = json!({"offset": last, "epoch": page["epoch"]});
        }
        let mut expected: Vec<_> = (1..=40).collect();
        if reverse {
            expected.reverse();
        }
        assert_eq!(read, expected);
    }
}

#[tokio::test]
async fn many_small_messages_fit_a_frame_too() {
    let keep_all = [
        "--history-max-messages",
        "100000",
        "--history-max-bytes",
        "100000000",
    ];
    let node = Node::start(&[&NO_RATES[..], &keep_all].concat()).await;
    let mut client = Client::connect(&node).await;
    let room = "r".repeat(255);
    client.subscribe(&room).await;
    for _ in 0..100 {
        let ids: Vec<_> = (0..100).map(|_| client.next_id()).collect();
        let command = |id| json!({"id": id, "publish": {"channel": room, "data": 1}}).to_string();
        let commands: Vec<_> = ids.iter().map(command).collect();
        client.send(commands.join("\n")).await;
        for id in ids {
            client.reply(id).await;
            client.publication().await;
        }
    }
    let page = client
        .ask("history", json!({"channel": room, "limit": -1}))
        .await;
    assert!(Publication::list(&page).len() > 1);
}

#[tokio::test]
async fn entering_very_many_rooms_costs_no_other_room_its_history() {
    let total = [
        "--history-max-total-bytes",
        "1048576",
        "--history-max-bytes",
        "1048576",
    ];
    let node = Node::start(&[&NO_RATES[..], &total].concat()).await;
    let (writer, epoch) = ten(&node).await;
    writer.leave().await;
    node.metric_becomes("natter_members", 0.0).await;
    let mut passer_by = Client::connect(&node).await;
    for hundred in 0..30 {
        let mut commands = Vec::new();
        for number in 0..100 {
            let room = format!("{:0>255}", 100 * hundred + number);
            for method in ["subscribe", "unsubscribe"] {
                let id = passer_by.next_id();
                commands.push(json!({"id": id, method: {"channel": room}}).to_string());
            }
        }
        passer_by.send(commands.join("\n")).await;
        passer_by.is_alive().await;
        for reply in passer_by.take_unread() {
            assert_eq!(reply.get("error"), None, "{reply}");
        }
    }
    let known = node.metric("natter_history_rooms").await;
    assert!(known < 3000.0, "all {known} rooms fitted");
    let all: Vec<_> = (1..=10).collect();
    passer_by.subscribe("room").await;
    let read = page(&mut passer_by, &epoch, json!({"limit": -1})).await;
    assert_eq!(read, all);
}
