//! `cent` judges what every method answers.

use std::process::Stdio;
use std::time::Duration;

use natter_tests::script::installed;
use tokio::process::Command;

use super::*;

const DEADLINE: Duration = Duration::from_secs(120);

/// Runs the script against nodes, each with its URL for clients and for backends.
async fn judge(nodes: &[&Node]) {
    let mut script = Command::new(installed("target/sdk-venv/bin/python"));
    script
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/sdk"))
        .args(["py/server_api.py", KEY])
        .stdin(Stdio::null())
        .kill_on_drop(true);
    for node in nodes {
        let api = node.api.expect("the node's server API is on");
        script.arg(format!("ws://{}/connection/websocket", node.address));
        script.arg(format!("http://{api}/api"));
    }
    let output = tokio::time::timeout(DEADLINE, script.output()).await;
    let output = output.expect("the script ends in time").expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}

#[tokio::test]
async fn cent_is_content_with_one_node() {
    let (node, _api, _keys) = node().await;
    judge(&[&node]).await;
}

#[tokio::test]
async fn cent_is_content_with_three_nodes() {
    let (cluster, _apis, _keys) = cluster(3).await;
    judge(&cluster.nodes.iter().collect::<Vec<_>>()).await;
}
