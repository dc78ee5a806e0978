//! Official Centrifuge SDKs, unmodified, against a real node: what a client's author can rely on.
//!
//! The promises are kept or broken in `tests/sdk`, one scenario each, in the SDK's own language. Here the node is
//! started, and done to what the scenario asks for on its stdout.

use std::time::Duration;

use natter_tests::sdk::Sdk;
use natter_tests::{Node, script};

/// One test for each SDK that a promise is made to, with the flags that make the node show it.
macro_rules! promise {
    ($promise:ident, in every way but go, $flags:expr) => {
        promise!(
            $promise,
            [
                javascript, javascript_5_7_1, javascript_protobuf, http_stream, http_stream_protobuf, sse, python,
                python_protobuf
            ],
            $flags
        );
    };
    ($promise:ident, in every way but go) => {
        promise!($promise, in every way but go, []);
    };
    ($promise:ident, in every way, $flags:expr) => {
        promise!(
            $promise,
            [
                javascript, javascript_5_7_1, javascript_protobuf, http_stream, http_stream_protobuf, sse, python,
                python_protobuf, go, go_protobuf
            ],
            $flags
        );
    };
    ($promise:ident, in every way) => {
        promise!($promise, in every way, []);
    };
    ($promise:ident, with tokens, $flags:expr) => {
        promise!(
            $promise,
            [javascript, javascript_5_7_1, http_stream, sse, python, go, go_protobuf],
            $flags
        );
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
    ($promise:ident, $flags:expr) => {
        promise!($promise, [javascript, javascript_5_7_1, python], $flags);
    };
    ($promise:ident) => {
        promise!($promise, []);
    };
}

const FAST_PINGS: [&str; 4] = ["--ping-interval", "1s", "--pong-timeout", "900ms"];

promise!(
    connects_with_name_and_data,
    [javascript, javascript_5_7_1, python, go, go_protobuf],
    []
);
promise!(both_clients_see_exactly_what_was_sent, in every way);
promise!(everybody_sees_one_order, in every way);
promise!(many_rooms_are_entered_at_once);
promise!(send_harms_nothing, [javascript, javascript_5_7_1], []);
promise!(pretty_printed_data_breaks_no_reader);

promise!(errors_have_their_codes, in every way);
// Leaving one room for another takes two commands, which over HTTP may overtake each other.
promise!(
    room_129_is_refused,
    [
        javascript,
        javascript_5_7_1,
        javascript_protobuf,
        python,
        python_protobuf
    ],
    []
);
promise!(
    publish_rate_is_limited,
    ["--publishes-per-second-per-session", "50"]
);

promise!(presence_and_its_numbers, in every way);
promise!(joins_and_leaves_are_events, in every way);

promise!(history_goes_both_ways, in every way);
promise!(long_history_comes_in_pages, in every way but go);
promise!(resubscribe_recovers, in every way);
// 5.7.1 delivers what is still on its way to the old subscription once more.
promise!(resubscribe_under_traffic_recovers, [javascript, python], []);
promise!(offline_tab_catches_up, in every way but go);

promise!(cut_network_costs_nothing, in every way);
promise!(
    cuts_under_traffic_lose_nothing,
    [javascript, javascript_5_7_1, python, go, go_protobuf],
    [
        "--history-max-messages",
        "100000",
        "--history-max-bytes",
        "67108864"
    ]
);
promise!(large_recovery_is_complete, in every way);
promise!(silent_network_costs_nothing, in every way, FAST_PINGS);
promise!(many_rooms_with_tokens_come_back);

promise!(
    pings_keep_the_connection,
    [
        javascript,
        javascript_5_7_1,
        javascript_protobuf,
        python,
        python_protobuf,
        go,
        go_protobuf
    ],
    FAST_PINGS
);
promise!(
    pings_keep_a_stream,
    [http_stream, http_stream_protobuf, sse],
    FAST_PINGS
);
promise!(killed_node_comes_back, in every way);
promise!(lost_history_has_the_state_loaded_again, in every way but go);
promise!(shutdown_says_so_and_loses_no_client, in every way);
promise!(frozen_node_loses_nothing, in every way but go, FAST_PINGS);
promise!(full_node_lets_in_later, ["--connections", "2"]);
promise!(
    slow_reader_is_told_and_recovers,
    [javascript, javascript_5_7_1, javascript_protobuf],
    ["--history-max-bytes", "33554432"]
);

promise!(
    a_proxy_without_upgrades_is_passed_by_http_stream,
    [fallback],
    []
);
promise!(
    a_proxy_without_upgrades_and_streamed_posts_is_passed_by_sse,
    [fallback],
    []
);
/// Users have tokens, and some rooms need one.
const TOKENS: [&str; 2] = [
    "--jwt-key-file",
    concat!(env!("CARGO_MANIFEST_DIR"), "/sdk/secret.txt"),
];
const SHORT_GRACE: [&str; 4] = [TOKENS[0], TOKENS[1], "--expiry-grace", "1s"];
const CLASSES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/sdk/classes.yaml");

promise!(a_token_names_its_user, with tokens, TOKENS);
promise!(wrong_tokens_end_for_good, with tokens, TOKENS);
promise!(an_expired_token_is_replaced, with tokens, TOKENS);
promise!(sessions_and_stays_are_refreshed, with tokens, SHORT_GRACE);
promise!(
    a_stale_refresh_is_tried_again,
    [javascript, http_stream, sse, python],
    TOKENS
);
promise!(who_refreshes_too_late_comes_back, with tokens, SHORT_GRACE);
promise!(
    a_stay_without_refresh_is_taken_up_again,
    [javascript, http_stream, sse, python],
    SHORT_GRACE
);
promise!(given_rooms_are_joined_and_recovered, with tokens, TOKENS);

/// Far longer than any scenario takes on a busy machine.
const DEADLINE: Duration = Duration::from_secs(60);

/// Plays a scenario against a node of its own.
async fn keep(promise: &str, sdk: &Sdk, flags: &[&str]) {
    let mut node = Node::with(flags)
        .env("NATTER_PUBLISHES_PER_SECOND_PER_SESSION", "1000000")
        .env("NATTER_PUBLISHES_PER_SECOND_PER_ROOM", "1000000")
        .env("NATTER_CONFIG", CLASSES)
        .start()
        .await;
    let url = format!("ws://{}/connection/websocket", node.address);
    script::play(sdk.plays(promise, &[url]), &mut node, DEADLINE).await;
}
