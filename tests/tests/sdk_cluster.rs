//! The official SDKs against three nodes over NATS, by every transport: which node they have does not matter.

use std::time::Duration;

use natter_tests::sdk::Sdk;
use natter_tests::{Cluster, script};

const DEADLINE: Duration = Duration::from_secs(60);

macro_rules! promise {
    ($promise:ident, with tokens, $flags:expr) => {
        promise!($promise, [javascript, http_stream, sse, python, go], $flags);
    };
    ($promise:ident, [$($sdk:ident),+], $flags:expr) => {
        mod $promise {
            use super::*;

            $(#[tokio::test]
            async fn $sdk() {
                keep(stringify!($promise), &Sdk::$sdk(), &$flags).await;
            })+
        }
    };
    ($promise:ident, [$($sdk:ident),+]) => {
        promise!($promise, [$($sdk),+], []);
    };
}

promise!(
    every_node_goes_on_where_another_one_stopped,
    [javascript, javascript_protobuf, http_stream, sse, go]
);
promise!(commands_come_to_any_node, [http_stream, sse]);

/// Users have tokens, and some rooms need one.
const TOKENS: [&str; 2] = [
    "--jwt-key-file",
    concat!(env!("CARGO_MANIFEST_DIR"), "/sdk/secret.txt"),
];
const SHORT_GRACE: [&str; 4] = [TOKENS[0], TOKENS[1], "--expiry-grace", "1s"];

promise!(a_token_names_its_user, with tokens, TOKENS);
promise!(wrong_tokens_end_for_good, with tokens, TOKENS);
promise!(an_expired_token_is_replaced, with tokens, TOKENS);
promise!(sessions_and_stays_are_refreshed, with tokens, SHORT_GRACE);
promise!(who_refreshes_too_late_comes_back, with tokens, SHORT_GRACE);
promise!(given_rooms_are_joined_and_recovered, with tokens, TOKENS);

/// Plays a scenario against a cluster of its own.
async fn keep(promise: &str, sdk: &Sdk, flags: &[&str]) {
    let classes = concat!(env!("CARGO_MANIFEST_DIR"), "/sdk/classes.yaml");
    let cluster = Cluster::with(1, 3).flags(flags);
    let mut cluster = cluster.env("NATTER_CONFIG", classes).start().await;
    let urls: Vec<_> = cluster
        .addresses()
        .iter()
        .map(|address| format!("ws://{address}/connection/websocket"))
        .collect();
    let play = sdk.plays(promise, &urls);
    script::play(play, &mut cluster.nodes[0], DEADLINE).await;
}
