//! Who a session is: tokens, where their keys come from, and when they expire.

use std::time::{Duration, Instant};

use natter_tests::client::error_code;
use natter_tests::node::Start;
use natter_tests::tokens::{SECRET, Signer, now, token, token_by, unsigned};
use natter_tests::wait::{QUIET, until};
use natter_tests::web_service::WebService;
use natter_tests::{Client, Node};
use serde_json::{Value, json};
use tempfile::NamedTempFile;

/// A node with [`SECRET`] in its key file.
async fn node_with(flags: &[&str]) -> (Node, NamedTempFile) {
    let keys = key_file(SECRET);
    let node = start_with(&keys, flags).start().await;
    (node, keys)
}

fn start_with(keys: &NamedTempFile, flags: &[&str]) -> Start {
    let path = keys.path().to_str().expect("a path in UTF-8");
    Node::with(&[&["--jwt-key-file", path][..], flags].concat())
}

fn key_file(text: &str) -> NamedTempFile {
    let file = NamedTempFile::new().expect("there is a place for temporary files");
    std::fs::write(file.path(), text).expect("the file can be written to");
    file
}

/// Connects with a token that must be good.
async fn connected(node: &Node, claims: Value) -> (Client, Value) {
    let mut client = Client::open(node).await;
    let reply = client.ask("connect", json!({"token": token(claims)})).await;
    (client, reply)
}

/// What a token comes to: 0 if it is good, or the code of the error or of the close.
async fn outcome(node: &Node, token: &str) -> u64 {
    let mut client = Client::open(node).await;
    let id = client.command("connect", json!({"token": token})).await;
    match client.reply_or_close(id).await {
        Ok(reply) if reply.get("connect").is_some() => 0,
        Ok(reply) => error_code(&reply),
        Err(close) => close.code.into(),
    }
}

#[tokio::test]
async fn a_token_names_the_user_and_what_others_see_of_it() {
    let (node, _keys) = node_with(&[]).await;
    let (mut ann, reply) = connected(&node, json!({"sub": "ann", "info": {"name": "Ann ü"}})).await;
    assert_eq!(reply.get("expires"), None);
    let (mut bob, _) = connected(&node, json!({"sub": "bob"})).await;
    let pass = token(json!({"sub": "ann", "channel": "room", "info": [7]}));
    ann.ask("subscribe", json!({"channel": "room", "token": pass}))
        .await;
    bob.subscribe("room").await;
    ann.publish("room", json!(1)).await;
    let info = json!({"user": "ann", "client": reply["client"], "conn_info": {"name": "Ann ü"}, "chan_info": [7]});
    assert_eq!(bob.push().await["pub"]["info"], info);
    let history = json!({"channel": "room", "limit": -1});
    let page = bob.ask("history", history).await;
    assert_eq!(page["publications"][0]["info"], info);
    let resumed = json!({"channel": "room", "recover": true, "offset": 0, "epoch": page["epoch"]});
    bob.ask("unsubscribe", json!({"channel": "room"})).await;
    let reply = bob.ask("subscribe", resumed).await;
    assert_eq!(reply["publications"][0]["info"], info);
}

#[tokio::test]
async fn a_token_that_is_not_believed_ends_the_session_for_good() {
    let (node, _keys) = node_with(&["--jwt-issuer", "id", "--jwt-audience", "chat"]).await;
    let claims = |more: Value| {
        let mut claims = json!({"sub": "ann", "iss": "id", "aud": ["chat"], "exp": now() + 60});
        let more = more.as_object().expect("claims").clone();
        claims.as_object_mut().expect("claims").extend(more);
        claims
    };
    let (mut ann, _) = connected(&node, claims(json!({}))).await;
    let good = token(claims(json!({})));
    let (message, signature) = good.rsplit_once('.').expect("three parts");
    let other = token(claims(json!({"sub": "eve"})));
    let (forged, _) = other.rsplit_once('.').expect("three parts");
    for (what, token) in [
        (
            "foreign",
            token_by("another secret of the tests", claims(json!({}))),
        ),
        ("unsigned", unsigned(claims(json!({})))),
        ("tampered", format!("{forged}.{signature}")),
        ("cut", message.to_owned()),
        ("garbage", "garbage".to_owned()),
        ("of another issuer", token(claims(json!({"iss": "evil"})))),
        (
            "for another audience",
            token(claims(json!({"aud": "mail"}))),
        ),
        (
            "of no user there could be",
            token(claims(json!({"sub": "u".repeat(256)}))),
        ),
        ("odd", token(claims(json!({"channels": 7})))),
        // The leave to join a room is handed out more freely than an identity.
        ("for a room only", token(claims(json!({"channel": "room"})))),
        (
            "of a time that is no number",
            token(claims(json!({"exp": "9999999999"}))),
        ),
        (
            "of a time that never comes",
            token(claims(json!({"exp": 1e300}))),
        ),
        ("for nobody", token(claims(json!({"aud": []})))),
        ("for a number", token(claims(json!({"aud": 7})))),
        ("by a list", token(claims(json!({"iss": ["evil"]})))),
        ("of a user's number", token(claims(json!({"sub": 7})))),
    ] {
        let mut client = Client::open(&node).await;
        client.command("connect", json!({"token": token})).await;
        let close = client.closed().await;
        assert_eq!(close.code, 3500, "{what}: {close:?}");
        assert!(
            close.reason.starts_with("invalid token: "),
            "{what}: {close:?}"
        );
    }
    ann.is_alive().await;
    for (what, more) in [
        ("for several audiences", json!({"aud": ["mail", "chat"]})),
        (
            "of a time with a fraction",
            json!({"exp": now() as f64 + 60.5}),
        ),
        ("of a user without a name", json!({"sub": ""})),
        ("for no room", json!({"channel": ""})),
    ] {
        assert_eq!(outcome(&node, &token(claims(more))).await, 0, "{what}");
    }
}

