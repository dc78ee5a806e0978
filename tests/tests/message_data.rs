//! What readers get of what a writer sent: the same JSON, made safe for every parser.

use natter_tests::client::error_code;
use natter_tests::raw::{Raw, TEXT, frame};
use natter_tests::{Client, Node};
use serde_json::{Value, json};

/// Publishes `data` as it is written and returns the reply.
async fn publish(client: &mut Client, data: &str) -> Value {
    let id = client.next_id();
    client
        .send(format!(
            r#"{{"id":{id},"publish":{{"channel":"room","data":{data}}}}}"#
        ))
        .await;
    client.reply(id).await
}

#[tokio::test]
async fn any_json_is_a_message() {
    let node = Node::start(&[]).await;
    let mut client = Client::join(&node, "room").await;
    for data in [
        json!(null),
        json!(true),
        json!(-1.5e300),
        json!(""),
        json!([]),
        json!({"push": {"channel": "room"}, "id": 1}),
        json!("\u{0} \" \\ \u{2028} 😀 </script>"),
    ] {
        client.publish("room", data.clone()).await;
        assert_eq!(client.publication().await.data, data);
    }
}

#[tokio::test]
async fn a_message_without_data_is_refused() {
    let node = Node::start(&[]).await;
    let mut client = Client::join(&node, "room").await;
    assert_eq!(
        client.refused("publish", json!({"channel": "room"})).await,
        107
    );
    client.is_alive().await;
}

#[tokio::test]
async fn whitespace_between_tokens_reaches_no_reader() {
    let node = Node::start(&[]).await;
    let mut writer = Client::join(&node, "room").await;
    let mut reader = Client::join(&node, "room").await;
    let written = "{ \"a b\" :\r\n[ 1 ,\t2 ] ,\n\n\"c\" : \" d \\n\" }";
    assert_eq!(publish(&mut writer, written).await.get("error"), None);
    reader.publication().await;
    let pushed = r#""data":{"a b":[1,2],"c":" d \n"}"#;
    assert!(
        reader.last_text().contains(pushed),
        "{}",
        reader.last_text()
    );

    // The same from history and from recovery.
    reader
        .ask("history", json!({"channel": "room", "limit": 1}))
        .await;
    assert!(
        reader.last_text().contains(pushed),
        "{}",
        reader.last_text()
    );
}

#[tokio::test]
async fn numbers_keep_their_digits() {
    let node = Node::start(&[]).await;
    let mut client = Client::join(&node, "room").await;
    let number = "123456789012345678901234567890.1234567890e-5";
    assert_eq!(publish(&mut client, number).await.get("error"), None);
    client.publication().await;
    let pushed = format!(r#""data":{number},"#);
    assert!(
        client.last_text().contains(&pushed),
        "{}",
        client.last_text()
    );
}

fn nested(depth: usize) -> String {
    format!("{}{}", "[".repeat(depth), "]".repeat(depth))
}

#[tokio::test]
async fn data_may_be_128_levels_deep_and_no_deeper() {
    let node = Node::start(&[]).await;
    let mut writer = Client::join(&node, "elsewhere").await;
    // Most parsers give up at this depth: this reader has none.
    let mut reader = Raw::connected(&node).await;
    let subscribe = br#"{"id":2,"subscribe":{"channel":"room"}}"#;
    reader.send(&frame(TEXT, subscribe)).await;
    reader.text().await;
    let publish_in_room = |depth| {
        format!(
            r#"{{"id":3,"publish":{{"channel":"room","data":{}}}}}"#,
            nested(depth)
        )
    };
    reader
        .send(&frame(TEXT, publish_in_room(128).as_bytes()))
        .await;
    let mut got = reader.text().await;
    got.push_str(&reader.text().await);
    assert!(
        got.contains(&nested(128)) && got.contains(r#""publish":{}"#),
        "{got}"
    );

    writer.subscribe("room").await;
    for depth in [129, 30_000] {
        assert_eq!(
            error_code(&publish(&mut writer, &nested(depth)).await),
            107,
            "{depth}"
        );
    }
    writer.is_alive().await;
}

#[tokio::test]
async fn a_number_may_have_1000_digits_and_no_more() {
    let node = Node::start(&[]).await;
    let mut writer = Client::join(&node, "elsewhere").await;
    writer.subscribe("room").await;
    let longer = format!("[{}]", "7".repeat(1001));
    assert_eq!(error_code(&publish(&mut writer, &longer).await), 107);

    let mut reader = Raw::connected(&node).await;
    reader
        .send(&frame(TEXT, br#"{"id":2,"subscribe":{"channel":"r"}}"#))
        .await;
    reader.text().await;
    let longest = format!(
        r#"{{"id":3,"publish":{{"channel":"r","data":{}}}}}"#,
        "7".repeat(1000)
    );
    reader.send(&frame(TEXT, longest.as_bytes())).await;
    let mut got = reader.text().await;
    got.push_str(&reader.text().await);
    assert!(
        got.contains(&"7".repeat(1000)) && !got.contains("error"),
        "{got}"
    );
}

#[tokio::test]
async fn a_lone_surrogate_arrives_as_the_replacement_character() {
    let node = Node::start(&[]).await;
    let mut client = Client::join(&node, "room").await;
    for (written, read) in [
        (r#""a\ud800b""#, json!("a\u{fffd}b")),
        (r#""\udc00\ud83d""#, json!("\u{fffd}\u{fffd}")),
        (r#"{"\ud800":"\ud83d\ude00"}"#, json!({"\u{fffd}": "😀"})),
        (r#""\\ud800""#, json!("\\ud800")),
    ] {
        assert_eq!(
            publish(&mut client, written).await.get("error"),
            None,
            "{written}"
        );
        assert_eq!(client.publication().await.data, read, "{written}");
    }
}

#[tokio::test]
async fn a_publication_says_who_wrote_it() {
    let node = Node::start(&[]).await;
    let mut reader = Client::join(&node, "room").await;
    let mut writer = Client::open(&node).await;
    let connected = writer.ask("connect", json!({})).await;
    writer.subscribe("room").await;
    writer.publish("room", json!("hi")).await;
    let push = reader.push().await;
    assert_eq!(push["pub"]["info"]["client"], connected["client"], "{push}");
}
