//! A chat node as a process of its own, on ports that the system chooses, killed when dropped.

mod start;

use std::net::SocketAddr;
use std::process::ExitStatus;

use crate::metrics::{self, Metrics};
use crate::process::Process;
use crate::wait::until;

pub use crate::process::Signal;
pub use start::{Refusal, Start};

pub struct Node {
    start: Start,
    process: Process,
    /// Where clients connect.
    pub address: SocketAddr,
    pub admin: SocketAddr,
    /// Where backends call, if there is a key.
    pub api: Option<SocketAddr>,
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
        self.process.signal(signal);
    }

    /// Writes another text to the configuration file that the node was started with.
    pub fn rewrite_config(&self, yaml: &str) {
        self.start.rewrite_config(yaml);
    }

    /// Stops the process, and waits until none of its threads runs any more.
    pub async fn freeze(&self) {
        self.process.freeze().await;
    }

    /// Kills the process as `kill -9` does.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Kills the process, and starts it anew on the same ports.
    pub async fn restart(&mut self) {
        self.kill();
        let start = self.start.clone().on(self.address, self.admin);
        *self = start.start().await;
    }

    /// Waits until the process has ended.
    pub async fn exit(&mut self) -> ExitStatus {
        self.process.exit().await
    }

    /// Waits until a line of the log contains `text`.
    pub async fn logged(&self, text: &str) {
        self.process.logged(text).await;
    }

    pub fn log(&self) -> String {
        self.process.log.text()
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
