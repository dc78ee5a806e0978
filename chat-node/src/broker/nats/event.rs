//! Stored events: message -> bytes for the stream, bytes from the stream -> publication.
//!
//! Other writers than nodes may put things into a stream. What a reader could not take is refused here, so that it
//! reaches nobody and stops nothing.

use std::sync::Arc;

use bytes::Bytes;
use data_encoding::BASE64;
use prost::Message as _;
use serde_json::value::RawValue;

use super::super::{
    Author, MAX_INFO_BYTES, MAX_TAGS_BYTES, Message, Publication, Tags, tags_bytes,
};
use super::subject::{Kind, RoomToken};
use crate::ids::{RoomName, SessionId, UserId};
use crate::protocol::compact::compact;

mod stored {
    include!(concat!(env!("OUT_DIR"), "/natter.stored.v1.rs"));
}

/// The largest data a node may be configured to accept. Whatever its own limit is, a node delivers what another one
/// has accepted.
pub const MAX_DATA_BYTES: usize = 512 * 1024;

/// Why a stored event is delivered to nobody.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Undeliverable {
    #[error("it is not a stored event: {0}")]
    Malformed(prost::DecodeError),
    #[error("its kind is not known to this version")]
    UnknownKind,
    #[error("its content type is not known to this version")]
    UnknownContentType,
    #[error("its room is not the one of its subject")]
    ForeignRoom,
    #[error("its author is not a session, or has too much info")]
    BadAuthor,
    #[error("its tags have more than {MAX_TAGS_BYTES} bytes")]
    BadTags,
    #[error("its data has {0} bytes, more than {MAX_DATA_BYTES}")]
    TooLarge(usize),
    #[error("its data cannot be handed to clients: {0}")]
    Unfit(String),
}

/// A stored event that clients can be given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub room: RoomName,
    pub publication: Arc<Publication>,
}

/// The bytes to store for `message`.
pub fn encode(room: &RoomName, message: &Message, accepted_at_ms: i64) -> Bytes {
    let event = stored::Event {
        kind: stored::Kind::Message.into(),
        room: room.as_str().to_owned(),
        content_type: stored::ContentType::Json.into(),
        data: message.data.clone(),
        author: stored_author(message),
        tags: stored_tags(message),
        accepted_at_ms,
        ..Default::default()
    };
    event.encode_to_vec().into()
}

/// What stands in a room where its messages up to a sequence were erased.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Erasure {
    pub room: RoomName,
    pub up_to: u64,
}

/// The bytes to store for an erasure.
pub fn encode_erasure(room: &RoomName, up_to: u64, at_ms: i64) -> Bytes {
    let event = stored::Event {
        kind: stored::Kind::Erasure.into(),
        room: room.as_str().to_owned(),
        accepted_at_ms: at_ms,
        target: up_to,
        ..Default::default()
    };
    event.encode_to_vec().into()
}

/// The erasure that is stored under a subject of `token` and `kind`, if it is one.
pub fn erasure(token: RoomToken, kind: Kind, payload: &Bytes) -> Option<Erasure> {
    if kind != Kind::Annotation {
        return None;
    }
    let event = stored::Event::decode(payload.clone()).ok()?;
    let is_one = event.kind() == stored::Kind::Erasure && RoomToken::of(&event.room) == token;
    let room = RoomName::parse(&event.room, 255).ok()?;
    is_one.then_some(Erasure {
        room,
        up_to: event.target,
    })
}

fn stored_tags(message: &Message) -> Tags {
    message.tags.as_deref().cloned().unwrap_or_default()
}

fn stored_author(message: &Message) -> Option<stored::Author> {
    message.author.as_ref().map(|author| stored::Author {
        user: author.user.as_str().to_owned(),
        client: author.client.to_string(),
        info: author.conn_info.clone().unwrap_or_default(),
        room_info: author.chan_info.clone().unwrap_or_default(),
    })
}

