//! `publish`: checks a message and gives it to the broker. Nothing is delivered here: members get what the feed brings.

use std::time::Instant;

use crate::broker::{self, Message, Position};
use crate::protocol::command::{NotJson, Publish};
use crate::protocol::compact::compact;
use crate::protocol::reply::Reply;
use crate::protocol::{ErrorCode, Refusal};

use super::permission;
use super::{Ask, Desk, Refused, Session, Step, class_of, room_name};

impl Session {
    pub(super) fn publish(&mut self, request: &Publish<'_>, desk: &mut Desk<'_>) -> Refused<Step> {
        let room = room_name(request.channel, desk)?;
        permission::publish(&class_of(&room, desk)?, self.standing(&room, desk))?;
        let bad = |error: NotJson| Refusal::new(ErrorCode::BadRequest, error.to_string());
        let Some(data) = request.data.json().map_err(bad)? else {
            return Err(Refusal::new(ErrorCode::BadRequest, "publish needs data"));
        };
        let data = compact(data.get())
            .map_err(|error| Refusal::new(ErrorCode::BadRequest, error.to_string()))?;
        let (bytes, most) = (data.len(), desk.shared.config.limits.message_bytes);
        if bytes > most {
            let detail = format!("message has {bytes} bytes, at most {most} are allowed");
            return Err(Refusal::new(ErrorCode::LimitExceeded, detail));
        }
        let (now, live) = (desk.shared.now(), desk.shared.live());
        let limits = &live.limits;
        let most = limits.publishes_per_second_per_session;
        if !self.publishes.allow(now, most) {
            let detail = format!("at most {most} publishes a second in a session");
            return Err(Refusal::new(ErrorCode::TooManyRequests, detail));
        }
        let most = limits.publishes_per_second_per_room;
        if !desk.shared.room_rates.allow(&room, now, most) {
            let detail = format!("at most {most} publishes a second in a room");
            return Err(Refusal::new(ErrorCode::TooManyRequests, detail));
        }
        let message = Message {
            data,
            author: Some(self.author(&room)),
            id: None,
            tags: None,
        };
        let asked = Instant::now();
        let answer = desk.shared.broker.publish(&room, message);
        Ok(Step::Ask(Ask::Publish(room, asked, answer)))
    }
}

pub(super) fn settle(
    asked: Instant,
    published: Result<Position, broker::Error>,
    desk: &Desk<'_>,
) -> Refused<Reply> {
    published?;
    desk.shared.metrics.published(asked.elapsed());
    Ok(Reply::Publish)
}
