//! The broker over NATS JetStream: any number of nodes serve the same rooms.
//!
//! publish -> stream of the room's shard -> acknowledged by a quorum
//! stream -> live copies, audits, reads -> the shard's log on each node -> members
//!
//! Nothing is delivered on an acknowledgement, and nothing but a shard's log is ever delivered: so all members of a
//! room, on all nodes, see one order.

pub mod account;
mod api;
mod batch;
mod calls;
mod connection;
pub mod credentials;
mod directory;
mod ephemeral;
mod erase;
mod event;
mod follower;
mod health;
pub mod init;
mod link;
mod pages;
mod publish;
mod publish_links;
mod readable;
mod reads;
mod resume;
mod room_reads;
mod shard;
mod shard_log;
mod streams;
mod subject;
mod times;
mod unread;
pub mod users;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use account::Account;
pub use shard_log::Caps;

use self::calls::Calls;
use self::connection::Incident;
use self::directory::Directory;
use self::ephemeral::{Listener, Teller};
use self::erase::Eraser;
use self::follower::Follower;
use self::health::{Health, Trouble};
use self::link::{Link, LinkId, LinkSettings, Purpose};
use self::publish::Publisher;
use self::publish_links::PublishLinks;
use self::reads::Reads;
use self::resume::Resumes;
use self::room_reads::RoomReads;
use self::shard::Shard;
use self::subject::shard_of;
use self::times::Times;
use super::peers::{CallError, Event, Gathered, Peer, Pending, Request, Response};
use super::{
    Answer, Broker, Error, Feed, HistoryPage, HistoryQuery, Joined, Message, NodeLoad, Position,
    Readable,
};
use crate::ids::RoomName;
use crate::metrics::NatsMetrics;

/// What the broker is told at start.
#[derive(Clone)]
pub struct Settings {
    pub account: Account,
    /// Who may erase, if this node may have that done.
    pub moderator: Option<Account>,
    /// This node's name among the others.
    pub node: String,
    /// How many streams there are; decided once, when they were created.
    pub shards: u16,
    /// The largest message: the streams must take it.
    pub message_bytes: usize,
    pub log: Caps,
    /// When a client is told that the broker cannot be reached: SDKs give up soon after.
    pub patience: Duration,
}

pub struct Nats {
    shards: Vec<Arc<Shard>>,
    publisher: Publisher,
    publish_links: PublishLinks,
    room_reads: RoomReads,
    eraser: Eraser,
    resumes: Resumes,
    directory: Arc<Directory>,
    calls: Calls,
    teller: Teller,
    live: Arc<Link>,
    health: Arc<Health>,
    patience: Duration,
    /// Ends with the broker.
    _tasks: JoinSet<()>,
}

impl Nats {
    /// Starts to connect and to follow the shards; must be called within a runtime.
    pub fn start(
        settings: Settings,
        feed: Arc<dyn Feed>,
        peer: Arc<dyn Peer>,
        metrics: NatsMetrics,
    ) -> Arc<Self> {
        Self::start_with(Times::default(), settings, feed, peer, metrics)
    }

    fn start_with(
        times: Times,
        settings: Settings,
        feed: Arc<dyn Feed>,
        peer: Arc<dyn Peer>,
        metrics: NatsMetrics,
    ) -> Arc<Self> {
        let Settings {
            account,
            moderator,
            node,
            shards: count,
            message_bytes,
            log: caps,
            patience,
        } = settings;
        let health = Arc::new(Health::new(metrics.clone(), count));
        let mut tasks = JoinSet::new();
        let (incident_sender, incidents) = mpsc::unbounded_channel();
        let links = LinkSettings {
            account,
            node: node.clone(),
            young: times.young,
            health: health.clone(),
            incidents: incident_sender,
        };
        let [live, publishes, reads] = Purpose::ALL.map(|purpose| {
            let link = Link::new(LinkId::shared(purpose), times.young);
            tasks.spawn(link.clone().keep_open(links.clone()));
            link
        });
        let dropped = watch::Sender::new(0);
        let reads = Reads::new(reads, metrics);
        let shards: Vec<_> = (0..count)
            .map(|index| Arc::new(Shard::new(index, times.linger)))
            .collect();
        for shard in &shards {
            let follower = Follower {
                shard: shard.clone(),
                shards: count,
                message_bytes,
                caps,
                link: live.clone(),
                reads: reads.clone(),
                feed: feed.clone(),
                health: health.clone(),
                times,
                dropped: dropped.subscribe(),
                failed_audits: 0,
                backwards: None,
                stuck_since: None,
                distrusted: None,
            };
            tasks.spawn(follower.run());
            let listener = Listener {
                node: node.clone(),
                shard: shard.clone(),
                link: live.clone(),
                peer: peer.clone(),
            };
            tasks.spawn(listener.listen());
        }
        let directory = Directory::new(node.clone());
        tasks.spawn(directory.clone().keep(live.clone()));
        let (teller, telling) = Teller::new(node.clone(), live.clone());
        tasks.spawn(telling);
        let calls = Calls {
            node: node.clone(),
            link: live.clone(),
            directory: directory.clone(),
        };
        tasks.spawn(calls.clone().answer(peer));
        tasks.spawn(heed(incidents, dropped, health.clone()));
        let room_reads = RoomReads::new(reads.clone());
        let publisher = Publisher {
            link: publishes.clone(),
            reads,
            health: health.clone(),
            attempt: times.attempt,
            timeout: patience,
        };
        Arc::new(Self {
            shards,
            eraser: Eraser {
                moderator,
                node,
                publisher: publisher.clone(),
                reads: room_reads.clone(),
            },
            publisher,
            publish_links: PublishLinks::new(links, publishes),
            resumes: Resumes::new(room_reads.clone()),
            room_reads,
            directory,
            calls,
            teller,
            live,
            health,
            patience,
            _tasks: tasks,
        })
    }

