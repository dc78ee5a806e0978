//! Who is let in, and what is no request.

use natter_tests::wait::until;
use natter_tests::{Node, http};
use serde_json::json;

use super::*;

#[tokio::test]
async fn without_a_key_there_is_no_server_api() {
    let node = Node::start(&[]).await;
    assert_eq!(node.api, None);
    let refusal = Node::with(&["--api-listen", "127.0.0.1:0"]).refused().await;
    assert_eq!(refusal.code, Some(2));
    let expected = "apiListen (--api-listen) needs auth.apiKeyFile (--api-key-file)";
    assert!(refusal.stderr.contains(expected), "{}", refusal.stderr);
}

#[tokio::test]
async fn a_file_without_a_key_ends_the_start() {
    let keys = Keys::new("# none yet\n");
    let file = keys.file();
    let flags = ["--api-key-file", file.to_str().expect("it is UTF-8")];
    let refusal = Node::with(&flags).refused().await;
    assert_eq!(refusal.code, Some(2));
    let expected = "keys has no key: expected one a line";
    assert!(refusal.stderr.contains(expected), "{}", refusal.stderr);
}

#[tokio::test]
async fn only_a_key_opens_it() {
    let (node, api, _keys) = node().await;
    let body = r#"{"channel":"room","data":1}"#;
    for headers in [
        "",
        "X-API-Key:\r\n",
        "X-API-Key: wrong\r\n",
        "X-API-Key: test-api-ke\r\n",
        "X-API-Key: test-api-key2\r\n",
        "Authorization: test-api-key\r\n",
        "Authorization: Bearer test-api-key\r\n",
        "Authorization: apikey wrong\r\n",
        "Authorization: apikey \r\n",
        "X-API-Key: wrong\r\nAuthorization: apikey test-api-key\r\n",
    ] {
        // Nobody learns without a key which methods there are.
        for method in ["publish", "nothing", "publish?api_key=test-api-key"] {
            let response = api.post(method, headers, body).await;
            assert_eq!(response.status, 401, "{headers:?} {response:?}");
        }
    }
    for headers in [
        "X-API-Key: test-api-key\r\n",
        "x-api-key:test-api-key\r\n",
        "Authorization: apikey test-api-key\r\n",
        "Authorization: ApiKey test-api-key\r\n",
    ] {
        let response = api.post("publish", headers, body).await;
        assert_eq!(response.status, 200, "{headers:?} {response:?}");
    }
    assert_eq!(http::get(api.address, "/").await.status, 401);
    // It is nowhere else.
    for address in [node.address, node.admin] {
        let elsewhere = Api {
            address,
            ..api.clone()
        };
        let key = "X-API-Key: test-api-key\r\n";
        let response = elsewhere.post("publish", key, body).await;
        assert!(matches!(response.status, 404 | 405), "{response:?}");
    }
}

#[tokio::test]
async fn keys_rotate_without_a_restart() {
    let (_node, old, keys) = node().await;
    let new = Api {
        key: "next-key".to_owned(),
        ..old.clone()
    };
    let status = async |api: &Api| {
        let key = format!("X-API-Key: {}\r\n", api.key);
        api.post("info", &key, "{}").await.status
    };
    assert_eq!((status(&old).await, status(&new).await), (200, 401));
    keys.rewrite("test-api-key\nnext-key\n");
    until("the new key to be known", async || {
        status(&new).await == 200
    })
    .await;
    assert_eq!(status(&old).await, 200, "both work meanwhile");
    keys.rewrite("next-key\n");
    until("the old key to be forgotten", async || {
        status(&old).await == 401
    })
    .await;
    assert_eq!(status(&new).await, 200);
}

