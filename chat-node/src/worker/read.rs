//! The tasks of a connection: one that waits for bytes, and, only while its socket is blocked, one that waits to write.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;

use tokio::net::TcpStream;
use tokio::task::yield_now;

use crate::socket::ConnectionKey;

use super::Worker;

/// What the read task does next.
enum Next {
    Wait,
    /// There is more, but others get their turn first.
    Yield,
    /// Nothing to read any more, or not now: the worker starts a new task when there is.
    End,
}

/// Reads the connection until it ends or its input has to wait.
pub(super) async fn read(worker: Rc<RefCell<Worker>>, key: ConnectionKey, io: Rc<TcpStream>) {
    loop {
        // The stream's error, if it has one, shows when reading.
        let _ = poll_fn(|cx| io.poll_read_ready(cx)).await;
        let next = worker.borrow_mut().read_some(key);
        match next {
            Next::Wait => {}
            Next::Yield => yield_now().await,
            Next::End => return,
        }
    }
}

/// Waits until the kernel takes bytes again, and writes on until everything is out.
pub(super) async fn wait_until_flushed(
    worker: Rc<RefCell<Worker>>,
    key: ConnectionKey,
    io: Rc<TcpStream>,
) {
    loop {
        let _ = poll_fn(|cx| io.poll_write_ready(cx)).await;
        let flushed = worker.borrow_mut().flush(key);
        if flushed {
            return;
        }
    }
}

impl Worker {
    fn read_some(&mut self, key: ConnectionKey) -> Next {
        let Some(connection) = self.connections.get_mut(key) else {
            return Next::End;
        };
        if connection.holds_input() {
            connection.reading = false;
            return Next::End;
        }
        let mut buffer = std::mem::take(&mut self.read_buffer);
        let next = match connection.socket.read(&mut buffer) {
            Ok(0) => {
                self.remove(key);
                Next::End
            }
            Ok(read) => {
                self.shared.metrics.received_bytes.inc_by(read as u64);
                let full = read == buffer.len();
                self.take_bytes(key, &mut buffer[..read]);
                if full { Next::Yield } else { Next::Wait }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Next::Wait,
            Err(_) => {
                self.remove(key);
                Next::End
            }
        };
        self.read_buffer = buffer;
        self.settle_down();
        next
    }

    /// Writes what waits for a blocked socket. True when it is unblocked, or gone.
    fn flush(&mut self, key: ConnectionKey) -> bool {
        let Some(connection) = self.connections.get_mut(key) else {
            return true;
        };
        match connection.socket.flush() {
            Ok(false) => return false,
            Ok(true) => {}
            Err(_) => {
                self.remove(key);
                return true;
            }
        }
        if connection.is_closing() {
            self.finish_if_flushed(key);
        } else {
            self.send_missed(key);
            self.catch_up(key);
            self.resume_input(key);
        }
        self.settle_down();
        true
    }
}
