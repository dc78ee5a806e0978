//! What backends say, and what rooms keep of it.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use natter_tests::wait::until;
use serde_json::{Value, json};

use super::*;

#[tokio::test]
async fn members_get_what_a_backend_says_with_its_tags() {
    let (node, api, _keys) = node().await;
    let mut member = Client::join(&node, "room").await;
    let data = json!({"text": "grüße\n\u{2028}", "list": [null]});
    let tags = json!({"kind": "note", "ü": ""});
    let params = json!({"channel": "room", "data": data, "tags": tags, "delta": true});
    let position = api.ask("publish", params).await;
    let push = member.push().await;
    assert_eq!(push["pub"]["data"], data);
    assert_eq!(push["pub"]["tags"], tags);
    assert_eq!(push["pub"]["offset"], position["offset"]);
    assert_eq!(push["pub"].get("info"), None, "the server speaks");

    let b64data = "eyAiYSIgOiAxIH0=";
    api.ask("publish", json!({"channel": "room", "b64data": b64data}))
        .await;
    assert_eq!(member.publication().await.data, json!({"a": 1}));
    api.ask("publish", json!({"channel": "room", "data": null}))
        .await;
    assert_eq!(member.publication().await.data, Value::Null);

    let page = api
        .ask("history", json!({"channel": "room", "limit": -1}))
        .await;
    let kept = page["publications"].as_array().unwrap();
    assert_eq!(kept[0], push["pub"]);
    assert_eq!(kept.len(), 3);
    assert_eq!(page["epoch"], position["epoch"]);
    let newest = json!({"channel": "room", "limit": 1, "reverse": true});
    let newest = api.ask("history", newest).await;
    assert_eq!(newest["publications"], json!([kept[2]]));
    let since = json!({"channel": "room", "limit": 10, "since": position});
    let since = api.ask("history", since).await;
    assert_eq!(since["publications"], json!([kept[1], kept[2]]));
    let top = api.ask("history", json!({"channel": "room"})).await;
    assert_eq!(
        (&top["offset"], &top["publications"]),
        (&kept[2]["offset"], &json!([]))
    );
}

#[tokio::test]
async fn a_broadcast_and_a_batch_answer_for_each_of_their_parts() {
    let (_node, api, _keys) = node().await;
    let channels = ["a", "unknown:b", "c"];
    let result = api
        .ask("broadcast", json!({"channels": channels, "data": 1}))
        .await;
    let responses = result["responses"].as_array().unwrap();
    assert_eq!(responses.len(), 3);
    assert_eq!(responses[0]["result"]["offset"], 1);
    assert_eq!(responses[1]["error"]["code"], 102);
    assert_eq!(responses[2]["result"]["offset"], 1);

    for parallel in [false, true] {
        let commands = json!([
            {"publish": {"channel": "a", "data": 2}},
            {"publish": {"channel": "unknown:b", "data": 2}},
            {"history": {"channel": "c", "limit": 1}},
            {"nothing": {}},
            {"batch": {"commands": []}},
            {},
        ]);
        let answer = api.call("batch", json!({"commands": commands, "parallel": parallel}));
        let answer = answer.await;
        let replies = answer["replies"].as_array().unwrap();
        assert!(
            replies[0]["publish"]["offset"].as_u64() > Some(1),
            "{answer}"
        );
        assert_eq!(replies[2]["history"]["publications"][0]["data"], 1);
        let codes = [1, 3, 4, 5].map(|at: usize| replies[at]["error"]["code"].as_u64());
        assert_eq!(codes, [Some(102), Some(104), Some(107), Some(107)]);
    }
}

#[tokio::test]
async fn what_skips_history_reaches_members_on_all_nodes_and_is_not_kept() {
    let (cluster, apis, _keys) = cluster(3).await;
    let mut members = Vec::new();
    for node in &cluster.nodes {
        members.push(Client::join(node, "room").await);
    }
    // A node hears of a room a moment after its first member came.
    let fleeting = |n: u64| json!({"channel": "room", "data": n, "skip_history": true});
    let mut heard = vec![false; members.len()];
    until("all nodes to listen", async || {
        apis[0].ask("publish", fleeting(0)).await;
        for (member, heard) in members.iter_mut().zip(&mut heard) {
            member.is_alive().await;
            *heard |= !member.take_unread().is_empty();
        }
        heard.iter().all(|heard| *heard)
    })
    .await;
    assert_eq!(apis[1].ask("publish", fleeting(1)).await, json!({}));
    let kept = apis[2]
        .ask("publish", json!({"channel": "room", "data": 2}))
        .await;
    for member in &mut members {
        let mut data = Vec::new();
        // What has no place in the room may come before what has, or after it.
        while data.len() < 2 {
            let push = member.push().await["pub"].take();
            let has_offset = push.get("offset").is_some();
            assert_eq!(has_offset, push["data"] == 2, "{push}");
            if push["data"] != 0 {
                data.push(push["data"].as_u64().expect("a number"));
            }
        }
        data.sort_unstable();
        assert_eq!(data, [1, 2]);
    }
    for api in &apis {
        let page = api
            .ask("history", json!({"channel": "room", "limit": -1}))
            .await;
        assert_eq!(count(&page["publications"]), 1);
        assert_eq!(page["publications"][0]["offset"], kept["offset"]);
    }
}

fn count(list: &Value) -> usize {
    list.as_array().map_or(0, Vec::len)
}

/// Eight backends at a time say the same with one key, some of them twice, on any node.
async fn one_key_is_one_publication(apis: &[Api]) {
    for round in 0..10 {
        let (room, other) = (format!("room-{round}"), format!("other-{round}"));
        let publish = json!({"channel": room, "data": {"n": round}, "idempotency_key": "once"});
        let calls = (0..24).map(|n| apis[n % apis.len()].ask("publish", publish.clone()));
        let results = join_all(calls).await;
        let distinct: BTreeSet<_> = results.iter().map(Value::to_string).collect();
        assert_eq!(distinct.len(), 1, "{distinct:?}");
        // The key is each room's own: the broadcast is new in one room only.
        let broadcast =
            json!({"channels": [room, other], "data": {"n": round}, "idempotency_key": "once"});
        for api in apis {
            let result = api.ask("broadcast", broadcast.clone()).await;
            assert_eq!(result["responses"][0]["result"], results[0]);
            assert!(
                result["responses"][1]["result"]["offset"].is_u64(),
                "{result}"
            );
        }
        for room in [room, other] {
            let page = json!({"channel": room, "limit": -1});
            let page = apis[0].ask("history", page).await;
            assert_eq!(count(&page["publications"]), 1, "{page}");
        }
    }
    let another = json!({"channel": "room-0", "data": "other", "idempotency_key": "once"});
    let (code, message) = apis[0].refused("publish", another).await;
    assert_eq!(code, 107);
    assert!(
        message.contains("already used for another message"),
        "{message}"
    );
}

#[tokio::test]
async fn an_idempotency_key_is_exact_on_one_node() {
    let (_node, api, _keys) = node().await;
    one_key_is_one_publication(&[api]).await;
}

#[tokio::test]
async fn an_idempotency_key_is_exact_across_nodes() {
    let (_cluster, apis, _keys) = cluster(3).await;
    one_key_is_one_publication(&apis).await;
}