    fn shard(&self, room: &RoomName) -> Arc<Shard> {
        let index = shard_of(room, self.shards.len() as u16);
        self.shards[usize::from(index)].clone()
    }
}

/// The answer, or that there is none in time: clients stop listening soon after.
async fn within<T>(
    patience: Duration,
    answer: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let answer = tokio::time::timeout(patience, answer).await;
    answer.unwrap_or(Err(Error::Unreachable))
}

/// Has followers look after messages were dropped, and tells what NATS refuses.
async fn heed(
    mut incidents: mpsc::UnboundedReceiver<Incident>,
    dropped: watch::Sender<u64>,
    health: Arc<Health>,
) {
    while let Some(incident) = incidents.recv().await {
        match incident {
            Incident::Dropped => {
                health.metrics().dropped.inc();
                dropped.send_modify(|count| *count += 1);
            }
            Incident::Refused(what) => {
                let text = format!("the server refuses this node something: {what}");
                health.raise(Trouble::Permission, text);
            }
        }
    }
}

impl Broker for Nats {
    fn serve_worker(&self) {
        self.publish_links.open_here();
    }

    fn publish(&self, room: &RoomName, message: Message) -> Answer<Position> {
        let publisher = Publisher {
            link: self.publish_links.here(),
            ..self.publisher.clone()
        };
        let shard = self.shard(room);
        Box::pin(publisher.publish(shard, room.clone(), message))
    }

    fn open(&self, room: &RoomName) {
        self.shard(room).open();
    }

    fn close(&self, room: &RoomName) {
        self.shard(room).close();
    }

    fn join(&self, room: &RoomName, resume: Option<Position>) -> Answer<Joined> {
        let (resumes, shard) = (self.resumes.clone(), self.shard(room));
        let joining = resumes.join(shard, room.clone(), resume, self.patience);
        Box::pin(within(self.patience, joining))
    }

    fn history(&self, room: &RoomName, query: HistoryQuery) -> Answer<HistoryPage> {
        let (reads, shard) = (self.room_reads.clone(), self.shard(room));
        let page = pages::page(reads, shard, room.clone(), query, self.patience);
        Box::pin(within(self.patience, page))
    }

    fn erase(&self, room: &RoomName) -> Answer<()> {
        let erasing = self
            .eraser
            .clone()
            .erase(self.shard(room), room.clone(), self.patience);
        Box::pin(within(self.patience, erasing))
    }

    fn readable_after(&self, room: &RoomName, readable: Readable) -> Answer<u64> {
        let (reads, shard) = (self.room_reads.clone(), self.shard(room));
        let asking = readable::after(reads, shard, room.clone(), readable, self.patience);
        Box::pin(within(self.patience, asking))
    }

    fn unread(&self, room: &RoomName, after: Position) -> Answer<u64> {
        let (reads, shard) = (self.room_reads.clone(), self.shard(room));
        let counting = unread::unread(reads, shard, room.clone(), after, self.patience);
        Box::pin(within(self.patience, counting))
    }

    fn readiness(&self) -> Result<(), String> {
        self.health.readiness()
    }

    fn announce(&self, load: NodeLoad) {
        self.directory.announce(load);
    }

    fn nodes(&self) -> Vec<NodeLoad> {
        self.directory.nodes()
    }

    fn call(
        &self,
        node: &str,
        request: Request,
        patience: Duration,
    ) -> Pending<Result<Response, CallError>> {
        Box::pin(self.calls.clone().one(node.to_owned(), request, patience))
    }

    fn call_others(&self, request: Request, patience: Duration) -> Pending<Gathered> {
        Box::pin(self.calls.clone().others(request, patience))
    }

    fn tell_others(&self, room: &RoomName, event: Event) {
        self.teller.tell(&self.shard(room), room, event);
    }

    fn leave(&self) -> Answer<()> {
        let (directory, live) = (self.directory.clone(), self.live.clone());
        Box::pin(async move {
            directory.say_goodbye(&live).await;
            Ok(())
        })
    }
}
