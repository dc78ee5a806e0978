//! What this node does when other nodes call it, and with what they tell it.
//!
//! call -> the workers, each of which does its part -> answer

mod describe;
mod order;
pub mod pattern;

use std::future::ready;
use std::sync::{Arc, OnceLock, Weak};

use tokio::sync::oneshot;

use crate::broker::peers::{
    self, Arrival, Emulate, Emulated, Event, Failure, FailureCode, Peer, Pending, Pong, Request,
    Response,
};
use crate::broker::{Feed, Publication};
use crate::ids::RoomName;
use crate::node::Shared;
use crate::presence::Presence;
use crate::room::registry::Registry;
use crate::worker::emulated::deliver;
use crate::worker::{self, Inbox};

/// This node, as others see it.
pub struct LocalPeer {
    registry: Arc<Registry>,
    presence: Arc<Presence>,
    parts: OnceLock<Parts>,
}

/// What answers are made of. The broker holds this peer and is held by what is shared: so not the other way round, too.
#[derive(Clone)]
struct Parts {
    shared: Weak<Shared>,
    presence: Arc<Presence>,
    inboxes: Arc<[Inbox]>,
}

impl LocalPeer {
    pub fn new(registry: Arc<Registry>, presence: Arc<Presence>) -> Self {
        let parts = OnceLock::new();
        Self {
            registry,
            presence,
            parts,
        }
    }

    /// Connects the node's parts. Calls before that are answered that the node starts.
    pub fn connect(&self, shared: &Arc<Shared>, inboxes: &[Inbox]) {
        let parts = Parts {
            shared: Arc::downgrade(shared),
            presence: self.presence.clone(),
            inboxes: inboxes.into(),
        };
        if self.parts.set(parts).is_err() {
            unreachable!("a node is connected once, at start");
        }
    }

    /// Shows this node's members something that has no place in the room.
    pub fn tell_members(&self, room: &RoomName, publication: peers::Publication) {
        let peers::Publication { data, tags } = publication;
        let publication = Publication {
            offset: 0,
            data,
            author: None,
            tags: (!tags.is_empty()).then(|| Arc::new(tags)),
        };
        self.registry.deliver(room, &Arc::new(publication));
    }
}

impl Parts {
    /// Asks every worker, and collects the answers. None if the node stops.
    async fn ask<T>(&self, event: impl Fn(oneshot::Sender<T>) -> worker::Event) -> Option<Vec<T>> {
        let asked = self.inboxes.iter().map(|inbox| {
            let (sender, answer) = oneshot::channel();
            inbox.send(event(sender));
            answer
        });
        let mut answers = Vec::new();
        for answer in asked.collect::<Vec<_>>() {
            answers.push(answer.await.ok()?);
        }
        Some(answers)
    }

    async fn answer(self, from: String, request: Request) -> Response {
        let response = match request {
            Request::Ping(_) => Some(Response::Pong(Pong {})),
            Request::Order(order) => match order::read(order) {
                Ok(order) => {
                    let order = Arc::new(order);
                    let asked = self.ask(|done| worker::Event::Order(order.clone(), done));
                    let outcomes = asked.await;
                    outcomes.map(|outcomes| Response::Done(order::done(outcomes)))
                }
                Err(failure) => Some(Response::Failure(failure)),
            },
            Request::ListRooms(list) => describe::rooms(&self, &list.pattern).await,
            Request::DescribeNode(_) => describe::node(&self).await,
            Request::ListMembers(asked) => Some(self.presence.answer(&asked).await),
            Request::Digest(digest) => {
                self.presence.compared(&from, &digest);
                Some(Response::Pong(Pong {}))
            }
            Request::Emulate(Emulate { session, commands }) => {
                let key = self.shared.upgrade().map(|shared| shared.emulation_key);
                match key {
                    Some(key) => {
                        let arrived = deliver(&self.inboxes, &key, &session, commands).await;
                        let arrival = Arrival::from(arrived).into();
                        Some(Response::Emulated(Emulated { arrival }))
                    }
                    None => None,
                }
            }
        };
        response.unwrap_or_else(|| not_ready("the node stops"))
    }
}

fn not_ready(text: &str) -> Response {
    Response::Failure(Failure::new(FailureCode::NotReady, text))
}

impl Peer for LocalPeer {
    fn answer(&self, from: &str, request: Request) -> Pending<Response> {
        match self.parts.get().cloned() {
            Some(parts) => Box::pin(parts.answer(from.to_owned(), request)),
            None => Box::pin(ready(not_ready("the node starts"))),
        }
    }

    fn hear(&self, from: &str, room: &RoomName, event: Event) {
        match event {
            Event::Presence(change) => self.presence.heard(from, room, change),
            Event::Publication(publication) => self.tell_members(room, publication),
        }
    }
}
