//! A session's connection: what was asked on it and when an answer is overdue.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use crate::entrance::Entrance;
use crate::socket::Socket;

use super::{End, PING_GRACE, REPLY_TIMEOUT, STEP_TIMEOUT};

pub(super) struct Connection {
    pub socket: Socket,
    /// Which of the run's entrances.
    pub entrance: usize,
    pub is_connected: bool,
    /// When the session wants to go.
    pub leave_at: Option<Instant>,
    /// When the node has been silent for too long, if nothing comes until then.
    pub silent_at: Instant,
    silence: Duration,
    last_id: u32,
    pending: BTreeMap<u32, (Instant, Asked)>,
}

/// A command without its reply.
#[derive(Clone, Copy)]
pub(super) enum Asked {
    Connect,
    /// For the member with that index.
    Subscribe {
        member: usize,
    },
    /// The publisher's attempt with that index.
    Publish {
        attempt: usize,
    },
}

impl Connection {
    pub(super) async fn open(number: usize, entrance: Entrance) -> Result<Self, String> {
        let socket = Socket::open(entrance).await;
        let silence = REPLY_TIMEOUT + PING_GRACE;
        Ok(Self {
            socket: socket.map_err(|end| end.to_string())?,
            entrance: number,
            is_connected: false,
            leave_at: None,
            silent_at: Instant::now() + silence,
            silence,
            last_id: 0,
            pending: BTreeMap::new(),
        })
    }

    /// Sends a command.
    pub(super) async fn ask(
        &mut self,
        asked: Asked,
        method: &str,
        parameters: Value,
    ) -> Result<(), End> {
        self.last_id += 1;
        let id = self.last_id;
        self.pending
            .insert(id, (Instant::now() + REPLY_TIMEOUT, asked));
        self.send(json!({"id": id, method: parameters}).to_string())
            .await
    }

    pub(super) async fn send(&mut self, text: String) -> Result<(), End> {
        match timeout(STEP_TIMEOUT, self.socket.send(text)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(end)) => Err(End::Broken(end.to_string())),
            Err(_) => Err(End::Broken("a frame was not taken".to_owned())),
        }
    }

    /// The session is connected, and hears something at least every `silence`.
    pub(super) fn is_connected(&mut self, silence: Duration) {
        self.is_connected = true;
        self.silence = silence;
        self.heard();
    }

    pub(super) fn heard(&mut self) {
        self.silent_at = Instant::now() + self.silence;
    }

    /// Takes what was asked with that id, and how long ago. None: nothing, or its time is over.
    pub(super) fn answered(&mut self, id: u64) -> Option<(Asked, Duration)> {
        let (until, asked) = self.pending.remove(&u32::try_from(id).ok()?)?;
        let left = until.saturating_duration_since(Instant::now());
        Some((asked, REPLY_TIMEOUT.saturating_sub(left)))
    }

    pub(super) fn was_asked(&self, id: u64) -> bool {
        (1..=self.last_id.into()).contains(&id)
    }

    /// When something is overdue, if nothing comes until then.
    pub(super) fn next(&self) -> Option<Instant> {
        // Ids are in the order of time.
        let overdue = self.pending.first_key_value().map(|(_, (at, _))| *at);
        let times = [Some(self.silent_at), self.leave_at, overdue];
        times.into_iter().flatten().min()
    }

    /// Takes what is overdue.
    pub(super) fn expired(&mut self, now: Instant) -> Vec<Asked> {
        let mut expired = Vec::new();
        while let Some(first) = self.pending.first_entry()
            && first.get().0 <= now
        {
            expired.push(first.remove().1);
        }
        expired
    }
}

impl Asked {
    /// The method, which is also where the reply's result is.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Subscribe { .. } => "subscribe",
            Self::Publish { .. } => "publish",
        }
    }
}
