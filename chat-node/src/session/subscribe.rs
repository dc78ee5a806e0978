//! `subscribe` and `unsubscribe`: entering a room, with what was missed, and leaving it.
//!
//! Entering is atomic with the live feed: the member stands in the room before the broker is asked, so nothing
//! published after the answer can pass it by, and the log lets nothing through that the answer covered.

use crate::broker::{self, Joined, Position};
use crate::config::{ReadAccess, SubscribeAccess};
use crate::ids::RoomName;
use crate::protocol::command::{InChannel, Subscribe};
use crate::protocol::reply::{Reply, Subscribed};
use crate::protocol::{ErrorCode, Refusal};
use crate::room::RoomKey;

use super::{Ask, Desk, Refused, Session, Step, class_of, narrowed, room_name};

/// A subscribe that waits for the broker.
#[derive(Clone)]
pub struct Entering {
    room: RoomKey,
    name: RoomName,
    was_recovering: bool,
    recoverable: bool,
    rejects_unrecovered: bool,
}

impl Entering {
    pub(super) fn name(&self) -> &RoomName {
        &self.name
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
        let class = class_of(&room, desk)?;
        if class.subscribe != SubscribeAccess::Anyone {
            let detail = "this room needs a subscription token";
            return Err(Refusal::new(ErrorCode::PermissionDenied, detail));
        }
        if desk.rooms.find(desk.connection, room.as_str()).is_some() {
            return Err(Refusal::new(ErrorCode::AlreadySubscribed, ""));
        }
        let most = desk.shared.live().limits.rooms_per_session;
        if desk.rooms.places(desk.connection).len() >= most {
            let detail = format!("at most {most} rooms a session");
            return Err(Refusal::new(ErrorCode::LimitExceeded, detail));
        }
        let recoverable = matches!(class.history, ReadAccess::Anyone | ReadAccess::Subscribers);
        // An epoch that is no text belongs to no incarnation; "_" is what SDKs send for that.
        let resume = (request.recover && recoverable).then(|| Position {
            offset: request.offset.0,
            epoch: request.epoch.decode().unwrap_or("_".into()).into(),
        });
        let (key, first) = desk.rooms.enter(desk.connection, desk.wire, &room);
        if first {
            desk.shared.enter(desk.worker, &room);
        }
        let answer = narrowed::join(desk.shared, &room, resume, class.readable());
        let entering = Entering {
            room: key,
            name: room,
            was_recovering: request.recover,
            recoverable,
            rejects_unrecovered: request.rejects_unrecovered(),
        };
        Ok(Step::Ask(Ask::Join(entering, answer)))
    }

    pub(super) fn unsubscribe(
        &mut self,
        request: &InChannel<'_>,
        desk: &mut Desk<'_>,
    ) -> Refused<Step> {
        let room = room_name(request.channel, desk)?;
        // Leaving a room that one is not in has the wanted effect: an error would make SDKs close.
        if let Some(key) = desk.rooms.find(desk.connection, room.as_str()) {
            leave(key, desk);
        }
        Ok(Step::Reply(Reply::Unsubscribe))
    }
}

pub(super) fn settle(
    Entering {
        room,
        name,
        was_recovering,
        recoverable,
        rejects_unrecovered,
    }: Entering,
    joined: Result<Joined, broker::Error>,
    desk: &mut Desk<'_>,
) -> Refused<Reply> {
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
    Ok(Reply::Subscribe(Subscribed {
        room: name,
        recoverable,
        position,
        was_recovering,
        recovered,
        publications,
    }))
}

fn leave(room: RoomKey, desk: &mut Desk<'_>) {
    if let Some(room) = desk.rooms.leave(desk.connection, room) {
        desk.shared.leave(desk.worker, &room);
    }
}
