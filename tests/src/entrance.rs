//! Where a client comes in: at a node itself, or at a Service behind which there are several.

use std::io;
use std::net::{IpAddr, SocketAddr};

use tokio::net::{TcpSocket, TcpStream};

/// Where to connect, and the client's own address, by which a Service may choose the node.
#[derive(Clone, Copy, Debug)]
pub struct Entrance {
    pub address: SocketAddr,
    /// None: the one that the system chooses.
    pub from: Option<IpAddr>,
}

impl From<SocketAddr> for Entrance {
    fn from(address: SocketAddr) -> Self {
        Self {
            address,
            from: None,
        }
    }
}

impl Entrance {
    pub async fn connect(self) -> io::Result<TcpStream> {
        let Some(from) = self.from else {
            return TcpStream::connect(self.address).await;
        };
        let socket = match from {
            IpAddr::V4(_) => TcpSocket::new_v4()?,
            IpAddr::V6(_) => TcpSocket::new_v6()?,
        };
        socket.bind(SocketAddr::new(from, 0))?;
        socket.connect(self.address).await
    }
}
