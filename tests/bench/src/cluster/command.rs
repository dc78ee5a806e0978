//! What bench.py may ask for: one JSON object per line, named by `do`.

use std::net::SocketAddr;

use serde::Deserialize;

#[derive(Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub(crate) enum Command {
    /// Opens both ways through a cluster: publishers and a reader at its nodes, and a client of its NATS server.
    Open(Places),
    /// Sends messages one way for a while.
    Slice(SlicePlan),
    /// Publishes without nodes as fast as acknowledgements come.
    Flood(FloodPlan),
    /// Connects members to nodes.
    Gather(GatherPlan),
    /// Publishes to the members' rooms until all of them have all, whatever nodes are killed meanwhile.
    Flow(FlowPlan),
}

#[derive(Deserialize)]
pub(crate) struct Places {
    /// The node with the publishers.
    pub(crate) publish_at: SocketAddr,
    /// The node with the reader.
    pub(crate) read_at: SocketAddr,
    /// As many rooms as publishers; the reader is in all of them.
    pub(crate) rooms: u32,
    /// NATS servers: bare publishes go to the first, bare deliveries come from the last.
    pub(crate) nats: Vec<SocketAddr>,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Way {
    Nodes,
    Bare,
}

#[derive(Deserialize)]
pub(crate) struct SlicePlan {
    pub(crate) way: Way,
    /// Messages per second.
    pub(crate) rate: f64,
    pub(crate) seconds: f64,
}

#[derive(Deserialize)]
pub(crate) struct FloodPlan {
    pub(crate) messages: u64,
    pub(crate) in_flight: usize,
}

#[derive(Deserialize)]
pub(crate) struct GatherPlan {
    /// Members connect to these in turn.
    pub(crate) nodes: Vec<SocketAddr>,
    /// Where publishers are, and where members go when their node is gone.
    pub(crate) refuge: SocketAddr,
    pub(crate) members: u32,
    /// Members join these in turn, each one.
    pub(crate) rooms: u32,
    /// How long a member stays away.
    pub(crate) away_seconds: f64,
}

#[derive(Deserialize)]
pub(crate) struct FlowPlan {
    pub(crate) messages: u64,
    /// Messages per second.
    pub(crate) rate: f64,
}
