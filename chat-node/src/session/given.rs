//! Rooms that a session is put into without asking for it: all it was given when it connects, or one that a backend
//! names later.

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::auth::{GivenRoom, TokenError, unix_now};
use crate::broker::{self, Answer, Joined, Position};
use crate::protocol::{ErrorCode, Refusal};

use super::grant::RoomGrant;
use super::permission::is_meant;
use super::subscribe::{self, Entering};
use super::{Ask, Desk, Refused, Session, Step, class_of, room_of};

/// A room that a backend puts sessions into.
#[derive(Debug)]
pub struct Entrance {
    pub given: GivenRoom,
    /// Whoever is put into it is sent first what came after this.
    pub since: Option<Position>,
}

/// The entrance of one session, and who is to be told what came of it.
#[derive(Clone)]
pub struct Put {
    pub entrance: Arc<Entrance>,
    pub told: mpsc::UnboundedSender<Result<(), Refusal>>,
}

impl Put {
    fn tell(&self, outcome: Result<(), Refusal>) {
        // Whoever asked may have given up.
        let _ = self.told.send(outcome);
    }
}

impl Session {
    /// Makes the session a member of a room, and asks the broker where it begins. No class stands in the way, only a
    /// list of users in the room's name.
    pub(super) fn enter_given(
        &mut self,
        given: &GivenRoom,
        resume: Option<Position>,
        desk: &mut Desk<'_>,
    ) -> Refused<(Entering, Answer<Joined>)> {
        let room = room_of(&given.name, desk)?;
        let class = class_of(&room, desk)?;
        if !is_meant(&room, &self.user) {
            let detail = format!("the room {room} is for the users that its name lists");
            return Err(Refusal::new(ErrorCode::PermissionDenied, detail));
        }
        // It would be closed for that at once, and come back with the same token, again and again.
        if given.expires_at.is_some_and(|at| at <= unix_now()) {
            return Err(TokenError::Expired("the time of a room that it names is over").into());
        }
        let entered = subscribe::enter(room.clone(), &class, resume, false, desk);
        self.keep_grant(RoomGrant::of_given(room, given));
        Ok(entered)
    }

    /// Puts the session into a room because a backend says so. Where it is already it stays as it is.
    pub fn put(&mut self, put: Put, desk: &mut Desk<'_>) -> Step {
        let given = &put.entrance.given;
        if desk.rooms.find(desk.connection, &given.name).is_some() {
            put.tell(Ok(()));
            return Step::Silent;
        }
        let entered = subscribe::has_room_left(desk)
            .and_then(|()| self.enter_given(given, put.entrance.since.clone(), desk));
        match entered {
            Ok((entering, answer)) => Step::Ask(Ask::Put(put, entering.or_not_at_all(), answer)),
            Err(refusal) => {
                put.tell(Err(refusal));
                Step::Silent
            }
        }
    }

    /// Goes on when the broker has said where the member begins.
    pub(super) fn settle_put(
        &mut self,
        put: &Put,
        entering: Entering,
        joined: Result<Joined, broker::Error>,
        desk: &mut Desk<'_>,
    ) -> Step {
        let room = entering.name().clone();
        match self.settle_join(entering, joined, desk) {
            Ok(mut subscribed) => {
                put.tell(Ok(()));
                subscribed.data = put.entrance.given.data.clone();
                Step::Entered(subscribed)
            }
            Err(refusal) => {
                self.forget_grant(&room);
                put.tell(Err(refusal));
                Step::Silent
            }
        }
    }
}
