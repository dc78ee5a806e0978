//! The servers' state: streams, clients, and which lies are being told.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};

use super::answers::{self, Replica};
use super::stream::{Stream, duplicate, refusal};
use super::wire::{self, Headers, Op, Publish, Reply, matches};

pub const SERVERS: usize = 2;

pub struct Cluster {
    pub streams: BTreeMap<u16, Stream>,
    pub servers: [Server; SERVERS],
    /// What their INFO says.
    pub version: &'static str,
    pub max_payload: usize,
    pub lies: Lies,
    /// The ids of all publishes into streams that have arrived, whatever became of them.
    pub attempts: Vec<String>,
    clients: BTreeMap<u64, Client>,
    /// The names of all connections that there were.
    names: Vec<String>,
    next_client: u64,
    /// Live copies that wait to be released.
    held: Vec<u64>,
    frozen: Vec<Publish>,
    may_read: watch::Sender<bool>,
}

/// How a server is.
#[derive(Clone)]
pub enum Server {
    Up,
    /// Nobody gets in.
    Down,
    /// Cut off from the other servers: its clients notice nothing, its own replica of each stream stays as it is.
    Isolated(BTreeMap<u16, u64>),
    /// Connections stay open, but nothing comes back.
    Frozen,
}

struct Client {
    server: usize,
    name: String,
    subscriptions: BTreeMap<String, String>,
    out: mpsc::UnboundedSender<Bytes>,
}

/// What becomes of a live copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copy {
    Sent,
    Lost,
    /// Kept until it is released.
    Held,
}

/// What becomes of a publish into a stream.
#[derive(Clone, Debug)]
pub enum Outcome {
    Stored,
    /// Neither stored nor answered.
    Lost,
    /// Stored, but nobody says so.
    AckLost,
    /// Stored when the server thaws.
    Frozen,
    /// Not stored.
    Refused(u16, u32, &'static str),
    /// Stored, and refused because an earlier attempt is still being stored.
    InProcess,
    NoResponders,
    /// Not stored, because that message has the same id.
    Duplicate(u64),
    /// Stored, and then the connection breaks.
    StoredAndHungUp,
    HungUp,
}

type Lie<F> = Option<Box<F>>;
type Change<T> = dyn FnMut(&mut T) + Send;

#[derive(Default)]
pub struct Lies {
    pub copies: Lie<dyn FnMut(u64) -> Copy + Send>,
    pub replicas: Lie<dyn FnMut() -> Replica + Send>,
    pub answers: Lie<Change<Vec<Reply>>>,
    pub infos: Lie<Change<Value>>,
    pub publishes: VecDeque<Outcome>,
}

impl Cluster {
    pub fn new(shards: u16) -> Self {
        let streams = (0..shards).map(|shard| (shard, Stream::new(shard, shards)));
        Self {
            streams: streams.collect(),
            servers: [Server::Up, Server::Up],
            version: "2.15.1",
            max_payload: 1 << 20,
            lies: Lies::default(),
            attempts: Vec::new(),
            clients: BTreeMap::new(),
            names: Vec::new(),
            next_client: 1,
            held: Vec::new(),
            frozen: Vec::new(),
            may_read: watch::Sender::new(true),
        }
    }

    /// Lets a new client in and greets it.
    pub fn welcome(
        &mut self,
        server: usize,
        port: u16,
        out: mpsc::UnboundedSender<Bytes>,
    ) -> Option<u64> {
        if matches!(self.servers[server], Server::Down) {
            return None;
        }
        let client = self.next_client;
        self.next_client += 1;
        let name = format!("liar-{server}");
        let info = json!({
            "server_id": name, "server_name": name, "version": self.version, "proto": 1, "go": "go1.26.8",
            "host": "127.0.0.1", "port": port, "headers": true, "max_payload": self.max_payload, "jetstream": true,
            "client_id": client, "client_ip": "127.0.0.1",
        });
        let _ = out.send(format!("INFO {info}\r\n").into());
        let new = Client {
            server,
            name: String::new(),
            subscriptions: BTreeMap::new(),
            out,
        };
        self.clients.insert(client, new);
        Some(client)
    }

    pub fn gone(&mut self, client: u64) {
        self.clients.remove(&client);
    }

    pub fn may_read(&self, _: u64) -> watch::Receiver<bool> {
        self.may_read.subscribe()
    }

    /// The servers take what clients send, or leave it in the network.
    pub fn read(&mut self, may: bool) {
        self.may_read.send_replace(may);
    }

