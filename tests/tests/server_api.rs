//! The server API, as backends call it: with `cent`, the library of Centrifugo's users, and by hand where a library would
//! not send what is sent here.

#[path = "server_api/cent.rs"]
mod cent;
#[path = "server_api/door.rs"]
mod door;
#[path = "server_api/erasing.rs"]
mod erasing;
#[path = "server_api/publishing.rs"]
mod publishing;
#[path = "server_api/sdks.rs"]
mod sdks;
#[path = "server_api/sessions.rs"]
mod sessions;
#[path = "server_api/subscribing.rs"]
mod subscribing;
#[path = "server_api/users.rs"]
mod users;

use natter_tests::api::{Api, Keys};
use natter_tests::tokens::{SECRET, token};
use natter_tests::{Client, Cluster, Node};
use tempfile::NamedTempFile;

const KEY: &str = "test-api-key";
const CLASSES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/sdk/classes.yaml");

/// A node with an embedded broker and a server API.
async fn node() -> (Node, Api, Keys) {
    let keys = Keys::new(KEY);
    let mut node = Node::with(&[]);
    for (name, value) in keys.variables() {
        node = node.env(name, &value);
    }
    let node = node.start().await;
    let api = Api::of(&node, KEY);
    (node, api, keys)
}

/// Nodes that share NATS servers, each with a server API.
async fn cluster(nodes: usize) -> (Cluster, Vec<Api>, Keys) {
    let keys = Keys::new(KEY);
    let mut cluster = Cluster::with(1, nodes);
    for (name, value) in keys.variables() {
        cluster = cluster.env(name, &value);
    }
    let cluster = cluster.start().await;
    let apis = cluster.nodes.iter().map(|node| Api::of(node, KEY));
    let apis = apis.collect();
    (cluster, apis, keys)
}

/// Keys of the server API, and what tests and SDKs sign users' tokens with.
type Files = (Keys, NamedTempFile);

/// What lets users in with tokens, whose sessions end when they expire.
fn users_flags() -> ([String; 4], Files) {
    let secrets = NamedTempFile::new().expect("there is a place for temporary files");
    let lines = [SECRET, include_str!("../sdk/secret.txt")].join("\n");
    std::fs::write(secrets.path(), lines).expect("the file can be written to");
    let path = secrets.path().display().to_string();
    let flags = ["--jwt-key-file", &path, "--expiry-grace", "0s"].map(str::to_owned);
    (flags, (Keys::new(KEY), secrets))
}

/// As [`node`], for users with tokens.
async fn node_of_users() -> (Node, Api, Files) {
    let (flags, files) = users_flags();
    let mut node = Node::with(&flags.each_ref().map(String::as_str));
    for (name, value) in files.0.variables() {
        node = node.env(name, &value);
    }
    let node = node.env("NATTER_CONFIG", CLASSES).start().await;
    let api = Api::of(&node, KEY);
    (node, api, files)
}

/// As [`cluster`], for users with tokens.
async fn cluster_of_users(nodes: usize) -> (Cluster, Vec<Api>, Files) {
    let (flags, files) = users_flags();
    let mut cluster = Cluster::with(1, nodes).flags(&flags.each_ref().map(String::as_str));
    for (name, value) in files.0.variables() {
        cluster = cluster.env(name, &value);
    }
    let cluster = cluster.env("NATTER_CONFIG", CLASSES).start().await;
    let apis = cluster.nodes.iter().map(|node| Api::of(node, KEY));
    let apis = apis.collect();
    (cluster, apis, files)
}

/// A client of a user, and its id.
async fn user(node: &Node, name: &str) -> (Client, String) {
    let mut client = Client::open(node).await;
    let token = token(serde_json::json!({"sub": name}));
    let connect = serde_json::json!({"token": token});
    let connected = client.ask("connect", connect).await;
    let id = connected["client"].as_str().expect("clients have ids");
    (client, id.to_owned())
}

/// A client and its id.
async fn client(node: &Node) -> (Client, String) {
    let mut client = Client::open(node).await;
    let connected = client.ask("connect", serde_json::json!({})).await;
    let id = connected["client"].as_str().expect("clients have ids");
    (client, id.to_owned())
}
