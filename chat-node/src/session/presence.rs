//! `presence` and `presence_stats`: who is in a room, on all nodes.

use std::sync::Arc;

use crate::presence::members::{Members, Wanted};
use crate::protocol::command::InChannel;
use crate::protocol::reply::Reply;
use crate::protocol::{ErrorCode, Refusal};

use super::{Ask, Desk, Refused, Session, Step, class_of, permission, room_name};

impl Session {
    pub(super) fn presence(
        &mut self,
        request: &InChannel<'_>,
        wanted: Wanted,
        desk: &mut Desk<'_>,
    ) -> Refused<Step> {
        let room = room_name(request.channel, desk)?;
        permission::presence(&class_of(&room, desk)?, self.standing(&room, desk))?;
        let most = desk.shared.live().limits.presence_per_second_per_session;
        if !self.presences.allow(desk.shared.now(), most) {
            let detail = format!("at most {most} questions a second who is present in a session");
            return Err(Refusal::new(ErrorCode::TooManyRequests, detail));
        }
        let asking = desk.shared.presence.clone().of(room.clone(), wanted);
        Ok(Step::Ask(Ask::Presence(room, wanted, Box::pin(asking))))
    }
}

pub(super) fn settle(wanted: Wanted, members: Arc<Members>) -> Reply {
    match wanted {
        Wanted::List => Reply::Presence(members),
        Wanted::Numbers => Reply::PresenceStats(members),
    }
}
