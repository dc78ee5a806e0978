//! `subscribe` and `unsubscribe`: entering a room, with what was missed, and leaving it.
//!
//! Entering is atomic with the live feed: the member stands in the room before the broker is asked, so nothing
//! published after the answer can pass it by, and the log lets nothing through that the answer covered.

use crate::auth::{Checked, RoomPass, TokenError, unix_now};
use crate::broker::{self, Answer, Joined, Position};
use crate::config::{ReadAccess, RoomClass};
use crate::ids::{RoomName, UserId};
use crate::protocol::command::{InChannel, Offset, Subscribe, Text};
use crate::protocol::reply::{Reply, Subscribed};
use crate::protocol::{ErrorCode, Refusal};
use crate::room::RoomKey;

use super::grant::{RoomGrant, ttl};
use super::permission::{self, Standing, is_meant};
use super::{Ask, Desk, Refused, Session, Step, class_of, narrowed, room_name};

/// A subscribe that waits for the broker.
#[derive(Clone)]
pub struct Entering {
    room: RoomKey,
    name: RoomName,
    was_recovering: bool,
    recoverable: bool,
    rejects_unrecovered: bool,
    expires_at: Option<u64>,
    /// Others are told when this member comes and goes.
    tells_joins: bool,
}

impl Entering {
    /// The room and its name, if others are to be told that somebody has come.
    pub(super) fn place(&self) -> Option<(RoomKey, RoomName)> {
        self.tells_joins.then(|| (self.room, self.name.clone()))
    }

    pub(super) fn name(&self) -> &RoomName {
        &self.name
    }

    /// Without what was missed the session is not to be in the room either.
    pub(super) fn or_not_at_all(self) -> Self {
        Self {
            rejects_unrecovered: true,
            ..self
        }
    }
}

/// A subscribe as it was asked for.
#[derive(Clone)]
pub struct Wish {
    room: RoomName,
    /// Where the client was, if it wants what it missed since.
    resume: Option<Position>,
    rejects_unrecovered: bool,
    /// It wants to hear of joins and leaves.
    wants_joins: bool,
}

impl Wish {
    pub(super) fn room(&self) -> &RoomName {
        &self.room
    }
}

impl Session {
    pub(super) fn subscribe(
        &mut self,
        request: &Subscribe<'_>,
        desk: &mut Desk<'_>,
    ) -> Refused<Step> {
        if request.kind != 0 {
            let detail = "only stream subscriptions are supported, no map and no shared poll";
            return Err(Refusal::new(ErrorCode::BadRequest, detail));
        }
        let room = room_name(request.channel, desk)?;
        class_of(&room, desk)?;
        if desk.rooms.find(desk.connection, room.as_str()).is_some() {
            return Err(Refusal::new(ErrorCode::AlreadySubscribed, ""));
        }
        let wish = Wish {
            resume: (request.recover).then(|| position(request.offset, request.epoch)),
            rejects_unrecovered: request.rejects_unrecovered(),
            wants_joins: request.join_leave,
            room,
        };
        // What is no text is no token that could be valid either.
        let token = request.token.decode().unwrap_or("?".into());
        let auth = &desk.shared.auth;
        if token.is_empty() || !auth.has_keys() {
            return self.enter_room(wish, None, desk);
        }
        match auth.pass(&token) {
            Checked::Now(pass) => self.settle_pass(wish, pass, desk),
            Checked::Later(pass) => Ok(Step::Ask(Ask::Pass(wish, pass))),
        }
    }

    /// Goes on when it is known what the token is worth.
    pub(super) fn settle_pass(
        &mut self,
        wish: Wish,
        pass: Result<RoomPass, TokenError>,
        desk: &mut Desk<'_>,
    ) -> Refused<Step> {
        let pass = checked_pass(&wish.room, &self.user, pass, unix_now())?;
        self.enter_room(wish, Some(pass), desk)
    }

    fn enter_room(
        &mut self,
        wish: Wish,
        pass: Option<RoomPass>,
        desk: &mut Desk<'_>,
    ) -> Refused<Step> {
        let class = class_of(&wish.room, desk)?;
        let standing = Standing {
            is_meant: is_meant(&wish.room, &self.user),
            is_member: false,
            is_vouched: pass.is_some(),
        };
        permission::subscribe(&class, standing)?;
        has_room_left(desk)?;
        self.forget_grant(&wish.room);
        let (room, resume) = (wish.room.clone(), wish.resume);
        let (mut entering, answer) = enter(room, &class, resume, wish.wants_joins, desk);
        entering.rejects_unrecovered = wish.rejects_unrecovered;
        if let Some(pass) = pass {
            entering.expires_at = pass.expires_at;
            self.keep_grant(RoomGrant::of_pass(wish.room, pass));
        }
        Ok(Step::Ask(Ask::Join(entering, answer)))
    }

    /// Goes on when the broker has said where the member begins.
    pub(super) fn settle_join(
        &self,
        entering: Entering,
        joined: Result<Joined, broker::Error>,
        desk: &mut Desk<'_>,
    ) -> Refused<Subscribed> {
        let place = entering.place();
        let subscribed = settle(entering, joined, desk)?;
        if let Some((key, room)) = place {
            let member = self.author(&room);
            desk.rooms.tell_of(desk.connection, key, member);
        }
        Ok(subscribed)
    }

