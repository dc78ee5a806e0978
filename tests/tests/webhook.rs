//! The connect webhook: the backend says who comes without a token, or that nobody does.

use std::time::{Duration, Instant};

use natter_tests::client::error_code;
use natter_tests::raw::{frame, handshake};
use natter_tests::tokens::{SECRET, now, token};
use natter_tests::wait::until;
use natter_tests::web_service::WebService;
use natter_tests::{Client, Node, Raw};
use serde_json::{Value, json};

fn result(result: Value) -> Option<(u16, String)> {
    Some((200, json!({"result": result}).to_string()))
}

async fn node_with(backend: &WebService, flags: &[&str]) -> Node {
    let url = backend.url();
    Node::start(&[&["--connect-webhook-url", &url][..], flags].concat()).await
}

/// The code of the error or close that a connect earns; 0 if it is let in.
async fn outcome(node: &Node, parameters: Value) -> u64 {
    let mut client = Client::open(node).await;
    let id = client.command("connect", parameters).await;
    match client.reply_or_close(id).await {
        Ok(reply) if reply.get("connect").is_some() => 0,
        Ok(reply) => error_code(&reply),
        Err(close) => close.code.into(),
    }
}

#[tokio::test]
async fn the_backend_says_who_a_session_is_and_where() {
    let answer = json!({
        "user": "ann", "info": {"name": "Ann"}, "data": {"hello": 1},
        "subs": {"news": {"info": {"role": "guest"}}},
    });
    let backend = WebService::start(result(answer)).await;
    let node = node_with(&backend, &[]).await;
    let mut ann = Client::open(&node).await;
    let connect = json!({"data": {"who": "ann"}, "name": "app", "version": "1.2"});
    let reply = ann.ask("connect", connect).await;
    assert_eq!(reply["data"], json!({"hello": 1}));
    assert!(reply["subs"]["news"].is_object(), "{reply}");
    ann.publish("news", json!(1)).await;
    let info = json!({"user": "ann", "client": reply["client"], "conn_info": {"name": "Ann"}, "chan_info": {"role": "guest"}});
    assert_eq!(ann.push().await["pub"]["info"], info);
    let asked = backend.asked();
    assert!(asked[0].head.starts_with("post / "), "{asked:?}");
    assert!(
        asked[0].head.contains("content-type: application/json"),
        "{asked:?}"
    );
    let body: Value = serde_json::from_str(&asked[0].body).unwrap();
    let expected = json!({
        "client": reply["client"], "transport": "websocket", "protocol": "json", "encoding": "json",
        "data": {"who": "ann"}, "name": "app", "version": "1.2",
    });
    assert_eq!((asked.len(), body), (1, expected));
}

