//! Who else serves: every node says hello every few seconds, and goodbye when it leaves.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures_util::stream::select;
use futures_util::{Stream, StreamExt};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::connection::Connection;
use super::link::Link;
use crate::broker::NodeLoad;

/// Between two hellos.
const HELLO: Duration = Duration::from_secs(5);
/// A node that was silent for so long is gone.
const SILENCE: Duration = Duration::from_secs(3 * 5 + 1);

pub struct Directory {
    node: String,
    own: Mutex<Option<NodeLoad>>,
    others: Mutex<Others>,
}

/// The last hello of each other node, and when it came.
type Others = HashMap<String, (NodeLoad, Instant)>;

impl Directory {
    pub fn new(node: String) -> Arc<Self> {
        Arc::new(Self {
            node,
            own: Mutex::default(),
            others: Mutex::default(),
        })
    }

    /// What the next hello says of this node.
    pub fn announce(&self, load: NodeLoad) {
        *self.own() = Some(load);
    }

    /// This node and all that were heard lately, by name.
    pub fn nodes(&self) -> Vec<NodeLoad> {
        self.nodes_at(Instant::now())
    }

    fn nodes_at(&self, now: Instant) -> Vec<NodeLoad> {
        let mut others = self.others();
        others.retain(|_, (_, heard)| now < *heard + SILENCE);
        let mut nodes: Vec<_> = others.values().map(|(load, _)| load.clone()).collect();
        drop(others);
        nodes.extend(self.own().clone());
        nodes.sort_by(|a, b| a.node.cmp(&b.node));
        nodes
    }

    fn own(&self) -> MutexGuard<'_, Option<NodeLoad>> {
        self.own.lock().expect("no panic holds this lock")
    }

    fn others(&self) -> MutexGuard<'_, Others> {
        self.others.lock().expect("no panic holds this lock")
    }

    /// Says hello and listens, for ever.
    pub async fn keep(self: Arc<Self>, link: Arc<Link>) {
        loop {
            let connection = link.connected().await;
            // Not all of a node's subjects: a call to a node that is gone must have nobody who listens.
            let hellos = connection.subscribe("c.node.*.hello".to_owned()).await;
            let byes = connection.subscribe("c.node.*.bye".to_owned()).await;
            if let (Some(hellos), Some(byes)) = (hellos, byes) {
                self.keep_over(&link, &connection, select(hellos, byes))
                    .await;
            }
        }
    }

    async fn keep_over(
        &self,
        link: &Link,
        connection: &Arc<Connection>,
        mut messages: impl Stream<Item = async_nats::Message> + Unpin,
    ) {
        let replaced = link.replaced(connection);
        tokio::pin!(replaced);
        let mut hello = interval(HELLO);
        hello.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = hello.tick() => self.say_hello(connection).await,
                message = messages.next() => match message {
                    Some(message) => {
                        let is_new =
                            self.hear(&message.subject, &message.payload, Instant::now());
                        // Whoever comes knows all others at once, and not only after their next hellos.
                        if is_new {
                            self.say_hello(connection).await;
                        }
                    }
                    None => return,
                },
                () = &mut replaced => return,
            }
        }
    }

    async fn say_hello(&self, connection: &Connection) {
        let own = self.own().clone();
        if let Some(hello) = own.and_then(|own| serde_json::to_vec(&own).ok()) {
            let subject = format!("c.node.{}.hello", self.node);
            connection.tell(subject, hello.into()).await;
        }
    }

    /// Tells the others that this node is gone.
    pub async fn say_goodbye(&self, link: &Link) {
        if let Some(connection) = link.current() {
            let subject = format!("c.node.{}.bye", self.node);
            connection.tell(subject, Default::default()).await;
            connection.flush().await;
        }
    }

    /// Returns whether somebody said hello who was not known.
    fn hear(&self, subject: &str, payload: &[u8], now: Instant) -> bool {
        let mut tokens = subject.split('.').skip(2);
        let (Some(node), Some(what)) = (tokens.next(), tokens.next()) else {
            return false;
        };
        if node == self.node {
            return false;
        }
        let mut others = self.others();
        match what {
            "bye" => {
                others.remove(node);
                false
            }
            // A later release may say more, or something else: what cannot be read is no hello.
            "hello" => serde_json::from_slice::<NodeLoad>(payload)
                .is_ok_and(|load| others.insert(node.to_owned(), (load, now)).is_none()),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::NodeState;

    fn load(node: &str) -> NodeLoad {
        NodeLoad {
            node: node.to_owned(),
            connections: 1,
            capacity: 2,
            version: "0".to_owned(),
            state: NodeState::Serving,
        }
    }

    fn names(directory: &Directory, now: Instant) -> Vec<String> {
        let nodes = directory.nodes_at(now);
        nodes.into_iter().map(|load| load.node).collect()
    }

    #[test]
    fn nodes_are_known_until_they_leave_or_fall_silent() {
        let directory = Directory::new("b".to_owned());
        directory.announce(load("b"));
        let hello = |node: &str, now| {
            let payload = serde_json::to_vec(&load(node)).unwrap();
            directory.hear(&format!("c.node.{node}.hello"), &payload, now)
        };
        let now = Instant::now();
        assert!(hello("c", now) && hello("a", now));
        assert!(!hello("a", now) && !hello("b", now), "nobody new");
        assert_eq!(names(&directory, now), ["a", "b", "c"]);
        assert!(!directory.hear("c.node.a.bye", b"", now));
        assert_eq!(names(&directory, now), ["b", "c"]);
        let later = now + SILENCE;
        assert!(hello("a", later));
        assert_eq!(names(&directory, later), ["a", "b"]);
    }

    #[test]
    fn what_is_no_hello_changes_nothing() {
        let (directory, now) = (Directory::new("b".to_owned()), Instant::now());
        for (subject, payload) in [
            ("c.node.a.hello", "{}"),
            ("c.node.a.hello", "\u{0}"),
            ("c.node.a.later", "{}"),
            ("c.node.a", ""),
            ("c", ""),
        ] {
            assert!(!directory.hear(subject, payload.as_bytes(), now));
        }
        assert!(names(&directory, now).is_empty());
    }
}
