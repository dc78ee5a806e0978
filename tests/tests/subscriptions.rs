//! Who gets into which room: subscription tokens, rooms for named users, rooms that sessions are put into.

use std::time::Duration;

use natter_tests::client::error_code;
use natter_tests::tokens::{SECRET, now, token, token_by, unsigned};
use natter_tests::{Client, Node, Publication};
use serde_json::{Value, json};
use tempfile::NamedTempFile;

const CLASSES: &str = "roomClasses:
- {prefix: closed, subscribe: Token, publish: Token}
- {prefix: given, subscribe: Server}
- {prefix: quiet, history: None}
";

async fn node_with(flags: &[&str]) -> (Node, NamedTempFile) {
    let keys = NamedTempFile::new().expect("there is a place for temporary files");
    std::fs::write(keys.path(), SECRET).expect("the file can be written to");
    let path = keys.path().to_str().expect("a path in UTF-8");
    let flags = [&["--jwt-key-file", path, "--allow-anonymous"][..], flags].concat();
    (Node::with(&flags).config(CLASSES).start().await, keys)
}

async fn connected(node: &Node, claims: Value) -> (Client, Value) {
    let mut client = Client::open(node).await;
    let reply = client.ask("connect", json!({"token": token(claims)})).await;
    (client, reply)
}

async fn user(node: &Node, name: &str) -> Client {
    connected(node, json!({"sub": name})).await.0
}

fn subscribe(room: &str, token: String) -> Value {
    json!({"channel": room, "token": token})
}

#[tokio::test]
async fn a_subscription_token_lets_its_user_into_its_room() {
    let (node, _keys) = node_with(&[]).await;
    let mut ann = user(&node, "ann").await;
    let pass = |more: Value| {
        let mut claims = json!({"sub": "ann", "channel": "closed:a", "exp": now() + 60});
        let more = more.as_object().expect("claims").clone();
        claims.as_object_mut().expect("claims").extend(more);
        token(claims)
    };
    assert_eq!(
        ann.refused("subscribe", json!({"channel": "closed:a"}))
            .await,
        103
    );
    for (what, pass, code) in [
        (
            "for another room",
            pass(json!({"channel": "closed:b"})),
            103,
        ),
        ("for no room", token(json!({"sub": "ann"})), 103),
        ("another user's", pass(json!({"sub": "bob"})), 103),
        ("nobody's", token(json!({"channel": "closed:a"})), 103),
        (
            "foreign",
            token_by(
                "another secret of the tests",
                json!({"sub": "ann", "channel": "closed:a"}),
            ),
            103,
        ),
        (
            "unsigned",
            unsigned(json!({"sub": "ann", "channel": "closed:a"})),
            103,
        ),
        ("garbage", "garbage".to_owned(), 103),
        ("expired", pass(json!({"exp": now() - 60})), 109),
        (
            "for a time that is over",
            pass(json!({"expire_at": now() - 1})),
            109,
        ),
    ] {
        let reply = ann.request("subscribe", subscribe("closed:a", pass)).await;
        assert_eq!(error_code(&reply), code, "{what}: {reply}");
        assert_eq!(reply["error"]["temporary"] == true, code == 109, "{what}");
    }
    assert_eq!(
        ann.refused("publish", json!({"channel": "closed:a", "data": 1}))
            .await,
        103
    );
    let reply = ann
        .ask("subscribe", subscribe("closed:a", pass(json!({}))))
        .await;
    assert!(
        reply["expires"] == true && (58..=60).contains(&reply["ttl"].as_u64().unwrap()),
        "{reply}"
    );
    ann.publish("closed:a", json!("in")).await;
    // Who leaves has to show it again.
    ann.ask("unsubscribe", json!({"channel": "closed:a"})).await;
    assert_eq!(
        ann.refused("subscribe", json!({"channel": "closed:a"}))
            .await,
        103
    );
    assert_eq!(
        ann.refused("publish", json!({"channel": "closed:a", "data": 1}))
            .await,
        103
    );
    // Anonymous sessions have theirs.
    let mut nobody = Client::connect(&node).await;
    let pass = token(json!({"channel": "closed:a"}));
    nobody.ask("subscribe", subscribe("closed:a", pass)).await;
}

