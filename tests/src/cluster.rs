//! A whole chat cluster on this machine: NATS servers with users and streams, and nodes that share them.

use std::net::SocketAddr;

use tempfile::TempDir;

use crate::nats_server::NatsServers;
use crate::node::{self, Node};
use crate::wait::until;
use crate::{NO_RATES, command, http};

pub struct Cluster {
    // Nodes end before the servers that they need.
    pub nodes: Vec<Node>,
    pub nats: NatsServers,
    pub shards: u16,
    _users: TempDir,
}

/// What a cluster is to be started with.
pub struct Start {
    servers: usize,
    nodes: usize,
    shards: u16,
    flags: Vec<String>,
    variables: Vec<(String, String)>,
    disk_megabytes: Option<usize>,
}

impl Cluster {
    /// Starts a cluster and waits until its nodes are ready.
    pub async fn start(servers: usize, nodes: usize) -> Self {
        Self::with(servers, nodes).start().await
    }

    pub fn with(servers: usize, nodes: usize) -> Start {
        Start {
            servers,
            nodes,
            shards: 8,
            flags: NO_RATES.map(str::to_owned).to_vec(),
            variables: Vec::new(),
            disk_megabytes: None,
        }
    }

    /// Where clients connect.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.nodes.iter().map(|node| node.address).collect()
    }

    /// The stream of a shard.
    pub fn stream(shard: u16) -> String {
        format!("C_{shard}")
    }

    /// Any of the streams.
    pub fn some_stream(&self) -> String {
        Self::stream(fastrand::u16(..self.shards))
    }

    /// Creates the streams, or checks and mends them.
    pub async fn init(&self, flags: &[&str]) {
        let (urls, shards) = (self.nats.urls(), self.shards.to_string());
        let replicas = if self.nats.len() == 1 { "1" } else { "3" };
        let key = self.nats.key("operator").expect("there are users");
        let key = key.display().to_string();
        let words = [
            "nats",
            "init",
            "--nats-url",
            &urls,
            "--nats-credentials",
            &key,
        ];
        let streams = ["--shards", &shards, "--replicas", replicas];
        let words = [&words[..], &streams, flags].concat();
        command::run(&words).await.succeeded();
    }

    /// How a node of this cluster is started. Flags win over what the cluster says.
    pub fn node(&self, number: usize, flags: &[impl AsRef<str>]) -> node::Start {
        let mut urls: Vec<_> = self.nats.iter().map(|it| it.url()).collect();
        // Each begins elsewhere.
        urls.rotate_left(number % self.nats.len());
        let key = self.nats.key("node").expect("there are users");
        let moderator = self.nats.key("moderator").expect("there are users");
        let flags: Vec<&str> = flags.iter().map(AsRef::as_ref).collect();
        Node::with(&flags)
            .env("NATTER_NATS_URL", &urls.join(","))
            .env("NATTER_NATS_CREDENTIALS", &key.display().to_string())
            .env(
                "NATTER_NATS_MODERATOR_CREDENTIALS",
                &moderator.display().to_string(),
            )
            .env("NATTER_SHARDS", &self.shards.to_string())
            .env("NATTER_NODE_NAME", &format!("node-{number}"))
    }

    /// Waits until every node is ready.
    pub async fn ready(&self) {
        for node in &self.nodes {
            ready(node).await;
        }
    }
}

/// Waits until a node says that it is ready.
pub async fn ready(node: &Node) {
    let what = format!("the node at {} to be ready", node.address);
    until(&what, async || {
        http::get(node.admin, "/readyz").await.status == 200
    })
    .await;
}

impl Start {
    /// Spreads rooms over so many streams.
    pub fn shards(mut self, shards: u16) -> Self {
        self.shards = shards;
        self
    }

    /// Starts every node with these flags too.
    pub fn flags(mut self, flags: &[&str]) -> Self {
        self.flags.extend(flags.iter().map(ToString::to_string));
        self
    }

    /// Starts every node with this variable in its environment.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Gives every NATS server a disk of its own that a test can fill.
    pub fn disk_megabytes(mut self, megabytes: usize) -> Self {
        self.disk_megabytes = Some(megabytes);
        self
    }

    pub async fn start(self) -> Cluster {
        let Self {
            servers,
            nodes: count,
            shards,
            flags,
            variables,
            disk_megabytes,
        } = self;
        let users = TempDir::new().expect("there is a place for temporary files");
        command::make_users(users.path(), shards).await;
        let mut nats = NatsServers::with(servers).users(users.path());
        if let Some(megabytes) = disk_megabytes {
            nats = nats.disk_megabytes(megabytes);
        }
        let nats = nats.start().await;
        let mut cluster = Cluster {
            nodes: Vec::new(),
            nats,
            shards,
            _users: users,
        };
        cluster.init(&[]).await;
        for number in 0..count {
            let mut node = cluster.node(number, &flags);
            for (name, value) in &variables {
                node = node.env(name, value);
            }
            let node = node.start().await;
            cluster.nodes.push(node);
        }
        cluster.ready().await;
        cluster
    }
}
