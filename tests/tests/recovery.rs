//! Resuming: every missed publication, or an honest `recovered: false`.

use natter_tests::raw::{Raw, TEXT, frame};
use natter_tests::wait::until;
use natter_tests::{Client, NO_RATES, Node, Publication};
use serde_json::{Value, json};

/// A room with `count` messages, and a client in it.
async fn written(node: &Node, count: u64) -> (Client, Value) {
    let mut client = Client::connect(node).await;
    let epoch = client.subscribe("room").await["epoch"].clone();
    for number in 1..=count {
        client.publish("room", json!(number)).await;
        assert_eq!(client.publication().await.offset, number);
    }
    (client, epoch)
}

fn offsets(reply: &Value) -> Vec<u64> {
    Publication::list(reply)
        .iter()
        .map(|it| it.offset)
        .collect()
}

fn flags(reply: &Value) -> (Option<bool>, Option<bool>) {
    (
        reply["was_recovering"].as_bool(),
        reply["recovered"].as_bool(),
    )
}

#[tokio::test]
async fn a_first_subscribe_recovers_nothing_and_says_where_it_starts() {
    let node = Node::start(&[]).await;
    let (_client, epoch) = written(&node, 3).await;
    let mut other = Client::connect(&node).await;
    let reply = other.subscribe("room").await;
    assert_eq!(flags(&reply), (Some(false), Some(false)), "{reply}");
    assert_eq!((&reply["offset"], &reply["epoch"]), (&json!(3), &epoch));
    assert_eq!(
        (&reply["recoverable"], &reply["positioned"]),
        (&json!(true), &json!(true))
    );
    assert_eq!(offsets(&reply), [0; 0]);
}

#[tokio::test]
async fn from_any_position_exactly_the_later_publications_come_back() {
    let node = Node::start(&[]).await;
    let (_client, epoch) = written(&node, 20).await;
    for from in [0, 1, 7, 19, 20] {
        let mut other = Client::connect(&node).await;
        let reply = other.resume("room", from, &epoch).await;
        assert_eq!(flags(&reply), (Some(true), Some(true)), "{reply}");
        assert_eq!(offsets(&reply), (from + 1..=20).collect::<Vec<_>>());
        let data: Vec<_> = Publication::list(&reply)
            .into_iter()
            .map(|it| it.data)
            .collect();
        assert_eq!(
            data,
            (from + 1..=20)
                .map(|number| json!(number))
                .collect::<Vec<_>>()
        );
    }
}

#[tokio::test]
async fn a_position_may_be_a_decimal_string() {
    let node = Node::start(&[]).await;
    let (_client, epoch) = written(&node, 5).await;
    let mut other = Client::connect(&node).await;
    let parameters = json!({"channel": "room", "recover": true, "offset": "3", "epoch": epoch});
    let reply = other.ask("subscribe", parameters).await;
    assert_eq!(offsets(&reply), [4, 5]);
}

#[tokio::test]
async fn a_foreign_epoch_is_not_recovered() {
    let node = Node::start(&[]).await;
    let (_client, epoch) = written(&node, 3).await;
    for foreign in ["_", "other", "\u{0}"] {
        let mut other = Client::connect(&node).await;
        let reply = other.resume("room", 1, &json!(foreign)).await;
        assert_eq!(
            flags(&reply),
            (Some(true), Some(false)),
            "{foreign}: {reply}"
        );
        assert_eq!((&reply["offset"], &reply["epoch"]), (&json!(3), &epoch));
        assert_eq!(offsets(&reply), [0; 0]);
    }
}

#[tokio::test]
async fn a_position_in_the_future_is_not_recovered() {
    let node = Node::start(&[]).await;
    let (_client, epoch) = written(&node, 3).await;
    for (from, end) in [(4, 3), (u64::MAX, 4)] {
        let mut other = Client::connect(&node).await;
        let reply = other.resume("room", from, &epoch).await;
        assert_eq!(flags(&reply), (Some(true), Some(false)), "{reply}");
        assert_eq!(reply["offset"], end);
        other.publish("room", json!("after")).await;
        assert_eq!(other.publication().await.offset, end + 1);
    }
}