#[tokio::test]
async fn a_time_that_is_far_away_fits_what_sdks_read() {
    let (node, _keys) = node_with(&[]).await;
    let far = json!({"sub": "ann", "exp": 4_000_000_000_000_000_u64});
    let (mut ann, reply) = connected(&node, far).await;
    assert_eq!(reply["ttl"], 2_147_483_647, "{reply}");
    let pass = json!({"sub": "ann", "channel": "room", "expire_at": i64::MAX});
    let subscribe = json!({"channel": "room", "token": token(pass)});
    let reply = ann.ask("subscribe", subscribe).await;
    assert_eq!(reply["ttl"], 2_147_483_647, "{reply}");
    ann.is_alive().await;
}

/// Who was let in would be closed after the grace and come back with the same token, for ever.
#[tokio::test]
async fn a_token_with_a_room_whose_time_is_over_is_to_be_replaced() {
    let (node, _keys) = node_with(&[]).await;
    for (at, expected) in [(now() - 1, 109), (now() + 60, 0), (0, 0)] {
        let subs = json!({"lobby": {}, "news": {"expire_at": at}});
        let token = token(json!({"sub": "ann", "subs": subs}));
        assert_eq!(outcome(&node, &token).await, expected, "{at}");
    }
}

#[tokio::test]
async fn rooms_of_others_cannot_be_had_by_a_token_of_one_s_own() {
    let (node, _keys) = node_with(&[]).await;
    for room in ["dm#bob", "dm#ann#bob", "dm#", "dm#annie,bob"] {
        let given = token(json!({"sub": "ann", "channels": ["lobby", room]}));
        assert_eq!(outcome(&node, &given).await, 103, "{room}");
        let given = token(json!({"sub": "ann", "subs": {room: {}}}));
        assert_eq!(outcome(&node, &given).await, 103, "{room}");
        let (mut ann, _) = connected(&node, json!({"sub": "ann"})).await;
        let pass = token(json!({"sub": "ann", "channel": room}));
        let subscribe = json!({"channel": room, "token": pass});
        assert_eq!(ann.refused("subscribe", subscribe).await, 103, "{room}");
    }
    // Nobody was left behind in the room that was given beside it.
    let (mut bob, _) = connected(
        &node,
        json!({"sub": "bob", "channels": ["lobby", "dm#bob"]}),
    )
    .await;
    let numbers = bob.ask("presence_stats", json!({"channel": "lobby"})).await;
    assert_eq!(numbers["num_clients"], 1, "{numbers}");
}

#[tokio::test]
async fn an_expired_token_has_the_sdk_ask_for_another() {
    let (node, _keys) = node_with(&[]).await;
    for claims in [
        json!({"exp": now() - 60}),
        json!({"nbf": now() + 60}),
        json!({"exp": now() + 60, "expire_at": now() - 1}),
    ] {
        let mut client = Client::open(&node).await;
        let connect = json!({"token": token(claims.clone())});
        let reply = client.request("connect", connect).await;
        assert_eq!(reply["error"]["code"], 109, "{claims}: {reply}");
        assert_eq!(reply["error"]["temporary"], true);
    }
}

