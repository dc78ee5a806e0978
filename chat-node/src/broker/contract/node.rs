//! What a contract test holds: a broker, and a feed that writes down what it is brought.

use std::fmt::Display;
use std::future::ready;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;

use super::super::peers::{Event, Peer, Pending, Pong, Request, Response};
use super::super::{
    Author, Broker, Epoch, Feed, HistoryPage, HistoryQuery, Joined, Message, Position, Publication,
};
use crate::ids::{RoomName, SessionId};

const DEADLINE: Duration = Duration::from_secs(20);

#[derive(Clone)]
pub(in super::super) struct Node {
    pub(in super::super) broker: Arc<dyn Broker>,
    pub(in super::super) feed: Arc<Recorder>,
}

pub(in super::super) async fn start(make: impl AsyncFn(Arc<Recorder>) -> Arc<dyn Broker>) -> Node {
    let feed = Arc::new(Recorder::default());
    let broker = make(feed.clone()).await;
    Node { broker, feed }
}

impl Node {
    /// Publishes `text` as a JSON string.
    pub(in super::super) async fn publish(&self, room: &RoomName, text: impl Display) -> Position {
        self.broker.publish(room, message(text)).await.unwrap()
    }

    /// Returns where the room was before, and the offsets.
    pub(in super::super) async fn publish_some(
        &self,
        room: &RoomName,
        count: usize,
    ) -> (Position, Vec<u64>) {
        let start = self.join(room, None).await.position;
        let mut offsets = Vec::new();
        for n in 0..count {
            offsets.push(self.publish(room, n).await.offset);
        }
        (start, offsets)
    }

    pub(in super::super) async fn join(&self, room: &RoomName, resume: Option<Position>) -> Joined {
        self.broker.join(room, resume).await.unwrap()
    }

    /// Reads a page whose bytes are not limited.
    pub(in super::super) async fn history(
        &self,
        room: &RoomName,
        since: Option<&Position>,
        limit: usize,
        reverse: bool,
    ) -> HistoryPage {
        let query = HistoryQuery {
            since: since.cloned(),
            limit,
            max_bytes: usize::MAX,
            reverse,
            after: 0,
        };
        self.broker.history(room, query).await.unwrap()
    }

    pub(in super::super) async fn all_history(&self, room: &RoomName) -> Vec<Arc<Publication>> {
        let page = self.history(room, None, usize::MAX, false).await;
        page.publications
    }
}

/// A feed and a peer that keeps all it was given.
pub(in super::super) struct Recorder {
    delivered: Mutex<Vec<(RoomName, Arc<Publication>)>>,
    count: watch::Sender<usize>,
    /// The rooms that each interruption concerned, of those that something was delivered for.
    interruptions: watch::Sender<Vec<Vec<RoomName>>>,
    heard: Mutex<Vec<(String, RoomName, Event)>>,
}

impl Default for Recorder {
    fn default() -> Self {
        Self {
            delivered: Mutex::default(),
            count: watch::Sender::new(0),
            interruptions: watch::Sender::default(),
            heard: Mutex::default(),
        }
    }
}

impl Feed for Recorder {
    fn deliver(&self, room: &RoomName, publication: &Arc<Publication>) {
        // Give other threads the chance to overtake, if the broker lets them.
        std::thread::yield_now();
        let delivery = (room.clone(), Arc::clone(publication));
        self.delivered.lock().unwrap().push(delivery);
        self.count.send_modify(|count| *count += 1);
    }

    fn interrupt(&self, affected: &dyn Fn(&RoomName) -> bool, _: &Epoch) {
        let delivered = self.delivered.lock().unwrap();
        let mut rooms: Vec<_> = delivered.iter().map(|(room, _)| room.clone()).collect();
        rooms.sort();
        rooms.dedup();
        rooms.retain(|room| affected(room));
        self.interruptions.send_modify(|all| all.push(rooms));
    }
}

impl Peer for Recorder {
    fn answer(&self, _: &str, request: Request) -> Pending<Response> {
        match request {
            Request::Ping(_) => Box::pin(ready(Response::Pong(Pong {}))),
            other => unreachable!("no test asks {other:?}"),
        }
    }

    fn hear(&self, from: &str, room: &RoomName, event: Event) {
        let heard = (from.to_owned(), room.clone(), event);
        self.heard.lock().unwrap().push(heard);
    }
}

impl Recorder {
    /// What other nodes told so far: from whom, about which room, what.
    pub(in super::super) fn heard(&self) -> Vec<(String, RoomName, Event)> {
        self.heard.lock().unwrap().clone()
    }

    /// What was delivered for `room` so far, in the order of delivery.
    pub(in super::super) fn of(&self, room: &RoomName) -> Vec<Arc<Publication>> {
        let delivered = self.delivered.lock().unwrap();
        let of_room = delivered.iter().filter(|(of, _)| of == room);
        of_room
            .map(|(_, publication)| publication.clone())
            .collect()
    }

    /// Waits until there were `count` interruptions; returns the rooms of each.
    pub(in super::super) async fn wait_for_interruptions(
        &self,
        count: usize,
    ) -> Vec<Vec<RoomName>> {
        let mut interruptions = self.interruptions.subscribe();
        let interrupted = interruptions.wait_for(|all| all.len() >= count);
        let interrupted = tokio::time::timeout(DEADLINE, interrupted).await;
        interrupted
            .expect("nobody was interrupted")
            .unwrap()
            .clone()
    }

    /// Waits until the publication `offset` of `room` was delivered.
    pub(in super::super) async fn wait_for(&self, room: &RoomName, offset: u64) {
        let mut count = self.count.subscribe();
        let arrived = count.wait_for(|_| self.of(room).iter().any(|p| p.offset == offset));
        let arrived = tokio::time::timeout(DEADLINE, arrived).await;
        arrived
            .unwrap_or_else(|_| panic!("{room} {offset} did not arrive: {:?}", self.of(room)))
            .unwrap();
    }
}

/// A room that no other test uses, also on a broker that outlives the test.
pub(in super::super) fn fresh_room() -> RoomName {
    room_named(&format!("contract:{}", SessionId::random()))
}

pub(in super::super) fn room_named(name: &str) -> RoomName {
    RoomName::parse(name, 255).unwrap()
}

pub(in super::super) fn message(text: impl Display) -> Message {
    Message {
        data: json(text),
        author: None,
        id: None,
        tags: None,
    }
}

pub(super) fn with_id(text: impl Display, id: &str, author: Option<Author>) -> Message {
    Message {
        data: json(text),
        author,
        id: Some(id.into()),
        tags: None,
    }
}

pub(in super::super) fn json(text: impl Display) -> Bytes {
    serde_json::to_string(&text.to_string()).unwrap().into()
}

pub(in super::super) fn offsets(publications: &[Arc<Publication>]) -> Vec<u64> {
    publications.iter().map(|p| p.offset).collect()
}