#[tokio::test]
async fn a_restarted_node_recovers_nothing_and_says_so() {
    let mut node = Node::start(&[]).await;
    let (_client, epoch) = written(&node, 3).await;
    node.restart().await;
    let mut other = Client::connect(&node).await;
    let reply = other.resume("room", 2, &epoch).await;
    assert_eq!(flags(&reply), (Some(true), Some(false)), "{reply}");
    assert_ne!(reply["epoch"], epoch);
}

#[tokio::test]
async fn what_history_no_longer_holds_is_not_recovered() {
    let node = Node::start(&["--history-max-messages", "5"]).await;
    let (_client, epoch) = written(&node, 12).await;
    for (from, recovered) in [(0, false), (6, false), (7, true), (11, true), (12, true)] {
        let mut other = Client::connect(&node).await;
        let reply = other.resume("room", from, &epoch).await;
        assert_eq!(
            flags(&reply),
            (Some(true), Some(recovered)),
            "from {from}: {reply}"
        );
        let expected: Vec<_> = if recovered {
            (from + 1..=12).collect()
        } else {
            Vec::new()
        };
        assert_eq!(offsets(&reply), expected, "from {from}");
    }
    let outcome = |outcome| format!(r#"natter_recoveries_total{{outcome="{outcome}"}}"#);
    assert_eq!(node.metric(&outcome("recovered")).await, 3.0);
    assert_eq!(node.metric(&outcome("unrecovered")).await, 2.0);
}

#[tokio::test]
async fn history_that_is_too_old_is_not_recovered() {
    let node = Node::start(&["--history-max-age", "1s"]).await;
    let (mut client, epoch) = written(&node, 3).await;
    until("the history to be too old", async || {
        client.last_messages("room").await.is_empty()
    })
    .await;
    node.metric_becomes("natter_history_publications", 0.0)
        .await;
    for (from, recovered) in [(0, false), (2, false), (3, true)] {
        let mut other = Client::connect(&node).await;
        let reply = other.resume("room", from, &epoch).await;
        assert_eq!(
            flags(&reply),
            (Some(true), Some(recovered)),
            "from {from}: {reply}"
        );
    }
}

#[tokio::test]
async fn a_room_without_readable_history_is_not_recoverable() {
    let classes = "roomClasses: [{prefix: default, history: None}]";
    let node = Node::with(&[]).config(classes).start().await;
    let mut client = Client::connect(&node).await;
    let reply = client.subscribe("room").await;
    assert_eq!(reply["recoverable"], false, "{reply}");
    client.publish("room", json!(1)).await;
    let mut other = Client::connect(&node).await;
    let reply = other.resume("room", 0, &reply["epoch"]).await;
    assert_eq!(flags(&reply), (Some(true), Some(false)), "{reply}");
    assert_eq!(offsets(&reply), [0; 0]);
}

/// Publishes the same message again and again, a hundred at a time.
async fn write(writer: &mut Client, data: &Value, count: u64) {
    let mut left = count;
    while left > 0 {
        let batch = left.min(if data.to_string().len() < 1000 {
            100
        } else {
            1
        });
        let mut ids = Vec::new();
        let mut commands = Vec::new();
        for _ in 0..batch {
            let id = writer.next_id();
            commands
                .push(json!({"id": id, "publish": {"channel": "room", "data": data}}).to_string());
            ids.push(id);
        }
        writer.send(commands.join("\n")).await;
        for id in ids {
            assert_eq!(writer.reply(id).await.get("error"), None);
            writer.publication().await;
        }
        left -= batch;
    }
}

/// Recovers `count` messages of `bytes` while more are published, and checks all that comes.
async fn recovers_all(count: u64, bytes: usize) {
    let keep_all = [
        "--history-max-messages",
        "100000",
        "--history-max-bytes",
        "100000000",
    ];
    let node = Node::start(&[&NO_RATES[..], &keep_all].concat()).await;
    let mut writer = Client::connect(&node).await;
    let epoch = writer.subscribe("room").await["epoch"].clone();
    let data = json!("x".repeat(bytes));
    write(&mut writer, &data, count).await;
    let mut reader = Client::connect(&node).await;
    let resume = json!({"channel": "room", "recover": true, "offset": 0, "epoch": epoch});
    let id = reader.command("subscribe", resume).await;
    let live = 5;
    for _ in 0..live {
        writer.publish("room", json!("live")).await;
    }
    let first = reader.next().await;
    assert_eq!(first["id"], id, "something came before the subscribe reply");
    let reply = &first["subscribe"];
    assert_eq!(flags(reply), (Some(true), Some(true)));
    let mut heard = Publication::list(reply);
    // A client's position is the reply's until the next push: it must not run ahead of what it has.
    let position = reply["offset"]
        .as_u64()
        .expect("a subscribe reply has an offset");
    assert_eq!(position, heard.last().map_or(0, |last| last.offset));
    while heard.len() < (count + live) as usize {
        heard.push(reader.publication().await);
    }
    assert!(heard.iter().map(|it| it.offset).eq(1..=count + live));
    assert!(heard.iter().take(count as usize).all(|it| it.data == data));
    reader.hears_nothing_for(natter_tests::wait::QUIET).await;
}

#[tokio::test]
async fn more_than_a_frame_holds_is_recovered_in_several_frames() {
    recovers_all(60, 40_000).await;
}

#[tokio::test]
async fn many_small_messages_are_recovered_in_frames_that_sdks_take() {
    // The names and numbers around each message are most of what is sent.
    recovers_all(20_000, 1).await;
}

/// A client that resumes `room` from its beginning and reads nothing of what it missed.
async fn silent(node: &Node, epoch: &Value) -> Raw {
    let mut raw = Raw::upgraded_with_small_buffer(node).await;
    raw.connect().await;
    let parameters = json!({"channel": "room", "recover": true, "offset": 0, "epoch": epoch});
    let resume = json!({"id": 2, "subscribe": parameters}).to_string();
    raw.send(&frame(TEXT, resume.as_bytes())).await;
    raw
}

#[tokio::test]
async fn who_resumes_and_does_not_read_costs_little_and_misses_nothing() {
    let patient = ["--backlog-bytes", "100000000", "--backlog-age", "60s"];
    let node = Node::start(&[&NO_RATES[..], &patient].concat()).await;
    let mut writer = Client::connect(&node).await;
    let epoch = writer.subscribe("room").await["epoch"].clone();
    let (missed, live) = (96, 5);
    write(&mut writer, &json!("x".repeat(32 * 1024)), missed).await;

    let before = node.resident_bytes();
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(silent(&node, &epoch).await);
    }
    node.metric_becomes("natter_members", 21.0).await;
    write(&mut writer, &json!("live"), live).await;
    let grown = node.resident_bytes().saturating_sub(before);
    assert!(grown < 40 << 20, "{grown} bytes more");

    for raw in &mut clients {
        let reply: Value = serde_json::from_str(&raw.text().await).expect("a reply is JSON");
        assert_eq!(flags(&reply["subscribe"]), (Some(true), Some(true)));
        let mut heard = offsets(&reply["subscribe"]);
        while heard.len() < (missed + live) as usize {
            for push in natter_tests::check::objects(&raw.text().await) {
                if push != json!({}) {
                    heard.extend(push["push"]["pub"]["offset"].as_u64());
                }
            }
        }
        assert!(heard.iter().copied().eq(1..=missed + live), "{heard:?}");
    }
}
