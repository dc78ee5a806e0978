//! What is done to a user is done to all sessions of the user, wherever these are, before the answer comes.

use std::time::{Duration, Instant};

use natter_tests::tokens::now;
use serde_json::{Value, json};

use super::*;

/// Two sessions of `name` on every node.
async fn everywhere(cluster: &Cluster, name: &str) -> Vec<(Client, String)> {
    let mut sessions = Vec::new();
    for node in cluster.nodes.iter().chain(&cluster.nodes) {
        sessions.push(user(node, name).await);
    }
    sessions
}

/// How many members the room has on all nodes, by the answer of one.
async fn members(api: &Api, room: &str) -> Value {
    let rooms = api.ask("channels", json!({})).await;
    rooms["channels"][room]["num_clients"].clone()
}

#[tokio::test]
async fn disconnect_ends_every_session_of_the_user_and_nobody_else_s() {
    let (cluster, apis, _files) = cluster_of_users(3).await;
    let mut anns = everywhere(&cluster, "ann").await;
    let mut bobs = everywhere(&cluster, "bob").await;
    let (mut spared, id) = anns.remove(4);
    let reason = json!({"code": 4444, "reason": "see you"});
    let params = json!({"user": "ann", "whitelist": [id], "disconnect": reason});
    apis[1].ask("disconnect", params).await;
    // All have done it when the answer comes.
    let nodes = apis[2].ask("info", json!({})).await;
    let nodes = nodes["nodes"].as_array().expect("a list").iter();
    let left: Vec<_> = nodes.map(|node| node["num_clients"].as_u64()).collect();
    assert_eq!(left.iter().flatten().sum::<u64>(), 6 + 1);
    for (ann, _) in &mut anns {
        let close = ann.closed().await;
        assert_eq!((close.code, close.reason.as_str()), (4444, "see you"));
    }
    spared.is_alive().await;
    for (bob, _) in &mut bobs {
        bob.is_alive().await;
    }
}

#[tokio::test]
async fn subscribe_and_unsubscribe_reach_every_session_of_the_user() {
    let (cluster, apis, _files) = cluster_of_users(3).await;
    let mut anns = everywhere(&cluster, "ann").await;
    let (mut bob, _) = user(&cluster.nodes[0], "bob").await;
    let params = json!({"user": "ann", "channel": "room", "info": {"as": "guest"}});
    apis[1].ask("subscribe", params).await;
    assert_eq!(members(&apis[0], "room").await, 6);
    for (ann, _) in &mut anns {
        let push = ann.push().await;
        assert_eq!(push["channel"], "room");
        assert!(push["subscribe"]["epoch"].is_string(), "{push}");
    }
    let (speaker, id) = &mut anns[5];
    speaker.publish("room", json!("hello")).await;
    let info = json!({"user": "ann", "client": *id, "chan_info": {"as": "guest"}});
    for (ann, _) in &mut anns {
        assert_eq!(ann.push().await["pub"]["info"], info);
    }
    let (_, only) = anns.remove(0);
    let params = json!({"user": "ann", "client": only, "channel": "room"});
    apis[2].ask("unsubscribe", params).await;
    assert_eq!(members(&apis[0], "room").await, 5);
    let params = json!({"user": "ann", "channel": "room"});
    apis[2].ask("unsubscribe", params).await;
    assert_eq!(members(&apis[0], "room").await, Value::Null);
    for (ann, _) in &mut anns {
        let told = json!({"code": 2000, "reason": "server unsubscribe"});
        let push = json!({"channel": "room", "unsubscribe": told});
        assert_eq!(ann.push().await, push);
    }
    bob.hears_nothing_for(Duration::from_millis(100)).await;
}

#[tokio::test]
async fn refresh_reaches_every_session_of_the_user() {
    let (cluster, apis, _files) = cluster_of_users(3).await;
    let mut anns = everywhere(&cluster, "ann").await;
    let mut bobs = everywhere(&cluster, "bob").await;
    let params = json!({"user": "ann", "expire_at": now() + 2});
    apis[1].ask("refresh", params).await;
    let params = json!({"user": "bob", "expire_at": now() + 2});
    apis[0].ask("refresh", params).await;
    apis[2].ask("refresh", json!({"user": "bob"})).await;
    for (ann, _) in &mut anns {
        assert_eq!(ann.closed().await.code, 3005);
    }
    for (bob, _) in &mut bobs {
        bob.is_alive().await;
    }
    let expired = json!({"user": "bob", "expired": true});
    apis[1].ask("refresh", expired).await;
    for (bob, _) in &mut bobs {
        assert_eq!(bob.closed().await.code, 3005);
    }
}

#[tokio::test]
async fn a_node_that_does_not_answer_is_named_and_the_others_have_done_it() {
    let (cluster, apis, _files) = cluster_of_users(3).await;
    let names = ["disconnect", "unsubscribe", "refresh", "subscribe"];
    let mut users = Vec::new();
    for name in names {
        users.push(everywhere(&cluster, name).await);
    }
    for (client, _) in &mut users[1] {
        client.subscribe("room").await;
    }
    cluster.nodes[2].freeze().await;
    let begun = Instant::now();
    let call = |method: &'static str| {
        let params = json!({
            "user": method, "channel": if method == "subscribe" { "other" } else { "room" },
            "expired": true,
        });
        apis[0].refused(method, params)
    };
    let [first, second, third, fourth] = names.map(call);
    let answers = tokio::join!(first, second, third, fourth);
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(8), "{took:?}");
    for (code, message) in [answers.0, answers.1, answers.2, answers.3] {
        assert_eq!(code, 100, "{message}");
        assert!(message.contains("node-2 (no answer)"), "{message}");
        assert!(
            !message.contains("node-0") && !message.contains("node-1"),
            "{message}"
        );
    }
    // The others have done it; the one that was stopped does it when it goes on.
    for goes_on in [false, true] {
        if goes_on {
            cluster.nodes[2].signal(natter_tests::node::Signal::Continue);
        }
        for (at, sessions) in users.iter_mut().enumerate() {
            for (client, _) in sessions
                .iter_mut()
                .enumerate()
                .filter(|(n, _)| (n % 3 == 2) == goes_on)
                .map(|(_, session)| session)
            {
                match names[at] {
                    "disconnect" => assert_eq!(client.closed().await.code, 3503),
                    "refresh" => assert_eq!(client.closed().await.code, 3005),
                    "subscribe" => assert_eq!(client.push().await["channel"], "other"),
                    _ => assert_eq!(client.push().await["unsubscribe"]["code"], 2000),
                }
            }
        }
    }
}
