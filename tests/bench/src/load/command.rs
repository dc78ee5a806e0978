//! What bench.py may ask for: one JSON object per line, named by `do`.

use std::net::SocketAddr;

use serde::Deserialize;

use super::opening::{Door, Place, Until};
use crate::dialect::Dialect;

/// The message size of every case that does not name another.
pub(crate) const MESSAGE_BYTES: usize = 128;

#[derive(Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub(crate) enum Command {
    /// A server to load, with its rooms and how messages get into them.
    Target(Description),
    /// Opens more members, spread over the rooms in turn. Each joins so many.
    Open {
        target: usize,
        count: usize,
        rooms_each: u32,
    },
    /// Takes from this target the form in which a delivered message stands, for the targets that have none.
    Learn {
        target: usize,
    },
    /// Loads one target for a while.
    Slice(SlicePlan),
    /// Opens connections as fast as they go and keeps them until `release`.
    Storm(StormPlan),
    /// Connects and sends all requests, to a server that does not run.
    Knock(StormPlan),
    /// Waits until those who knocked are in, and keeps them until `release`.
    Admit,
    Release,
    /// Joins members that never read.
    Stall(StallPlan),
    Unstall,
}

#[derive(Deserialize)]
pub(crate) struct Description {
    pub(crate) name: String,
    pub(crate) address: SocketAddr,
    pub(crate) dialect: Dialect,
    /// Where messages go in; without it they are published by a client.
    pub(crate) control: Option<SocketAddr>,
    pub(crate) rooms: u32,
    pub(crate) publishers: Publishers,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Publishers {
    /// One connection more, which is a member of every room (also of servers with a control connection).
    Apart,
    /// The first member of each room.
    Member,
}

#[derive(Deserialize)]
pub(crate) struct SlicePlan {
    pub(crate) target: usize,
    pub(crate) pace: Pace,
    pub(crate) seconds: f64,
    #[serde(default = "message_bytes")]
    pub(crate) message_bytes: usize,
    /// How long to look away when nothing arrived.
    #[serde(default)]
    pub(crate) pause_us: u64,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Pace {
    /// So many messages in flight in each room; the next one follows when one has reached all its members.
    InFlightPerRoom(u32),
    /// The same over all rooms together, which take turns.
    InFlight(u32),
    /// So many messages per second, the rooms in turn, whatever the server does. Latency counts from the due time.
    PerSecond(f64),
}

#[derive(Deserialize)]
pub(crate) struct StormPlan {
    address: SocketAddr,
    dialect: Dialect,
    count: usize,
    in_flight: usize,
    pub(crate) until: Until,
}

impl StormPlan {
    pub(crate) fn door(&self) -> Door {
        Door {
            address: self.address,
            dialect: self.dialect,
            in_flight: self.in_flight,
            receive_buffer: None,
        }
    }

    pub(crate) fn places(&self) -> Vec<Place> {
        vec![
            Place {
                first_room: 0,
                next: vec![0]
            };
            self.count
        ]
    }
}

#[derive(Deserialize)]
pub(crate) struct StallPlan {
    pub(crate) target: usize,
    pub(crate) count: usize,
    pub(crate) room: u32,
    /// Bytes; small, so that the connection fills up soon.
    pub(crate) receive_buffer: usize,
}

fn message_bytes() -> usize {
    MESSAGE_BYTES
}
