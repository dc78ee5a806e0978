//! Erasing what a room keeps, by the moderator's rights, which are used for nothing else.
//!
//! newest message at the leader -> a marker in the room, which every node's log sees -> purge
//!
//! The marker goes first: when messages are gone that no node was told of, a resume could take them for never written.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::account::Account;
use super::api;
use super::connection::{Connection, Incident};
use super::event;
use super::publish::{Publisher, now_ms};
use super::room_reads::{RoomReads, Subjects};
use super::shard::Shard;
use super::streams::stream_name;
use super::subject;
use crate::broker::Error;
use crate::ids::RoomName;

/// How long one server may take to purge.
const PURGE: Duration = Duration::from_secs(3);

#[derive(Clone)]
pub struct Eraser {
    /// Who may purge, if this node knows anybody.
    pub moderator: Option<Account>,
    pub node: String,
    pub publisher: Publisher,
    pub reads: RoomReads,
}

#[derive(Deserialize)]
struct Purged {
    success: bool,
}

impl Eraser {
    /// Erases every message of `room` that was there when this was called. What is published meanwhile may stay.
    pub async fn erase(
        self,
        shard: Arc<Shard>,
        room: RoomName,
        patience: Duration,
    ) -> Result<(), Error> {
        let Some(moderator) = &self.moderator else {
            let missing =
                "this node has no nats.moderatorCredentials (--nats-moderator-credentials)";
            return Err(Error::NotAllowed(missing));
        };
        let deadline = Instant::now() + patience;
        shard.ready(patience).await?;
        let messages = Subjects {
            shard: shard.index,
            filter: subject::messages(shard.index, &room),
        };
        let last = self.reads.last(shard.index).await?;
        let Some(newest) = self.reads.newest(&messages, last).await? else {
            return Ok(());
        };
        let marker = event::encode_erasure(&room, newest, now_ms());
        let annotations = subject::annotations(shard.index, &room);
        let at = self.publisher.store(&shard, &annotations, marker, deadline);
        let at = at.await?;
        self.purge(moderator, &messages, newest).await?;
        // Whoever reads here next waits for the marker.
        shard.acknowledge(at);
        Ok(())
    }

    /// Purges over a connection that lives no longer than that.
    async fn purge(&self, moderator: &Account, room: &Subjects, up_to: u64) -> Result<(), Error> {
        let stream = stream_name(room.shard);
        let name = format!("natter {} moderator", self.node);
        let question = json!({"filter": room.filter, "seq": up_to + 1}).to_string();
        for server in moderator.urls() {
            let (sender, mut incidents) = mpsc::unbounded_channel();
            let connection = match Connection::open(moderator, &name, server, sender).await {
                Ok(connection) => connection,
                Err(error) => {
                    tracing::warn!("NATS: cannot purge over this server: {error}");
                    continue;
                }
            };
            let subject = api::subject::purge(&stream);
            let asking = connection.ask(subject, None, question.clone().into());
            let answer = asking.await.next(PURGE).await;
            let purged = answer.map(|answer| api::parse::<Purged>(&answer.payload));
            match purged {
                Some(Ok(Ok(Purged { success: true }))) => return Ok(()),
                Some(Ok(Err(error))) => {
                    tracing::warn!("NATS: stream {stream} purges nothing: {error}")
                }
                _ => {
                    let refused = match incidents.try_recv() {
                        Ok(Incident::Refused(what)) => what,
                        _ => "no answer".to_owned(),
                    };
                    tracing::warn!("NATS: stream {stream} purges nothing: {refused}");
                }
            }
        }
        Err(Error::Unreachable)
    }
}
