//! What a server says of itself on its monitoring port. A server that does not answer says nothing.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const TIMEOUT: Duration = Duration::from_secs(2);

/// The body of `path`, if the server answers with 200.
pub(super) async fn ask(address: SocketAddr, path: &str) -> Option<Value> {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await.ok()?;
        // As HTTP 1.0 the answer has no chunks and ends with the connection.
        let request = format!("GET {path} HTTP/1.0\r\n\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.ok()?;
        String::from_utf8(answer).ok()
    };
    let answer = tokio::time::timeout(TIMEOUT, exchange).await.ok()??;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    if head.split(' ').nth(1) != Some("200") {
        return None;
    }
    serde_json::from_str(body).ok()
}

/// Is all well with the server, and is every stream of it up to date?
pub(super) async fn is_healthy(address: SocketAddr) -> bool {
    ask(address, "/healthz").await.is_some()
}

/// The name of the cluster's meta leader, as the server knows it.
pub(super) async fn meta_leader(address: SocketAddr) -> Option<String> {
    let state = ask(address, "/jsz").await?;
    name(&state["meta_cluster"]["leader"])
}

/// The name of the leader of `stream`, as the server knows it.
pub(super) async fn stream_leader(address: SocketAddr, stream: &str) -> Option<String> {
    let state = ask(address, "/jsz?accounts=true&streams=true").await?;
    let accounts = state["account_details"].as_array()?.iter();
    let mut streams = accounts
        .flat_map(|account| account["stream_detail"].as_array())
        .flatten();
    let found = streams.find(|detail| detail["name"] == stream)?;
    name(&found["cluster"]["leader"])
}

/// The names of the servers that the server has routes to.
pub(super) async fn routes(address: SocketAddr) -> Option<Vec<String>> {
    let state = ask(address, "/routez").await?;
    let routes = state["routes"].as_array()?.iter();
    let mut names: Vec<_> = routes
        .filter_map(|route| name(&route["remote_name"]))
        .collect();
    names.sort();
    names.dedup();
    Some(names)
}

fn name(value: &Value) -> Option<String> {
    value
        .as_str()
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
}
