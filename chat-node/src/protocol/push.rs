//! What the server sends unasked: publications.

use crate::broker::Publication;
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

/// Appends a publication: `{"data":…,"offset":5,"info":{"user":"","client":"…"}}`.
pub(super) fn write_publication(out: &mut Vec<u8>, publication: &Publication) {
    out.extend_from_slice(br#"{"data":"#);
    out.extend_from_slice(&publication.data);
    // What is not kept has no offset: SDKs then leave the one that they remember alone.
    if publication.offset > 0 {
        out.extend_from_slice(br#","offset":"#);
        write_number(out, publication.offset);
    }
    if let Some(author) = &publication.author {
        out.extend_from_slice(br#","info":{"user":"#);
        write_string(out, author.user.as_str());
        out.extend_from_slice(br#","client":""#);
        out.extend_from_slice(author.client.to_string().as_bytes());
        out.extend_from_slice(br#""}"#);
    }
    out.push(b'}');
}