#[tokio::test]
async fn the_backend_s_refusal_reaches_the_client() {
    let backend = WebService::start(None).await;
    let node = node_with(&backend, &[]).await;
    let error = json!({"error": {"code": 1001, "message": "not on the list", "temporary": true}});
    backend.answer(Some((200, error.to_string())));
    let mut client = Client::open(&node).await;
    let reply = client.request("connect", json!({})).await;
    assert_eq!(
        reply["error"],
        json!({"code": 1001, "message": "not on the list", "temporary": true})
    );
    let disconnect = json!({"disconnect": {"code": 4501, "reason": "banned"}});
    backend.answer(Some((200, disconnect.to_string())));
    let mut client = Client::open(&node).await;
    client.command("connect", json!({})).await;
    let close = client.closed().await;
    assert_eq!((close.code, close.reason.as_str()), (4501, "banned"));
    node.metric_becomes(r#"natter_connect_webhook_total{result="refused"}"#, 2.0)
        .await;
}

#[tokio::test]
async fn what_is_no_clear_yes_lets_nobody_in() {
    let backend = WebService::start(Some((200, "<html>".to_owned()))).await;
    // Not even where anybody may come.
    let node = node_with(
        &backend,
        &[
            "--allow-anonymous",
            "--connect-webhook-timeout-seconds",
            "1",
        ],
    )
    .await;
    for answer in [
        (200, "<html>".to_owned()),
        (200, "{}".to_owned()),
        (200, json!({"result": {"user": 7}}).to_string()),
        (204, String::new()),
        (403, json!({"result": {"user": "ann"}}).to_string()),
        (500, json!({"result": {"user": "ann"}}).to_string()),
    ] {
        backend.answer(Some(answer.clone()));
        let mut client = Client::open(&node).await;
        let reply = client.request("connect", json!({})).await;
        assert_eq!(reply["error"]["code"], 100, "{answer:?}: {reply}");
        assert_eq!(reply["error"]["temporary"], true);
    }
    node.logged("the connect webhook fails").await;
    backend.answer(result(json!({"user": "ann"})));
    assert_eq!(outcome(&node, json!({})).await, 0);
    node.logged("the connect webhook works again").await;
}

#[tokio::test]
async fn a_backend_that_stumbles_is_asked_again_within_the_time() {
    let backend = WebService::start(Some((503, String::new()))).await;
    let node = node_with(&backend, &[]).await;
    let mut client = Client::open(&node).await;
    let id = client.command("connect", json!({})).await;
    until("the backend is asked again", async || {
        backend.asked().len() >= 2
    })
    .await;
    backend.answer(result(json!({"user": "ann"})));
    assert!(client.reply(id).await["connect"].is_object());
}

#[tokio::test]
async fn a_backend_that_does_not_answer_is_not_waited_for_longer_than_an_sdk_waits() {
    let backend = WebService::start(None).await;
    let node = node_with(&backend, &["--connect-webhook-timeout-seconds", "2"]).await;
    let begun = Instant::now();
    let mut client = Client::open(&node).await;
    client.command("connect", json!({})).await;
    client
        .command("subscribe", json!({"channel": "room"}))
        .await;
    let reply = client.reply(1).await;
    assert_eq!(
        (&reply["error"]["code"], &reply["error"]["temporary"]),
        (&json!(100), &json!(true))
    );
    assert!(
        begun.elapsed() < Duration::from_secs(2),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test]
async fn what_comes_behind_a_connect_waits_for_the_backend() {
    let backend = WebService::start(None).await;
    let node = node_with(&backend, &[]).await;
    let mut client = Client::open(&node).await;
    client
        .send("{\"id\":1,\"connect\":{}}\n{\"id\":2,\"subscribe\":{\"channel\":\"room\"}}")
        .await;
    client
        .send(r#"{"id":3,"publish":{"channel":"room","data":1}}"#)
        .await;
    until("the backend is asked", async || !backend.asked().is_empty()).await;
    backend.answer(result(json!({"user": "ann"})));
    for (id, method) in [(1, "connect"), (2, "subscribe"), (3, "publish")] {
        let reply = client.next().await;
        assert!(reply["id"] == id && reply[method].is_object(), "{reply}");
    }
}

#[tokio::test]
async fn the_backend_sees_the_headers_that_it_is_to_see_and_a_token_of_its_own() {
    let secret = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(secret.path(), "the node's token\n").unwrap();
    let backend = WebService::start(result(json!({"user": "ann"}))).await;
    let flags = [
        "--connect-webhook-headers",
        "cookie,x-real,x-emulated",
        "--connect-webhook-token-file",
        secret.path().to_str().unwrap(),
    ];
    let node = node_with(&backend, &flags).await;
    let mut client = Raw::open(&node).await;
    let shake = handshake(
        &node,
        &[
            ("Cookie", "session=1"),
            ("X-Real", "by the proxy"),
            ("X-Hidden", "secret"),
        ],
    );
    client.send(shake.as_bytes()).await;
    client.upgrade_answer().await;
    let headers = json!({"X-Real": "by the client", "X-Emulated": "by the client", "X-Hidden": "secret", "Host": "evil"});
    let connect = json!({"id": 1, "connect": {"headers": headers}});
    client
        .send(&frame(0x81, connect.to_string().as_bytes()))
        .await;
    let reply = client.text().await;
    assert!(reply.contains(r#""connect":{"#), "{reply}");
    let head = backend.asked()[0].head.clone();
    for line in [
        "cookie: session=1",
        "x-real: by the proxy",
        "x-emulated: by the client",
        "authorization: bearer the node's token",
    ] {
        assert!(head.contains(line), "{line}: {head}");
    }
    for absent in ["x-hidden", "evil", "by the client\r\nx-real"] {
        assert!(!head.contains(absent), "{absent}: {head}");
    }
    assert_eq!(head.matches("x-real").count(), 1, "{head}");
}

#[tokio::test]
async fn who_has_a_token_is_believed_without_the_backend() {
    let keys = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(keys.path(), SECRET).unwrap();
    let backend = WebService::start(Some((500, String::new()))).await;
    let node = node_with(&backend, &["--jwt-key-file", keys.path().to_str().unwrap()]).await;
    assert_eq!(
        outcome(&node, json!({"token": token(json!({"sub": "ann"}))})).await,
        0
    );
    assert_eq!(outcome(&node, json!({"token": "garbage"})).await, 3500);
    assert!(backend.asked().is_empty());
}

#[tokio::test]
async fn a_session_of_the_backend_s_that_expires_comes_again() {
    let backend = WebService::start(result(json!({"user": "ann", "expire_at": now() + 2}))).await;
    let node = node_with(&backend, &[]).await;
    let mut client = Client::open(&node).await;
    let reply = client.ask("connect", json!({})).await;
    assert_eq!(
        reply.get("expires"),
        None,
        "an SDK without a token would end by itself"
    );
    assert_eq!(client.closed().await.code, 3005);
    backend.answer(result(json!({"user": "ann", "expire_at": now() - 2})));
    assert_eq!(outcome(&node, json!({})).await, 109);
}

#[tokio::test]
async fn a_token_file_that_cannot_be_used_ends_the_start() {
    let empty = tempfile::NamedTempFile::new().unwrap();
    for file in [empty.path().to_str().unwrap(), "/there/is/no/such/file"] {
        let flags = [
            "--connect-webhook-url",
            "http://127.0.0.1:9/",
            "--connect-webhook-token-file",
            file,
        ];
        let refusal = Node::with(&flags).refused().await;
        assert_eq!(refusal.code, Some(2), "{refusal:?}");
        assert!(
            refusal.stderr.contains("--connect-webhook-token-file"),
            "{refusal:?}"
        );
    }
}
