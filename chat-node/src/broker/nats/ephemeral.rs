//! What happens in rooms and is not kept: told to the nodes that have rooms of the shard open now.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use prost::Message as _;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use super::connection::Connection;
use super::link::Link;
use super::shard::Shard;
use super::subject;
use crate::broker::peers::{Ephemeral, Event, MAX_BYTES, Peer};
use crate::ids::RoomName;

/// Events that may wait to be sent; those that come while there are more are lost.
const MOST_WAITING: usize = 1024;
/// How often a node looks whether it still has rooms of a shard.
const LOOK: Duration = Duration::from_secs(30);

/// The way out, in the order of calls.
pub struct Teller {
    node: String,
    waiting: mpsc::Sender<(String, Vec<u8>)>,
}

impl Teller {
    /// Returns the teller, and what has to run for it.
    pub fn new(node: String, link: Arc<Link>) -> (Self, impl Future<Output = ()> + Send) {
        let (waiting, mut told) = mpsc::channel::<(String, Vec<u8>)>(MOST_WAITING);
        let send = async move {
            while let Some((subject, payload)) = told.recv().await {
                // Later it would be of no use, so it is not queued while there is no connection.
                if let Some(connection) = link.current() {
                    connection.tell(subject, payload.into()).await;
                }
            }
        };
        (Self { node, waiting }, send)
    }

    pub fn tell(&self, shard: &Shard, room: &RoomName, event: Event) {
        let event = Ephemeral {
            from: self.node.clone(),
            room: room.as_str().to_owned(),
            event: Some(event),
        };
        let payload = event.encode_to_vec();
        if payload.len() <= MAX_BYTES {
            let subject = subject::ephemeral(shard.index, room);
            let _ = self.waiting.try_send((subject, payload));
        }
    }
}

/// The way in, for one shard.
pub struct Listener {
    pub node: String,
    pub shard: Arc<Shard>,
    pub link: Arc<Link>,
    pub peer: Arc<dyn Peer>,
}

impl Listener {
    /// Listens as long as the node has rooms of the shard, again and again.
    pub async fn listen(self) {
        let subject = subject::ephemerals(self.shard.index);
        loop {
            self.shard.opened().await;
            let connection = self.link.connected().await;
            if let Some(events) = connection.subscribe(subject.clone()).await {
                self.listen_over(&connection, events).await;
            }
        }
    }

    async fn listen_over(&self, connection: &Arc<Connection>, mut events: async_nats::Subscriber) {
        let replaced = self.link.replaced(connection);
        tokio::pin!(replaced);
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                event = events.next() => match event {
                    Some(event) => self.hear(event),
                    None => return,
                },
                _ = look.tick() => if !self.shard.is_open() {
                    return;
                },
                () = &mut replaced => return,
            }
        }
    }

    fn hear(&self, message: async_nats::Message) {
        // A later release may tell what this one does not know.
        let Ok(Ephemeral {
            from,
            room,
            event: Some(event),
        }) = Ephemeral::decode(message.payload)
        else {
            return;
        };
        let Ok(room) = RoomName::parse(&room, 255) else {
            return;
        };
        let is_of_room = *message.subject == *subject::ephemeral(self.shard.index, &room);
        if from != self.node && is_of_room {
            self.peer.hear(&from, &room, event);
        }
    }
}