/// Reads the event stored at `offset` under a subject of `token` and `kind`. `None` for annotations: this version
/// writes and delivers none.
pub fn decode(
    token: RoomToken,
    kind: Kind,
    offset: u64,
    payload: Bytes,
) -> Result<Option<Event>, Undeliverable> {
    let event = stored::Event::decode(payload).map_err(Undeliverable::Malformed)?;
    match (event.kind(), kind) {
        (stored::Kind::Message, Kind::Message) => {}
        (stored::Kind::Annotation | stored::Kind::Erasure, Kind::Annotation) => return Ok(None),
        _ => return Err(Undeliverable::UnknownKind),
    }
    if RoomToken::of(&event.room) != token {
        return Err(Undeliverable::ForeignRoom);
    }
    let room = RoomName::parse(&event.room, 255).map_err(|_| Undeliverable::ForeignRoom)?;
    let bytes = event.data.len();
    if bytes > MAX_DATA_BYTES {
        return Err(Undeliverable::TooLarge(bytes));
    }
    let content_type = event.content_type();
    let data = json(content_type, event.data)?;
    let author = event.author.map(author).transpose()?;
    if tags_bytes(&event.tags) > MAX_TAGS_BYTES {
        return Err(Undeliverable::BadTags);
    }
    let tags = (!event.tags.is_empty()).then(|| Arc::new(event.tags));
    Ok(Some(Event {
        room,
        publication: Arc::new(Publication {
            offset,
            data,
            author,
            tags,
        }),
    }))
}

fn author(author: stored::Author) -> Result<Author, Undeliverable> {
    Ok(Author {
        user: UserId::named(&author.user),
        client: SessionId::parse(&author.client).ok_or(Undeliverable::BadAuthor)?,
        conn_info: info(author.info)?,
        chan_info: info(author.room_info)?,
    })
}

fn info(info: Bytes) -> Result<Option<Bytes>, Undeliverable> {
    match info.len() {
        0 => Ok(None),
        1..=MAX_INFO_BYTES => json(stored::ContentType::Json, info).map(Some),
        _ => Err(Undeliverable::BadAuthor),
    }
}

/// The data as clients get it: one line of JSON. Text becomes a string, bytes become one in base64.
fn json(content_type: stored::ContentType, data: Bytes) -> Result<Bytes, Undeliverable> {
    use stored::ContentType;
    let unfit = |error: &dyn std::fmt::Display| Undeliverable::Unfit(error.to_string());
    let string = |text: &str| serde_json::to_vec(text).map(Bytes::from);
    match content_type {
        ContentType::Json => {
            let json: &RawValue = serde_json::from_slice(&data).map_err(|error| unfit(&error))?;
            compact(json.get()).map_err(|error| unfit(&error))
        }
        ContentType::Text => {
            let text = std::str::from_utf8(&data).map_err(|error| unfit(&error))?;
            string(text).map_err(|error| unfit(&error))
        }
        ContentType::Bytes => string(&BASE64.encode(&data)).map_err(|error| unfit(&error)),
        ContentType::Unspecified => Err(Undeliverable::UnknownContentType),
    }
}

/// Whether a stored event is what `message` made or would make: who has an id twice says the same twice. The author
/// is part of the id.
pub fn is_same(room: &RoomName, message: &Message, payload: Bytes) -> bool {
    stored::Event::decode(payload).is_ok_and(|event| {
        event.kind() == stored::Kind::Message
            && event.room == room.as_str()
            && event.data == message.data
            && event.tags == stored_tags(message)
            && author_id(event.author.as_ref()) == author_id(stored_author(message).as_ref())
    })
}

