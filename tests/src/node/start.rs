//! What a node is started with, and the two ways that can end: it is ready, or it says why not.

use std::io::Read;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::Arc;

use serde_json::Value;
use tempfile::TempDir;

use crate::binary::chat_node;
use crate::process::{Log, Process};
use crate::wait::until_some;

use super::Node;

#[derive(Clone)]
pub struct Start {
    flags: Vec<String>,
    environment: Vec<(String, String)>,
    /// The folder of the configuration file.
    folder: Option<Arc<TempDir>>,
    wrapper: Vec<String>,
}

const CONFIG: &str = "natter.yaml";

/// The end of a node that could not start.
#[derive(Debug)]
pub struct Refusal {
    pub code: Option<i32>,
    pub stderr: String,
}

impl Start {
    pub(super) fn new(flags: &[&str]) -> Self {
        // As variables, so that a test's flags win.
        let defaults = [
            ("NATTER_LISTEN", "127.0.0.1:0"),
            ("NATTER_ADMIN_LISTEN", "127.0.0.1:0"),
            ("NATTER_LOG_FORMAT", "json"),
            ("NATTER_DRAIN_ACCEPT", "0s"),
        ];
        Self {
            flags: flags.iter().map(ToString::to_string).collect(),
            environment: defaults
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .to_vec(),
            folder: None,
            wrapper: Vec::new(),
        }
    }

    /// Sets an environment variable.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Writes `yaml` to a file and names it with `--config`.
    pub fn config(mut self, yaml: &str) -> Self {
        let folder = TempDir::new().expect("there is a place for temporary files");
        let file = folder.path().join(CONFIG);
        self.flags
            .extend(["--config".to_owned(), file.display().to_string()]);
        self.folder = Some(Arc::new(folder));
        self.rewrite_config(yaml);
        self
    }

    /// Writes another text to the file of `config`, all at once.
    pub(super) fn rewrite_config(&self, yaml: &str) {
        let folder = self.folder.as_ref().expect("the node has a file");
        let (new, file) = (folder.path().join("new"), folder.path().join(CONFIG));
        std::fs::write(&new, yaml).expect("the temporary folder can be written to");
        std::fs::rename(new, file).expect("the temporary folder can be written to");
    }

    /// Starts the node by another program that takes its command line, such as `prlimit`.
    pub fn under(mut self, wrapper: &[&str]) -> Self {
        self.wrapper = wrapper.iter().map(ToString::to_string).collect();
        self
    }

    pub(super) fn on(self, address: SocketAddr, admin: SocketAddr) -> Self {
        self.env("NATTER_LISTEN", &address.to_string())
            .env("NATTER_ADMIN_LISTEN", &admin.to_string())
    }

    /// Starts the node and waits until it is ready.
    pub async fn start(self) -> Node {
        let (stdout, node) = self.listening().await;
        let what = format!("the node at {} to say that it is ready", node.address);
        let port = until_some(&what, async || port(&stdout.text())).await;
        assert_eq!(
            port,
            node.address.port(),
            "what is printed and what is logged differ"
        );
        node
    }

    /// Starts the node and waits until it listens: it may have to wait for others to become ready.
    pub async fn waiting(self) -> Node {
        self.listening().await.1
    }

    async fn listening(self) -> (Log, Node) {
        let mut process = self.command().spawn().expect("the node can be started");
        let stdout = Log::of(process.stdout.take().expect("stdout is a pipe"));
        let log = Log::of(process.stderr.take().expect("stderr is a pipe"));
        let listening = until_some("a node that listens", async || {
            if let Ok(Some(status)) = process.try_wait() {
                panic!("the node ended with {status}:\n{}", log.text());
            }
            addresses(&log.text())
        });
        let (address, admin, api) = listening.await;
        let node = Node {
            start: self,
            process: Process::new(format!("the node at {address}"), process, log),
            address,
            admin,
            api,
        };
        (stdout, node)
    }

    /// Starts the node and waits until it has ended, which it must do by itself.
    pub async fn refused(self) -> Refusal {
        let mut process = self.command().spawn().expect("the node can be started");
        let mut stderr = process.stderr.take().expect("stderr is a pipe");
        let status = until_some("the end of a node that cannot start", async || {
            process.try_wait().expect("the process is a child")
        });
        let code = status.await.code();
        let mut text = String::new();
        stderr
            .read_to_string(&mut text)
            .expect("the node writes UTF-8");
        Refusal { code, stderr: text }
    }

    fn command(&self) -> Command {
        let mut words = self.wrapper.iter().map(String::as_str);
        let mut command = match words.next() {
            Some(wrapper) => {
                let mut command = Command::new(wrapper);
                command.args(words).arg(chat_node());
                command
            }
            None => Command::new(chat_node()),
        };
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("NATTER_") {
                command.env_remove(name);
            }
        }
        command
            .args(&self.flags)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }
}

/// The port in `Natter is ready: open http://localhost:PORT in a browser …`.
fn port(stdout: &str) -> Option<u16> {
    let rest = stdout.split_once("Natter is ready: open http://")?.1;
    let address = rest.split_once(" in a browser")?.0;
    address.rsplit_once(':')?.1.parse().ok()
}

/// The addresses in the event that says where the node listens, the server API's if it is on.
fn addresses(log: &str) -> Option<(SocketAddr, SocketAddr, Option<SocketAddr>)> {
    log.lines().find_map(|line| {
        let event: Value = serde_json::from_str(line).ok()?;
        let address = |name| event[name].as_str()?.parse().ok();
        Some((address("address")?, address("admin")?, address("api")))
    })
}
