//! Who is in rooms: questions to the nodes, and what members were told unasked.

use prometheus::{IntCounter, IntCounterVec};

use super::Register;
use crate::presence::roster::What;

#[derive(Clone)]
pub struct PresenceMetrics {
    pub gathers: IntCounter,
    pub silent_nodes: IntCounter,
    announced: IntCounterVec,
}

impl PresenceMetrics {
    pub(super) fn new(register: &Register<'_>) -> Result<Self, prometheus::Error> {
        Ok(Self {
            gathers: register.counter(
                "presence_gathers_total",
                "Times that all nodes were asked who is in a room; commands that come together share one.",
            )?,
            silent_nodes: register.counter(
                "presence_silent_nodes_total",
                "Nodes that did not say in time who is in a room.",
            )?,
            announced: register.counter_vec(
                "presence_changes_total",
                "Joins and leaves that this node's members were told of, if they wanted to know.",
                &["kind"],
            )?,
        })
    }

    pub fn announced(&self, what: What) {
        let kind = match what {
            What::Joined => "join",
            What::Left => "leave",
        };
        self.announced.with_label_values(&[kind]).inc();
    }
}
