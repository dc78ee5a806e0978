//! Rooms that sessions are put into while they are connected.

use std::time::Duration;

use natter_tests::stream::Stream;
use natter_tests::tokens::now;
use serde_json::{Value, json};

use super::*;

/// A node on which nobody subscribes by himself to `given:…`, with a session of its own.
async fn closed_node() -> (Node, Api, Keys) {
    let keys = Keys::new(KEY);
    let classes = "roomClasses: [{prefix: given, subscribe: Server, publish: Token}]";
    let mut node = Node::with(&["--expiry-grace", "0s"]).config(classes);
    for (name, value) in keys.variables() {
        node = node.env(name, &value);
    }
    let node = node.start().await;
    let api = Api::of(&node, KEY);
    (node, api, keys)
}

async fn put(api: &Api, client: &str, channel: &str) {
    let params = json!({"user": "", "client": client, "channel": channel});
    assert_eq!(api.ask("subscribe", params).await, json!({}));
}

#[tokio::test]
async fn a_session_is_put_into_a_room_told_so_and_taken_out_again() {
    let (node, api, _keys) = closed_node().await;
    let (mut member, id) = client(&node).await;
    let params = json!({"channel": "given:room"});
    assert_eq!(member.refused("subscribe", params.clone()).await, 103);
    let first = json!({"channel": "given:room", "data": "first"});
    let position = api.ask("publish", first).await;
    let given = json!({
        "user": "", "client": id, "channel": "given:room", "data": {"by": [1]},
        "b64info": "eyAiYXMiOiAiZ3Vlc3QiIH0=",
    });
    assert_eq!(api.ask("subscribe", given).await, json!({}));
    let told = json!({
        "offset": position["offset"], "epoch": position["epoch"], "data": {"by": [1]},
        "recoverable": true, "positioned": true,
    });
    let push = json!({"channel": "given:room", "subscribe": told});
    assert_eq!(member.push().await, push);
    // It is vouched for, as one whose token names the room.
    member.publish("given:room", json!("mine")).await;
    let publication = member.push().await["pub"].take();
    assert_eq!(publication["data"], "mine");
    assert_eq!(publication["info"]["chan_info"], json!({"as": "guest"}));
    assert_eq!(member.refused("subscribe", params.clone()).await, 105);
    assert_eq!(member.refused("unsubscribe", params.clone()).await, 103);
    put(&api, &id, "given:room").await;
    let out = json!({"user": "", "client": id, "channel": "given:room"});
    api.ask("unsubscribe", out).await;
    let told = json!({"code": 2000, "reason": "server unsubscribe"});
    let push = json!({"channel": "given:room", "unsubscribe": told});
    assert_eq!(member.push().await, push, "put twice, told once");
    assert_eq!(member.refused("subscribe", params).await, 103);
    put(&api, &id, "given:room").await;
    assert_eq!(member.push().await["subscribe"].get("data"), None);
}

#[tokio::test]
async fn who_is_in_the_room_by_himself_stays_so() {
    let (node, api, _keys) = node().await;
    let (mut member, id) = client(&node).await;
    member.subscribe("room").await;
    put(&api, &id, "room").await;
    member.publish("room", json!(1)).await;
    assert_eq!(member.publication().await.data, 1, "and nothing before");
    member.ask("unsubscribe", json!({"channel": "room"})).await;
}

#[tokio::test]
async fn what_was_missed_follows_the_push_once_and_in_order() {
    let (cluster, apis, _keys) = cluster(3).await;
    let text = "x".repeat(10_000);
    let mut positions = Vec::new();
    for n in 0..60 {
        let params = json!({"channel": "room", "data": [n, text]});
        positions.push(apis[0].ask("publish", params).await);
    }
    let (mut member, id) = client(&cluster.nodes[1]).await;
    let since = &positions[19];
    let enter = |since: &Value| json!({"user": "", "client": id, "channel": "room", "recover_since": since});
    apis[2].ask("subscribe", enter(since)).await;
    let live = json!({"channel": "room", "data": ["live"]});
    apis[2].ask("publish", live).await;
    let told = member.push().await;
    // SDKs remember it until the first publication comes.
    let offset = told["subscribe"]["offset"].as_u64();
    let next = positions[20]["offset"].as_u64().expect("an offset");
    assert!(
        offset >= since["offset"].as_u64() && offset < Some(next),
        "{told}"
    );
    for (n, position) in positions.iter().enumerate().skip(20) {
        let publication = member.publication().await;
        assert_eq!(publication.data[0], n);
        assert_eq!(position["offset"], publication.offset);
    }
    assert_eq!(member.publication().await.data, json!(["live"]));
    // What cannot be made up for is not passed over in silence.
    let (_client, other) = client(&cluster.nodes[0]).await;
    let foreign = json!({"offset": 1, "epoch": "other"});
    let params = json!({"user": "", "client": other, "channel": "room", "recover_since": foreign});
    let (code, message) = apis[1].refused("subscribe", params).await;
    assert_eq!(code, 112, "{message}");
    let rooms = apis[1].ask("channels", json!({})).await;
    assert_eq!(rooms["channels"]["room"]["num_clients"], 1);
}

