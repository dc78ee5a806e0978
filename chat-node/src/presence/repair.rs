//! What runs beside: asks nodes for the members that changes did not tell of, tells the others what this node has,
//! and takes out the members of nodes that are gone.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use crate::broker::peers::{ListMembers, Request, Response};
use crate::ids::RoomName;

use super::Presence;
use super::view::Listing;

/// Between two digests.
const DIGEST: Duration = Duration::from_secs(5);
/// How often is looked who is gone.
const LOOK: Duration = Duration::from_secs(1);
/// How long a node may take to list its members.
const PATIENCE: Duration = Duration::from_secs(2);
/// Rooms of one digest: half of what a message may hold.
const ROOMS_PER_DIGEST: usize = 32 * 1024;

/// Somebody to be asked for members.
pub enum Task {
    One(String, RoomName),
    All(RoomName),
}

impl Presence {
    /// Keeps the rosters right, for as long as the node runs.
    pub async fn keep(self: Arc<Self>) {
        let waiting = self
            .waiting
            .lock()
            .expect("no panic holds this lock")
            .take();
        let Some(waiting) = waiting else {
            unreachable!("it is kept once");
        };
        tokio::join!(self.ask(waiting), self.compare(), self.look());
    }

    async fn ask(self: &Arc<Self>, mut waiting: mpsc::UnboundedReceiver<Task>) {
        while let Some(task) = waiting.recv().await {
            let Some(broker) = self.broker() else { return };
            let question = |room: &RoomName| {
                Request::ListMembers(ListMembers {
                    room: room.as_str().to_owned(),
                    list: true,
                    roster: true,
                })
            };
            let presence = self.clone();
            match task {
                Task::One(node, room) => {
                    let asking = broker.call(&node, question(&room), PATIENCE);
                    tokio::spawn(async move {
                        let answer = asking.await.ok();
                        presence.listed(&node, &room, answer);
                    });
                }
                Task::All(room) => {
                    let asking = broker.call_others(question(&room), PATIENCE);
                    tokio::spawn(async move {
                        for (node, answer) in asking.await.answers {
                            presence.listed(&node, &room, answer.ok());
                        }
                    });
                }
            }
        }
    }

    fn listed(&self, node: &str, room: &RoomName, answer: Option<Response>) {
        let listing = answer.and_then(|answer| match answer {
            Response::Members(members) => Some(Listing::of_answer(members)),
            _ => None,
        });
        let mut rosters = self.rosters();
        let effects = rosters.listed(node, room, listing);
        self.act(effects);
    }

    /// Tells the others what this node has, so that they see what they did not hear.
    async fn compare(&self) {
        let mut tick = interval(DIGEST);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            let Some(broker) = self.broker() else { return };
            if broker.nodes().len() < 2 {
                continue;
            }
            let digests = self.rosters().digests(ROOMS_PER_DIGEST);
            for digest in digests {
                // Whoever does not hear this one hears the next.
                broker.call_others(Request::Digest(digest), LOOK).await;
            }
        }
    }

    /// Takes out the members of nodes that have left or are silent.
    async fn look(&self) {
        let mut tick = interval(LOOK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut looked = Instant::now();
        loop {
            tick.tick().await;
            let Some(broker) = self.broker() else { return };
            // Who was stopped for a while has not heard the others: their hellos are about to be read.
            let was_stopped = looked.elapsed() > 3 * LOOK;
            looked = Instant::now();
            if was_stopped || self.rosters().is_empty() {
                continue;
            }
            let nodes: HashSet<_> = (broker.nodes().into_iter()).map(|load| load.node).collect();
            let mut rosters = self.rosters();
            let effects = rosters.keep_only(|node| nodes.contains(node));
            self.act(effects);
        }
    }
}