    pub(super) fn unsubscribe(
        &mut self,
        request: &InChannel<'_>,
        desk: &mut Desk<'_>,
    ) -> Refused<Step> {
        let room = room_name(request.channel, desk)?;
        if self.is_given(&room) {
            let detail = "the server has put the session into this room";
            return Err(Refusal::new(ErrorCode::PermissionDenied, detail));
        }
        // Leaving a room that one is not in has the wanted effect: an error would make SDKs close.
        if let Some(key) = desk.rooms.find(desk.connection, room.as_str()) {
            leave(key, desk);
        }
        self.forget_grant(&room);
        Ok(Step::Reply(Reply::Unsubscribe))
    }

    /// Takes the session out of a room because a backend says so. False if it is not there.
    pub fn take_out(&mut self, room: &RoomName, desk: &mut Desk<'_>) -> bool {
        let place = desk.rooms.find(desk.connection, room.as_str());
        if let Some(key) = place {
            leave(key, desk);
            self.forget_grant(room);
        }
        place.is_some()
    }
}

/// Whether the session may be in one more room.
pub(super) fn has_room_left(desk: &Desk<'_>) -> Refused<()> {
    fit_into_session(desk.rooms.places(desk.connection).len() + 1, desk)
}

/// Whether a session may be in so many rooms.
pub(super) fn fit_into_session(rooms: usize, desk: &Desk<'_>) -> Refused<()> {
    let most = desk.shared.live().limits.rooms_per_session;
    if rooms <= most {
        return Ok(());
    }
    let detail = format!("at most {most} rooms a session");
    Err(Refusal::new(ErrorCode::LimitExceeded, detail))
}

/// The pass, if it is for this room and user, and for some time to come.
pub(super) fn checked_pass(
    room: &RoomName,
    user: &UserId,
    pass: Result<RoomPass, TokenError>,
    now: u64,
) -> Refused<RoomPass> {
    let denied = |detail: String| Err(Refusal::new(ErrorCode::PermissionDenied, detail));
    match pass {
        Ok(pass) if pass.room != room.as_str() => {
            denied("the token is for another room".to_owned())
        }
        Ok(pass) if pass.user != *user => denied("the token is another user's".to_owned()),
        Ok(pass) if pass.expires_at.is_some_and(|at| at <= now) => {
            Err(TokenError::Expired("the subscription's time is over").into())
        }
        Ok(pass) => Ok(pass),
        Err(TokenError::Invalid(what)) => denied(format!("invalid token: {what}")),
        Err(error) => Err(error.into()),
    }
}

/// Where a client was. An epoch that is no text belongs to no incarnation; "_" is what SDKs send for that.
pub(super) fn position(offset: Offset, epoch: Text<'_>) -> Position {
    Position {
        offset: offset.0,
        epoch: epoch.decode().unwrap_or("_".into()).into(),
    }
}

/// How a session stands to a room that it has been let into.
const MEMBER: Standing = Standing {
    is_meant: true,
    is_member: true,
    is_vouched: false,
};

/// Makes the session a member, and asks the broker where it begins.
pub(super) fn enter(
    room: RoomName,
    class: &RoomClass,
    resume: Option<Position>,
    wants_joins: bool,
    desk: &mut Desk<'_>,
) -> (Entering, Answer<Joined>) {
    let recoverable = matches!(class.history, ReadAccess::Anyone | ReadAccess::Subscribers);
    let was_recovering = resume.is_some();
    // Whoever may not ask who is there must not hear it either.
    let may_see = permission::presence(class, MEMBER).is_ok();
    let hears_joins = class.join_leave && wants_joins && may_see;
    let (connection, wire) = (desk.connection, desk.wire);
    let (key, first) = desk.rooms.enter(connection, wire, hears_joins, &room);
    if first {
        desk.shared.enter(desk.worker, &room);
    }
    let resume = resume.filter(|_| recoverable);
    let answer = narrowed::join(desk.shared, &room, resume, class.readable());
    let entering = Entering {
        room: key,
        name: room,
        was_recovering,
        recoverable,
        rejects_unrecovered: false,
        expires_at: None,
        tells_joins: class.join_leave,
    };
    (entering, answer)
}

fn settle(
    Entering {
        room,
        name,
        was_recovering,
        recoverable,
        rejects_unrecovered,
        expires_at,
        tells_joins: _,
    }: Entering,
    joined: Result<Joined, broker::Error>,
    desk: &mut Desk<'_>,
) -> Refused<Subscribed> {
    let Joined {
        position,
        recovered,
        publications,
    } = joined.inspect_err(|_| leave(room, desk))?;
    // An answer of before the room became another one: the client asks again.
    if !desk.rooms.answered(desk.connection, room, &position.epoch) {
        leave(room, desk);
        return Err(broker::Error::Unreachable.into());
    }
    if was_recovering {
        desk.shared.metrics.recovery(recovered);
    }
    if was_recovering && !recovered && rejects_unrecovered {
        leave(room, desk);
        return Err(Refusal::new(ErrorCode::UnrecoverablePosition, ""));
    }
    Ok(Subscribed {
        room: name,
        recoverable,
        position,
        was_recovering,
        recovered,
        publications,
        ttl: ttl(expires_at, unix_now()),
        data: None,
    })
}

pub(super) fn leave(room: RoomKey, desk: &mut Desk<'_>) {
    if let Some(room) = desk.rooms.leave(desk.connection, room) {
        desk.shared.leave(desk.worker, &room);
    }
}
