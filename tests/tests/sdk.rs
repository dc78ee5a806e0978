//! Official Centrifuge SDKs, unmodified, against a real node: what a client's author can rely on.
//!
//! The promises are kept or broken in `tests/sdk`, one scenario each, in the SDK's own language. Here the node is
//! started, and done to what the scenario asks for on its stdout.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use natter_tests::Node;
use natter_tests::node::Signal;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{ChildStdin, Command};

/// One test for each SDK that a promise is made to, with the flags that make the node show it.
macro_rules! promise {
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

promise!(connects_with_name_and_data);
promise!(both_clients_see_exactly_what_was_sent);
promise!(everybody_sees_one_order);
promise!(many_rooms_are_entered_at_once);
promise!(send_harms_nothing, [javascript, javascript_5_7_1], []);
promise!(pretty_printed_data_breaks_no_reader);

promise!(errors_have_their_codes);
promise!(room_129_is_refused);
promise!(
    publish_rate_is_limited,
    ["--publishes-per-second-per-session", "50"]
);

promise!(history_goes_both_ways);
promise!(long_history_comes_in_pages);
promise!(resubscribe_recovers);
// 5.7.1 delivers what is still on its way to the old subscription once more.
promise!(resubscribe_under_traffic_recovers, [javascript, python], []);
promise!(offline_tab_catches_up);

promise!(cut_network_costs_nothing);
promise!(
    cuts_under_traffic_lose_nothing,
    [
        "--history-max-messages",
        "100000",
        "--history-max-bytes",
        "67108864"
    ]
);
promise!(large_recovery_is_complete);
promise!(silent_network_costs_nothing, FAST_PINGS);
promise!(many_rooms_with_tokens_come_back);

promise!(pings_keep_the_connection, FAST_PINGS);
promise!(killed_node_comes_back);
promise!(lost_history_has_the_state_loaded_again);
promise!(shutdown_says_so_and_loses_no_client);
promise!(frozen_node_loses_nothing, FAST_PINGS);
promise!(full_node_lets_in_later, ["--connections", "2"]);
promise!(
    slow_reader_is_told_and_recovers,
    [javascript, javascript_5_7_1],
    ["--history-max-bytes", "33554432"]
);

/// Far longer than any scenario takes on a busy machine.
const DEADLINE: Duration = Duration::from_secs(60);

/// How scenarios for an SDK are run.
struct Sdk {
    program: PathBuf,
    script: &'static str,
    /// What the script gets beside the scenario and the URL.
    package: Option<&'static str>,
}

impl Sdk {
    fn javascript() -> Self {
        Self::npm("centrifuge")
    }

    fn javascript_5_7_1() -> Self {
        Self::npm("centrifuge-571")
    }

    fn npm(package: &'static str) -> Self {
        for needed in [package, "ws"] {
            installed(&format!("tests/sdk/node_modules/{needed}/package.json"));
        }
        Self {
            program: "node".into(),
            script: "js/scenarios.mjs",
            package: Some(package),
        }
    }

    fn python() -> Self {
        Self {
            program: installed("target/sdk-venv/bin/python"),
            script: "py/scenarios.py",
            package: None,
        }
    }
}

fn installed(path: &str) -> PathBuf {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    assert!(
        file.exists(),
        "{path} is missing: `make test` installs the SDKs"
    );
    file
}

/// Plays a scenario against a node of its own.
async fn keep(promise: &str, sdk: &Sdk, flags: &[&str]) {
    let mut node = Node::with(flags)
        .env("NATTER_PUBLISHES_PER_SECOND_PER_SESSION", "1000000")
        .env("NATTER_PUBLISHES_PER_SECOND_PER_ROOM", "1000000")
        .start()
        .await;
    let mut script = Command::new(&sdk.program)
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/sdk"))
        .args([sdk.script, promise])
        .arg(format!("ws://{}/connection/websocket", node.address))
        .args(sdk.package)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|error| panic!("{} cannot be started: {error}", sdk.program.display()));
    let stdin = script.stdin.take().expect("stdin is a pipe");
    let stdout = script.stdout.take().expect("stdout is a pipe");
    let mut stderr = script.stderr.take().expect("stderr is a pipe");

    let mut said = String::new();
    let mut complained = String::new();
    let played = async {
        let read = stderr.read_to_string(&mut complained);
        let (read, ()) = tokio::join!(
            read,
            obey(BufReader::new(stdout), stdin, &mut node, &mut said)
        );
        read.expect("a script writes UTF-8");
        script.wait().await.expect("the script is a child")
    };
    let status = tokio::time::timeout(DEADLINE, played).await;
    match status {
        Ok(status) if status.success() => {}
        Ok(status) => panic!("the scenario ended with {status}:\n{said}{complained}"),
        Err(_) => panic!("the scenario did not end within {DEADLINE:?}:\n{said}{complained}"),
    }
}

/// Does to the node what the script asks for, until the script's stdout ends.
async fn obey(
    stdout: BufReader<tokio::process::ChildStdout>,
    mut stdin: ChildStdin,
    node: &mut Node,
    said: &mut String,
) {
    let mut lines = stdout.lines();
    let mut terminated = false;
    while let Some(line) = lines.next_line().await.expect("a script writes UTF-8") {
        match line.as_str() {
            "KILL" => node.kill(),
            "TERM" => {
                node.signal(Signal::Terminate);
                terminated = true;
            }
            "STOP" => node.signal(Signal::Stop),
            "CONT" => node.signal(Signal::Continue),
            "RESTART" => {
                if terminated {
                    let status = node.exit().await;
                    assert!(status.success(), "the node ended with {status}");
                }
                node.restart().await;
            }
            _ => {
                said.push_str(&line);
                said.push('\n');
                continue;
            }
        }
        let answered = stdin.write_all(b"DONE\n").await;
        answered.expect("the script waits for the answer");
    }
}