#[tokio::test]
async fn a_stay_goes_on_with_a_new_token_and_ends_without() {
    let (node, _keys) = node_with(&["--expiry-grace", "1s"]).await;
    let (mut ann, mut bob) = (user(&node, "ann").await, user(&node, "bob").await);
    let pass =
        |user: &str, exp: u64| token(json!({"sub": user, "channel": "closed:a", "exp": exp}));
    ann.ask("subscribe", subscribe("closed:a", pass("ann", now() + 2)))
        .await;
    bob.ask("subscribe", subscribe("closed:a", pass("bob", now() + 2)))
        .await;
    let refresh = subscribe("closed:a", pass("ann", now() + 60));
    let reply = ann.ask("sub_refresh", refresh).await;
    assert!(
        reply["expires"] == true && (58..=60).contains(&reply["ttl"].as_u64().unwrap()),
        "{reply}"
    );
    let push = bob.push().await;
    assert_eq!(
        push,
        json!({"channel": "closed:a", "unsubscribe": {"code": 2501, "reason": "subscription expired"}})
    );
    ann.publish("closed:a", json!("for members")).await;
    bob.hears_nothing_for(Duration::from_millis(500)).await;
    assert_eq!(
        bob.refused("publish", json!({"channel": "closed:a", "data": 1}))
            .await,
        103
    );
    assert_eq!(ann.publication().await.data, json!("for members"));
    for (refresh, code) in [
        (subscribe("closed:a", pass("bob", now() + 60)), 103),
        (subscribe("closed:a", pass("ann", now() - 60)), 109),
        (subscribe("closed:b", pass("ann", now() + 60)), 103),
        (subscribe("closed:a", "garbage".to_owned()), 103),
    ] {
        let reply = ann.request("sub_refresh", refresh.clone()).await;
        assert_eq!(error_code(&reply), code, "{refresh}: {reply}");
    }
    ann.publish("closed:a", json!("still a member")).await;
}

#[tokio::test]
async fn a_room_with_a_hash_is_for_the_users_that_it_names() {
    let (node, _keys) = node_with(&[]).await;
    let (mut ann, mut eve) = (user(&node, "ann").await, user(&node, "eve").await);
    let mut nobody = Client::connect(&node).await;
    for room in ["dm#ann,bob", "quiet:dm#ann"] {
        ann.subscribe(room).await;
        ann.publish(room, json!("secret")).await;
        for other in [&mut eve, &mut nobody] {
            assert_eq!(
                other.refused("subscribe", json!({"channel": room})).await,
                103
            );
            assert_eq!(
                other
                    .refused("publish", json!({"channel": room, "data": 1}))
                    .await,
                103
            );
            assert_eq!(
                other
                    .refused("history", json!({"channel": room, "limit": 5}))
                    .await,
                103
            );
        }
    }
    let pass = token(json!({"sub": "eve", "channel": "dm#ann,bob"}));
    assert_eq!(
        eve.refused("subscribe", subscribe("dm#ann,bob", pass))
            .await,
        103
    );
    let mut client = Client::open(&node).await;
    let connect = json!({"token": token(json!({"sub": "eve", "channels": ["dm#ann,bob"]}))});
    assert_eq!(client.refused("connect", connect).await, 103);
}

#[tokio::test]
async fn a_token_puts_its_session_into_rooms() {
    let (node, _keys) = node_with(&[]).await;
    let claims = json!({
        "sub": "ann", "channels": ["news"],
        "subs": {"given:a": {"info": {"role": "guest"}, "data": {"welcome": true}}, "closed:a": {}, "quiet:a": {}},
    });
    let (mut ann, reply) = connected(&node, claims.clone()).await;
    let subs = reply["subs"].as_object().expect("rooms");
    let names: Vec<_> = subs.keys().map(String::as_str).collect();
    assert_eq!(names, ["closed:a", "given:a", "news", "quiet:a"]);
    assert_eq!(subs["given:a"]["data"], json!({"welcome": true}));
    assert_eq!(
        (
            &subs["news"]["recoverable"],
            &subs["quiet:a"]["recoverable"]
        ),
        (&json!(true), &json!(false))
    );
    let (mut bob, _) = connected(&node, json!({"sub": "bob", "channels": ["given:a"]})).await;
    ann.publish("given:a", json!("hello")).await;
    let push = bob.push().await;
    assert_eq!(push["channel"], "given:a");
    assert_eq!(push["pub"]["info"]["chan_info"], json!({"role": "guest"}));
    assert_eq!(ann.publication().await.data, json!("hello"));
    // The client has no say in it.
    assert_eq!(
        ann.refused("subscribe", json!({"channel": "news"})).await,
        105
    );
    assert_eq!(
        ann.refused("unsubscribe", json!({"channel": "news"})).await,
        103
    );
    assert_eq!(
        ann.refused(
            "sub_refresh",
            subscribe("news", token(json!({"sub": "ann", "channel": "news"})))
        )
        .await,
        103
    );
    // Nobody else gets into a room of the server's.
    let mut eve = user(&node, "eve").await;
    let pass = token(json!({"sub": "eve", "channel": "given:a"}));
    assert_eq!(
        eve.refused("subscribe", subscribe("given:a", pass)).await,
        103
    );
    assert_eq!(
        eve.refused("subscribe", json!({"channel": "given:a"}))
            .await,
        103
    );
    assert_eq!(
        eve.refused("publish", json!({"channel": "given:a", "data": 1}))
            .await,
        103
    );
    assert_eq!(
        eve.refused("history", json!({"channel": "given:a", "limit": 1}))
            .await,
        103
    );

    // And what is missed meanwhile comes with the next connect.
    let (offset, epoch) = (
        subs["news"]["offset"].clone(),
        subs["news"]["epoch"].clone(),
    );
    ann.leave().await;
    eve.subscribe("news").await;
    for n in 0..3 {
        eve.publish("news", json!(n)).await;
    }
    let mut ann = Client::open(&node).await;
    let resume = json!({"news": {"recover": true, "offset": offset, "epoch": epoch}, "elsewhere": {"recover": true}});
    let reply = ann
        .ask("connect", json!({"token": token(claims), "subs": resume}))
        .await;
    let news = &reply["subs"]["news"];
    assert_eq!(
        (&news["was_recovering"], &news["recovered"]),
        (&json!(true), &json!(true))
    );
    let missed: Vec<_> = Publication::list(news)
        .into_iter()
        .map(|p| p.data)
        .collect();
    assert_eq!(missed, [json!(0), json!(1), json!(2)]);
    assert_eq!(reply["subs"]["given:a"]["was_recovering"], false);
    eve.publish("news", json!(3)).await;
    assert_eq!(ann.publication().await.data, json!(3));
}

