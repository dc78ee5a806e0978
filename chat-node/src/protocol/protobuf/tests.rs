use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use prost::Message as _;

use super::wire::command::Method;
use super::wire::reply::Body;
use super::*;
use crate::broker::{Author, Position, Publication};
use crate::ids::{RoomName, SessionId, UserId};
use crate::protocol::push::{Push, Unsubscribed};
use crate::protocol::reply::{Reply, Subscribed};

/// What an SDK sent: connect with the name `js`, then an rpc.
const RECORDED: &[u8] = b"\x08\x08\x01\x22\x04\x22\x02js\x09\x08\x02\x2a\x05\x0a\x01r\x70\x01";

fn framed(id: u32, method: Method) -> Vec<u8> {
    let method = Some(method);
    wire::Command { id, method }.encode_length_delimited_to_vec()
}

fn publish(data: &'static [u8]) -> Vec<u8> {
    let publish = wire::PublishRequest {
        channel: "room".to_owned(),
        data: Bytes::from_static(data),
    };
    framed(3, Method::Publish(publish))
}

#[test]
fn commands_are_read_as_sdks_send_them() {
    let mut commands = Commands::new(RECORDED);
    let mut kept = wire::Command::default();
    let connect = commands.next(&mut kept).unwrap().unwrap();
    assert!(matches!(connect.request, Request::Connect(_)));
    assert_eq!((connect.id, connect.bytes), (1, 8));
    let subscribe = commands.next(&mut kept).unwrap().unwrap();
    let Request::Subscribe(request) = subscribe.request else {
        panic!("{subscribe:?}");
    };
    assert_eq!(request.channel.decode().unwrap(), "r");
    assert!(commands.next(&mut kept).is_none());
}

#[test]
fn a_message_without_content_is_a_pong_and_an_id_alone_is_unknown() {
    let mut kept = wire::Command::default();
    let mut commands = Commands::new(b"\x00\x02\x08\x05");
    let request =
        |command: Option<Result<Command<'_>, _>>| command.unwrap().unwrap().request.method();
    assert_eq!(request(commands.next(&mut kept)), "pong");
    assert_eq!(request(commands.next(&mut kept)), "unknown");
}

#[test]
fn data_must_be_json_and_what_is_not_fails_its_command_alone() {
    let data = |bytes: Vec<u8>| {
        let mut kept = wire::Command::default();
        let command = Commands::new(&bytes).next(&mut kept).unwrap().unwrap();
        let Request::Publish(publish) = command.request else {
            panic!("{command:?}");
        };
        publish
            .data
            .json()
            .map(|json| json.map(|json| json.get().to_owned()))
            .map_err(|error| error.to_string())
    };
    assert_eq!(
        data(publish(b"{\"a\": 1}")),
        Ok(Some("{\"a\": 1}".to_owned()))
    );
    assert_eq!(data(publish(b"")), Ok(None));
    for bad in [&b"\xff\xfe"[..], b"hello", b"{} {}"] {
        let error = data(publish(bad.to_vec().leak())).unwrap_err();
        assert!(error.starts_with("data is not JSON"), "{error}");
    }
}

#[test]
fn what_is_cut_or_no_command_is_refused_and_nothing_is_read_behind_it() {
    for (bytes, expected) in [
        (
            &b"\x05\x08\x01"[..],
            "a command should have 5 bytes, 2 are left",
        ),
        (
            b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            "a length is no varint",
        ),
        (b"\x80", "a length is no varint"),
        (
            b"\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
            "a command should have 9223372036854775807 bytes, 0 are left",
        ),
        (
            b"\x02\x08\x80",
            "a command does not have the protocol's fields",
        ),
        (
            b"\x06\x2a\x04\x0a\x02\xff\xff",
            "a command does not have the protocol's fields",
        ),
    ] {
        let mut commands = Commands::new(bytes);
        let mut kept = wire::Command::default();
        let error = commands.next(&mut kept).unwrap().unwrap_err();
        assert_eq!(error.to_string(), expected);
        assert!(commands.next(&mut kept).is_none());
    }
}

#[test]
fn replies_and_pushes_say_what_those_in_json_say() {
    let publication = Arc::new(Publication {
        offset: 1 << 40,
        data: Bytes::from_static(b"{\"text\":\"hi\"}"),
        author: Some(Author {
            conn_info: Some(Bytes::from_static(b"{\"name\":\"Ann\"}")),
            ..Author::plain(UserId::ANONYMOUS, SessionId::random())
        }),
        tags: Some(Arc::new([("kind".to_owned(), "note".to_owned())].into())),
    });
    let room = RoomName::parse("lobby", 255).unwrap();
    let reply = Reply::Subscribe(Subscribed {
        room: room.clone(),
        recoverable: true,
        position: Position {
            offset: 7,
            epoch: "e".into(),
        },
        was_recovering: true,
        recovered: true,
        publications: vec![publication.clone()],
        ttl: Some(60),
        data: Some(Bytes::from_static(b"[1]")),
    });
    let mut out = Vec::new();
    write_reply(&mut out, 5, &reply);
    write_push(&mut out, &Push::Publication(&room, &publication));
    let mut rest = &out[..];
    let reply = wire::Reply::decode_length_delimited(&mut rest).unwrap();
    let Some(Body::Subscribe(subscribed)) = reply.body else {
        panic!("{reply:?}");
    };
    assert_eq!((reply.id, subscribed.offset), (5, 7));
    assert_eq!((subscribed.expires, subscribed.ttl), (true, 60));
    assert_eq!(subscribed.data, &b"[1]"[..]);
    assert!(subscribed.recoverable && subscribed.positioned);
    assert!(subscribed.recovered && subscribed.was_recovering);
    let push = wire::Reply::decode_length_delimited(&mut rest).unwrap();
    let Some(Body::Push(push)) = push.body else {
        panic!("{push:?}");
    };
    assert_eq!(push.channel, "lobby");
    let Some(wire::push::Event::Pub(pushed)) = push.event else {
        panic!("{:?}", push.event);
    };
    assert_eq!(subscribed.publications, std::slice::from_ref(&pushed));
    assert_eq!(pushed.data, publication.data);
    assert_eq!(pushed.tags["kind"], "note");
    assert_eq!(pushed.info.unwrap().conn_info, "{\"name\":\"Ann\"}");
    assert!(rest.is_empty());
}

