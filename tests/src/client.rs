//! A client of the Centrifuge protocol, one command at a time or raw text.
//!
//! It answers pings by itself unless told otherwise, and checks everything it reads (`check`).

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};

use crate::check::{self, Close};
use crate::node::Node;
use crate::socket::{End, Socket};
use crate::wait::within;

pub struct Client {
    socket: Socket,
    /// Read from the socket, not asked for yet.
    unread: VecDeque<Value>,
    last_id: u32,
    last_text: String,
    pub answers_pings: bool,
}

/// What a push or a list of publications tells.
#[derive(Clone, Debug, PartialEq)]
pub struct Publication {
    pub offset: u64,
    pub data: Value,
}

impl Publication {
    fn of(value: &Value) -> Self {
        let offset = value["offset"].as_u64();
        Self {
            offset: offset.unwrap_or_else(|| panic!("a publication without offset: {value}")),
            data: value["data"].clone(),
        }
    }

    /// The publications of a subscribe or history reply.
    pub fn list(reply: &Value) -> Vec<Self> {
        let list = reply["publications"].as_array();
        list.into_iter().flatten().map(Self::of).collect()
    }
}

impl Client {
    /// Opens a WebSocket and sends nothing.
    pub async fn open(node: &Node) -> Self {
        Self::open_at(node.address).await
    }

    /// Opens a WebSocket to whatever node answers at an address, and sends nothing.
    pub async fn open_at(address: SocketAddr) -> Self {
        let socket = within("a WebSocket", Socket::open(address)).await;
        let socket = socket.expect("the node upgrades");
        Self {
            socket,
            unread: VecDeque::new(),
            last_id: 0,
            last_text: String::new(),
            answers_pings: true,
        }
    }

    /// Opens a WebSocket and connects.
    pub async fn connect(node: &Node) -> Self {
        let mut client = Self::open(node).await;
        client.ask("connect", json!({})).await;
        client
    }

    /// Opens a WebSocket to whatever node answers at an address, and connects.
    pub async fn connect_at(address: SocketAddr) -> Self {
        let mut client = Self::open_at(address).await;
        client.ask("connect", json!({})).await;
        client
    }

    /// Connects and subscribes to `room`.
    pub async fn join(node: &Node, room: &str) -> Self {
        let mut client = Self::connect(node).await;
        client.subscribe(room).await;
        client
    }

    /// The same at whatever node answers at an address.
    pub async fn join_at(address: SocketAddr, room: &str) -> Self {
        let mut client = Self::connect_at(address).await;
        client.subscribe(room).await;
        client
    }

    /// What the last messages of a room carry, at most 10, oldest first.
    pub async fn last_messages(&mut self, room: &str) -> Vec<Value> {
        let history = json!({"channel": room, "limit": 10});
        let page = self.ask("history", history).await;
        let publications = Publication::list(&page).into_iter();
        publications.map(|publication| publication.data).collect()
    }

    /// Sends a text frame.
    pub async fn send(&mut self, text: impl Into<String>) {
        let sent = self.socket.send(text);
        within("a frame to be taken", sent)
            .await
            .expect("the socket is open");
    }

    /// Sends a command and returns its id.
    pub async fn command(&mut self, method: &str, parameters: Value) -> u32 {
        let id = self.next_id();
        self.send(json!({"id": id, method: parameters}).to_string())
            .await;
        id
    }

    pub fn next_id(&mut self) -> u32 {
        self.last_id += 1;
        self.last_id
    }

    /// Sends a command and returns its whole reply.
    pub async fn request(&mut self, method: &str, parameters: Value) -> Value {
        let id = self.command(method, parameters).await;
        self.reply(id).await
    }

    /// Sends a command that must be done, and returns its result.
    pub async fn ask(&mut self, method: &str, parameters: Value) -> Value {
        let mut reply = self.request(method, parameters).await;
        assert!(
            reply.get(method).is_some(),
            "{method} was answered with {reply}"
        );
        reply[method].take()
    }

    /// Sends a command that must be refused, and returns the error's code.
    pub async fn refused(&mut self, method: &str, parameters: Value) -> u64 {
        let reply = self.request(method, parameters).await;
        error_code(&reply)
    }

    pub async fn subscribe(&mut self, room: &str) -> Value {
        self.ask("subscribe", json!({"channel": room})).await
    }

