//! What the server sends unasked: publications.

use crate::broker::{Author, Publication};
use crate::ids::RoomName;

use super::{write_number, write_string};

/// Appends `{"push":{"channel":…,"pub":{…}}}`.
pub fn write_push(out: &mut Vec<u8>, room: &RoomName, publication: &Publication) {
    out.extend_from_slice(br#"{"push":{"channel":"#);
    write_string(out, room.as_str());
    out.extend_from_slice(br#","pub":"#);
    write_publication(out, publication);
    out.extend_from_slice(b"}}");
}

/// Appends a publication: `{"data":…,"offset":5,"info":{…}}`.
pub(super) fn write_publication(out: &mut Vec<u8>, publication: &Publication) {
    out.extend_from_slice(br#"{"data":"#);
    out.extend_from_slice(&publication.data);
    out.extend_from_slice(br#","offset":"#);
    write_number(out, publication.offset);
    if let Some(author) = &publication.author {
        out.extend_from_slice(br#","info":"#);
        write_client_info(out, author);
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
