//! One nats-server as a process. It chooses its ports anew at each start; a link leads clients to it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};

use serde_json::Value;

use super::disk::Disk;
use super::monitor;
use crate::links::Link;
use crate::process::{Log, Process, Signal};
use crate::script::installed;
use crate::wait::until_some;

pub struct NatsServer {
    pub name: String,
    /// Holds the configuration file, the store and the file of ports.
    pub(super) folder: PathBuf,
    process: Option<Process>,
    /// What the store lies on, if not on the machine's own disk.
    pub(super) disk: Option<Disk>,
    /// Clients come this way.
    pub clients: Link,
    /// The server with that index comes this way; its own way leads nowhere.
    pub(super) routes: Vec<Link>,
    /// Of the last start.
    monitor: Option<SocketAddr>,
}

impl NatsServer {
    pub(super) fn new(name: String, folder: PathBuf, clients: Link, routes: Vec<Link>) -> Self {
        Self {
            name,
            folder,
            process: None,
            disk: None,
            clients,
            routes,
            monitor: None,
        }
    }

    pub(super) fn store(&self) -> PathBuf {
        self.folder.join("store")
    }

    /// Where clients connect.
    pub fn url(&self) -> String {
        format!("nats://{}", self.clients.address)
    }

    /// Starts the process on what its store holds, after killing the one that may still run.
    ///
    /// It need not be healthy yet: a cluster is only when most of its servers run.
    pub async fn restart(&mut self) {
        self.kill();
        let program = installed("target/tools/nats-server");
        let mut command = match &self.disk {
            Some(disk) => disk.command(&program),
            None => Command::new(program),
        };
        let mut child = command
            .arg("--config")
            .arg(self.folder.join("nats.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("nats-server can be started");
        let log = Log::of(child.stderr.take().expect("stderr is a pipe"));
        let process = self
            .process
            .insert(Process::new(self.name.clone(), child, log));
        let file = format!("nats-server_{}.ports", process.id());
        let file = self.folder.join(file);
        let ports: Value = until_some("the ports of a nats-server", async || {
            if let Some(status) = process.ended() {
                panic!("nats-server ended with {status}:\n{}", process.log.text());
            }
            serde_json::from_slice(&std::fs::read(&file).ok()?).ok()
        })
        .await;
        let address = |name: &str| -> Option<SocketAddr> {
            let url = ports[name][0].as_str()?;
            url.split_once("://")?.1.parse().ok()
        };
        self.monitor = address("monitoring");
        self.clients
            .lead_to(address("nats").expect("a server has a clients' port"));
        // A server that stands alone takes no routes.
        if let Some(cluster) = address("cluster") {
            for route in &self.routes {
                route.lead_to(cluster);
            }
        }
    }

    /// Kills the process as `kill -9` does.
    pub fn kill(&mut self) {
        if let Some(process) = &mut self.process {
            process.kill();
        }
        self.monitor = None;
    }

    /// Tells the process to end (SIGTERM), and waits until it has.
    pub async fn terminate(&mut self) -> ExitStatus {
        self.process().signal(Signal::Terminate);
        self.exit().await
    }

    /// Tells the process to hand over what it leads, to send its clients away and to end.
    pub fn lame_duck(&self) {
        self.process().signal(Signal::User2);
    }

    /// Waits until the process has ended.
    pub async fn exit(&mut self) -> ExitStatus {
        let process = self.process.as_mut().expect("the server was started");
        let status = process.exit().await;
        self.monitor = None;
        status
    }

    /// Stops the process where it is, until `thaw`.
    pub async fn freeze(&self) {
        self.process().freeze().await;
    }

    pub fn thaw(&self) {
        self.process().signal(Signal::Continue);
    }

    /// Removes all that a dead server has stored.
    pub fn wipe(&mut self) {
        assert!(self.monitor.is_none(), "{} still runs", self.name);
        let store = self.store();
        if store.exists() {
            std::fs::remove_dir_all(store).expect("a store can be removed");
        }
    }

    /// Takes all space that is left on the server's own disk.
    pub fn fill_disk(&self) {
        self.disk().fill();
    }

    /// Gives the disk back the space that `fill_disk` took.
    pub fn free_disk(&self) {
        self.disk().free();
    }

    fn disk(&self) -> &Disk {
        let disk = self.disk.as_ref();
        disk.expect("the server was started with a disk of its own")
    }

    /// All that the process of the last start has logged.
    pub fn log(&self) -> String {
        self.process().log.text()
    }

    /// Waits until the log of the last start contains `text`.
    pub async fn logged(&self, text: &str) {
        self.process().logged(text).await;
    }

    /// The body of `path` on the monitoring port, if the server runs and answers.
    pub async fn monitor(&self, path: &str) -> Option<Value> {
        monitor::ask(self.monitor?, path).await
    }

    /// The monitoring port, while the process runs.
    pub(super) fn monitor_address(&self) -> Option<SocketAddr> {
        self.monitor
    }

    fn process(&self) -> &Process {
        self.process.as_ref().expect("the server was started")
    }
}