    pub fn take(&mut self, from: u64, op: Op) {
        let Some(client) = self.clients.get_mut(&from) else {
            return;
        };
        if matches!(self.servers[client.server], Server::Frozen) {
            return;
        }
        match op {
            Op::Connect(options) => {
                client.name = options["name"].as_str().unwrap_or_default().to_owned();
                self.names.push(client.name.clone());
            }
            Op::Ping => {
                let _ = client.out.send("PONG\r\n".into());
            }
            Op::Pong => {}
            Op::Subscribe { subject, sid } => {
                client.subscriptions.insert(sid, subject);
            }
            Op::Unsubscribe { sid } => {
                client.subscriptions.remove(&sid);
            }
            Op::Publish(publish) => self.publish(from, publish),
        }
    }

    fn publish(&mut self, from: u64, publish: Publish) {
        let subject = publish.subject.as_str();
        if let Some(question) = subject.strip_prefix("$JS.API.") {
            let replies = self.answer(from, question, &publish.payload);
            return self.reply(from, &publish, replies);
        }
        let mut streams = self.streams.iter();
        if let Some((shard, _)) = streams.find(|(_, stream)| stream.takes(subject)) {
            return self.store(from, *shard, publish);
        }
        let message = Reply {
            headers: publish.headers.clone(),
            payload: publish.payload.clone(),
        };
        if !self.send(subject, &message) {
            self.reply(from, &publish, vec![no_responders(subject)]);
        }
    }

    fn store(&mut self, from: u64, shard: u16, publish: Publish) {
        let id = publish.headers.get("Nats-Msg-Id").unwrap_or_default();
        self.attempts.push(id.to_owned());
        if matches!(self.state_at(from), Server::Isolated(_)) {
            return;
        }
        let outcome = self.lies.publishes.pop_front().unwrap_or(Outcome::Stored);
        let answer = match &outcome {
            Outcome::Lost | Outcome::HungUp => None,
            Outcome::Frozen => {
                self.frozen.push(publish.clone());
                None
            }
            Outcome::Refused(code, err_code, text) => Some(refusal(*code, *err_code, text)),
            Outcome::NoResponders => Some(no_responders(&publish.subject)),
            Outcome::Duplicate(sequence) => {
                let stream = &self.streams[&shard].config.name;
                Some(duplicate(stream, *sequence))
            }
            Outcome::Stored => self.keep(shard, &publish),
            Outcome::AckLost | Outcome::StoredAndHungUp => {
                self.keep(shard, &publish);
                None
            }
            Outcome::InProcess => {
                self.keep(shard, &publish);
                let text = "duplicate message id is in process";
                Some(refusal(409, 10158, text))
            }
        };
        if let Some(answer) = answer {
            self.reply(from, &publish, vec![answer]);
        }
        if matches!(outcome, Outcome::HungUp | Outcome::StoredAndHungUp) {
            self.gone(from);
        }
    }

    fn keep(&mut self, shard: u16, publish: &Publish) -> Option<Reply> {
        let stream = self.streams.get_mut(&shard)?;
        let (new, answer) = stream.publish(publish);
        if let Some(sequence) = new {
            self.send_copy(shard, sequence);
        }
        Some(answer)
    }

    /// The frozen server stores what it was sent before.
    pub fn thaw(&mut self) {
        for publish in std::mem::take(&mut self.frozen) {
            let mut streams = self.streams.iter();
            let shard = streams.find(|(_, stream)| stream.takes(&publish.subject));
            if let Some((shard, _)) = shard {
                self.keep(*shard, &publish);
            }
        }
    }

    /// Sends the live copy of a message, if no lie prevents it.
    pub fn send_copy(&mut self, shard: u16, sequence: u64) {
        let fate = self.lies.copies.as_mut().map(|fate| fate(sequence));
        match fate.unwrap_or(Copy::Sent) {
            Copy::Sent => self.copy_again(shard, sequence),
            Copy::Lost => {}
            Copy::Held => self.held.push(sequence),
        }
    }

    /// Sends a live copy, whatever was decided before.
    pub fn copy_again(&mut self, shard: u16, sequence: u64) {
        if let Some((subject, copy)) = self.streams[&shard].copy(sequence) {
            self.send(&subject, &copy);
        }
    }

    /// Sends the copies of shard 0 that were held, in an order made of theirs.
    pub fn release(&mut self, order: impl FnOnce(&mut Vec<u64>)) {
        let mut held = std::mem::take(&mut self.held);
        order(&mut held);
        for sequence in held {
            self.copy_again(0, sequence);
        }
    }