#[tokio::test]
async fn nobody_gets_in_without_a_token_where_users_have_them() {
    let (node, _keys) = node_with(&[]).await;
    let mut client = Client::open(&node).await;
    let reply = client.request("connect", json!({})).await;
    assert_eq!(reply["error"]["code"], 101);
    assert_eq!(
        reply["error"].get("temporary"),
        None,
        "it would not help to come again"
    );
    assert!(
        reply["error"]["message"]
            .as_str()
            .unwrap()
            .contains("token")
    );
    let (node, _keys) = node_with(&["--allow-anonymous"]).await;
    Client::join(&node, "room").await;
}

#[tokio::test]
async fn a_session_goes_on_with_a_new_token_of_its_user() {
    let (node, _keys) = node_with(&["--expiry-grace", "1s"]).await;
    let (mut ann, reply) = connected(&node, json!({"sub": "ann", "exp": now() + 2})).await;
    assert_eq!(reply["expires"], true);
    assert!((1..=2).contains(&reply["ttl"].as_u64().unwrap()), "{reply}");
    let refresh = |claims: Value| json!({"token": token(claims)});
    let reply = ann
        .ask("refresh", refresh(json!({"sub": "ann", "exp": now() + 60})))
        .await;
    assert!(
        reply["expires"] == true && (58..=60).contains(&reply["ttl"].as_u64().unwrap()),
        "{reply}"
    );
    // The time of the first token is over by now, and its grace.
    ann.hears_nothing_for(Duration::from_secs(4)).await;
    ann.is_alive().await;
    let reply = ann
        .request("refresh", refresh(json!({"sub": "ann", "exp": now() - 60})))
        .await;
    assert_eq!(
        (&reply["error"]["code"], &reply["error"]["temporary"]),
        (&json!(109), &json!(true))
    );
    let reply = ann.ask("refresh", refresh(json!({"sub": "ann"}))).await;
    assert_eq!(reply.get("expires"), None, "a token without an end");
    for foreign in [
        token(json!({"sub": "bob"})),
        token(json!({})),
        token_by("another secret of tests", json!({"sub": "ann"})),
    ] {
        let (mut ann, _) = connected(&node, json!({"sub": "ann", "exp": now() + 60})).await;
        ann.command("refresh", json!({"token": foreign})).await;
        assert_eq!(ann.closed().await.code, 3500);
    }
}

#[tokio::test]
async fn a_session_that_is_not_refreshed_ends_after_its_grace() {
    let (node, _keys) = node_with(&["--expiry-grace", "1s"]).await;
    let expires = now() + 1;
    let (mut ann, _) = connected(&node, json!({"sub": "ann", "exp": expires})).await;
    let (mut bob, _) = connected(&node, json!({"sub": "bob"})).await;
    let close = ann.closed().await;
    assert_eq!(
        (close.code, close.reason.as_str()),
        (3005, "connection expired")
    );
    assert!(now() > expires, "not before its grace is over");
    bob.is_alive().await;
    node.metric_becomes("natter_sessions", 1.0).await;
}

#[tokio::test]
async fn a_user_has_so_many_sessions_and_no_more() {
    let (node, _keys) = node_with(&["--connections-per-user", "2", "--allow-anonymous"]).await;
    let ann = || connected(&node, json!({"sub": "ann"}));
    let ((first, _), _second) = (ann().await, ann().await);
    let mut third = Client::open(&node).await;
    third
        .command("connect", json!({"token": token(json!({"sub": "ann"}))}))
        .await;
    let close = third.closed().await;
    assert_eq!(close.code, 3504, "{close:?}");
    connected(&node, json!({"sub": "bob"})).await;
    for _ in 0..3 {
        Client::connect(&node).await;
    }
    first.leave().await;
    ann().await;
}

#[tokio::test]
async fn keys_of_a_changed_file_count_without_a_restart() {
    let (node, keys) = node_with(&[]).await;
    let (mut ann, _) = connected(&node, json!({"sub": "ann"})).await;
    let new = "the next secret of the tests";
    std::fs::write(keys.path(), "{").unwrap();
    node.logged("cannot use the changed keys for tokens").await;
    connected(&node, json!({"sub": "ann"})).await;
    std::fs::write(keys.path(), new).unwrap();
    node.logged("the keys for tokens have changed").await;
    let mut client = Client::open(&node).await;
    let connect = json!({"token": token_by(new, json!({"sub": "ann"}))});
    client.ask("connect", connect).await;
    let mut client = Client::open(&node).await;
    client
        .command("connect", json!({"token": token(json!({"sub": "ann"}))}))
        .await;
    assert_eq!(client.closed().await.code, 3500);
    ann.is_alive().await;
}