/// A user's sessions are one author, sessions without a user are each one.
fn author_id(author: Option<&stored::Author>) -> Option<&str> {
    author.map(|author| match author.user.as_str() {
        "" => author.client.as_str(),
        user => user,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room() -> RoomName {
        RoomName::parse("chat:1", 255).unwrap()
    }

    fn read(payload: impl Into<Bytes>) -> Result<Option<Event>, Undeliverable> {
        decode(RoomToken::of("chat:1"), Kind::Message, 7, payload.into())
    }

    fn event() -> stored::Event {
        stored::Event {
            kind: stored::Kind::Message.into(),
            room: "chat:1".to_owned(),
            content_type: stored::ContentType::Json.into(),
            data: Bytes::from_static(b"{\"a\":1}"),
            ..Default::default()
        }
    }

    #[test]
    fn a_message_comes_back_as_it_was() {
        let client = SessionId::random();
        for author in [
            None,
            Some(Author::plain(UserId::ANONYMOUS, client)),
            Some(Author {
                conn_info: Some(Bytes::from_static(br#"{"name":"Ann"}"#)),
                ..Author::plain(UserId::named("ann"), client)
            }),
            Some(Author {
                conn_info: Some(Bytes::from_static(b"1")),
                chan_info: Some(Bytes::from_static(b"null")),
                ..Author::plain(UserId::named("ann"), client)
            }),
        ] {
            let message = Message {
                data: Bytes::from_static(b"[1]"),
                author: author.clone(),
                id: None,
                tags: None,
            };
            let payload = encode(&room(), &message, 5);
            let event = read(payload.clone()).unwrap().unwrap();
            assert_eq!(event.room, room());
            let expected = Publication {
                offset: 7,
                data: message.data.clone(),
                author,
                tags: None,
            };
            assert_eq!(*event.publication, expected);
            assert!(is_same(&room(), &message, payload));
        }
    }

    #[test]
    fn what_clients_could_not_take_is_undeliverable() {
        let with = |change: fn(&mut stored::Event)| {
            let mut event = event();
            change(&mut event);
            read(event.encode_to_vec())
        };
        assert!(with(|_| {}).is_ok());
        assert_eq!(with(|e| e.kind = 9), Err(Undeliverable::UnknownKind));
        assert_eq!(with(|e| e.kind = 2), Err(Undeliverable::UnknownKind));
        assert_eq!(
            with(|e| e.room = "other".to_owned()),
            Err(Undeliverable::ForeignRoom)
        );
        assert_eq!(
            with(|e| e.content_type = 9),
            Err(Undeliverable::UnknownContentType)
        );
        assert_eq!(
            with(|e| e.author = Some(stored::Author::default())),
            Err(Undeliverable::BadAuthor)
        );
        assert_eq!(
            with(|e| e.data = vec![b'1'; MAX_DATA_BYTES + 1].into()),
            Err(Undeliverable::TooLarge(MAX_DATA_BYTES + 1))
        );
        for data in ["", "{", "1 2", "\u{0}"] {
            let mut event = event();
            event.data = data.into();
            let read = read(event.encode_to_vec());
            assert!(matches!(read, Err(Undeliverable::Unfit(_))), "{data:?}");
        }
        assert!(matches!(
            read(&b"\xff\xff"[..]),
            Err(Undeliverable::Malformed(_))
        ));
        assert!(read(&b""[..]).is_err());
    }

    #[test]
    fn an_event_of_before_room_info_reads_as_one_without() {
        // kind, room, content type, data and author as the first release wrote them.
        let client = SessionId::random();
        let mut author = b"\x0a\x03ann\x12\x24".to_vec();
        author.extend_from_slice(client.to_string().as_bytes());
        let mut payload = b"\x08\x01\x12\x06chat:1\x18\x01\x22\x011\x32".to_vec();
        payload.push(author.len() as u8);
        payload.extend_from_slice(&author);
        let event = read(payload).unwrap().unwrap();
        let expected = Author::plain(UserId::named("ann"), client);
        assert_eq!(event.publication.author, Some(expected));
    }

    #[test]
    fn info_that_readers_could_not_take_is_undeliverable() {
        let with = |info: Bytes| {
            let mut event = event();
            event.author = Some(stored::Author {
                client: SessionId::random().to_string(),
                room_info: info,
                ..Default::default()
            });
            read(event.encode_to_vec())
        };
        assert!(with(Bytes::from_static(b"{}")).is_ok());
        assert!(matches!(
            with(Bytes::from_static(b"{")),
            Err(Undeliverable::Unfit(_))
        ));
        let long = vec![b'1'; MAX_INFO_BYTES + 1];
        assert_eq!(with(long.into()), Err(Undeliverable::BadAuthor));
    }

    #[test]
    fn json_of_another_writer_becomes_one_line() {
        let mut event = event();
        event.data = Bytes::from_static(b"{ \"a\" :\r\n \"x\" }");
        let read = read(event.encode_to_vec()).unwrap().unwrap();
        assert_eq!(read.publication.data, &b"{\"a\":\"x\"}"[..]);
    }

    #[test]
    fn text_and_bytes_become_strings() {
        let mut event = event();
        event.data = Bytes::from_static(b"two\nlines");
        event.content_type = stored::ContentType::Text.into();
        let text = read(event.encode_to_vec()).unwrap().unwrap();
        assert_eq!(text.publication.data, &br#""two\nlines""#[..]);
        event.content_type = stored::ContentType::Bytes.into();
        let bytes = read(event.encode_to_vec()).unwrap().unwrap();
        assert_eq!(bytes.publication.data, &br#""dHdvCmxpbmVz""#[..]);
    }

    #[test]
    fn another_message_is_not_the_same() {
        let message = |data: &'static str| Message {
            data: data.into(),
            author: None,
            id: None,
            tags: None,
        };
        let payload = encode(&room(), &message("1"), 5);
        assert!(!is_same(&room(), &message("2"), payload.clone()));
        let other = RoomName::parse("chat:2", 255).unwrap();
        assert!(!is_same(&other, &message("1"), payload));
    }
}
