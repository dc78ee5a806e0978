//! A session that publishes to one room and notes when each of its messages is acknowledged.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;

use anyhow::{Context, Result, bail};
use tokio::task::spawn_local;

use super::socket::{self, Incoming, Socket};
use crate::dialect::{self, Dialect, Said};
use crate::message::Message;
use crate::stopwatch::Stopwatch;

pub(crate) const MESSAGE_BYTES: usize = 128;

pub(crate) struct Publisher {
    room: u32,
    socket: Socket,
    published: u64,
    /// When the messages were sent that are not acknowledged yet. A session's replies for one room come in order.
    sent: Rc<RefCell<VecDeque<u64>>>,
    frame: Vec<u8>,
    scratch: Vec<u8>,
}

impl Publisher {
    /// Connects. `on_answer` is told when the message was sent that is acknowledged, or how the session failed.
    pub(crate) async fn open(
        address: SocketAddr,
        room: u32,
        on_answer: impl Fn(Result<u64>) + 'static,
    ) -> Result<Self> {
        let (socket, mut incoming) = socket::open(address).await?;
        socket.say(br#"{"id":1,"connect":{}}"#).await?;
        let mut connected = false;
        while !connected {
            let open = incoming.lines(|line| {
                connected = matches!(Dialect::Centrifuge.read(line), Said::Answer);
                Ok(())
            });
            if !open.await? {
                bail!("a publisher's node has gone");
            }
        }
        let sent = Rc::<RefCell<VecDeque<u64>>>::default();
        let waiting = sent.clone();
        spawn_local(async move {
            if let Err(error) = listen(incoming, waiting, &on_answer).await {
                on_answer(Err(error.context("a publisher")));
            }
        });
        Ok(Self {
            room,
            socket,
            published: 0,
            sent,
            frame: Vec::new(),
            scratch: Vec::new(),
        })
    }

    pub(crate) fn published(&self) -> u64 {
        self.published
    }

    pub(crate) async fn publish(&mut self, clock: &Stopwatch) -> Result<()> {
        let due_ns = clock.elapsed_ns();
        let message = Message {
            due_ns,
            room: self.room,
            sequence: self.published,
        };
        self.published += 1;
        self.frame.clear();
        dialect::write_publish(
            &mut self.frame,
            &mut self.scratch,
            self.published + 1,
            &message,
            MESSAGE_BYTES,
        );
        self.sent.borrow_mut().push_back(due_ns);
        self.socket.write(&self.frame).await
    }
}

async fn listen(
    mut incoming: Incoming,
    sent: Rc<RefCell<VecDeque<u64>>>,
    on_answer: &impl Fn(Result<u64>),
) -> Result<()> {
    while incoming
        .lines(|line| {
            let Said::Answer = Dialect::Centrifuge.read(line) else {
                bail!("unexpected: {}", String::from_utf8_lossy(line));
            };
            let sent = sent.borrow_mut().pop_front();
            on_answer(Ok(sent.context("an answer to nothing came")?));
            Ok(())
        })
        .await?
    {}
    bail!("its node has gone")
}
