//! How each kind of server is spoken to: what to ask for, what to say first, how to publish.

use serde::Deserialize;

use crate::frame;
use crate::message::Message;

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Dialect {
    /// A chat node, as any Centrifuge SDK speaks to it.
    Centrifuge,
    /// Text frames and nothing else; the path names the rooms.
    Bare,
    SocketIo,
}

/// `42["m","` and `"]`
pub(crate) const SOCKET_IO_WRAPPING: usize = 10;

impl Dialect {
    pub(crate) fn path(self, first_room: u32, rooms: usize) -> String {
        match self {
            Self::Centrifuge => "/connection/websocket".to_owned(),
            Self::Bare => format!("/{first_room}/{rooms}"),
            Self::SocketIo => "/socket.io/?EIO=4&transport=websocket".to_owned(),
        }
    }

    /// The frames that join the rooms, and how many answers they get.
    pub(crate) fn join(self, first_room: u32, rooms: usize) -> (Vec<u8>, usize) {
        let text = match self {
            Self::Bare => return (Vec::new(), 0),
            Self::SocketIo => "40".to_owned(),
            Self::Centrifuge => {
                let subscribes = (first_room..).take(rooms).zip(2..).map(|(room, id)| {
                    format!(
                        "\n{{\"id\":{id},\"subscribe\":{{\"channel\":\"{}\"}}}}",
                        channel(room)
                    )
                });
                format!(
                    "{{\"id\":1,\"connect\":{{}}}}{}",
                    subscribes.collect::<String>()
                )
            }
        };
        let answers = if self == Self::Centrifuge {
            1 + rooms
        } else {
            1
        };
        let mut frames = Vec::new();
        frame::write_masked_text(&mut frames, text.as_bytes());
        (frames, answers)
    }

    /// What a line that carries no message is.
    pub(crate) fn read(self, line: &[u8]) -> Said {
        match self {
            Self::Centrifuge if line == b"{}" => Said::Ping(b"{}"),
            Self::Centrifuge if contains(line, b"\"error\":") => Said::Refused,
            Self::Centrifuge if contains(line, b"\"id\":") => Said::Answer,
            Self::SocketIo if line == b"2" => Said::Ping(b"3"),
            Self::SocketIo if line.starts_with(b"40") => Said::Answer,
            Self::SocketIo if line.starts_with(b"44") => Said::Refused,
            Self::SocketIo | Self::Centrifuge | Self::Bare => Said::Other,
        }
    }
}

pub(crate) enum Said {
    Answer,
    Refused,
    /// To be answered with this text.
    Ping(&'static [u8]),
    Other,
}

/// Appends the command that publishes `message`.
pub(crate) fn write_publish(
    out: &mut Vec<u8>,
    scratch: &mut Vec<u8>,
    id: u64,
    message: &Message,
    bytes: usize,
) {
    scratch.clear();
    scratch.extend_from_slice(
        format!(
            "{{\"id\":{id},\"publish\":{{\"channel\":\"{}\",\"data\":\"",
            channel(message.room)
        )
        .as_bytes(),
    );
    message.write(scratch, bytes);
    scratch.extend_from_slice(b"\"}}");
    frame::write_masked_text(out, scratch);
}

/// Four digits always, so that every room's frames have one length.
pub(crate) fn channel(room: u32) -> String {
    format!("r{room:04}")
}

fn contains(line: &[u8], part: &[u8]) -> bool {
    line.windows(part.len()).any(|window| window == part)
}
