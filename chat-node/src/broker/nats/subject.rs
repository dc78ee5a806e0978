//! Room -> shard, token and subjects. Stored data depends on these: they never change.

use std::fmt::{self, Write};

use data_encoding::BASE32_NOPAD;

use crate::ids::{self, RoomName};

/// A slice of rooms with a stream of its own.
pub type ShardIndex = u16;

/// What stands for a room in subjects: the first 16 bytes of the BLAKE3 of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RoomToken([u8; 16]);

impl RoomToken {
    /// 26 characters of `a`–`z` and `2`–`7`.
    pub const LENGTH: usize = 26;

    pub fn of(room: &str) -> Self {
        let mut token = [0; 16];
        token.copy_from_slice(&blake3::hash(room.as_bytes()).as_bytes()[..16]);
        Self(token)
    }

    fn parse(text: &str) -> Option<Self> {
        if text.len() != Self::LENGTH || text.bytes().any(|b| b.is_ascii_uppercase()) {
            return None;
        }
        let bytes = BASE32_NOPAD.decode(text.to_ascii_uppercase().as_bytes());
        Some(Self(bytes.ok()?.try_into().ok()?))
    }
}

impl fmt::Display for RoomToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let encoded = BASE32_NOPAD.encode(&self.0);
        for letter in encoded.chars() {
            f.write_char(letter.to_ascii_lowercase())?;
        }
        Ok(())
    }
}

/// The shard of a room: the hash of its name modulo the number of shards.
pub fn shard_of(room: &RoomName, shards: u16) -> ShardIndex {
    (ids::hash(room.as_str()) % u64::from(shards)) as ShardIndex
}

/// What kind of room event a subject carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// What members wrote.
    Message,
    /// What is said about a message: edits, reactions, moderation.
    Annotation,
}

/// Where a node publishes a room's messages.
pub fn messages(shard: ShardIndex, room: &RoomName) -> String {
    format!("c.in.{shard}.{}.m", RoomToken::of(room.as_str()))
}

/// Where a node publishes what is said about a room's messages.
pub fn annotations(shard: ShardIndex, room: &RoomName) -> String {
    format!("c.in.{shard}.{}.a", RoomToken::of(room.as_str()))
}

/// Every stored event of a room.
pub fn events(shard: ShardIndex, room: &RoomName) -> String {
    format!("c.in.{shard}.{}.*", RoomToken::of(room.as_str()))
}

/// The live copies of a shard's events, which only the server publishes.
pub fn live(shard: ShardIndex) -> String {
    format!("c.live.{shard}.>")
}

/// What happens in a room and is not kept.
pub fn ephemeral(shard: ShardIndex, room: &RoomName) -> String {
    format!("c.eph.{shard}.{}", RoomToken::of(room.as_str()))
}

/// What happens in the rooms of a shard and is not kept.
pub fn ephemerals(shard: ShardIndex) -> String {
    format!("c.eph.{shard}.>")
}

/// The room and kind of a stored event or of its live copy.
pub fn parse_event(subject: &str) -> Option<(RoomToken, Kind)> {
    let mut tokens = subject.split('.');
    let place = (tokens.next()?, tokens.next()?);
    if !matches!(place, ("c", "in" | "live")) {
        return None;
    }
    tokens.next()?.parse::<ShardIndex>().ok()?;
    let room = RoomToken::parse(tokens.next()?)?;
    let kind = match tokens.next()? {
        "m" => Kind::Message,
        "a" => Kind::Annotation,
        _ => return None,
    };
    tokens.next().is_none().then_some((room, kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(name: &str) -> RoomName {
        RoomName::parse(name, 255).unwrap()
    }

    /// Stored rooms are found by these: a change loses every room of every cluster.
    #[test]
    fn golden_vectors() {
        let vectors = [
            ("lobby", 8, "hobtveqsqglzyosaoimflns6ne", 3),
            ("chat:42", 8, "tjwi4ehtnlyk3rfaz6rxl4wp3a", 2),
            ("grüße 🦀", 16, "lci6oyeyoas573pxbzsd7ypoju", 8),
        ];
        for (name, shards, token, shard) in vectors {
            assert_eq!(RoomToken::of(name).to_string(), token, "{name}");
            assert_eq!(shard_of(&room(name), shards), shard, "{name}");
        }
    }

    #[test]
    fn an_event_subject_is_read_back() {
        let subject = messages(7, &room("lobby"));
        let token = RoomToken::of("lobby");
        assert_eq!(token.to_string().len(), RoomToken::LENGTH);
        assert_eq!(parse_event(&subject), Some((token, Kind::Message)));
        let live = format!("c.live.7.{token}.a");
        assert_eq!(parse_event(&live), Some((token, Kind::Annotation)));
    }

    #[test]
    fn other_subjects_are_no_events() {
        let token = RoomToken::of("lobby").to_string();
        for subject in [
            "",
            "c.in.7",
            &format!("c.in.x.{token}.m"),
            &format!("c.in.7.{token}.b"),
            &format!("c.in.7.{token}.m.m"),
            &format!("c.eph.7.{token}.m"),
            &format!("c.in.7.{}.m", token.to_ascii_uppercase()),
            &format!("c.in.7.{}.m", &token[1..]),
        ] {
            assert_eq!(parse_event(subject), None, "{subject}");
        }
    }
}
