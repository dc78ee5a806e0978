//! Commands that come beside their connection, by `/emulation`.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use slotmap::{Key, KeyData};
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::broker::peers::Arrival;
use crate::protocol::reply::Emulation;
use crate::protocol::{Batch, CloseReason};
use crate::room::registry::WorkerIndex;
use crate::socket::ConnectionKey;

use super::{Event, Inbox, Worker};

/// Where a session is on its node. As text it proves itself: only the node that made it could.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    pub worker: WorkerIndex,
    pub connection: ConnectionKey,
}

/// A node's secret for the texts of addresses.
pub type EmulationKey = [u8; 32];

/// A key that nobody can guess.
pub fn random_key() -> EmulationKey {
    let random = [Uuid::new_v4().into_bytes(), Uuid::new_v4().into_bytes()];
    *blake3::hash(&random.concat()).as_bytes()
}

/// What became of commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrived {
    /// They are handled, or wait for their turn.
    Taken,
    /// There is no such session.
    Unknown,
    /// The session has as many waiting as it may.
    TooMuch,
}

impl From<Arrived> for Arrival {
    fn from(arrived: Arrived) -> Self {
        match arrived {
            Arrived::Taken => Self::Taken,
            Arrived::TooMuch => Self::TooMuch,
            Arrived::Unknown => Self::Unspecified,
        }
    }
}

impl From<Arrival> for Arrived {
    fn from(arrival: Arrival) -> Self {
        match arrival {
            Arrival::Taken => Self::Taken,
            Arrival::TooMuch => Self::TooMuch,
            Arrival::Unspecified => Self::Unknown,
        }
    }
}

const PLACE_BYTES: usize = 10;
const PROOF_BYTES: usize = 16;

impl Address {
    pub fn text(&self, key: &EmulationKey) -> String {
        let place = self.place();
        URL_SAFE_NO_PAD.encode([&place[..], &proof(&place, key)].concat())
    }

    /// `None` for everything that this node has not made.
    pub fn parse(text: &str, key: &EmulationKey) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (place, claimed) = bytes.split_first_chunk::<PLACE_BYTES>()?;
        // Hashes are compared in constant time.
        let expected = blake3::Hash::from_bytes(widened(&proof(place, key)));
        let claimed: [u8; PROOF_BYTES] = claimed.try_into().ok()?;
        if expected != blake3::Hash::from_bytes(widened(&claimed)) {
            return None;
        }
        let (worker, connection) = place.split_first_chunk::<2>()?;
        let connection = u64::from_le_bytes(connection.try_into().ok()?);
        Some(Self {
            worker: WorkerIndex::from_le_bytes(*worker),
            connection: KeyData::from_ffi(connection).into(),
        })
    }

    fn place(&self) -> [u8; PLACE_BYTES] {
        let mut place = [0; PLACE_BYTES];
        place[..2].copy_from_slice(&self.worker.to_le_bytes());
        place[2..].copy_from_slice(&self.connection.data().as_ffi().to_le_bytes());
        place
    }
}

fn proof(place: &[u8; PLACE_BYTES], key: &EmulationKey) -> [u8; PROOF_BYTES] {
    let hash = blake3::keyed_hash(key, place);
    *hash
        .as_bytes()
        .first_chunk()
        .expect("a hash is longer than its part")
}

fn widened(proof: &[u8; PROOF_BYTES]) -> [u8; 32] {
    let mut wide = [0; 32];
    wide[..PROOF_BYTES].copy_from_slice(proof);
    wide
}

/// Gives commands to a session of this node.
pub async fn deliver(
    inboxes: &[Inbox],
    key: &EmulationKey,
    session: &str,
    commands: Bytes,
) -> Arrived {
    let address = Address::parse(session, key);
    let inbox = address
        .as_ref()
        .and_then(|address| inboxes.get(usize::from(address.worker)));
    let (Some(address), Some(inbox)) = (address, inbox) else {
        return Arrived::Unknown;
    };
    let (arrived, answer) = oneshot::channel();
    inbox.send(Event::Commands {
        connection: address.connection,
        commands,
        arrived,
    });
    answer.await.unwrap_or(Arrived::Unknown)
}

impl Worker {
    /// What a client needs to send commands beside its connection.
    pub(super) fn emulation(&self, connection: ConnectionKey) -> Emulation {
        let address = Address {
            worker: self.index,
            connection,
        };
        Emulation {
            session: address.text(&self.shared.emulation_key),
            node: self.shared.config.nats.node_name.clone(),
        }
    }

    /// Takes commands that came beside their connection, in the order in which they are given here.
    pub(super) fn take_emulated(&mut self, key: ConnectionKey, commands: &Bytes) -> Arrived {
        let most = self.shared.live().limits.frame_bytes;
        let Some(connection) = self.connections.get(key) else {
            return Arrived::Unknown;
        };
        if connection.held_bytes() + commands.len() > most {
            return Arrived::TooMuch;
        }
        self.shared
            .metrics
            .received_bytes
            .inc_by(commands.len() as u64);
        self.take_commands(key, commands);
        self.settle_down();
        Arrived::Taken
    }

    /// Handles commands, or holds them behind those that wait already.
    pub(super) fn take_commands(&mut self, key: ConnectionKey, commands: &[u8]) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        if connection.is_closing() {
            return;
        }
        if connection.holds_input() {
            connection.hold(commands);
            return;
        }
        match Batch::of(connection.wire.encoding(), commands) {
            Ok(commands) => self.run(key, commands),
            Err(error) => self.close(key, &CloseReason::bad_request(error.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_proves_itself_and_nothing_else_does() {
        let key = [7; 32];
        let address = Address {
            worker: 3,
            connection: KeyData::from_ffi((5 << 32) | 9).into(),
        };
        let text = address.text(&key);
        assert_eq!(Address::parse(&text, &key), Some(address));
        assert_eq!(Address::parse(&text, &[8; 32]), None);
        for at in 0..text.len() {
            let other = if &text[at..=at] == "A" { "B" } else { "A" };
            let mut tampered = text.clone();
            tampered.replace_range(at..=at, other);
            assert_eq!(Address::parse(&tampered, &key), None, "{tampered}");
        }
        for text in ["", "A", &text[1..], &format!("{text}AAAA"), "ü"] {
            assert_eq!(Address::parse(text, &key), None, "{text}");
        }
    }
}
