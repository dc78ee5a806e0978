//! A publication on its way to members: encoded and framed once per node, shared by all workers.

use std::time::Instant;

use bytes::Bytes;

use crate::broker::Publication;
use crate::frame;
use crate::ids::RoomName;
use crate::protocol::push;

#[derive(Debug)]
pub struct Delivery {
    pub room: RoomName,
    /// 0 if it is not kept.
    pub offset: u64,
    /// A whole WebSocket text frame with the JSON push.
    pub frame: Bytes,
    /// When the broker handed it over.
    pub accepted: Instant,
}

impl Delivery {
    pub fn encode(room: &RoomName, publication: &Publication) -> Self {
        Self {
            room: room.clone(),
            offset: publication.offset,
            frame: push_frame(room, publication).into(),
            accepted: Instant::now(),
        }
    }
}

/// The push of `publication` as a WebSocket text frame.
pub fn push_frame(room: &RoomName, publication: &Publication) -> Vec<u8> {
    let mut payload = Vec::with_capacity(publication.data.len() + room.as_str().len() + 160);
    push::write_push(&mut payload, room, publication);
    let mut frame = Vec::with_capacity(payload.len() + frame::MAX_HEADER_BYTES);
    frame::write_text(&mut frame, &payload);
    frame
}
