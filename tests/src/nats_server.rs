//! Real nats-servers on loopback with JetStream in a temporary folder: one, or a cluster; killed when dropped.
//!
//! Every connection to a server, of clients and of other servers, goes through a link, so a test can cut it or let it fall
//! silent. Only the monitoring ports are reached directly: they tell what a server believes while it is cut off.

mod config;
mod disk;
mod monitor;
mod server;

use std::ops::{Index, IndexMut};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use crate::links::{Link, Links, Way};
use crate::wait::until_some_within;
use config::Config;
use disk::Disk;
pub use server::NatsServer;

pub struct NatsServers {
    servers: Vec<NatsServer>,
    /// The folder of keys and accounts, if there are users.
    users: Option<PathBuf>,
    _folder: TempDir,
    // Dropped last, so that no server sees its connections end before it is killed.
    _links: Links,
}

/// What servers are to be started with.
pub struct Start {
    count: usize,
    users: Option<PathBuf>,
    more: String,
    disk_megabytes: Option<usize>,
}

/// How long a cluster may take to find its leaders after a fault: elections take several seconds each, and a server that was
/// cut off has been seen to need a minute and a half to catch up.
pub const HEALTH_DEADLINE: Duration = Duration::from_secs(180);

/// Between two questions of something that takes seconds.
const PAUSE: Duration = Duration::from_millis(50);

impl NatsServers {
    /// Starts one server, or a cluster of three, without users, and waits until all is well.
    pub async fn start(count: usize) -> Self {
        Self::with(count).start().await
    }

    pub fn with(count: usize) -> Start {
        Start {
            count,
            users: None,
            more: String::new(),
            disk_megabytes: None,
        }
    }

    /// The addresses of all servers, as nodes take them.
    pub fn urls(&self) -> String {
        let urls: Vec<_> = self.servers.iter().map(NatsServer::url).collect();
        urls.join(",")
    }

    /// The file of a user's key: `operator`, `node` or `moderator`. None: there are no users.
    pub fn key(&self, user: &str) -> Option<PathBuf> {
        Some(self.users.as_ref()?.join(format!("{user}.nk")))
    }

    pub fn iter(&self) -> impl Iterator<Item = &NatsServer> {
        self.servers.iter()
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut NatsServer> {
        self.servers.iter_mut()
    }

    pub fn len(&self) -> usize {
        self.servers.len()
    }

    pub fn is_empty(&self) -> bool {
        self.servers.is_empty()
    }

    /// Waits until every server runs, knows the others, and has all its streams up to date.
    pub async fn healthy(&self) {
        until_some_within(HEALTH_DEADLINE, PAUSE, "healthy nats-servers", async || {
            for server in &self.servers {
                let address = server.monitor_address()?;
                let routes = self.len() == 1
                    || monitor::routes(address).await?.len() == self.len() - 1
                        && monitor::meta_leader(address).await.is_some();
                (routes && monitor::is_healthy(address).await).then_some(())?;
            }
            Some(())
        })
        .await;
    }

    /// Waits until most servers agree on who leads `stream`, and returns its index.
    pub async fn leader(&self, stream: &str) -> usize {
        if self.len() == 1 {
            return 0;
        }
        let what = format!("a leader of {stream}");
        until_some_within(HEALTH_DEADLINE, PAUSE, &what, async || {
            let mut votes = vec![0; self.len()];
            for server in &self.servers {
                let Some(address) = server.monitor_address() else {
                    continue;
                };
                let leader = monitor::stream_leader(address, stream).await;
                let index = self
                    .servers
                    .iter()
                    .position(|it| Some(&it.name) == leader.as_ref());
                if let Some(index) = index {
                    votes[index] += 1;
                }
            }
            votes.iter().position(|votes| *votes > self.len() / 2)
        })
        .await
    }

    /// Waits until most servers agree that another one than `server` leads `stream`.
    pub async fn leads_no_more(&self, server: usize, stream: &str) {
        let what = format!("another leader of {stream}");
        until_some_within(HEALTH_DEADLINE, PAUSE, &what, async || {
            (self.leader(stream).await != server).then_some(())
        })
        .await;
    }

    /// A server that does not lead `stream`.
    pub async fn follower(&self, stream: &str) -> usize {
        (self.leader(stream).await + 1) % self.len()
    }

    /// Resets all connections between two servers once.
    pub fn cut(&self, one: usize, other: usize) {
        for link in self.between(one, other) {
            link.cut();
        }
    }

    /// Says what becomes of connections between two servers from now on.
    pub fn set_route(&self, one: usize, other: usize, way: Way) {
        for link in self.between(one, other) {
            link.set(way);
        }
    }

    /// Cuts a server off from the others while its clients reach it as before, or ends that with `Way::Open`.
    pub fn isolate(&self, server: usize, way: Way) {
        for other in 0..self.len() {
            if other != server {
                self.set_route(server, other, way);
            }
        }
    }

    fn between(&self, one: usize, other: usize) -> [&Link; 2] {
        [
            &self.servers[one].routes[other],
            &self.servers[other].routes[one],
        ]
    }
}

impl Index<usize> for NatsServers {
    type Output = NatsServer;