#[tokio::test]
async fn a_secret_that_can_be_guessed_is_taken_and_warned_of() {
    let keys = key_file("secret");
    let node = start_with(&keys, &[]).start().await;
    node.logged("so short that it can be guessed").await;
    let mut client = Client::open(&node).await;
    let connect = json!({"token": token_by("secret", json!({"sub": "ann"}))});
    client.ask("connect", connect).await;
}

#[tokio::test]
async fn a_key_file_that_cannot_be_used_ends_the_start() {
    for (text, why) in [
        ("", "there is no key in it"),
        (
            "-----BEGIN PRIVATE KEY-----\nMA==\n-----END PRIVATE KEY-----\n",
            "private key",
        ),
        ("{}", "JWKS"),
    ] {
        let keys = key_file(text);
        let refusal = start_with(&keys, &[]).refused().await;
        assert_eq!(refusal.code, Some(2), "{refusal:?}");
        assert!(
            refusal.stderr.contains("--jwt-key-file") && refusal.stderr.contains(why),
            "{refusal:?}"
        );
    }
}

#[tokio::test]
async fn keys_by_url_are_found_when_they_are_new_and_kept_while_the_source_is_down() {
    let (old, new) = (Signer::new("old"), Signer::new("new"));
    let source = WebService::start(Some((200, Signer::document(&[&old])))).await;
    let node = Node::start(&["--jwt-jwks-url", &source.url()]).await;
    let connect = async |token: String| outcome(&node, &token).await;
    let old_token = || old.token(json!({"sub": "ann"}));
    let new_token = || new.token(json!({"sub": "ann"}));
    assert_eq!(connect(old_token()).await, 0);
    source.answer(Some((200, Signer::document(&[&old, &new]))));
    until("the new key is known", async || {
        let code = connect(new_token()).await;
        assert!([0, 3500].contains(&code), "{code}");
        code == 0
    })
    .await;
    source.answer(Some((503, String::new())));
    assert_eq!(connect(old_token()).await, 0);
    let unknown = Signer::new("unknown").token(json!({}));
    until("the source is known to be down", async || {
        let code = connect(unknown.clone()).await;
        assert!([100, 3500].contains(&code), "{code}");
        code == 100
    })
    .await;
    assert_eq!(connect(old_token()).await, 0);
    assert_eq!(connect(new_token()).await, 0);
}

#[tokio::test]
async fn whatever_is_sent_behind_a_connect_that_waits_is_done_after_it() {
    let signer = Signer::new("a");
    let source = WebService::start(None).await;
    let node = Node::start(&["--jwt-jwks-url", &source.url()]).await;
    let mut client = Client::open(&node).await;
    let connect = json!({"id": 1, "connect": {"token": signer.token(json!({"sub": "ann"}))}});
    let room = json!({"id": 2, "subscribe": {"channel": "room"}});
    client.send(format!("{connect}\n{room}")).await;
    client
        .send(r#"{"id":3,"publish":{"channel":"room","data":1}}"#)
        .await;
    client.hears_nothing_for(QUIET).await;
    source.answer(Some((200, Signer::document(&[&signer]))));
    for (id, method) in [(1, "connect"), (2, "subscribe"), (3, "publish")] {
        let reply = client.next().await;
        assert_eq!(reply["id"], id, "{reply}");
        assert!(reply[method].is_object(), "{reply}");
    }
}

#[tokio::test]
async fn keys_that_do_not_come_are_a_reason_to_come_again() {
    let source = WebService::start(None).await;
    let node = Node::start(&["--jwt-jwks-url", &source.url()]).await;
    let token = Signer::new("a").token(json!({}));
    let mut client = Client::open(&node).await;
    let begun = Instant::now();
    let reply = client.request("connect", json!({"token": token})).await;
    assert_eq!(reply["error"]["code"], 100, "{reply}");
    assert_eq!(reply["error"]["temporary"], true);
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "SDKs give up then"
    );
}

#[tokio::test]
async fn tokens_are_not_written_down() {
    let (node, _keys) = node_with(&["--log-level", "trace"]).await;
    let good = token(json!({"sub": "ann"}));
    let bad = token_by("another secret of the tests", json!({"sub": "ann"}));
    let mut client = Client::open(&node).await;
    client.ask("connect", json!({"token": good})).await;
    let pass = token(json!({"sub": "ann", "channel": "room"}));
    client
        .ask("subscribe", json!({"channel": "room", "token": pass}))
        .await;
    client.command("refresh", json!({"token": bad})).await;
    client.closed().await;
    let log = node.log();
    for token in [&good, &bad, &pass] {
        let (_, signature) = token.rsplit_once('.').unwrap();
        assert!(!log.contains(signature), "the log has a token");
    }
}
