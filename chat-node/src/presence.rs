//! Who is in a room: asked for by clients, and told to members where the room's class says so.
//!
//! Nothing is kept of who is present: workers list their members when somebody asks, on all nodes. Only rooms of classes
//! with joins and leaves have rosters, as the last one who could tell of a leave may be dead.

pub mod gather;
pub mod members;
mod repair;
pub mod roster;
#[cfg(test)]
mod roster_tests;
mod view;

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, Weak};
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::mpsc;

use crate::broker::Broker;
use crate::broker::peers::{self, Digest, Event, ListMembers, PresenceChange, Response};
use crate::ids::RoomName;
use crate::metrics::PresenceMetrics;
use crate::room::registry::Registry;

use gather::Turns;
use members::{Members, Wanted};
use roster::{Effect, Place, Rosters};

pub struct Presence {
    registry: Arc<Registry>,
    metrics: PresenceMetrics,
    /// Set once, right after the start: the broker hands this node's presence to others, and so needs it first.
    broker: OnceLock<Weak<dyn Broker>>,
    rosters: Mutex<Rosters>,
    repairs: mpsc::UnboundedSender<repair::Task>,
    waiting: Mutex<Option<mpsc::UnboundedReceiver<repair::Task>>>,
    turns: Turns,
}

impl Presence {
    pub fn new(registry: Arc<Registry>, metrics: PresenceMetrics) -> Arc<Self> {
        let (repairs, waiting) = mpsc::unbounded_channel();
        let started = SystemTime::now().duration_since(UNIX_EPOCH).ok();
        Arc::new(Self {
            registry,
            metrics,
            broker: OnceLock::new(),
            rosters: Mutex::new(Rosters::new(
                started.map_or(0, |since| since.as_millis() as u64),
            )),
            repairs,
            waiting: Mutex::new(Some(waiting)),
            turns: Turns::default(),
        })
    }

    pub fn connect(&self, broker: &Arc<dyn Broker>) {
        if self.broker.set(Arc::downgrade(broker)).is_err() {
            unreachable!("there is one broker");
        }
    }

    fn broker(&self) -> Option<Arc<dyn Broker>> {
        self.broker.get()?.upgrade()
    }

    /// Takes notice of joins and leaves of a worker's members, in their order.
    pub fn changed(&self, changes: impl IntoIterator<Item = Change>) {
        for change in changes {
            // Under one lock with what follows from it: everybody hears of a member's join before its leave.
            let mut rosters = self.rosters();
            let effects = match change {
                Change::Joined(room, place, member) => rosters.joined(&room, place, member),
                Change::Left(room, place) => rosters.left(&room, place),
            };
            self.act(effects);
        }
    }

    /// Takes notice of what another node said.
    pub fn heard(&self, from: &str, room: &RoomName, change: PresenceChange) {
        let Some(change) = view::Delta::read(change) else {
            return;
        };
        let mut rosters = self.rosters();
        let effects = rosters.heard(from, room, change);
        self.act(effects);
    }

    /// Compares another node's rooms with what is known of it.
    pub fn compared(&self, from: &str, digest: &Digest) {
        let mut rosters = self.rosters();
        let effects = rosters.compared(from, digest);
        self.act(effects);
    }

    /// Answers another node that wants to know who is in a room here.
    pub async fn answer(&self, asked: &ListMembers) -> Response {
        // What is no room has no members.
        let Ok(room) = RoomName::parse(&asked.room, 255) else {
            return Response::Members(peers::Members::default());
        };
        if asked.roster {
            return Response::Members(self.rosters().own(&room));
        }
        let wanted = if asked.list {
            Wanted::List
        } else {
            Wanted::Numbers
        };
        let members = gather::here(&self.registry, &room, wanted).await;
        Response::Members(members.into_answer())
    }

    /// Who is in the room, on all nodes that answer in time.
    pub async fn of(self: Arc<Self>, room: RoomName, wanted: Wanted) -> Arc<Members> {
        let key = (room.clone(), wanted);
        self.turns.take(key, || self.gather(&room, wanted)).await
    }

    async fn gather(&self, room: &RoomName, wanted: Wanted) -> Members {
        self.metrics.gathers.inc();
        let here = gather::here(&self.registry, room, wanted);
        let Some(broker) = self.broker() else {
            return here.await;
        };
        let (members, silent) = gather::everywhere(here, &*broker, room, wanted).await;
        self.metrics.silent_nodes.inc_by(silent as u64);
        members
    }

    /// Does what follows from a change. Called under the lock, so that others hear of changes in their order.
    fn act(&self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Announce(announcement) => {
                    self.metrics.announced(announcement.what);
                    self.registry.announce(announcement);
                }
                Effect::Tell(room, change) => {
                    if let Some(broker) = self.broker() {
                        broker.tell_others(&room, Event::Presence(change));
                    }
                }
                // Gone only when the node is.
                Effect::Repair(node, room) => {
                    let _ = self.repairs.send(repair::Task::One(node, room));
                }
                Effect::Meet(room) => {
                    let _ = self.repairs.send(repair::Task::All(room));
                }
            }
        }
    }

    fn rosters(&self) -> MutexGuard<'_, Rosters> {
        self.rosters.lock().expect("no panic holds this lock")
    }
}

/// What happened to a member of a room whose class tells of joins and leaves.
#[derive(Debug)]
pub enum Change {
    Joined(RoomName, Place, crate::broker::Author),
    Left(RoomName, Place),
}
