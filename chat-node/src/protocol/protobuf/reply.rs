//! Replies and pushes as length-prefixed Protobuf messages.

use std::sync::Arc;

use prost::Message as _;

use super::wire;
use super::wire::push::Event;
use super::wire::reply::Body;
use crate::broker::{Author, Publication};
use crate::protocol::push::Push;
use crate::protocol::reply::{Connected, Reply, Subscribed, VERSION};

/// Appends the reply to command `id`.
pub fn write_reply(out: &mut Vec<u8>, id: u32, reply: &Reply) {
    let body = match reply {
        Reply::Connect(connected) => Body::Connect(self::connected(connected)),
        Reply::Subscribe(subscribed) => Body::Subscribe(self::subscribed(subscribed)),
        Reply::Refresh(client, ttl) => Body::Refresh(wire::RefreshResult {
            client: client.to_string(),
            version: VERSION.to_owned(),
            expires: ttl.is_some(),
            ttl: seconds(*ttl),
        }),
        Reply::SubRefresh(ttl) => Body::SubRefresh(wire::SubRefreshResult {
            expires: ttl.is_some(),
            ttl: seconds(*ttl),
        }),
        Reply::Unsubscribe => Body::Unsubscribe(wire::Empty {}),
        Reply::Publish => Body::Publish(wire::Empty {}),
        Reply::Ping => Body::Ping(wire::Empty {}),
        Reply::History(page) => Body::History(wire::HistoryResult {
            publications: publications(&page.publications),
            epoch: page.position.epoch.to_string(),
            offset: page.position.offset,
        }),
        Reply::Presence(members) => {
            let listed = members.listed.iter();
            let entry = |member: &Author| (member.client.to_string(), client_info(member));
            Body::Presence(wire::PresenceResult {
                presence: listed.map(entry).collect(),
            })
        }
        Reply::PresenceStats(members) => Body::PresenceStats(wire::PresenceStatsResult {
            num_clients: u32::try_from(members.count).unwrap_or(u32::MAX),
            num_users: u32::try_from(members.users.len()).unwrap_or(u32::MAX),
        }),
        Reply::Refused(refusal) => Body::Error(wire::Error {
            code: refusal.code.code(),
            message: refusal.message().into_owned(),
            temporary: refusal.code.temporary(),
        }),
    };
    write(out, id, body);
}

/// Appends a push.
pub fn write_push(out: &mut Vec<u8>, push: &Push<'_>) {
    let (channel, event) = match push {
        Push::Publication(room, publication) => (
            room.as_str().to_owned(),
            Event::Pub(self::publication(publication)),
        ),
        Push::Unsubscribe(room, why) => (
            room.as_str().to_owned(),
            Event::Unsubscribe(wire::Unsubscribe {
                code: why.code(),
                reason: why.reason().to_owned(),
            }),
        ),
        Push::Subscribe(entered) => (
            entered.room.as_str().to_owned(),
            Event::Subscribe(wire::Subscribe {
                recoverable: entered.recoverable,
                epoch: entered.position.epoch.to_string(),
                offset: entered.position.offset,
                positioned: entered.recoverable,
                data: entered.data.clone().unwrap_or_default(),
            }),
        ),
        Push::Join(room, member) => (
            room.as_str().to_owned(),
            Event::Join(wire::Presence {
                info: Some(client_info(member)),
            }),
        ),
        Push::Leave(room, member) => (
            room.as_str().to_owned(),
            Event::Leave(wire::Presence {
                info: Some(client_info(member)),
            }),
        ),
        Push::Disconnect(reason) => (
            String::new(),
            Event::Disconnect(wire::Disconnect {
                code: reason.code.into(),
                reason: reason.reason.clone().into_owned(),
            }),
        ),
    };
    let push = wire::Push {
        channel,
        event: Some(event),
    };
    write(out, 0, Body::Push(push));
}

/// Appends the server's ping: a message without content.
pub fn write_ping(out: &mut Vec<u8>) {
    out.push(0);
}

fn write(out: &mut Vec<u8>, id: u32, body: Body) {
    let reply = wire::Reply {
        id,
        body: Some(body),
    };
    reply
        .encode_length_delimited(out)
        .expect("memory has room for every message");
}

fn connected(connected: &Connected) -> wire::ConnectResult {
    let emulation = connected.emulation.as_ref();
    let (session, node) = emulation
        .map(|emulation| (emulation.session.clone(), emulation.node.clone()))
        .unwrap_or_default();
    let rooms = connected.rooms.iter();
    wire::ConnectResult {
        client: connected.client.to_string(),
        version: VERSION.to_owned(),
        expires: connected.ttl.is_some(),
        ttl: seconds(connected.ttl),
        data: connected.data.clone().unwrap_or_default(),
        subs: rooms
            .map(|room| (room.room.as_str().to_owned(), subscribed(room)))
            .collect(),
        ping: connected.ping_seconds as u32,
        pong: connected.pong && connected.ping_seconds > 0,
        session,
        node,
    }
}

fn subscribed(subscribed: &Subscribed) -> wire::SubscribeResult {
    wire::SubscribeResult {
        expires: subscribed.ttl.is_some(),
        ttl: seconds(subscribed.ttl),
        recoverable: subscribed.recoverable,
        positioned: subscribed.recoverable,
        epoch: subscribed.position.epoch.to_string(),
        offset: subscribed.position.offset,
        data: subscribed.data.clone().unwrap_or_default(),
        was_recovering: subscribed.was_recovering,
        recovered: subscribed.recovered,
        publications: publications(&subscribed.publications),
    }
}

/// No SDK waits as long as this number can say.
fn seconds(ttl: Option<u64>) -> u32 {
    ttl.map_or(0, |ttl| u32::try_from(ttl).unwrap_or(u32::MAX))
}

fn publications(publications: &[Arc<Publication>]) -> Vec<wire::Publication> {
    publications
        .iter()
        .map(|publication| self::publication(publication))
        .collect()
}

fn publication(publication: &Publication) -> wire::Publication {
    wire::Publication {
        data: publication.data.clone(),
        info: publication.author.as_ref().map(client_info),
        offset: publication.offset,
        tags: publication.tags.as_deref().cloned().unwrap_or_default(),
    }
}

fn client_info(author: &Author) -> wire::ClientInfo {
    wire::ClientInfo {
        user: author.user.as_str().to_owned(),
        client: author.client.to_string(),
        conn_info: author.conn_info.clone().unwrap_or_default(),
        chan_info: author.chan_info.clone().unwrap_or_default(),
    }
}
