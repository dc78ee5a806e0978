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
#[path = "server_api/sessions.rs"]
mod sessions;

use natter_tests::api::{Api, Keys};
use natter_tests::{Client, Cluster, Node};

const KEY: &str = "test-api-key";

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

/// A client and its id.
async fn client(node: &Node) -> (Client, String) {
    let mut client = Client::open(node).await;
    let connected = client.ask("connect", serde_json::json!({})).await;
    let id = connected["client"].as_str().expect("clients have ids");
    (client, id.to_owned())
}
