//! What the tests of this package share: real nodes, real NATS servers, and clients that speak to them over real sockets.
//!
//! Nothing here knows the node's code. What is waited for and does not come in time ends the test with a panic that
//! says what it was; a node then shows its log.

pub mod api;
pub mod binary;
pub mod check;
pub mod checker;
pub mod client;
pub mod cluster;
pub mod command;
pub mod entrance;
pub mod http;
pub mod kubernetes;
pub mod links;
pub mod metrics;
pub mod nats;
pub mod nats_server;
pub mod node;
pub mod process;
pub mod raw;
pub mod script;
pub mod sdk;
pub mod socket;
pub mod stream;
pub mod tokens;
pub mod wait;
pub mod web_service;
pub mod workload;

pub use client::{Client, Publication};
pub use cluster::Cluster;
pub use entrance::Entrance;
pub use nats::Nats;
pub use nats_server::NatsServers;
pub use node::Node;
pub use raw::Raw;

/// Flags of a node whose clients may publish as fast as they can.
pub const NO_RATES: [&str; 6] = [
    "--publishes-per-second-per-session",
    "1000000",
    "--publishes-per-second-per-room",
    "1000000",
    "--presence-per-second-per-session",
    "1000000",
];
