//! Whatever is no valid command gets the protocol's error or close code, and a reason that a person understands.

use natter_tests::client::error_code;
use natter_tests::{Client, Node};
use serde_json::json;

/// Sends each text on a session of its own, which must be closed as a bad request.
async fn all_are_bad_requests(texts: &[&str]) {
    let node = Node::start(&[]).await;
    for text in texts {
        let mut client = Client::connect(&node).await;
        client.send(*text).await;
        let close = client.closed().await;
        assert_eq!(close.code, 3501, "{text}: {close:?}");
        assert!(
            close.reason.starts_with("bad request: "),
            "{text}: {close:?}"
        );
        assert_eq!(client.take_unread(), [json!(null); 0], "{text}");
    }
    let closed = node
        .metric(r#"natter_disconnects_total{code="3501"}"#)
        .await;
    assert_eq!(closed, texts.len() as f64);
}

#[tokio::test]
async fn what_is_not_json_closes_the_session() {
    all_are_bad_requests(&[
        "hello",
        "{",
        "{]",
        r#"{"id":1"#,
        "{'id':1}",
        "\u{0}",
        "{}}",
        "NaN",
    ])
    .await;
}

#[tokio::test]
async fn an_empty_frame_closes_the_session() {
    all_are_bad_requests(&["", " ", "\n", "\r\n\t"]).await;
}

#[tokio::test]
async fn json_that_is_no_object_closes_the_session() {
    all_are_bad_requests(&[
        "[]",
        r#"[{"id":2,"ping":{}}]"#,
        r#""ping""#,
        "42",
        "null",
        "true",
    ])
    .await;
}

#[tokio::test]
async fn parameters_of_the_wrong_type_close_the_session() {
    all_are_bad_requests(&[
        r#"{"id":2,"subscribe":"room"}"#,
        r#"{"id":2,"subscribe":[]}"#,
        r#"{"id":2,"subscribe":{"channel":5}}"#,
        r#"{"id":2,"subscribe":{"channel":["room"]}}"#,
        r#"{"id":2,"subscribe":{"channel":"room","recover":"yes"}}"#,
        r#"{"id":2,"subscribe":{"channel":"room","offset":-1}}"#,
        r#"{"id":2,"subscribe":{"channel":"room","offset":1.5}}"#,
        r#"{"id":2,"subscribe":{"channel":"room","epoch":7}}"#,
        r#"{"id":2,"publish":{"channel":{},"data":1}}"#,
        r#"{"id":2,"history":{"channel":"room","limit":"all"}}"#,
        r#"{"id":2,"history":{"channel":"room","since":[1,"e"]}}"#,
        r#"{"id":2,"ping":1}"#,
    ])
    .await;
}

#[tokio::test]
async fn two_methods_in_one_command_close_the_session() {
    all_are_bad_requests(&[r#"{"id":2,"ping":{},"subscribe":{"channel":"room"}}"#]).await;
}

#[tokio::test]
async fn an_id_that_is_missing_or_no_positive_number_closes_the_session() {
    all_are_bad_requests(&[
        r#"{"ping":{}}"#,
        r#"{"subscribe":{"channel":"room"}}"#,
        r#"{"dance":{}}"#,
        r#"{"id":0,"ping":{}}"#,
        r#"{"id":-1,"ping":{}}"#,
        r#"{"id":"2","ping":{}}"#,
        r#"{"id":1.5,"ping":{}}"#,
        r#"{"id":4294967296,"ping":{}}"#,
    ])
    .await;
}

#[tokio::test]
async fn a_bad_command_does_not_cost_the_replies_of_those_before_it() {
    let node = Node::start(&[]).await;
    let mut client = Client::connect(&node).await;
    client.send("{\"id\":7,\"ping\":{}}\nnonsense").await;
    assert_eq!(client.reply(7).await, json!({"id": 7, "ping": {}}));
    assert_eq!(client.closed().await.code, 3501);
}

#[tokio::test]
async fn a_command_before_connect_closes_the_session() {
    let node = Node::start(&[]).await;
    for text in [
        r#"{"id":1,"subscribe":{"channel":"room"}}"#,
        r#"{"id":1,"ping":{}}"#,
        r#"{"id":1,"dance":{}}"#,
    ] {
        let mut client = Client::open(&node).await;
        client.send(text).await;
        let close = client.closed().await;
        assert_eq!(close.code, 3501, "{text}: {close:?}");
        assert!(close.reason.contains("connect"), "{text}: {close:?}");
    }
}

#[tokio::test]
async fn a_second_connect_closes_the_session() {
    let node = Node::start(&[]).await;
    let mut client = Client::connect(&node).await;
    client.command("connect", json!({})).await;
    let close = client.closed().await;
    assert_eq!(close.code, 3501);
    assert!(close.reason.contains("connect"), "{close:?}");
}

#[tokio::test]
async fn commands_in_the_frame_of_connect_are_answered_in_order() {
    let node = Node::start(&[]).await;
    let mut client = Client::open(&node).await;
    client
        .send(concat!(
            r#"{"connect":{"name":"js"},"id":3}"#,
            "\n",
            r#"{"subscribe":{"channel":"room","flag":1},"id":4}"#,
            "\r\n",
            r#"{"publish":{"channel":"room","data":"hi"},"id":5}"#,
            "\n",
        ))
        .await;
    let connect = client.next().await;
    assert_eq!(connect["id"], 3);
    assert!(
        connect["connect"]["client"]
            .as_str()
            .is_some_and(|id| !id.is_empty()),
        "{connect}"
    );
    assert_eq!(client.next().await["id"], 4);
    client.reply(5).await;
    assert_eq!(client.publication().await.data, "hi");
}

#[tokio::test]
async fn a_session_that_does_not_connect_in_time_is_closed() {
    let node = Node::start(&["--handshake-timeout", "1s"]).await;
    let mut client = Client::open(&node).await;
    let close = client.closed().await;
    assert_eq!(close.code, 3502, "{close:?}");
}

#[tokio::test]
async fn an_unknown_method_is_refused_and_the_session_lives() {
    let node = Node::start(&[]).await;
    let mut client = Client::connect(&node).await;
    assert_eq!(client.refused("dance", json!({})).await, 104);
    client.send(r#"{"id":99}"#).await;
    assert_eq!(error_code(&client.reply(99).await), 104);
    client.is_alive().await;
}

#[tokio::test]
async fn what_this_node_cannot_do_is_refused_and_the_session_lives() {
    let node = Node::start(&[]).await;
    let mut client = Client::join(&node, "room").await;
    for method in ["rpc"] {
        let code = client.refused(method, json!({"channel": "room"})).await;
        assert_eq!(code, 108, "{method}");
    }
    client.is_alive().await;
}

#[tokio::test]
async fn a_token_that_nobody_can_check_closes_for_good() {
    let node = Node::start(&[]).await;
    let mut client = Client::open(&node).await;
    client.command("connect", json!({"token": "x.y.z"})).await;
    assert_eq!(client.closed().await.code, 3500);
}

#[tokio::test]
async fn a_room_name_of_1_to_255_bytes_is_taken_and_others_refused() {
    let node = Node::start(&[]).await;
    let mut client = Client::connect(&node).await;
    for name in [String::new(), "r".repeat(256), "ü".repeat(128)] {
        for method in ["subscribe", "unsubscribe", "publish", "history"] {
            let code = client
                .refused(method, json!({"channel": name, "data": 1}))
                .await;
            assert_eq!(code, 107, "{method} with {} bytes", name.len());
        }
    }
    for name in [
        "r".to_owned(),
        "r".repeat(255),
        "ü".repeat(127),
        "a b/\u{0}\"\\\n".to_owned(),
    ] {
        client.subscribe(&name).await;
        client.publish(&name, json!("hi")).await;
        assert_eq!(client.push().await["channel"], name);
    }
}

#[tokio::test]
async fn a_lone_surrogate_in_a_name_is_refused_and_the_session_lives() {
    let node = Node::start(&[]).await;
    let mut client = Client::connect(&node).await;
    for method in ["subscribe", "unsubscribe", "publish", "history"] {
        let id = client.next_id();
        let text = format!(r#"{{"id":{id},"{method}":{{"channel":"a\ud800","data":1}}}}"#);
        client.send(text).await;
        assert_eq!(error_code(&client.reply(id).await), 107, "{method}");
    }
    client.is_alive().await;
}

#[tokio::test]
async fn who_is_not_in_a_room_may_neither_publish_nor_read_its_history() {
    let node = Node::start(&[]).await;
    let mut client = Client::connect(&node).await;
    let message = json!({"channel": "room", "data": 1});
    assert_eq!(client.refused("publish", message.clone()).await, 103);
    assert_eq!(
        client.refused("history", json!({"channel": "room"})).await,
        103
    );
    client.subscribe("room").await;
    client.ask("publish", message.clone()).await;
    client.ask("history", json!({"channel": "room"})).await;
    client.ask("unsubscribe", json!({"channel": "room"})).await;
    assert_eq!(client.refused("publish", message).await, 103);
    assert_eq!(
        client.refused("history", json!({"channel": "room"})).await,
        103
    );
}

#[tokio::test]
async fn a_room_class_may_let_anyone_publish_and_read_history() {
    let classes = "roomClasses: [{prefix: default, publish: Anyone, history: Anyone}]";
    let node = Node::with(&[]).config(classes).start().await;
    let mut client = Client::connect(&node).await;
    client.publish("room", json!("hi")).await;
    let page = client
        .ask("history", json!({"channel": "room", "limit": -1}))
        .await;
    assert_eq!(page["publications"][0]["data"], "hi", "{page}");
}

#[tokio::test]
async fn a_room_class_may_keep_clients_from_subscribing_publishing_and_reading() {
    let classes = "roomClasses: [{prefix: closed, subscribe: Server}, \
                   {prefix: news, publish: Server, history: None}]";
    let node = Node::with(&[]).config(classes).start().await;
    let mut client = Client::connect(&node).await;
    assert_eq!(
        client
            .refused("subscribe", json!({"channel": "closed:1"}))
            .await,
        103
    );
    client.subscribe("news:1").await;
    assert_eq!(
        client
            .refused("publish", json!({"channel": "news:1", "data": 1}))
            .await,
        103
    );
    assert_eq!(
        client
            .refused("history", json!({"channel": "news:1"}))
            .await,
        108
    );
}

#[tokio::test]
async fn a_room_of_an_unknown_class_is_refused() {
    let node = Node::start(&[]).await;
    let mut client = Client::connect(&node).await;
    for method in ["subscribe", "publish", "history"] {
        let code = client
            .refused(method, json!({"channel": "nope:x", "data": 1}))
            .await;
        assert_eq!(code, 102, "{method}");
    }
    client.is_alive().await;
}

#[tokio::test]
async fn subscribing_twice_is_refused_and_the_first_stays() {
    let node = Node::start(&[]).await;
    let mut client = Client::join(&node, "room").await;
    assert_eq!(
        client
            .refused("subscribe", json!({"channel": "room"}))
            .await,
        105
    );
    client.publish("room", json!("once")).await;
    assert_eq!(client.publication().await.data, "once");
    client.hears_nothing_for(natter_tests::wait::QUIET).await;
}

#[tokio::test]
async fn who_has_left_a_room_hears_no_more_of_it() {
    let node = Node::start(&[]).await;
    let mut stays = Client::join(&node, "room").await;
    let mut leaves = Client::join(&node, "room").await;
    leaves.ask("unsubscribe", json!({"channel": "room"})).await;
    leaves.ask("unsubscribe", json!({"channel": "room"})).await;
    stays.publish("room", json!("hi")).await;
    assert_eq!(stays.publication().await.data, "hi");
    leaves.hears_nothing_for(natter_tests::wait::QUIET).await;
}
