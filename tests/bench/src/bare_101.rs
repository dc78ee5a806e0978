//! The least a WebSocket server can do for a new connection. `connects/s` of a chat node is compared with it.

use std::net::SocketAddr;

use crate::door::Door;

pub(crate) fn run(listen: SocketAddr) -> anyhow::Result<()> {
    let mut door = Door::open(listen)?;
    println!("ready on http://localhost:{}", door.port()?);
    let mut events = Vec::new();
    loop {
        door.wait(&mut events)?;
        events.clear();
    }
}
