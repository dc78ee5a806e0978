//! `presence` and `presence_stats`: who is in a room, on all nodes.

use std::sync::Arc;

use crate::config::{ReadAccess, RoomClass};
use crate::presence::members::{Members, Wanted};
use crate::protocol::command::InChannel;
use crate::protocol::reply::Reply;
use crate::protocol::{ErrorCode, Refusal};

use super::{Ask, Desk, Refused, Session, Step, class_of, room_name};

impl Session {
    pub(super) fn presence(
        &mut self,
        request: &InChannel<'_>,
        wanted: Wanted,
        desk: &mut Desk<'_>,
    ) -> Refused<Step> {
        let room = room_name(request.channel, desk)?;
        let is_member = desk.rooms.find(desk.connection, room.as_str()).is_some();
        may_see(&class_of(&room, desk)?, is_member)?;
        let most = desk.shared.live().limits.presence_per_second_per_session;
        if !self.presences.allow(desk.shared.now(), most) {
            let detail = format!("at most {most} questions a second who is present in a session");
            return Err(Refusal::new(ErrorCode::TooManyRequests, detail));
        }
        let asking = desk.shared.presence.clone().of(room.clone(), wanted);
        Ok(Step::Ask(Ask::Presence(room, wanted, Box::pin(asking))))
    }
}

/// Errors: who is in rooms of this class is not for this session to see.
pub(super) fn may_see(class: &RoomClass, is_member: bool) -> Refused<()> {
    let denied = |detail| Err(Refusal::new(ErrorCode::PermissionDenied, detail));
    match class.presence {
        ReadAccess::Anyone => Ok(()),
        ReadAccess::Subscribers if is_member => Ok(()),
        ReadAccess::Subscribers => denied("subscribe to the room before asking who is in it"),
        ReadAccess::Server => denied("only the server sees who is in this room"),
        ReadAccess::None => {
            let detail = "this room's class does not show who is in it";
            Err(Refusal::new(ErrorCode::NotAvailable, detail))
        }
    }
}

pub(super) fn settle(wanted: Wanted, members: Arc<Members>) -> Reply {
    match wanted {
        Wanted::List => Reply::Presence(members),
        Wanted::Numbers => Reply::PresenceStats(members),
    }
}
