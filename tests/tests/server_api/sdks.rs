//! What SDKs make of what a backend does with their sessions.

use std::time::Duration;

use natter_tests::script;
use natter_tests::sdk::Sdk;

use super::*;

const DEADLINE: Duration = Duration::from_secs(60);

macro_rules! promise {
    ($promise:ident, [$($sdk:ident),+]) => {
        mod $promise {
            use super::*;

            mod one_node {
                use super::*;

                $(#[tokio::test]
                async fn $sdk() {
                    let (mut node, apis, _files) = node_of_users().await;
                    keep(stringify!($promise), &Sdk::$sdk(), std::slice::from_mut(&mut node), &[apis]).await;
                })+
            }

            mod three_nodes {
                use super::*;

                $(#[tokio::test]
                async fn $sdk() {
                    let (mut cluster, apis, _files) = cluster_of_users(3).await;
                    keep(stringify!($promise), &Sdk::$sdk(), &mut cluster.nodes, &apis).await;
                })+
            }
        }
    };
}

promise!(
    who_is_put_into_a_room_recovers_it,
    [
        javascript,
        javascript_5_7_1,
        javascript_protobuf,
        http_stream,
        sse,
        python,
        go,
        go_protobuf
    ]
);

/// Plays a scenario with a backend that may call all nodes.
async fn keep(promise: &str, sdk: &Sdk, nodes: &mut [Node], apis: &[Api]) {
    let url = |node: &Node| format!("ws://{}/connection/websocket", node.address);
    let urls: Vec<_> = nodes.iter().map(url).collect();
    let mut play = sdk.plays(promise, &urls);
    let apis = apis.iter().map(|api| format!("http://{}/api", api.address));
    let apis: Vec<_> = apis.collect();
    play.env("NATTER_API", apis.join(","))
        .env("NATTER_API_KEY", KEY);
    script::play(play, &mut nodes[0], DEADLINE).await;
}
