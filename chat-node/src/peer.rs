//! What this node does when other nodes call it, and with what they tell it.

use std::future::ready;
use std::sync::Arc;

use crate::broker::peers::{self, Event, Peer, Pending, Pong, Request, Response};
use crate::broker::{Feed, Publication};
use crate::ids::RoomName;
use crate::presence::Presence;
use crate::room::registry::Registry;

/// This node, as others see it.
pub struct LocalPeer {
    registry: Arc<Registry>,
    presence: Arc<Presence>,
}

impl LocalPeer {
    pub fn new(registry: Arc<Registry>, presence: Arc<Presence>) -> Self {
        Self { registry, presence }
    }
}

impl Peer for LocalPeer {
    fn answer(&self, from: &str, request: Request) -> Pending<Response> {
        match request {
            Request::Ping(_) => Box::pin(ready(Response::Pong(Pong {}))),
            Request::ListMembers(asked) => {
                let presence = self.presence.clone();
                Box::pin(async move { presence.answer(&asked).await })
            }
            Request::Digest(digest) => {
                self.presence.compared(from, &digest);
                Box::pin(ready(Response::Pong(Pong {})))
            }
        }
    }

    fn hear(&self, from: &str, room: &RoomName, event: Event) {
        match event {
            Event::Presence(change) => self.presence.heard(from, room, change),
            Event::Publication(peers::Publication { data, tags }) => {
                let publication = Publication {
                    offset: 0,
                    data,
                    author: None,
                    tags: (!tags.is_empty()).then(|| Arc::new(tags)),
                };
                self.registry.deliver(room, &Arc::new(publication));
            }
        }
    }
}