    /// Subscribes as a client does that was there before.
    pub async fn resume(&mut self, room: &str, offset: u64, epoch: &Value) -> Value {
        let parameters =
            json!({"channel": room, "recover": true, "offset": offset, "epoch": epoch, "flag": 1});
        self.ask("subscribe", parameters).await
    }

    /// Publishes and waits for the acknowledgement.
    pub async fn publish(&mut self, room: &str, data: Value) {
        self.ask("publish", json!({"channel": room, "data": data}))
            .await;
    }

    /// Panics unless the session still answers.
    pub async fn is_alive(&mut self) {
        self.ask("ping", json!({})).await;
    }

    /// The reply to command `id`. Whatever else comes is kept.
    pub async fn reply(&mut self, id: u32) -> Value {
        self.find(&format!("the reply to command {id}"), |object| {
            object["id"] == id
        })
        .await
    }

    /// The reply to command `id`, unless the node closes first.
    pub async fn reply_or_close(&mut self, id: u32) -> Result<Value, Close> {
        loop {
            if let Some(index) = self.unread.iter().position(|object| object["id"] == id) {
                return Ok(self.unread.remove(index).expect("it was found"));
            }
            let objects = within("a reply or a close", self.read()).await?;
            self.unread.extend(objects);
        }
    }

    /// The next publication pushed to this client.
    pub async fn publication(&mut self) -> Publication {
        let push = self.push().await;
        Publication::of(&push["pub"])
    }

    /// The next push, with its channel.
    pub async fn push(&mut self) -> Value {
        let mut object = self
            .find("a push", |object| object.get("push").is_some())
            .await;
        object["push"].take()
    }

    /// The next ping.
    pub async fn ping(&mut self) {
        self.find("a ping", |object| *object == json!({})).await;
    }

    /// The next objects, in the order in which they came, pings left out.
    pub async fn next(&mut self) -> Value {
        self.find("an object", |object| *object != json!({})).await
    }

    /// The text of the frame that was read last.
    pub fn last_text(&self) -> &str {
        &self.last_text
    }

    /// Panics if any push comes within `time`.
    pub async fn hears_nothing_for(&mut self, time: Duration) {
        let push = tokio::time::timeout(time, self.push()).await;
        assert!(push.is_err(), "heard {push:?}");
    }

    /// Reads on until the node closes.
    pub async fn closed(&mut self) -> Close {
        loop {
            match within("a close frame", self.read()).await {
                Ok(objects) => self.unread.extend(objects),
                Err(close) => return close,
            }
        }
    }

    /// Takes what has come but was not asked for.
    pub fn take_unread(&mut self) -> Vec<Value> {
        self.unread.drain(..).collect()
    }

    /// Closes as a client does that has enough, and waits until the node has agreed.
    pub async fn leave(mut self) {
        self.socket.close().await.expect("the socket is open");
        self.closed().await;
    }

    async fn find(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        if let Some(index) = self.unread.iter().position(&wanted) {
            return self.unread.remove(index).expect("it was found");
        }
        let found = async {
            loop {
                let objects = self.read().await;
                let objects =
                    objects.unwrap_or_else(|close| panic!("expected {what}, got {close:?}"));
                let known = self.unread.len();
                self.unread.extend(objects);
                if let Some(index) = self.unread.iter().skip(known).position(&wanted) {
                    return self.unread.remove(known + index).expect("it was found");
                }
            }
        };
        within(what, found).await
    }

    /// The objects of the next text frame, or the close.
    async fn read(&mut self) -> Result<Vec<Value>, Close> {
        let text = match self.socket.read().await {
            Ok(text) => text,
            Err(End::Closed(close)) => return Err(close),
            Err(End::Broken(why)) => panic!("the connection broke: {why}"),
        };
        let objects = check::objects(&text);
        self.last_text = text;
        if self.answers_pings && objects.contains(&json!({})) {
            // A node that is about to close need not take it.
            let _ = self.socket.send("{}").await;
        }
        Ok(objects)
    }
}

/// The code of a reply that must be an error.
pub fn error_code(reply: &Value) -> u64 {
    let code = reply["error"]["code"].as_u64();
    code.unwrap_or_else(|| panic!("expected an error, got {reply}"))
}
