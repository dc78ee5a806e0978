//! A cluster of two NATS servers on loopback that keeps streams in memory and lies when it is told to.
//!
//! Without lies it answers as nats-server 2.15.1 does, see `truth.rs`. Every lie is one that a real server, a lagging
//! replica or the network between them has told; a test switches it on at the moment that it chooses.

mod answers;
mod cluster;
mod stream;
mod truth;
mod wire;

use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

pub use self::answers::Replica;
use self::cluster::Cluster;
pub use self::cluster::{Copy, Outcome, Server};
pub use self::stream::Stream;
pub use self::wire::{Headers, Reply};
use super::super::event;
use super::super::subject;
use crate::broker::Message;
use crate::ids::RoomName;

pub struct Liar {
    cluster: Arc<Mutex<Cluster>>,
    pub ports: Vec<u16>,
    _tasks: JoinSet<()>,
}

impl Liar {
    pub async fn start(shards: u16) -> Self {
        let cluster = Arc::new(Mutex::new(Cluster::new(shards)));
        let (mut ports, mut tasks) = (Vec::new(), JoinSet::new());
        for server in 0..cluster::SERVERS {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            ports.push(listener.local_addr().unwrap().port());
            tasks.spawn(accept(listener, server, cluster.clone()));
        }
        Self {
            cluster,
            ports,
            _tasks: tasks,
        }
    }

    pub fn with<T>(&self, act: impl FnOnce(&mut Cluster) -> T) -> T {
        act(&mut self.cluster.lock().unwrap())
    }

    /// The stream of shard 0.
    pub fn stream<T>(&self, act: impl FnOnce(&mut Stream) -> T) -> T {
        self.with(|cluster| act(cluster.streams.get_mut(&0).unwrap()))
    }

    pub fn last(&self) -> u64 {
        self.stream(|stream| stream.last)
    }

    /// Another node publishes `text` to a room of shard 0.
    pub fn publish(&self, room: &RoomName, text: &str) -> u64 {
        let message = Message {
            data: serde_json::to_string(text).unwrap().into(),
            author: None,
            id: None,
            tags: None,
        };
        let payload = event::encode(room, &message, 0);
        self.write(&subject::messages(0, room), payload)
    }

    /// Somebody writes `payload` into the stream of shard 0.
    pub fn write(&self, subject: &str, payload: impl Into<bytes::Bytes>) -> u64 {
        self.with(|cluster| {
            let stream = cluster.streams.get_mut(&0).unwrap();
            let sequence = stream.append(subject, Headers::default(), payload.into());
            cluster.send_copy(0, sequence);
            sequence
        })
    }

    /// Decides what becomes of the live copy of each message, by its sequence.
    pub fn copies(&self, fate: impl FnMut(u64) -> Copy + Send + 'static) {
        self.with(|cluster| cluster.lies.copies = Some(Box::new(fate)));
    }

    /// Chooses the replica that answers the next direct read.
    pub fn replicas(&self, choose: impl FnMut() -> Replica + Send + 'static) {
        self.with(|cluster| cluster.lies.replicas = Some(Box::new(choose)));
    }

    /// All direct reads are answered by a replica that ends there, until it is told to go on.
    pub fn lag(&self, end: impl Into<Option<u64>>) {
        let end = end.into();
        self.replicas(move || Replica {
            end,
            ..Replica::default()
        });
    }

    /// Changes the messages of each answer to a direct read before they are sent.
    pub fn answers(&self, change: impl FnMut(&mut Vec<Reply>) + Send + 'static) {
        self.with(|cluster| cluster.lies.answers = Some(Box::new(change)));
    }

    /// Changes what is said of streams.
    pub fn infos(&self, change: impl FnMut(&mut Value) + Send + 'static) {
        self.with(|cluster| cluster.lies.infos = Some(Box::new(change)));
    }

    /// What becomes of the next publishes; the later ones are stored.
    pub fn publishes(&self, outcomes: impl IntoIterator<Item = Outcome>) {
        self.with(|cluster| cluster.lies.publishes.extend(outcomes));
    }

    pub fn tell_the_truth(&self) {
        self.with(|cluster| cluster.lies = Default::default());
    }

    /// The server to which the node's connection for `purpose` goes.
    pub fn server_of(&self, purpose: &str) -> Option<usize> {
        self.with(|cluster| cluster.server_of(purpose))
    }

    /// How often connections for `purpose` were opened.
    pub fn opened(&self, purpose: &str) -> usize {
        self.with(|cluster| cluster.opened(purpose))
    }
}

async fn accept(listener: TcpListener, server: usize, cluster: Arc<Mutex<Cluster>>) {
    let port = listener.local_addr().unwrap().port();
    let mut connections = JoinSet::new();
    loop {
        let (socket, _) = listener.accept().await.unwrap();
        socket.set_nodelay(true).unwrap();
        let (sender, receiver) = mpsc::unbounded_channel();
        let welcome = cluster.lock().unwrap().welcome(server, port, sender);
        if let Some(client) = welcome {
            connections.spawn(serve(socket, client, receiver, cluster.clone()));
        }
    }
}

/// Serves one connection until either side has enough.
async fn serve(
    mut socket: TcpStream,
    client: u64,
    mut outgoing: mpsc::UnboundedReceiver<bytes::Bytes>,
    cluster: Arc<Mutex<Cluster>>,
) {
    let (reading, mut writing) = socket.split();
    let read = async {
        let mut reading = BufReader::new(reading);
        let mut may_read = cluster.lock().unwrap().may_read(client);
        while let Ok(Some(op)) = wire::read(&mut reading).await {
            if may_read.wait_for(|may| *may).await.is_err() {
                return;
            }
            cluster.lock().unwrap().take(client, op);
        }
    };
    let write = async {
        while let Some(bytes) = outgoing.recv().await {
            if writing.write_all(&bytes).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = read => {}
        () = write => {}
    }
    cluster.lock().unwrap().gone(client);
}
