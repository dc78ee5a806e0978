//! The broker over a real nats-server: what every broker promises, and what only this one does.

mod calls;
mod holes;
mod liar;
mod moving_log;
mod server;

use std::sync::Arc;
use std::time::Duration;

use self::server::Server;
use super::account::{Account, Role};
use super::shard_log::Caps;
use super::{Nats, Settings};
use crate::broker::contract::keeps_the_contract;
use crate::broker::contract::node::Recorder;
use crate::broker::peers::{CallError, Event, Gathered, Peer, Pending, Request, Response};
use crate::broker::{
    Answer, Broker, Feed, HistoryPage, HistoryQuery, Joined, Message, NodeLoad, Position, Readable,
};
use crate::config::{ServerUrl, Servers};
use crate::ids::RoomName;
use crate::metrics::Metrics;

const SHARDS: u16 = 4;

/// A broker and the server that it lives on.
struct OnItsOwnServer {
    nats: Arc<Nats>,
    _server: Box<dyn Send + Sync>,
}

fn settings(server: &Server) -> Settings {
    let url = ServerUrl {
        tls: false,
        host: "127.0.0.1".to_owned(),
        port: server.port,
    };
    let servers = Servers {
        urls: vec![url],
        ..Servers::default()
    };
    Settings {
        account: Account::new(&servers, Role::Node).unwrap(),
        moderator: Some(Account::new(&servers, Role::Moderator).unwrap()),
        node: "test".to_owned(),
        shards: SHARDS,
        message_bytes: 65_536,
        log: Caps {
            entries: 20_000,
            bytes: 16 << 20,
        },
        patience: Duration::from_secs(4),
    }
}

async fn on_its_own_server(recorder: Arc<Recorder>) -> Arc<dyn Broker> {
    let server = Server::start(SHARDS).await;
    with(recorder.clone(), recorder, server, |_| {}).await
}

/// The same with a log that holds nearly nothing, so that nearly everything is read from the stream.
async fn with_a_short_log(recorder: Arc<Recorder>) -> Arc<dyn Broker> {
    let server = Server::start(SHARDS).await;
    with(recorder.clone(), recorder, server, |settings| {
        settings.log.entries = 3
    })
    .await
}

async fn with(
    feed: Arc<dyn Feed>,
    peer: Arc<dyn Peer>,
    server: Server,
    change: impl Fn(&mut Settings),
) -> Arc<dyn Broker> {
    let mut settings = settings(&server);
    change(&mut settings);
    let metrics = Metrics::new(1).unwrap().nats().unwrap();
    let nats = Nats::start(settings, feed, peer, metrics);
    server::until("the broker to be ready", async || nats.readiness().is_ok()).await;
    Arc::new(OnItsOwnServer {
        nats,
        _server: Box::new(server),
    })
}

impl Broker for OnItsOwnServer {
    fn serve_worker(&self) {
        self.nats.serve_worker();
    }

    fn publish(&self, room: &RoomName, message: Message) -> Answer<Position> {
        self.nats.publish(room, message)
    }

    fn open(&self, room: &RoomName) {
        self.nats.open(room);
    }

    fn close(&self, room: &RoomName) {
        self.nats.close(room);
    }

    fn join(&self, room: &RoomName, resume: Option<Position>) -> Answer<Joined> {
        self.nats.join(room, resume)
    }

    fn history(&self, room: &RoomName, query: HistoryQuery) -> Answer<HistoryPage> {
        self.nats.history(room, query)
    }

    fn erase(&self, room: &RoomName) -> Answer<()> {
        self.nats.erase(room)
    }

    fn readable_after(&self, room: &RoomName, readable: Readable) -> Answer<u64> {
        self.nats.readable_after(room, readable)
    }

    fn unread(&self, room: &RoomName, after: Position) -> Answer<u64> {
        self.nats.unread(room, after)
    }

    fn readiness(&self) -> Result<(), String> {
        self.nats.readiness()
    }

    fn announce(&self, load: NodeLoad) {
        self.nats.announce(load);
    }

    fn nodes(&self) -> Vec<NodeLoad> {
        self.nats.nodes()
    }

    fn call(
        &self,
        node: &str,
        request: Request,
        patience: Duration,
    ) -> Pending<Result<Response, CallError>> {
        self.nats.call(node, request, patience)
    }

    fn call_others(&self, request: Request, patience: Duration) -> Pending<Gathered> {
        self.nats.call_others(request, patience)
    }

    fn tell_others(&self, room: &RoomName, event: Event) {
        self.nats.tell_others(room, event);
    }

    fn leave(&self) -> Answer<()> {
        self.nats.leave()
    }
}

mod with_its_log {
    super::keeps_the_contract!(super::on_its_own_server);
}

mod from_the_stream {
    super::keeps_the_contract!(super::with_a_short_log);
}
