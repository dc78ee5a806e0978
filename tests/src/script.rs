//! Scenarios in other languages: a script plays one against a node, and says on its stdout what must happen to the node.
//!
//! `KILL`, `TERM`, `STOP`, `CONT`, `RESTART` on a line of their own are done and answered by the line `DONE`.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{ChildStdin, ChildStdout, Command};

use crate::node::{Node, Signal};

/// Runs `script` to its end, which must be a success and come within `deadline`.
pub async fn play(mut script: Command, node: &mut Node, deadline: Duration) {
    let mut script = script
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|error| panic!("{:?} cannot be started: {error}", script.as_std()));
    let stdin = script.stdin.take().expect("stdin is a pipe");
    let stdout = script.stdout.take().expect("stdout is a pipe");
    let mut stderr = script.stderr.take().expect("stderr is a pipe");

    let mut said = String::new();
    let mut complained = String::new();
    let played = async {
        let read = stderr.read_to_string(&mut complained);
        let (read, ()) = tokio::join!(read, obey(BufReader::new(stdout), stdin, node, &mut said));
        read.expect("a script writes UTF-8");
        script.wait().await.expect("the script is a child")
    };
    let status = tokio::time::timeout(deadline, played).await;
    match status {
        Ok(status) if status.success() => {}
        Ok(status) => panic!("the scenario ended with {status}:\n{said}{complained}"),
        Err(_) => panic!("the scenario did not end within {deadline:?}:\n{said}{complained}"),
    }
}

/// A file of the checkout that `make test` puts there.
pub fn installed(path: &str) -> PathBuf {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    assert!(file.exists(), "{path} is missing: `make test` installs it");
    file
}

/// Does to the node what the script asks for, until the script's stdout ends.
async fn obey(
    stdout: BufReader<ChildStdout>,
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
