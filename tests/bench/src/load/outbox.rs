//! Bytes on their way into a server: collected during a turn of the loop, sent at its end, kept when it is full.

use std::io::{self, Write};
use std::net::TcpStream;

use anyhow::{Context, Result};

#[derive(Default)]
pub(crate) struct Outbox {
    bytes: Vec<u8>,
    sent: usize,
}

impl Outbox {
    pub(crate) fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Sends what the socket takes; true when nothing is left.
    pub(crate) fn flush(&mut self, mut stream: &TcpStream) -> Result<bool> {
        while self.sent < self.bytes.len() {
            match stream.write(&self.bytes[self.sent..]) {
                Ok(sent) => self.sent += sent,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error).context("failed to send"),
            }
        }
        self.bytes.clear();
        self.sent = 0;
        Ok(true)
    }
}
