//! Replies: what answers a command, written straight into the frame's payload.

use std::sync::Arc;

use bytes::Bytes;

use crate::broker::{HistoryPage, Position, Publication};
use crate::ids::{RoomName, SessionId};
use crate::presence::members::Members;

use super::error_code::Refusal;
use super::push::{write_client_info, write_publication};
use super::{write_number, write_string};

/// The answer to one command.
#[derive(Debug)]
pub enum Reply {
    Connect(Box<Connected>),
    Subscribe(Subscribed),
    Unsubscribe,
    Publish,
    History(HistoryPage),
    /// The members who are listed.
    Presence(Arc<Members>),
    PresenceStats(Arc<Members>),
    /// The session, or the room, does not expire before the seconds given; `None`: not at all.
    Refresh(SessionId, Option<u64>),
    SubRefresh(Option<u64>),
    Ping,
    Refused(Refusal),
}

/// What a client is told of its session.
#[derive(Debug)]
pub struct Connected {
    pub client: SessionId,
    /// Seconds between the server's pings; 0 means none.
    pub ping_seconds: u64,
    /// Whether the client has to answer pings.
    pub pong: bool,
    /// After how many seconds the client has to refresh; `None`: never.
    pub ttl: Option<u64>,
    pub data: Option<Bytes>,
    /// The rooms that the session has been put into.
    pub rooms: Vec<Subscribed>,
    /// For a client whose commands come beside its connection.
    pub emulation: Option<Emulation>,
}

/// Where `/emulation` has to bring the commands of a session.
#[derive(Debug)]
pub struct Emulation {
    pub session: String,
    pub node: String,
}

/// What `version` of a connect reply says.
pub const VERSION: &str = concat!("natter ", env!("CARGO_PKG_VERSION"));

/// The position a member starts from, and what it missed.
#[derive(Debug)]
pub struct Subscribed {
    pub room: RoomName,
    /// Whether the client may resume later.
    pub recoverable: bool,
    pub position: Position,
    pub was_recovering: bool,
    pub recovered: bool,
    pub publications: Vec<Arc<Publication>>,
    /// After how many seconds the client has to refresh; `None`: never.
    pub ttl: Option<u64>,
    pub data: Option<Bytes>,
}

impl Subscribed {
    /// Takes off the publications that lie beyond `max_bytes`, to be sent as pushes after the reply.
    pub fn split_off(&mut self, max_bytes: usize) -> Vec<Arc<Publication>> {
        let mut bytes = 0;
        let fitting = self.publications.iter().position(|publication| {
            bytes += publication.wire_bytes();
            bytes > max_bytes
        });
        let rest = fitting.map_or(Vec::new(), |fitting| self.publications.split_off(fitting));
        // A client's position is the reply's, then that of each push: it must not run ahead of the pushes.
        if let Some(next) = rest.first() {
            let last = self.publications.last();
            self.position.offset = last.map_or(next.offset - 1, |last| last.offset);
        }
        rest
    }
}

