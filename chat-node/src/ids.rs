//! Names that arrive from outside, checked once, on entry; whoever holds one may trust it.

use std::fmt;
use std::sync::Arc;

use uuid::Uuid;

/// The name of a room: 1 to `max` bytes of UTF-8 (255 unless configured otherwise).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RoomName(Arc<str>);

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidRoomName {
    #[error("room name is empty")]
    Empty,
    #[error("room name has {bytes} bytes, at most {max} are allowed")]
    TooLong { bytes: usize, max: usize },
}

impl RoomName {
    pub fn parse(name: &str, max_bytes: usize) -> Result<Self, InvalidRoomName> {
        match name.len() {
            0 => Err(InvalidRoomName::Empty),
            bytes if bytes > max_bytes => Err(InvalidRoomName::TooLong {
                bytes,
                max: max_bytes,
            }),
            _ => Ok(Self(name.into())),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for RoomName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for RoomName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::borrow::Borrow<str> for RoomName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// Who a session speaks for; empty means anonymous.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct UserId(Option<Arc<str>>);

impl UserId {
    pub const ANONYMOUS: Self = Self(None);

    /// The user of that name; the empty name is anonymous.
    pub fn named(name: &str) -> Self {
        Self((!name.is_empty()).then(|| name.into()))
    }

    pub fn as_str(&self) -> &str {
        self.0.as_deref().unwrap_or_default()
    }
}

/// One session's random id, the wire's `client`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SessionId(Uuid);

impl SessionId {
    pub fn random() -> Self {
        Self(Uuid::new_v4())
    }

    pub fn parse(text: &str) -> Option<Self> {
        Uuid::parse_str(text).ok().map(Self)
    }

    pub fn of_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }

    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

/// A number for a name, the same on every node: the first 8 bytes of its BLAKE3, little-endian.
pub fn hash(name: &str) -> u64 {
    let hash = blake3::hash(name.as_bytes());
    let first = hash.as_bytes().first_chunk();
    u64::from_le_bytes(*first.expect("a hash has 32 bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_name_is_one_to_max_bytes() {
        assert_eq!(RoomName::parse("", 255), Err(InvalidRoomName::Empty));
        assert!(RoomName::parse(&"r".repeat(255), 255).is_ok());
        assert_eq!(
            RoomName::parse(&"ü".repeat(128), 255),
            Err(InvalidRoomName::TooLong {
                bytes: 256,
                max: 255
            })
        );
    }
}
