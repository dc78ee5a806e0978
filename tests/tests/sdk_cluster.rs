//! The official JavaScript SDK against three nodes over NATS, by every transport: which node it has does not matter.

use std::time::Duration;

use natter_tests::script::installed;
use natter_tests::{Cluster, script};
use tokio::process::Command;

const DEADLINE: Duration = Duration::from_secs(60);

macro_rules! promise {
    ($promise:ident, $($name:ident: $sdk:literal),+) => {
        mod $promise {
            $(#[tokio::test]
            async fn $name() {
                super::keep(stringify!($promise), $sdk).await;
            })+
        }
    };
}

promise!(
    every_node_goes_on_where_another_one_stopped,
    websocket: "centrifuge",
    websocket_protobuf: "centrifuge/build/protobuf",
    http_stream: "http_stream",
    sse: "sse"
);

promise!(commands_come_to_any_node, http_stream: "http_stream", sse: "sse");

/// Plays a scenario against a cluster of its own.
async fn keep(promise: &str, sdk: &str) {
    for needed in ["centrifuge", "ws"] {
        installed(&format!("tests/sdk/node_modules/{needed}/package.json"));
    }
    let mut cluster = Cluster::start(1, 3).await;
    let urls: Vec<_> = cluster
        .addresses()
        .iter()
        .map(|address| format!("ws://{address}/connection/websocket"))
        .collect();
    let mut play = Command::new("node");
    play.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/sdk"))
        .arg("--experimental-eventsource")
        .args(["js/scenarios.mjs", promise, &urls.join(","), sdk]);
    script::play(play, &mut cluster.nodes[0], DEADLINE).await;
}