    fn answer(&mut self, from: u64, question: &str, payload: &[u8]) -> Vec<Reply> {
        let (kind, stream) = question.rsplit_once('.').unwrap_or_default();
        let shard = stream
            .strip_prefix("C_")
            .and_then(|shard| shard.parse().ok());
        let stream = shard.and_then(|shard: u16| self.streams.get(&shard));
        let isolated = match self.state_at(from) {
            Server::Isolated(ends) => Some(ends),
            _ => None,
        };
        if kind == "DIRECT.GET" {
            let Some(stream) = stream else {
                return vec![no_responders(&format!("$JS.API.{question}"))];
            };
            let choose = &mut self.lies.replicas;
            let mut replica = choose.as_mut().map(|choose| choose()).unwrap_or_default();
            if let Some(ends) = isolated {
                replica.end = shard.and_then(|shard| ends.get(&shard)).copied();
            }
            let mut replies = answers::direct_get(stream, payload, &replica);
            if let Some(change) = &mut self.lies.answers {
                change(&mut replies);
            }
            return replies;
        }
        if isolated.is_some() {
            return Vec::new();
        }
        let mut answer = match (kind, stream) {
            ("STREAM.INFO", Some(stream)) => answers::stream_info(stream, payload),
            ("STREAM.INFO", None) => answers::no_stream("stream_info_response"),
            ("STREAM.MSG.GET", Some(stream)) => answers::message_get(stream, payload),
            ("STREAM.MSG.GET", None) => answers::no_stream("stream_msg_get_response"),
            _ => return Vec::new(),
        };
        if kind == "STREAM.INFO"
            && let Some(change) = &mut self.lies.infos
        {
            change(&mut answer);
        }
        match answer {
            Value::Null => Vec::new(),
            answer => vec![Reply::json(&answer)],
        }
    }

    /// Sends the messages of an answer to whoever asked.
    fn reply(&self, to: u64, question: &Publish, replies: Vec<Reply>) {
        let (Some(client), Some(subject)) = (self.clients.get(&to), &question.reply) else {
            return;
        };
        for reply in replies {
            client.send(subject, &reply);
        }
    }

    /// Sends a message to whoever wants it; false if nobody does.
    fn send(&self, subject: &str, message: &Reply) -> bool {
        let mut somebody = false;
        for client in self.clients.values() {
            let reached = matches!(self.servers[client.server], Server::Up);
            somebody |= reached && client.send(subject, message);
        }
        somebody
    }

    fn state_at(&self, client: u64) -> Server {
        let client = self.clients.get(&client);
        client.map_or(Server::Up, |client| self.servers[client.server].clone())
    }

    /// Cuts a server off from the other.
    pub fn isolate(&mut self, server: usize) {
        let ends = self
            .streams
            .iter()
            .map(|(shard, stream)| (*shard, stream.last));
        self.servers[server] = Server::Isolated(ends.collect());
    }

    /// Takes a server down, with its connections.
    pub fn shut_down(&mut self, server: usize) {
        self.servers[server] = Server::Down;
        self.clients.retain(|_, client| client.server != server);
    }

    pub fn server_of(&self, purpose: &str) -> Option<usize> {
        let mut clients = self.clients.values().rev();
        clients
            .find(|client| client.name.ends_with(purpose))
            .map(|client| client.server)
    }

    pub fn opened(&self, purpose: &str) -> usize {
        let names = self.names.iter();
        names.filter(|name| name.ends_with(purpose)).count()
    }

    /// Breaks the connections for `purpose`.
    pub fn hang_up(&mut self, purpose: &str) {
        self.clients
            .retain(|_, client| !client.name.ends_with(purpose));
    }

    /// Says `line` on the connections for `purpose`.
    pub fn say(&self, purpose: &str, line: &str) {
        for client in self.clients.values() {
            if client.name.ends_with(purpose) {
                let _ = client.out.send(format!("{line}\r\n").into());
            }
        }
    }
}

impl Client {
    /// False if the client has not asked for such messages.
    fn send(&self, subject: &str, Reply { headers, payload }: &Reply) -> bool {
        let wanted = |(_, pattern): &(&String, &String)| matches(pattern, subject);
        let mut somebody = false;
        for (sid, _) in self.subscriptions.iter().filter(wanted) {
            let _ = self.out.send(wire::message(subject, sid, headers, payload));
            somebody = true;
        }
        somebody
    }
}

fn no_responders(subject: &str) -> Reply {
    Reply {
        headers: Headers::status("503").with("Nats-Subject", subject),
        payload: Bytes::new(),
    }
}
