//! `refresh` and `sub_refresh`: a session, or its stay in a room, goes on with a new token.

use crate::auth::{Checked, Identity, RoomPass, TokenError, unix_now};
use crate::ids::RoomName;
use crate::protocol::command::{Refresh, SubRefresh};
use crate::protocol::reply::Reply;
use crate::protocol::{CloseReason, ErrorCode, Refusal};

use super::grant::{RoomGrant, ttl};
use super::subscribe::checked_pass;
use super::{Ask, Desk, Refused, Session, Step, room_name};

impl Session {
    pub(super) fn refresh(&mut self, request: &Refresh<'_>, desk: &mut Desk<'_>) -> Refused<Step> {
        let token = request.token.decode().unwrap_or_default();
        match desk.shared.auth.identity(&token) {
            Checked::Now(identity) => self.refreshed(identity),
            Checked::Later(identity) => Ok(Step::Ask(Ask::Refresh(identity))),
        }
    }

    /// The session stays what it is: only info and expiry are the new token's. The rooms it was given are those of its
    /// connect.
    pub(super) fn refreshed(&mut self, identity: Result<Identity, TokenError>) -> Refused<Step> {
        let identity = match identity {
            Ok(identity) => identity,
            Err(TokenError::Invalid(what)) => {
                return Ok(Step::Close(CloseReason::invalid_token(what)));
            }
            Err(error) => return Err(error.into()),
        };
        if identity.user != self.user {
            let detail = "it is another user's than the session's";
            return Ok(Step::Close(CloseReason::invalid_token(detail)));
        }
        let now = unix_now();
        if identity.expires_at.is_some_and(|at| at <= now) {
            return Err(TokenError::Expired("the session's time would be over").into());
        }
        let grant = self.grant.get_or_insert_default();
        grant.renew(identity.info, identity.expires_at);
        Ok(Step::Reply(Reply::Refresh(
            self.id,
            ttl(identity.expires_at, now),
        )))
    }

    pub(super) fn sub_refresh(
        &mut self,
        request: &SubRefresh<'_>,
        desk: &mut Desk<'_>,
    ) -> Refused<Step> {
        let room = room_name(request.channel, desk)?;
        if desk.rooms.find(desk.connection, room.as_str()).is_none() {
            let detail = "the session is not in the room";
            return Err(Refusal::new(ErrorCode::PermissionDenied, detail));
        }
        let token = request.token.decode().unwrap_or_default();
        match desk.shared.auth.pass(&token) {
            Checked::Now(pass) => self.sub_refreshed(room, pass, desk),
            Checked::Later(pass) => Ok(Step::Ask(Ask::SubRefresh(room, pass))),
        }
    }

    pub(super) fn sub_refreshed(
        &mut self,
        room: RoomName,
        pass: Result<RoomPass, TokenError>,
        desk: &mut Desk<'_>,
    ) -> Refused<Step> {
        let now = unix_now();
        let pass = checked_pass(&room, &self.user, pass, now)?;
        let is_given = self.is_given(&room);
        // It may have expired while the token was checked.
        if is_given || desk.rooms.find(desk.connection, room.as_str()).is_none() {
            let detail = "the session is not in the room by a token";
            return Err(Refusal::new(ErrorCode::PermissionDenied, detail));
        }
        let ttl = ttl(pass.expires_at, now);
        self.keep_grant(RoomGrant::of_pass(room, pass));
        if let Some(grant) = &mut self.grant {
            grant.is_changed = true;
        }
        Ok(Step::Reply(Reply::SubRefresh(ttl)))
    }
}
