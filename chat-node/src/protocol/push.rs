//! What the server sends unasked.

use crate::broker::{Author, Publication};
use crate::ids::RoomName;

use super::reply::{Subscribed, write_entered};
use super::{CloseReason, write_number, write_string};

/// One message that answers no command.
#[derive(Clone, Copy, Debug)]
pub enum Push<'a> {
    Publication(&'a RoomName, &'a Publication),
    /// Somebody has come into the room.
    Join(&'a RoomName, &'a Author),
    /// Somebody has left it.
    Leave(&'a RoomName, &'a Author),
    /// The session is in a room from now on for which it has not asked.
    Subscribe(&'a Subscribed),
    /// The session is not in the room any more.
    Unsubscribe(&'a RoomName, Unsubscribed),
    /// The session ends: for transports whose end carries no code.
    Disconnect(&'a CloseReason),
}

/// Why a session was taken out of a room: the table of unsubscribe codes. SDKs come again at once for 2500 and above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsubscribed {
    Expired,
    /// A backend did it: for good.
    ByServer,
}

impl Unsubscribed {
    pub fn code(self) -> u32 {
        match self {
            Self::Expired => 2501,
            Self::ByServer => 2000,
        }
    }

    pub fn reason(self) -> &'static str {
        match self {
            Self::Expired => "subscription expired",
            Self::ByServer => "server unsubscribe",
        }
    }
}

impl Push<'_> {
    /// About how many bytes it takes.
    pub fn about_bytes(&self) -> usize {
        match self {
            Self::Publication(room, publication) => {
                publication.data.len() + room.as_str().len() + 160
            }
            Self::Join(room, member) | Self::Leave(room, member) => {
                room.as_str().len() + member.user.as_str().len() + member.info_bytes() + 160
            }
            Self::Subscribe(subscribed) => {
                let data = subscribed.data.as_ref().map_or(0, |data| data.len());
                subscribed.room.as_str().len() + data + 128
            }
            Self::Unsubscribe(room, _) => room.as_str().len() + 96,
            Self::Disconnect(reason) => reason.reason.len() + 64,
        }
    }

    /// Appends `{"push":{…}}`.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(br#"{"push":"#);
        self.write_bare(out);
        out.push(b'}');
    }

    /// Appends what stands in `push`.
    pub fn write_bare(&self, out: &mut Vec<u8>) {
        match self {
            Self::Publication(room, publication) => {
                out.extend_from_slice(br#"{"channel":"#);
                write_string(out, room.as_str());
                out.extend_from_slice(br#","pub":"#);
                write_publication(out, publication);
                out.push(b'}');
            }
            Self::Join(room, member) => write_presence(out, room, "join", member),
            Self::Leave(room, member) => write_presence(out, room, "leave", member),
            Self::Subscribe(subscribed) => {
                out.extend_from_slice(br#"{"channel":"#);
                write_string(out, subscribed.room.as_str());
                out.extend_from_slice(br#","subscribe":"#);
                write_entered(out, subscribed);
                out.push(b'}');
            }
            Self::Unsubscribe(room, why) => {
                out.extend_from_slice(br#"{"channel":"#);
                write_string(out, room.as_str());
                out.extend_from_slice(br#","unsubscribe":{"code":"#);
                write_number(out, why.code().into());
                out.extend_from_slice(br#","reason":"#);
                write_string(out, why.reason());
                out.extend_from_slice(b"}}");
            }
            Self::Disconnect(CloseReason { code, reason }) => {
                out.extend_from_slice(br#"{"disconnect":{"code":"#);
                write_number(out, (*code).into());
                out.extend_from_slice(br#","reason":"#);
                write_string(out, reason);
                out.extend_from_slice(b"}}");
            }
        }
    }
}

/// Appends `{"channel":…,"join":{"info":{…}}}`. Without `info` SDKs would end for good.
fn write_presence(out: &mut Vec<u8>, room: &RoomName, what: &str, member: &Author) {
    out.extend_from_slice(br#"{"channel":"#);
    write_string(out, room.as_str());
    out.push(b',');
    write_string(out, what);
    out.extend_from_slice(br#":{"info":"#);
    write_client_info(out, member);
    out.extend_from_slice(b"}}");
}

/// Appends a publication: `{"data":…,"offset":5,"info":{…}}`.
pub(super) fn write_publication(out: &mut Vec<u8>, publication: &Publication) {
    out.extend_from_slice(br#"{"data":"#);
    out.extend_from_slice(&publication.data);
    // What is not kept has no offset: SDKs then leave the one that they remember alone.
    if publication.offset > 0 {
        out.extend_from_slice(br#","offset":"#);
        write_number(out, publication.offset);
    }
    if let Some(author) = &publication.author {
        out.extend_from_slice(br#","info":"#);
        write_client_info(out, author);
    }
    if let Some(tags) = &publication.tags {
        out.extend_from_slice(br#","tags":{"#);
        for (at, (name, value)) in tags.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            write_string(out, name);
            out.push(b':');
            write_string(out, value);
        }
        out.push(b'}');
    }
    out.push(b'}');
}

/// Appends who a session is: `{"user":"ann","client":"…","conn_info":…,"chan_info":…}`.
pub(super) fn write_client_info(out: &mut Vec<u8>, author: &Author) {
    out.extend_from_slice(br#"{"user":"#);
    write_string(out, author.user.as_str());
    out.extend_from_slice(br#","client":""#);
    out.extend_from_slice(author.client.to_string().as_bytes());
    out.push(b'"');
    if let Some(info) = &author.conn_info {
        out.extend_from_slice(br#","conn_info":"#);
        out.extend_from_slice(info);
    }
    if let Some(info) = &author.chan_info {
        out.extend_from_slice(br#","chan_info":"#);
        out.extend_from_slice(info);
    }
    out.push(b'}');
}