#[test]
fn tokens_are_read_and_expiry_is_told() {
    let read = |method: Method| {
        let bytes = framed(1, method);
        let mut kept = wire::Command::default();
        let command = Commands::new(&bytes).next(&mut kept).unwrap().unwrap();
        format!("{:?}", command.request)
    };
    let connect = wire::ConnectRequest {
        data: Bytes::from_static(b"{\"name\":\"Ann\"}"),
        token: "T1".to_owned(),
        subs: [(
            "news".to_owned(),
            wire::SubscribeRequest {
                recover: true,
                offset: 40,
                ..Default::default()
            },
        )]
        .into(),
        ..Default::default()
    };
    let connect = read(Method::Connect(connect));
    assert!(
        connect.contains("T1") && connect.contains("news") && connect.contains("40"),
        "{connect}"
    );
    let refresh = wire::SubRefreshRequest {
        channel: "room".to_owned(),
        token: "T2".to_owned(),
    };
    let refresh = read(Method::SubRefresh(refresh));
    assert!(
        refresh.contains("T2") && refresh.contains("room"),
        "{refresh}"
    );
    let written = |reply: &Reply| {
        let mut out = Vec::new();
        write_reply(&mut out, 1, reply);
        wire::Reply::decode_length_delimited(&out[..])
            .unwrap()
            .body
            .unwrap()
    };
    let Body::Refresh(refreshed) = written(&Reply::Refresh(SessionId::random(), Some(9))) else {
        panic!("another reply");
    };
    assert_eq!((refreshed.expires, refreshed.ttl), (true, 9));
    let Body::SubRefresh(refreshed) = written(&Reply::SubRefresh(None)) else {
        panic!("another reply");
    };
    assert_eq!((refreshed.expires, refreshed.ttl), (false, 0));
    let mut out = Vec::new();
    let room = RoomName::parse("lobby", 255).unwrap();
    write_push(&mut out, &Push::Unsubscribe(&room, Unsubscribed::Expired));
    let reply = wire::Reply::decode_length_delimited(&out[..]).unwrap();
    let Some(Body::Push(push)) = reply.body else {
        panic!("{reply:?}");
    };
    let Some(wire::push::Event::Unsubscribe(unsubscribe)) = push.event else {
        panic!("{:?}", push.event);
    };
    assert_eq!((push.channel.as_str(), unsubscribe.code), ("lobby", 2501));
}

/// Commands, whole or damaged.
fn nearly_commands() -> impl Strategy<Value = Vec<u8>> {
    let whole = prop_oneof![
        Just(RECORDED.to_vec()),
        Just(publish(b"[1,null]")),
        Just(publish(b"no JSON")),
        Just(vec![0]),
        Just(framed(
            9,
            Method::History(wire::HistoryRequest {
                channel: "room".to_owned(),
                limit: -1,
                since: Some(wire::StreamPosition {
                    offset: u64::MAX,
                    epoch: "e".to_owned()
                }),
                reverse: true,
            })
        )),
    ];
    let damage = (
        any::<prop::sample::Index>(),
        prop::collection::vec(any::<u8>(), 0..4),
    );
    (
        prop::collection::vec(whole, 0..5),
        prop::option::weighted(0.7, damage),
    )
        .prop_map(|(commands, damage)| {
            let mut bytes = commands.concat();
            if let Some((at, with)) = damage {
                let at = at.index(bytes.len() + 1);
                let end = (at + with.len()).min(bytes.len());
                bytes.splice(at..end, with);
            }
            bytes
        })
}

proptest! {
    #[test]
    fn no_bytes_break_the_parser_and_it_always_moves_on(bytes in nearly_commands()) {
        let mut commands = Commands::new(&bytes);
        let mut kept = wire::Command::default();
        let mut read = 0;
        loop {
            let before = commands.rest().len();
            let Some(command) = commands.next(&mut kept) else { break };
            prop_assert!(commands.rest().len() < before);
            if let Ok(command) = command {
                read += command.bytes;
                if let Request::Publish(publish) = command.request {
                    let _ = publish.data.json();
                }
            }
        }
        prop_assert!(read <= bytes.len());
    }

    #[test]
    fn any_bytes_are_read_to_their_end(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut commands = Commands::new(&bytes);
        let mut kept = wire::Command::default();
        while commands.next(&mut kept).is_some() {}
        prop_assert!(commands.rest().is_empty());
    }
}
