//! A changed configuration file counts without a restart, and a bad one does no harm.

use std::os::unix::fs::symlink;
use std::path::Path;

use natter_tests::node::Signal;
use natter_tests::wait::until;
use natter_tests::{Client, Node, http};
use serde_json::{Value, json};

/// Waits until the node has taken over `count` changes of its file.
async fn reloaded(node: &Node, count: f64) {
    node.metric_becomes(r#"natter_config_reloads_total{result="ok"}"#, count)
        .await;
}

async fn request(node: &Node, method: &str, parameters: Value) -> Value {
    Client::connect(node)
        .await
        .request(method, parameters)
        .await
}

fn code(reply: &Value) -> Option<u64> {
    reply["error"]["code"].as_u64()
}

#[tokio::test]
async fn a_changed_file_counts_for_the_next_command() {
    let node = Node::with(&[])
        .config("limits: {roomsPerSession: 1}")
        .start()
        .await;
    let mut client = Client::join(&node, "room").await;
    let news = json!({"channel": "news:today"});
    assert_eq!(client.refused("subscribe", news.clone()).await, 102);
    assert_eq!(
        client
            .refused("subscribe", json!({"channel": "other"}))
            .await,
        106
    );
    node.rewrite_config(
        "{limits: {roomsPerSession: 3, connections: 77}, roomClasses: [{prefix: news}]}",
    );
    reloaded(&node, 1.0).await;
    client.ask("subscribe", news).await;
    client.subscribe("other").await;
    assert_eq!(
        client
            .refused("subscribe", json!({"channel": "fourth"}))
            .await,
        106
    );
    node.metric_becomes("natter_connections_limit", 77.0).await;
    node.logged("changed: limits.connections, limits.roomsPerSession, roomClasses")
        .await;
}

#[tokio::test]
async fn a_stricter_class_counts_for_what_members_ask_but_does_not_put_them_out() {
    let node = Node::with(&[])
        .config("roomClasses: [{prefix: news}]")
        .start()
        .await;
    let mut inside = Client::join(&node, "news:today").await;
    let mut writer = Client::join(&node, "news:today").await;
    node.rewrite_config("roomClasses: [{prefix: news, subscribe: Token, history: None}]");
    reloaded(&node, 1.0).await;
    let late = request(&node, "subscribe", json!({"channel": "news:today"})).await;
    assert_eq!(code(&late), Some(103), "{late}");
    let page = json!({"channel": "news:today", "limit": 5});
    assert_eq!(inside.refused("history", page).await, 108);
    writer.publish("news:today", json!("still here")).await;
    assert_eq!(inside.publication().await.data, "still here");
    // Without its class a room is unknown; whoever is in it hears nothing new, as nobody can publish.
    node.rewrite_config("roomClasses: []");
    reloaded(&node, 2.0).await;
    let publish = json!({"channel": "news:today", "data": 1});
    assert_eq!(writer.refused("publish", publish).await, 102);
    inside.is_alive().await;
}

#[tokio::test]
async fn a_bad_file_keeps_the_settings_of_before_and_is_told_once() {
    let node = Node::with(&[])
        .config("roomClasses: [{prefix: news}]")
        .start()
        .await;
    node.rewrite_config("roomClasses: [{prefix: news, subscribe: Nobody}]");
    node.metric_becomes(r#"natter_config_reloads_total{result="failed"}"#, 1.0)
        .await;
    node.logged("roomClasses[0].subscribe: expected one of")
        .await;
    let reply = request(&node, "subscribe", json!({"channel": "news:today"})).await;
    assert_eq!(code(&reply), None, "{reply}");
    // It is read every second, but nothing is said about a file that did not change.
    node.signal(Signal::Hangup);
    node.metric_becomes(r#"natter_config_reloads_total{result="failed"}"#, 2.0)
        .await;
    let told = node.log().matches("the settings of before stay").count();
    assert_eq!(told, 2, "{}", node.log());
    node.rewrite_config("roomClasses: [{prefix: news}, {prefix: chat}]");
    reloaded(&node, 1.0).await;
    let reply = request(&node, "subscribe", json!({"channel": "chat:a"})).await;
    assert_eq!(code(&reply), None, "{reply}");
}

#[tokio::test]
async fn what_needs_a_restart_is_warned_of_by_name_once() {
    let node = Node::with(&[])
        .config("limits: {connections: 9}")
        .start()
        .await;
    node.rewrite_config("{workers: 1000, limits: {connections: 10}}");
    reloaded(&node, 1.0).await;
    node.metric_becomes("natter_config_restart_settings", 1.0)
        .await;
    node.rewrite_config("{workers: 1000, limits: {connections: 11}}");
    reloaded(&node, 2.0).await;
    let warning = "workers has changed to '1000', which has no effect before a restart";
    assert_eq!(node.log().matches(warning).count(), 1, "{}", node.log());
    node.metric_becomes("natter_connections_limit", 11.0).await;
}

#[tokio::test]
async fn sighup_reads_the_file_again_and_flags_still_win() {
    let node = Node::with(&["--connections", "5"])
        .config("limits: {connections: 6}")
        .start()
        .await;
    let before = node
        .metrics()
        .await
        .get("natter_config_last_success_timestamp_seconds");
    node.signal(Signal::Hangup);
    reloaded(&node, 1.0).await;
    let after = node
        .metrics()
        .await
        .get("natter_config_last_success_timestamp_seconds");
    assert!(after > before, "{after:?} after {before:?}");
    node.rewrite_config("limits: {connections: 7}");
    reloaded(&node, 2.0).await;
    node.metric_becomes("natter_connections_limit", 5.0).await;
}

#[tokio::test]
async fn allowed_origins_change_with_the_file() {
    let node = Node::with(&[]).config("").start().await;
    let status = async || {
        let handshake = "GET /connection/websocket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n\
                         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: https://a.example\r\n\r\n";
        http::request(node.address, handshake).await.status
    };
    assert_eq!(status().await, 403);
    node.rewrite_config("auth: {allowedOrigins: ['https://a.example']}");
    until("the origin to be allowed", async || status().await == 101).await;
}

/// A folder as Kubernetes mounts a ConfigMap: the file is a link to a link to what is exchanged.
fn mount(folder: &Path, version: &str, yaml: &str) {
    let data = folder.join(version);
    std::fs::create_dir(&data).expect("a new version");
    std::fs::write(data.join("natter.yaml"), yaml).expect("a file");
    symlink(version, folder.join("..data_tmp")).expect("a link");
    std::fs::rename(folder.join("..data_tmp"), folder.join("..data")).expect("an exchange");
}

#[tokio::test]
async fn an_exchanged_config_map_counts() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    mount(folder.path(), "..1", "limits: {connections: 11}");
    let file = folder.path().join("natter.yaml");
    symlink("..data/natter.yaml", &file).expect("a link");
    let file = file.display().to_string();
    let node = Node::with(&["--config", &file]).start().await;
    node.metric_becomes("natter_connections_limit", 11.0).await;
    // As long as the file before, and perhaps of the same second.
    mount(folder.path(), "..2", "limits: {connections: 22}");
    node.metric_becomes("natter_connections_limit", 22.0).await;
}
