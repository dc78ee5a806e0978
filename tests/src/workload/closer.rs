//! The last message of each room: whoever has it, and what came before it, has all.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::json;
use tokio::time::timeout;

use crate::check;
use crate::checker::{Attempt, Id, Name, Outcome};
use crate::entrance::Entrance;
use crate::socket::Socket;

use super::Shared;

/// What the closer has sent.
#[derive(Default)]
pub(super) struct Closing {
    pub attempts: Vec<Attempt>,
    /// The one of each room that was acknowledged.
    pub messages: HashMap<Name, Last>,
}

pub(super) struct Last {
    pub id: Id,
    /// In the run's time.
    pub sent: Duration,
}

const TIMEOUT: Duration = Duration::from_secs(6);

const PAUSE: Duration = Duration::from_millis(100);

/// Sends messages to each room until one is acknowledged.
pub(super) async fn close(shared: &Shared) -> Closing {
    let mut closing = Closing::default();
    let mut entrances = shared.entrances.iter().cycle();
    while closing.messages.len() < shared.rooms.len() {
        let entrance = entrances.next().expect("there is at least one");
        if let Ok(Some(mut socket)) = timeout(TIMEOUT, connect(*entrance)).await {
            close_rooms(shared, &mut socket, &mut closing).await;
        }
        tokio::time::sleep(PAUSE).await;
    }
    closing
}

/// Goes through the rooms that have no last message yet, as far as the connection lasts.
async fn close_rooms(shared: &Shared, socket: &mut Socket, closing: &mut Closing) {
    // The publisher after the last.
    let publisher = shared.workload.publishers as u32;
    for (index, room) in shared.rooms.iter().enumerate() {
        if closing.messages.contains_key(room) {
            continue;
        }
        let join = json!({"id": 2 * index + 2, "subscribe": {"channel": &**room}});
        if timeout(TIMEOUT, done(socket, join)).await != Ok(Some(())) {
            return;
        }
        let id = Id {
            publisher,
            number: closing.attempts.len() as u32,
        };
        let sent = shared.progress.now();
        let data = json!({"id": id.to_string()});
        let publish = json!({"id": 2 * index + 3, "publish": {"channel": &**room, "data": data}});
        let acked = timeout(TIMEOUT, done(socket, publish)).await == Ok(Some(()));
        closing.attempts.push(Attempt {
            id,
            room: room.clone(),
            connection: id.number as usize,
            sent,
            outcome: if acked {
                Outcome::Acked
            } else {
                Outcome::Unknown
            },
        });
        if !acked {
            return;
        }
        closing.messages.insert(room.clone(), Last { id, sent });
    }
}

async fn connect(entrance: Entrance) -> Option<Socket> {
    let mut socket = Socket::open(entrance).await.ok()?;
    done(&mut socket, json!({"id": 1, "connect": {}})).await?;
    Some(socket)
}

/// Sends a command and waits for its reply. None: it is an error, or there is none.
async fn done(socket: &mut Socket, command: serde_json::Value) -> Option<()> {
    socket.send(command.to_string()).await.ok()?;
    loop {
        let text = socket.read().await.ok()?;
        for object in check::objects(&text) {
            if object == json!({}) {
                socket.send("{}").await.ok()?;
            } else if object["id"] == command["id"] {
                return object.get("error").is_none().then_some(());
            }
        }
    }
}
