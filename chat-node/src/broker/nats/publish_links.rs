//! The links that messages are published by.

use std::sync::{Arc, RwLock};
use std::thread::{self, ThreadId};

use super::link::{Link, LinkId, LinkSettings, Purpose};

/// One link for each worker, driven by the worker itself: a message and its acknowledgement then go from the session
/// to NATS and back without waiting for another thread to wake. And one for everybody else.
pub struct PublishLinks {
    settings: LinkSettings,
    shared: Arc<Link>,
    /// Few: a look at each is as good as a map.
    own: RwLock<Vec<(ThreadId, Arc<Link>)>>,
}

impl PublishLinks {
    pub fn new(settings: LinkSettings, shared: Arc<Link>) -> Self {
        Self {
            settings,
            shared,
            own: RwLock::default(),
        }
    }

    /// Opens a link for this thread, which the runtime that this is called in keeps open. That runtime must be the
    /// thread's own.
    pub fn open_here(&self) {
        let mut own = self.own.write().expect("no panic holds this lock");
        let id = LinkId {
            purpose: Purpose::Publish,
            number: own.len() as u16 + 1,
        };
        let link = Link::new(id, self.settings.young);
        tokio::spawn(link.clone().keep_open(self.settings.clone()));
        own.push((thread::current().id(), link));
    }

    /// The link for what this thread publishes.
    pub fn here(&self) -> Arc<Link> {
        let here = thread::current().id();
        let own = self.own.read().expect("no panic holds this lock");
        let own = own.iter().find(|(thread, _)| *thread == here);
        own.map_or(&self.shared, |(_, link)| link).clone()
    }
}