#[tokio::test]
async fn a_stay_ends_with_its_session_when_its_time_is_over() {
    let (node, api, _keys) = closed_node().await;
    let (mut member, id) = client(&node).await;
    let params = json!({
        "user": "", "client": id, "channel": "given:room", "expire_at": now() + 2,
    });
    api.ask("subscribe", params).await;
    member.push().await;
    member.is_alive().await;
    let close = member.closed().await;
    assert_eq!(
        (close.code, close.reason.as_str()),
        (3006, "subscription expired")
    );
}

#[tokio::test]
async fn who_only_listens_is_put_into_rooms_too() {
    let (node, api, _keys) = node().await;
    let request = "GET /connection/uni_sse HTTP/1.1\r\nHost: natter\r\n\r\n";
    let mut events = Stream::open(&node, request).await;
    let connected = events.event().await;
    let id = connected["connect"]["client"].as_str().expect("an id");
    put(&api, id, "room").await;
    let told = events.event().await;
    assert_eq!(told["channel"], "room");
    assert_eq!(told["subscribe"]["recoverable"], true);
    api.ask("publish", json!({"channel": "room", "data": 1}))
        .await;
    assert_eq!(events.event().await["pub"]["data"], 1);
}

#[tokio::test]
async fn what_cannot_be_done_is_refused() {
    let keys = Keys::new(KEY);
    let mut node = Node::with(&["--rooms-per-session", "2"]);
    for (name, value) in keys.variables() {
        node = node.env(name, &value);
    }
    let node = node.start().await;
    let api = Api::of(&node, KEY);
    let (mut member, id) = client(&node).await;
    for (params, code, text) in [
        (json!({"channel": "a"}), 107, "missing field `user`"),
        (json!({"channel": "a", "user": ""}), 107, "user is empty"),
        (
            json!({"client": id, "user": ""}),
            107,
            "missing field `channel`",
        ),
        (
            json!({"client": id, "user": "", "channel": ""}),
            107,
            "room name is empty",
        ),
        (
            json!({"client": id, "user": "", "channel": "x:a"}),
            102,
            "no configured room class",
        ),
        (
            json!({"client": id, "user": "", "channel": "a#bob"}),
            103,
            "users that its name lists",
        ),
        (
            json!({"client": "x", "user": "", "channel": "a"}),
            107,
            "no client's id",
        ),
        (
            json!({"client": id, "user": "", "channel": "a", "session": "s"}),
            107,
            "session is not supported",
        ),
        (
            json!({"client": id, "user": "", "channel": "a", "b64info": "?"}),
            107,
            "info is not base64",
        ),
        (
            json!({"client": id, "user": "", "channel": "a", "data": "x".repeat(8191)}),
            107,
            "data has 8193 bytes",
        ),
        (
            json!({"client": id, "user": "", "channel": "a", "expire_at": now() - 1}),
            107,
            "that time is over",
        ),
        (
            json!({"client": id, "user": "", "channel": "a", "expire_at": -1}),
            107,
            "expected u64",
        ),
        (
            json!({"client": id, "user": "", "channel": "a", "recover_since": 7}),
            107,
            "invalid type",
        ),
        (
            json!({"client": id, "user": "", "channel": "a", "override": {"presence": {"value": true}}}),
            108,
            "override.presence",
        ),
    ] {
        let (found, message) = api.refused("subscribe", params.clone()).await;
        assert_eq!(found, code, "{params}: {message}");
        assert!(message.contains(text), "{params}: {message}");
    }
    let nothing = json!({
        "client": id, "user": "", "channel": "a", "session": "", "b64info": "", "info": null,
        "override": {"presence": null}, "recover_since": null,
    });
    api.ask("subscribe", nothing).await;
    put(&api, &id, "b").await;
    let params = json!({"client": id, "user": "", "channel": "c"});
    let (code, message) = api.refused("subscribe", params).await;
    assert_eq!(
        (code, message.as_str()),
        (106, "limit exceeded: at most 2 rooms a session")
    );
    for room in ["a", "b"] {
        assert_eq!(member.push().await["channel"], room);
    }
    member.hears_nothing_for(Duration::from_millis(50)).await;
    // Nobody is there to be put anywhere.
    let params = json!({"user": "nobody", "channel": "a"});
    assert_eq!(api.ask("subscribe", params).await, json!({}));
}
