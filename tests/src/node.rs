//! A chat node as a process of its own, on ports that the system chooses, killed when dropped.

mod log;
mod start;

use std::net::SocketAddr;
use std::process::{Child, ExitStatus};

use crate::metrics::{self, Metrics};
use crate::wait::{until, until_some};

use log::Log;
pub use start::{Refusal, Start};

pub struct Node {
    start: Start,
    process: Child,
    log: Log,
    /// Where clients connect.
    pub address: SocketAddr,
    pub admin: SocketAddr,
}

/// Signals that tests send to nodes.
#[derive(Clone, Copy, Debug)]
pub enum Signal {
    Terminate,
    /// Stops the process where it is, until `Continue`.
    Stop,
    Continue,
}

impl Node {
    /// Starts a node with extra flags and waits until it is ready.
    pub async fn start(flags: &[&str]) -> Self {
        Self::with(flags).start().await
    }

    /// What a node is to be started with, for more than flags.
    pub fn with(flags: &[&str]) -> Start {
        Start::new(flags)
    }

    pub fn signal(&self, signal: Signal) {
        let number = match signal {
            Signal::Terminate => libc::SIGTERM,
            Signal::Stop => libc::SIGSTOP,
            Signal::Continue => libc::SIGCONT,
        };
        let pid = self.process.id() as libc::pid_t;
        #[expect(unsafe_code, reason = "std sends no signal but SIGKILL")]
        // SAFETY: kill takes two numbers; the child has not been waited for, so the pid is its own.
        let result = unsafe { libc::kill(pid, number) };
        assert_eq!(result, 0, "{signal:?} could not be sent");
    }

    /// Stops the process, and waits until none of its threads runs any more.
    pub async fn freeze(&self) {
        self.signal(Signal::Stop);
        let tasks = format!("/proc/{}/task", self.process.id());
        let is_stopped = |task: std::fs::DirEntry| {
            let status = std::fs::read_to_string(task.path().join("status")).unwrap_or_default();
            status.contains("State:\tT")
        };
        until("all threads to stand still", async || {
            let tasks = std::fs::read_dir(&tasks).expect("the process is there");
            tasks.flatten().all(is_stopped)
        })
        .await;
    }

    /// Kills the process as `kill -9` does.
    pub fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// Kills the process, and starts it anew on the same ports.
    pub async fn restart(&mut self) {
        self.kill();
        let start = self.start.clone().on(self.address, self.admin);
        *self = start.start().await;
    }

    /// Waits until the process has ended.
    pub async fn exit(&mut self) -> ExitStatus {
        let process = &mut self.process;
        until_some("the node's end", async || {
            process.try_wait().expect("the process is a child")
        })
        .await
    }

    /// Waits until a line of the log contains `text`.
    pub async fn logged(&self, text: &str) {
        let log = &self.log;
        until(&format!("'{text}' in the log"), async || {
            log.text().contains(text)
        })
        .await;
    }

    pub fn log(&self) -> String {
        self.log.text()
    }

    pub async fn metrics(&self) -> Metrics {
        metrics::scrape(self.admin).await
    }

    /// One series now; 0 if it is not there yet.
    pub async fn metric(&self, series: &str) -> f64 {
        self.metrics().await.get(series).unwrap_or(0.0)
    }

    /// Waits until a series has a value.
    pub async fn metric_becomes(&self, series: &str, value: f64) {
        let what = format!("{series} to become {value}");
        until(&what, async || self.metric(series).await == value).await;
    }

    /// Memory that the process takes now, in bytes.
    pub fn resident_bytes(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id()));
        let status = status.expect("the process runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<usize>().ok());
        kilobytes.expect("the kernel says what a process takes") * 1024
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!(
                "--- log of the node at {} ---\n{}---",
                self.address,
                self.log.text()
            );
        }
    }
}