#[tokio::test]
async fn a_long_recovery_of_rooms_that_were_given_goes_on_behind_the_reply() {
    let (node, _keys) = node_with(&["--publishes-per-second-per-session", "1000"]).await;
    let claims = json!({"sub": "ann", "channels": ["a", "b"]});
    let (ann, reply) = connected(&node, claims.clone()).await;
    ann.leave().await;
    let mut bob = user(&node, "bob").await;
    let text = "x".repeat(10_000);
    for room in ["a", "b"] {
        bob.subscribe(room).await;
        for n in 0..60 {
            bob.publish(room, json!([n, text])).await;
        }
    }
    let position = |room: &str| {
        let sub = &reply["subs"][room];
        json!({"recover": true, "offset": sub["offset"], "epoch": sub["epoch"]})
    };
    let subs = json!({"a": position("a"), "b": position("b")});
    let mut ann = Client::open(&node).await;
    let reply = ann
        .ask("connect", json!({"token": token(claims), "subs": subs}))
        .await;
    let mut got = [Vec::new(), Vec::new()];
    for (room, got) in ["a", "b"].iter().zip(&mut got) {
        assert_eq!(reply["subs"][room]["recovered"], true);
        got.extend(Publication::list(&reply["subs"][room]));
    }
    bob.publish("a", json!(["last"])).await;
    bob.publish("b", json!(["last"])).await;
    while got.iter().map(Vec::len).sum::<usize>() < 122 {
        let push = ann.push().await;
        let list = usize::from(push["channel"] == "b");
        got[list].extend(Publication::list(&json!({"publications": [push["pub"]]})));
    }
    for got in got {
        let numbers: Vec<_> = got.iter().map(|p| p.data[0].clone()).collect();
        let expected: Vec<_> = (0..60).map(|n| json!(n)).chain([json!("last")]).collect();
        assert_eq!(numbers, expected);
    }
}

#[tokio::test]
async fn a_session_gets_all_rooms_that_it_was_given_or_none() {
    let (node, _keys) = node_with(&["--rooms-per-session", "3"]).await;
    for (channels, code) in [
        (json!(["news", "unknown:room"]), 102),
        (json!(["news", ""]), 107),
        (json!(["a", "b", "c", "d"]), 106),
    ] {
        let mut client = Client::open(&node).await;
        let connect = json!({"token": token(json!({"sub": "ann", "channels": channels}))});
        assert_eq!(client.refused("connect", connect).await, code, "{channels}");
    }
    node.metric_becomes("natter_members", 0.0).await;
    node.metric_becomes("natter_sessions", 0.0).await;
    connected(&node, json!({"sub": "ann", "channels": ["a", "b", "c"]})).await;
}

#[tokio::test]
async fn a_given_stay_that_expires_ends_the_session() {
    let (node, _keys) = node_with(&["--expiry-grace", "0s"]).await;
    let claims = json!({"sub": "ann", "subs": {"given:a": {"expire_at": now() + 2}}});
    let (mut ann, _) = connected(&node, claims).await;
    let close = ann.closed().await;
    assert_eq!(
        (close.code, close.reason.as_str()),
        (3006, "subscription expired")
    );
}
