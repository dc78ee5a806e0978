//! Natter's chat node.
//!
//! ```text
//! socket -> session -> room -> broker -> fan-out -> pump -> socket
//! ```
//!
//! `http` answers the handshake and hands the raw stream to a `worker`, which owns it for life: it reads frames
//! (`frame`), parses commands (`protocol`), lets the `session` decide, and asks the `broker`. What the broker accepts
//! comes back through the `room` registry to every worker with members, into the room's log, and from there the pump
//! writes it to each member. Arrows never turn back; `frame`, `protocol` and `ids` are leaves.

pub mod config;
pub mod node;

mod api;
mod drain;
mod http;
mod peer;
mod reload;
mod worker;

mod socket;

mod presence;

mod session;

mod auth;

mod room;

pub mod broker;

pub mod frame;
pub mod ids;
pub mod metrics;
pub mod probe;
pub mod protocol;
mod rate;
pub mod telemetry;
mod watched_file;
mod web;
