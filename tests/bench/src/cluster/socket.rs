//! A WebSocket to a node, and the lines that come by it. Pings are answered here.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::rc::Rc;

use anyhow::{Context, Result, bail, ensure};
use tokio::net::{TcpSocket, TcpStream};

use crate::{frame, handshake};

/// The way in; clones are the same socket.
#[derive(Clone)]
pub(crate) struct Socket(Rc<TcpStream>);

/// The way out.
pub(crate) struct Incoming {
    socket: Socket,
    received: Vec<u8>,
}

const READ_BYTES: usize = 4096;

/// Connects and opens the WebSocket.
pub(crate) async fn open(address: SocketAddr) -> Result<(Socket, Incoming)> {
    let socket = TcpSocket::new_v4()?;
    // Close by reset: nothing lingers in TIME_WAIT, so a run cannot use up the local ports.
    socket.set_zero_linger()?;
    socket.set_nodelay(true)?;
    let socket = Socket(Rc::new(socket.connect(address).await?));
    let mut incoming = Incoming {
        socket: socket.clone(),
        received: Vec::new(),
    };
    let host = format!("localhost:{}", address.port());
    let request = handshake::request(&host, "/connection/websocket");
    socket.write(&request).await?;
    let head = loop {
        if let Some(length) = handshake::head_length(&incoming.received) {
            break length;
        }
        ensure!(incoming.read().await?, "closed during the handshake");
    };
    let head: Vec<u8> = incoming.received.drain(..head).collect();
    ensure!(
        handshake::is_accepted(&head),
        "refused: {}",
        String::from_utf8_lossy(&head)
    );
    Ok((socket, incoming))
}

impl Socket {
    /// Sends one text frame.
    pub(crate) async fn say(&self, text: &[u8]) -> Result<()> {
        let mut bytes = Vec::new();
        frame::write_masked_text(&mut bytes, text);
        self.write(&bytes).await
    }

    /// Sends whole frames.
    pub(crate) async fn write(&self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            match self.0.try_write(bytes) {
                Ok(sent) => bytes = &bytes[sent..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.0.writable().await?,
                Err(error) => return Err(error).context("failed to send"),
            }
        }
        Ok(())
    }
}

impl Incoming {
    /// Waits for lines and hands them out; false if the node has gone.
    pub(crate) async fn lines(
        &mut self,
        mut on_line: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<bool> {
        let (mut used, mut pinged) = (0, false);
        while let Some(frame) = frame::read(&self.received[used..]) {
            used += frame.length;
            ensure!(
                frame.opcode == frame::TEXT,
                "a frame with opcode {} came: {}",
                frame.opcode,
                String::from_utf8_lossy(frame.payload)
            );
            let lines = frame.payload.split(|byte| *byte == b'\n');
            for line in lines.filter(|line| !line.is_empty()) {
                match line {
                    b"{}" => pinged = true,
                    line => on_line(line)?,
                }
            }
        }
        self.received.drain(..used);
        if pinged {
            self.socket.say(b"{}").await?;
        }
        if used > 0 {
            return Ok(true);
        }
        self.read().await
    }

    /// Waits for bytes and takes them; false at the end.
    async fn read(&mut self) -> Result<bool> {
        loop {
            let stream = &self.socket.0;
            stream.readable().await?;
            self.received.reserve(READ_BYTES);
            match stream.try_read_buf(&mut self.received) {
                Ok(0) => return Ok(false),
                Ok(_) => return Ok(true),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) if is_gone(&error) => return Ok(false),
                Err(error) => bail!("failed to receive: {error}"),
            }
        }
    }
}

/// A process that is killed resets its connections.
fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
    )
}