#[tokio::test]
async fn what_is_no_request_is_told_why() {
    let (node, api, _keys) = node().await;
    let key = "X-API-Key: test-api-key\r\n";
    for (method, body, status, text) in [
        ("publish", "", 400, "expected a JSON object"),
        ("publish", "{", 400, "expected a JSON object"),
        ("publish", "{} {}", 400, "expected a JSON object"),
        ("batch", "nothing", 400, "expected a JSON object"),
        (
            "nothing",
            "{}",
            404,
            "there is no such method; there are publish,",
        ),
        ("", "{}", 404, "expected POST /api/<method>"),
    ] {
        let response = api.post(method, key, body).await;
        assert_eq!(response.status, status, "{response:?}");
        assert!(response.body.contains(text), "{response:?}");
    }
    let request = format!("GET /api/info HTTP/1.1\r\nHost: x\r\n{key}Connection: close\r\n\r\n");
    let response = http::request(api.address, &request).await;
    assert_eq!(
        (response.status, response.header("allow")),
        (405, Some("POST"))
    );
    // Told before it is sent.
    let length = 9 << 20;
    let head =
        format!("POST /api/info HTTP/1.1\r\nHost: x\r\n{key}Content-Length: {length}\r\n\r\n");
    let large = http::request(api.address, &head).await;
    assert_eq!(large.status, 413, "{large:?}");

    for (method, params, code, text) in [
        ("publish", json!([]), 107, "expected an object"),
        ("publish", json!({}), 107, "missing field `channel`"),
        (
            "publish",
            json!({"channel": 1, "data": 1}),
            107,
            "expected a string",
        ),
        (
            "publish",
            json!({"channel": "", "data": 1}),
            107,
            "room name is empty",
        ),
        (
            "publish",
            json!({"channel": "room"}),
            107,
            "missing field `data`",
        ),
        (
            "publish",
            json!({"channel": "x:room", "data": 1}),
            102,
            "no configured room class",
        ),
        (
            "publish",
            json!({"channel": "room", "data": "x".repeat(65_536)}),
            106,
            "65538 bytes",
        ),
        (
            "publish",
            json!({"channel": "room", "data": 1, "b64data": "MQ=="}),
            107,
            "got both",
        ),
        (
            "publish",
            json!({"channel": "room", "b64data": "MQ"}),
            107,
            "not base64",
        ),
        (
            "publish",
            json!({"channel": "room", "b64data": "AAE="}),
            107,
            "holds no JSON",
        ),
        (
            "publish",
            json!({"channel": "room", "data": 1, "tags": {"a": 1}}),
            107,
            "a string",
        ),
        (
            "publish",
            json!({"channel": "room", "data": 1, "tags": {"a": "x".repeat(9000)}}),
            106,
            "tags",
        ),
        (
            "publish",
            json!({"channel": "room", "data": 1, "version": 1}),
            108,
            "version",
        ),
        (
            "publish",
            json!({"channel": "room", "data": 1, "skip_history": true, "idempotency_key": "a"}),
            107,
            "idempotency_key",
        ),
        (
            "broadcast",
            json!({"channels": [], "data": 1}),
            107,
            "channels is empty",
        ),
        (
            "history",
            json!({"channel": "room", "limit": -2}),
            107,
            "limit",
        ),
        (
            "history",
            json!({"channel": "room", "since": {"offset": 1, "epoch": "other"}}),
            112,
            "epoch",
        ),
        ("disconnect", json!({}), 107, "missing field `user`"),
        ("disconnect", json!({"user": ""}), 107, "user is empty"),
        (
            "disconnect",
            json!({"user": "ann", "client": "x"}),
            107,
            "no client's id",
        ),
        (
            "disconnect",
            json!({"user": "ann", "disconnect": {"code": 1000, "reason": "x"}}),
            107,
            "3000 to 4999",
        ),
        (
            "disconnect",
            json!({"user": "ann", "disconnect": {"code": 4000, "reason": "{}"}}),
            107,
            "not JSON",
        ),
        (
            "unsubscribe",
            json!({"user": "ann"}),
            107,
            "missing field `channel`",
        ),
        ("channels", json!({"pattern": "[a"}), 107, "pattern"),
        ("batch", json!({"commands": 1}), 107, "expected a sequence"),
    ] {
        let (found, message) = api.refused(method, params.clone()).await;
        assert_eq!(found, code, "{method} {params}: {message}");
        assert!(message.contains(text), "{method} {params}: {message}");
    }
    let series = "natter_api_requests_total{error=\"102\",method=\"publish\"}";
    assert_eq!(node.metric(series).await, 1.0);
}
