//! Commands of the `chat-node` program that end by themselves.

use std::path::Path;
use std::process::Command;

use crate::binary::chat_node;
use crate::nats_server::HEALTH_DEADLINE;

/// How a command ended.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    /// Everything the command said, if it succeeded; else the test ends.
    pub fn succeeded(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.stdout
    }

    /// Why the command refused, with exit code 1; else the test ends.
    pub fn refused(self) -> String {
        assert_eq!(self.code, Some(1), "{self:?}");
        self.stderr
    }
}

/// Runs `chat-node` with these words and no environment of its own but `variables`.
pub async fn run_with(words: &[&str], variables: &[(&str, &str)]) -> Ended {
    let mut command = Command::new(chat_node());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("NATTER_") {
            command.env_remove(name);
        }
    }
    command.args(words).envs(variables.iter().copied());
    let mut command = tokio::process::Command::from(command);
    // It may wait for a cluster to find its leaders.
    let output = tokio::time::timeout(HEALTH_DEADLINE, command.kill_on_drop(true).output()).await;
    let output = output.unwrap_or_else(|_| panic!("{words:?} did not end in {HEALTH_DEADLINE:?}"));
    let output = output.expect("chat-node can be started");
    let text = |bytes| String::from_utf8(bytes).expect("chat-node writes UTF-8");
    Ended {
        code: output.status.code(),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

/// Runs `chat-node` with these words.
pub async fn run(words: &[&str]) -> Ended {
    run_with(words, &[]).await
}

/// Makes keys and accounts for so many shards in `folder`.
pub async fn make_users(folder: &Path, shards: u16) {
    let folder = folder.display().to_string();
    let shards = shards.to_string();
    let words = ["nats", "users", "--directory", &folder, "--shards", &shards];
    run(&words).await.succeeded();
}
