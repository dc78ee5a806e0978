//! What other nodes may ask of this one: which rooms have members here, and how much it has to do.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;

use crate::broker::peers::{NodeDescription, Response, Rooms};
use crate::worker::Event;

use super::{Parts, not_ready, pattern};

pub(super) async fn rooms(parts: &Parts, pattern: &str) -> Option<Response> {
    let pattern = match pattern::compile(pattern) {
        Ok(pattern) => pattern,
        Err(error) => return Some(not_ready(&error)),
    };
    let mut members = BTreeMap::<String, u64>::new();
    for rooms in parts.ask(Event::ListRooms).await? {
        for (room, count) in rooms {
            let name = room.as_str();
            if pattern
                .as_ref()
                .is_none_or(|pattern| pattern.is_match(name))
            {
                *members.entry(name.to_owned()).or_default() += count as u64;
            }
        }
    }
    Some(Response::Rooms(Rooms { members }))
}

pub(super) async fn node(parts: &Parts) -> Option<Response> {
    let mut users: Vec<_> = parts
        .ask(Event::ListUsers)
        .await?
        .into_iter()
        .flatten()
        .collect();
    users.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
    users.dedup();
    let rooms = parts.ask(Event::ListRooms).await?;
    let members: usize = rooms.iter().flatten().map(|(_, count)| count).sum();
    let shared = parts.shared.upgrade()?;
    let metrics = &shared.metrics;
    Some(Response::Description(NodeDescription {
        uid: shared.uid.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        sessions: shared.sessions.load(Relaxed) as u64,
        users: users.len() as u64,
        rooms: shared.registry.rooms() as u64,
        members: members as u64,
        uptime_seconds: shared.now().as_secs(),
        totals: metrics.totals(),
    }))
}