    fn index(&self, server: usize) -> &NatsServer {
        &self.servers[server]
    }
}

impl IndexMut<usize> for NatsServers {
    fn index_mut(&mut self, server: usize) -> &mut NatsServer {
        &mut self.servers[server]
    }
}

impl Start {
    /// Takes accounts, users and their keys from a folder that `chat-node nats users` has written.
    pub fn users(mut self, folder: &Path) -> Self {
        self.users = Some(folder.to_owned());
        self
    }

    /// Adds lines to every server's configuration.
    pub fn config(mut self, lines: &str) -> Self {
        self.more = lines.to_owned();
        self
    }

    /// Gives every server a disk of its own that a test can fill.
    pub fn disk_megabytes(mut self, megabytes: usize) -> Self {
        self.disk_megabytes = Some(megabytes);
        self
    }

    /// Starts the servers and waits until all is well.
    pub async fn start(self) -> NatsServers {
        let Self {
            count,
            users,
            more,
            disk_megabytes,
        } = self;
        let folder = TempDir::new().expect("there is a place for temporary files");
        let links = Links::new();
        let mut servers: Vec<_> = (0..count)
            .map(|index| {
                let name = format!("nats-{index}");
                let routes = (0..count).map(|_| links.add()).collect();
                NatsServer::new(name.clone(), folder.path().join(name), links.add(), routes)
            })
            .collect();
        for (index, server) in servers.iter().enumerate() {
            std::fs::create_dir(&server.folder).expect("the temporary folder can be written to");
            let accounts = users.as_ref().map(|users| {
                let copied = std::fs::copy(
                    users.join("accounts.conf"),
                    server.folder.join("accounts.conf"),
                );
                copied.expect("users come with accounts.conf");
                "./accounts.conf"
            });
            let others = servers.iter().filter(|other| other.name != server.name);
            let routes: Vec<_> = others.map(|to| to.routes[index].address).collect();
            let nowhere = &server.routes[index];
            nowhere.set(Way::Refused);
            let config = Config {
                name: &server.name,
                store: &server.store(),
                ports: &server.folder,
                routes: &routes,
                nowhere: nowhere.address,
                more: &more,
                accounts,
            };
            std::fs::write(server.folder.join("nats.conf"), config.text())
                .expect("the temporary folder can be written to");
        }
        for server in &mut servers {
            if let Some(megabytes) = disk_megabytes {
                let store = server.store();
                std::fs::create_dir(&store).expect("the temporary folder can be written to");
                server.disk = Some(Disk::mount(&store, megabytes));
            }
            server.restart().await;
        }
        let servers = NatsServers {
            servers,
            users,
            _folder: folder,
            _links: links,
        };
        servers.healthy().await;
        servers
    }
}
