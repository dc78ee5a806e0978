//! Which workers of this node have members in which room: the broker's feed goes through here.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock, RwLock};

use foldhash::fast::RandomState;
use tokio::sync::oneshot;

use crate::broker::{Epoch, Feed, Publication};
use crate::ids::RoomName;
use crate::presence::members::{Members, Wanted};
use crate::presence::roster::Announcement;
use crate::worker::presence::Listing;
use crate::worker::{Event, Inbox};

use super::delivery::Delivery;

/// The number of a worker on this node.
pub type WorkerIndex = u16;

#[derive(Default)]
pub struct Registry {
    interested: RwLock<HashMap<RoomName, Vec<WorkerIndex>, RandomState>>,
    inboxes: OnceLock<Vec<Inbox>>,
}

impl Registry {
    /// Connects the workers; deliveries before that go nowhere, as nobody can have entered a room.
    pub fn connect(&self, inboxes: Vec<Inbox>) {
        if self.inboxes.set(inboxes).is_err() {
            unreachable!("workers are connected once, at start");
        }
    }

    /// Sends `room`'s deliveries to `worker` from now on.
    pub fn enter(&self, worker: WorkerIndex, room: &RoomName) {
        let mut interested = self.interested.write().expect("no panic holds this lock");
        let workers = interested.entry(room.clone()).or_default();
        if !workers.contains(&worker) {
            workers.push(worker);
        }
    }

    /// Ends `room`'s deliveries to `worker`.
    pub fn leave(&self, worker: WorkerIndex, room: &RoomName) {
        let mut interested = self.interested.write().expect("no panic holds this lock");
        if let Some(workers) = interested.get_mut(room) {
            workers.retain(|other| *other != worker);
            if workers.is_empty() {
                interested.remove(room);
            }
        }
    }

    /// Asks the workers that have members in `room` who these are.
    pub fn list_members(&self, room: &RoomName, wanted: Wanted) -> Vec<oneshot::Receiver<Members>> {
        let interested = self.interested.read().expect("no panic holds this lock");
        let (Some(workers), Some(inboxes)) = (interested.get(room), self.inboxes.get()) else {
            return Vec::new();
        };
        let ask = |worker: &WorkerIndex| {
            let (answer, listed) = oneshot::channel();
            inboxes[usize::from(*worker)].send(Event::ListMembers(Listing {
                room: room.clone(),
                wanted,
                answer,
            }));
            listed
        };
        workers.iter().map(ask).collect()
    }

    /// Tells members of a join or a leave.
    pub fn announce(&self, announcement: Announcement) {
        let interested = self.interested.read().expect("no panic holds this lock");
        let workers = interested.get(&announcement.room);
        let (Some(workers), Some(inboxes)) = (workers, self.inboxes.get()) else {
            return;
        };
        let delivery = Arc::new(Delivery::announcing(announcement));
        for worker in workers {
            inboxes[usize::from(*worker)].send(Event::Delivery(delivery.clone()));
        }
    }

    /// How many rooms have members on this node.
    pub fn rooms(&self) -> usize {
        self.interested
            .read()
            .expect("no panic holds this lock")
            .len()
    }
}

impl Feed for Registry {
    fn deliver(&self, room: &RoomName, publication: &Arc<Publication>) {
        let interested = self.interested.read().expect("no panic holds this lock");
        let (Some(workers), Some(inboxes)) = (interested.get(room), self.inboxes.get()) else {
            return;
        };
        let delivery = Arc::new(Delivery::new(room, publication));
        for worker in workers {
            inboxes[usize::from(*worker)].send(Event::Delivery(delivery.clone()));
        }
    }

    fn interrupt(&self, affected: &dyn Fn(&RoomName) -> bool, epoch: &Epoch) {
        let interested = self.interested.read().expect("no panic holds this lock");
        let Some(inboxes) = self.inboxes.get() else {
            return;
        };
        for (room, workers) in interested.iter().filter(|(room, _)| affected(room)) {
            for worker in workers {
                let (room, epoch) = (room.clone(), epoch.clone());
                inboxes[usize::from(*worker)].send(Event::Interrupted { room, epoch });
            }
        }
    }
}
