//! A way to NATS that is kept open: one connection after the other, each to the next server.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

use super::account::Account;
use super::connection::{Connection, Incident, Life};
use super::health::{Health, Trouble};

/// What a link carries: so that what one kind of traffic does to a connection does not touch the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Purpose {
    /// Live copies and the questions that show whether any are missing.
    Feed,
    Publish,
    Reads,
}

impl Purpose {
    pub const ALL: [Self; 3] = [Self::Feed, Self::Publish, Self::Reads];

    pub fn name(self) -> &'static str {
        match self {
            Self::Feed => "feed",
            Self::Publish => "publish",
            Self::Reads => "reads",
        }
    }
}

/// One of a node's links.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkId {
    pub purpose: Purpose,
    /// Tells links of one purpose apart; 0 is the one that all threads share.
    pub number: u16,
}

impl LinkId {
    pub fn shared(purpose: Purpose) -> Self {
        Self { purpose, number: 0 }
    }
}

impl fmt::Display for LinkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.purpose.name(), self.number) {
            (purpose, 0) => f.write_str(purpose),
            (purpose, number) => write!(f, "{purpose} {number}"),
        }
    }
}

/// What every link of a node is kept open with.
#[derive(Clone)]
pub struct LinkSettings {
    pub account: Account,
    /// The node's name.
    pub node: String,
    /// A connection so young is not replaced on suspicion.
    pub young: Duration,
    pub health: Arc<Health>,
    pub incidents: mpsc::UnboundedSender<Incident>,
}

const SHORTEST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// Nodes leave a server that shuts down one after the other.
const LEAVE_WITHIN: Duration = Duration::from_secs(2);

pub struct Link {
    id: LinkId,
    young: Duration,
    current: watch::Sender<Option<Arc<Connection>>>,
}

impl Link {
    pub fn new(id: LinkId, young: Duration) -> Arc<Self> {
        Arc::new(Self {
            id,
            young,
            current: watch::Sender::new(None),
        })
    }

    /// The connection in use, if it has not ended.
    pub fn current(&self) -> Option<Arc<Connection>> {
        let current = self.current.borrow();
        current
            .as_ref()
            .filter(|connection| !connection.has_ended())
            .cloned()
    }

    /// Waits for a connection; ends at once when there is one.
    pub async fn connected(&self) -> Arc<Connection> {
        let mut current = self.current.subscribe();
        loop {
            current.mark_unchanged();
            if let Some(connection) = self.current() {
                return connection;
            }
            if current.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Waits until `connection` is not the one to use any more.
    pub async fn replaced(&self, connection: &Arc<Connection>) {
        let mut current = self.current.subscribe();
        let other = |current: &Option<Arc<Connection>>| {
            !current
                .as_ref()
                .is_some_and(|current| Arc::ptr_eq(current, connection))
        };
        let _ = current.wait_for(other).await;
    }

    /// `connection` looks open but answers nothing: its server may be cut off. Try another one.
    pub fn suspect(&self, connection: &Connection) {
        if connection.age() > self.young {
            connection.suspect();
        }
    }

    /// Keeps the link open, for ever.
    pub async fn keep_open(self: Arc<Self>, settings: LinkSettings) {
        let LinkSettings {
            account,
            node,
            health,
            incidents,
            ..
        } = settings;
        let name = format!("natter {node} {}", self.id);
        let servers = account.urls();
        let mut server = fastrand::usize(..servers.len());
        let mut pause = Duration::ZERO;
        let mut was_open = false;
        loop {
            // A new connection may have new rights; if not, it is told again.
            if std::mem::take(&mut was_open) {
                health.clear(Trouble::Permission);
            }
            let opened =
                Connection::open(&account, &name, &servers[server], incidents.clone()).await;
            server = (server + 1) % servers.len();
            let connection = match opened {
                Ok(connection) => connection,
                Err(error) => {
                    // One server that is down is the cluster's business; none at all is ours.
                    if self.current().is_none() {
                        health.raise(Trouble::Connection(self.id), error.to_string());
                    }
                    pause = (pause * 2).clamp(SHORTEST_PAUSE, LONGEST_PAUSE);
                    sleep(pause.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
                    if self.current().is_none() {
                        self.current.send_replace(None);
                    }
                    continue;
                }
            };
            health.connected(self.id, connection.server());
            was_open = true;
            self.current.send_replace(Some(connection.clone()));
            tokio::select! {
                life = connection.over() => match life {
                    Life::Leaving => sleep(LEAVE_WITHIN.mul_f64(fastrand::f64())).await,
                    Life::Usable | Life::Ended => {
                        self.current.send_replace(None);
                        let text = format!("lost the connection to {}", connection.server());
                        health.raise(Trouble::Connection(self.id), text);
                    }
                },
                // The old connection stays in use until the new one is open. What others say of it then, as each of
                // them finds out by itself, must not be held against the new one.
                () = connection.suspected() => {}
            }
            if connection.age() > self.young {
                pause = Duration::ZERO;
            } else {
                // Servers that accept and hang up are not asked without end.
                pause = (pause * 2).clamp(SHORTEST_PAUSE, LONGEST_PAUSE);
                sleep(pause).await;
            }
        }
    }
}
