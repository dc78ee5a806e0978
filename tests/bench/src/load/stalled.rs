//! Members that join and then never read: what a frozen tab or a dead phone is to a server.

use anyhow::Result;

use super::command::StallPlan;
use super::connection::Connection;
use super::opening::{self, Door, Place, Until};

#[derive(Default)]
pub(crate) struct Stalled {
    connections: Vec<Connection>,
}

impl Stalled {
    /// Joins members and returns their ports, by which the kernel's table knows them.
    pub(crate) fn add(&mut self, door: &Door, plan: &StallPlan) -> Result<Vec<u16>> {
        let door = Door {
            receive_buffer: Some(plan.receive_buffer),
            ..door.clone()
        };
        let places = vec![
            Place {
                first_room: plan.room,
                next: vec![0]
            };
            plan.count
        ];
        let connections = opening::open(&door, places, Until::Joined)?.connections;
        let ports = connections
            .iter()
            .map(|connection| connection.stream().local_addr());
        let ports = ports.map(|address| Ok(address?.port())).collect();
        self.connections.extend(connections);
        ports
    }

    pub(crate) fn release(&mut self) {
        self.connections.clear();
    }
}
