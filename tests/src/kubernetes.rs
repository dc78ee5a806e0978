//! A real Kubernetes, the one that KUBECONFIG names: `make e2e` starts one, or is given one.
//!
//! Everything goes by `kubectl` and `helm`, as a user would do it. Each test has a namespace of its own, in which pods must satisfy
//! the Pod Security Standard *restricted*; when the test fails, what was in it is printed.

pub mod chat_service;
mod client_pod;
mod entrances;
pub mod external_nats;
pub mod faults;
mod kill;
mod machine;
mod namespace;
pub mod operator;
pub mod pretended;
pub mod servers;

use std::ffi::OsStr;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::wait::until_some_within;

pub use client_pod::ClientPod;
pub use kill::kill_9;
pub use machine::Machine;
pub use namespace::Namespace;

/// How long anything may take that Kubernetes does: pulling, scheduling, starting, rolling out.
pub const DEADLINE: Duration = Duration::from_secs(180);

/// Pause between two questions to the API server.
pub const PAUSE: Duration = Duration::from_millis(200);

/// What a command said, and whether it succeeded.
#[derive(Debug)]
pub struct Said {
    pub ok: bool,
    pub stdout: String,
    pub stderr: String,
}

impl Said {
    /// What it wrote to stdout, if it succeeded; else the test ends.
    pub fn succeeded(self) -> String {
        assert!(self.ok, "{self:?}");
        self.stdout
    }

    /// What it complained of, if it failed; else the test ends.
    pub fn refused(self) -> String {
        assert!(!self.ok, "{self:?}");
        self.stderr
    }
}

/// Runs a program to its end, with `input` on its stdin.
pub async fn run(program: &str, words: &[impl AsRef<OsStr>], input: &str) -> Said {
    let mut child = Command::new(program)
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|error| panic!("{program} cannot be started: {error}; run `make e2e`"));
    let mut stdin = child.stdin.take().expect("stdin is a pipe");
    let ended = async {
        // A program that refuses its flags does not read.
        let _ = stdin.write_all(input.as_bytes()).await;
        drop(stdin);
        child.wait_with_output().await.expect("it is a child")
    };
    let output = tokio::time::timeout(DEADLINE, ended).await;
    let output = output.unwrap_or_else(|_| panic!("{program} did not end within {DEADLINE:?}"));
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Said {
        ok: output.status.success(),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

/// Runs `kubectl`.
pub async fn kubectl(words: &[&str]) -> Said {
    assert!(
        std::env::var_os("KUBECONFIG").is_some(),
        "this test needs a Kubernetes: `make e2e` starts one, `KUBECONFIG=… make e2e` takes yours"
    );
    run("kubectl", words, "").await
}

/// What `kubectl get -o json` shows.
pub fn parsed(json: &str) -> Value {
    serde_json::from_str(json)
        .unwrap_or_else(|error| panic!("kubectl wrote no JSON: {error}: {json}"))
}

/// Asks `check` until it says true.
pub async fn until(what: &str, mut check: impl AsyncFnMut() -> bool) {
    until_some(what, async || check().await.then_some(())).await;
}

/// Asks `check` until it has an answer.
pub async fn until_some<T>(what: &str, check: impl AsyncFnMut() -> Option<T>) -> T {
    until_some_within(DEADLINE, PAUSE, what, check).await
}
