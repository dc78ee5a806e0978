//! Members that join and then never read: what a frozen tab or a dead phone is to a server.

use std::io;
use std::net::TcpStream;

use anyhow::Result;

use super::command::StallPlan;
use super::connection::Connection;
use super::opening::{self, Door, Place, Until};

#[derive(Default)]
pub(crate) struct Stalled {
    connections: Vec<Connection>,
}

impl Stalled {
    pub(crate) fn add(&mut self, door: &Door, plan: &StallPlan) -> Result<()> {
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
        self.connections
            .extend(opening::open(&door, places, Until::Joined)?.connections);
        Ok(())
    }

    /// Closes them all; returns how many bytes lay unread in each.
    pub(crate) fn release(&mut self) -> Result<Vec<usize>> {
        self.connections
            .drain(..)
            .map(|connection| unread(connection.stream()))
            .collect()
    }
}

fn unread(stream: &TcpStream) -> Result<usize> {
    let mut buffer = vec![0; 1024 * 1024];
    match stream.peek(&mut buffer) {
        Ok(bytes) => Ok(bytes),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::WouldBlock | io::ErrorKind::ConnectionReset
            ) =>
        {
            Ok(0)
        }
        Err(error) => Err(error.into()),
    }
}