impl Reply {
    /// Appends the reply without the id of a command: what stands in a push that says the same.
    pub fn write_bare(&self, out: &mut Vec<u8>) {
        let start = out.len() + 1;
        self.write(out, 0);
        out.drain(start..start + br#""id":0,"#.len());
    }

    /// Appends the reply to command `id` as one JSON object.
    pub fn write(&self, out: &mut Vec<u8>, id: u32) {
        out.extend_from_slice(br#"{"id":"#);
        write_number(out, id.into());
        match self {
            Self::Connect(connected) => {
                out.extend_from_slice(br#","connect":"#);
                write_connected(out, connected);
            }
            Self::Subscribe(subscribed) => {
                out.extend_from_slice(br#","subscribe":"#);
                write_subscribed(out, subscribed);
            }
            Self::Refresh(client, ttl) => {
                out.extend_from_slice(br#","refresh":{"#);
                write_client(out, *client);
                write_ttl(out, *ttl);
                out.push(b'}');
            }
            Self::SubRefresh(ttl) => {
                out.extend_from_slice(br#","sub_refresh":{"expires":"#);
                let expires: &[u8] = if ttl.is_some() { b"true" } else { b"false" };
                out.extend_from_slice(expires);
                if let Some(ttl) = ttl {
                    out.extend_from_slice(br#","ttl":"#);
                    write_number(out, *ttl);
                }
                out.push(b'}');
            }
            Self::Unsubscribe => out.extend_from_slice(br#","unsubscribe":{}"#),
            Self::Publish => out.extend_from_slice(br#","publish":{}"#),
            Self::Ping => out.extend_from_slice(br#","ping":{}"#),
            Self::History(page) => {
                out.extend_from_slice(br#","history":"#);
                write_page(out, page);
            }
            Self::Presence(members) => {
                out.extend_from_slice(br#","presence":"#);
                write_members(out, members);
            }
            Self::PresenceStats(members) => {
                out.extend_from_slice(br#","presence_stats":"#);
                write_member_numbers(out, members);
            }
            Self::Refused(refusal) => {
                out.extend_from_slice(br#","error":{"code":"#);
                write_number(out, refusal.code.code().into());
                out.extend_from_slice(br#","message":"#);
                write_string(out, &refusal.message());
                if refusal.code.temporary() {
                    out.extend_from_slice(br#","temporary":true"#);
                }
                out.push(b'}');
            }
        }
        out.push(b'}');
    }
}

fn write_connected(out: &mut Vec<u8>, connected: &Connected) {
    out.push(b'{');
    write_client(out, connected.client);
    write_ttl(out, connected.ttl);
    write_data(out, connected.data.as_ref());
    if !connected.rooms.is_empty() {
        out.extend_from_slice(br#","subs":"#);
        for (index, subscribed) in connected.rooms.iter().enumerate() {
            out.push(if index == 0 { b'{' } else { b',' });
            write_string(out, subscribed.room.as_str());
            out.push(b':');
            write_subscribed(out, subscribed);
        }
        out.push(b'}');
    }
    if connected.ping_seconds > 0 {
        out.extend_from_slice(br#","ping":"#);
        write_number(out, connected.ping_seconds);
        if connected.pong {
            out.extend_from_slice(br#","pong":true"#);
        }
    }
    if let Some(Emulation { session, node }) = &connected.emulation {
        out.extend_from_slice(br#","session":"#);
        write_string(out, session);
        out.extend_from_slice(br#","node":"#);
        write_string(out, node);
    }
    out.push(b'}');
}

fn write_client(out: &mut Vec<u8>, client: SessionId) {
    out.extend_from_slice(br#""client":""#);
    out.extend_from_slice(client.to_string().as_bytes());
    out.extend_from_slice(br#"","version":"#);
    write_string(out, VERSION);
}

fn write_subscribed(out: &mut Vec<u8>, subscribed: &Subscribed) {
    out.push(b'{');
    write_position(out, &subscribed.position);
    write_ttl(out, subscribed.ttl);
    write_data(out, subscribed.data.as_ref());
    write_flag(out, "recoverable", subscribed.recoverable);
    write_flag(out, "positioned", subscribed.recoverable);
    write_flag(out, "was_recovering", subscribed.was_recovering);
    write_flag(out, "recovered", subscribed.recovered);
    write_publications(out, &subscribed.publications);
    out.push(b'}');
}

/// Appends what a push tells of a room that the session was put into: missed publications follow as pushes.
pub(super) fn write_entered(out: &mut Vec<u8>, entered: &Subscribed) {
    out.push(b'{');
    write_position(out, &entered.position);
    write_data(out, entered.data.as_ref());
    write_flag(out, "recoverable", entered.recoverable);
    write_flag(out, "positioned", entered.recoverable);
    out.push(b'}');
}

/// SDKs take `expires` without `ttl` badly.
fn write_ttl(out: &mut Vec<u8>, ttl: Option<u64>) {
    if let Some(seconds) = ttl {
        out.extend_from_slice(br#","expires":true,"ttl":"#);
        write_number(out, seconds);
    }
}

fn write_data(out: &mut Vec<u8>, data: Option<&Bytes>) {
    if let Some(data) = data {
        out.extend_from_slice(br#","data":"#);
        out.extend_from_slice(data);
    }
}

/// Appends who is in a room: `{"presence":{"<client>":{…},…}}`.
pub fn write_members(out: &mut Vec<u8>, members: &Members) {
    out.extend_from_slice(br#"{"presence":{"#);
    for (index, member) in members.listed.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_string(out, &member.client.to_string());
        out.push(b':');
        write_client_info(out, member);
    }
    out.extend_from_slice(b"}}");
}

/// Appends how many are in a room: `{"num_clients":…,"num_users":…}`.
pub fn write_member_numbers(out: &mut Vec<u8>, members: &Members) {
    out.extend_from_slice(br#"{"num_clients":"#);
    write_number(out, members.count);
    out.extend_from_slice(br#","num_users":"#);
    write_number(out, members.users.len() as u64);
    out.push(b'}');
}

/// Appends a page of history: `{"offset":…,"epoch":…,"publications":[…]}`.
pub fn write_page(out: &mut Vec<u8>, page: &HistoryPage) {
    out.push(b'{');
    write_position(out, &page.position);
    write_publications(out, &page.publications);
    out.push(b'}');
}

fn write_position(out: &mut Vec<u8>, position: &Position) {
    out.extend_from_slice(br#""offset":"#);
    write_number(out, position.offset);
    out.extend_from_slice(br#","epoch":"#);
    write_string(out, &position.epoch);
}

fn write_flag(out: &mut Vec<u8>, name: &str, flag: bool) {
    out.push(b',');
    write_string(out, name);
    out.extend_from_slice(if flag { b":true" } else { b":false" });
}

fn write_publications(out: &mut Vec<u8>, publications: &[Arc<Publication>]) {
    out.extend_from_slice(br#","publications":["#);
    for (index, publication) in publications.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_publication(out, publication);
    }
    out.push(b']');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::Author;
    use crate::ids::UserId;
    use crate::presence::members::Wanted;
    use crate::protocol::ErrorCode;
    use serde_json::{Value, json};

    fn written(reply: &Reply) -> Value {
        let mut out = Vec::new();
        reply.write(&mut out, 7);
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn subscribe_always_says_offset_epoch_and_both_recovery_flags() {
        let client = SessionId::random();
        let reply = Reply::Subscribe(Subscribed {
            room: RoomName::parse("r", 255).unwrap(),
            recoverable: true,
            position: Position {
                offset: 5,
                epoch: "e\"1".into(),
            },
            was_recovering: true,
            recovered: true,
            publications: vec![Arc::new(Publication {
                offset: 5,
                data: r#"{"t":"hi"}"#.into(),
                author: Some(Author {
                    conn_info: Some(r#"{"name":"Ann"}"#.into()),
                    chan_info: Some("7".into()),
                    ..Author::plain(UserId::named("ann"), client)
                }),
                tags: None,
            })],
            ttl: Some(60),
            data: Some("[1]".into()),
        });
        assert_eq!(
            written(&reply),
            json!({"id": 7, "subscribe": {
                "expires": true, "ttl": 60, "data": [1],
                "recoverable": true, "positioned": true, "offset": 5, "epoch": "e\"1",
                "was_recovering": true, "recovered": true,
                "publications": [{"data": {"t": "hi"}, "offset": 5, "info": {
                    "user": "ann", "client": client.to_string(), "conn_info": {"name": "Ann"}, "chan_info": 7
                }}]
            }})
        );
    }

    #[test]
    fn presence_lists_members_by_session_and_stats_count_them() {
        let (ann, nobody) = (SessionId::random(), SessionId::random());
        let mut listed = Members::default();
        let mut counted = Members::default();
        for member in [
            Author {
                conn_info: Some(r#"{"name":"Ann"}"#.into()),
                ..Author::plain(UserId::named("ann"), ann)
            },
            Author::plain(UserId::ANONYMOUS, nobody),
        ] {
            listed.add(member.clone(), Wanted::List);
            counted.add(member, Wanted::Numbers);
        }
        let (ann, nobody) = (ann.to_string(), nobody.to_string());
        assert_eq!(
            written(&Reply::Presence(Arc::new(listed))),
            json!({"id": 7, "presence": {"presence": {
                ann.clone(): {"user": "ann", "client": ann, "conn_info": {"name": "Ann"}},
                nobody.clone(): {"user": "", "client": nobody},
            }}})
        );
        assert_eq!(
            written(&Reply::PresenceStats(Arc::new(counted))),
            json!({"id": 7, "presence_stats": {"num_clients": 2, "num_users": 2}})
        );
        let nobody = Arc::new(Members::default());
        assert_eq!(
            written(&Reply::Presence(nobody)),
            json!({"id": 7, "presence": {"presence": {}}})
        );
    }

    #[test]
    fn errors_say_code_message_and_temporary() {
        let refused =
            |code, detail| written(&Reply::Refused(Refusal::new(code, detail)))["error"].clone();
        assert_eq!(
            refused(ErrorCode::TooManyRequests, "slow down"),
            json!({"code": 111, "message": "too many requests: slow down", "temporary": true})
        );
        assert_eq!(
            refused(ErrorCode::PermissionDenied, ""),
            json!({"code": 103, "message": "permission denied"})
        );
    }

    #[test]
    fn refreshes_say_until_when() {
        let client = SessionId::random();
        let refreshed = written(&Reply::Refresh(client, Some(5)))["refresh"].clone();
        assert_eq!(
            (&refreshed["expires"], &refreshed["ttl"]),
            (&json!(true), &json!(5))
        );
        let refreshed = written(&Reply::Refresh(client, None))["refresh"].clone();
        assert_eq!(refreshed.get("expires"), None);
        let room = |ttl| written(&Reply::SubRefresh(ttl))["sub_refresh"].clone();
        assert_eq!(room(Some(5)), json!({"expires": true, "ttl": 5}));
        assert_eq!(room(None), json!({"expires": false}));
    }

    #[test]
    fn a_ping_of_zero_seconds_promises_no_pings() {
        let reply = Reply::Connect(Box::new(Connected {
            client: SessionId::random(),
            ping_seconds: 0,
            pong: true,
            ttl: None,
            data: None,
            rooms: Vec::new(),
            emulation: None,
        }));
        assert_eq!(written(&reply)["connect"].get("ping"), None);
    }
}
