//! `history`: a page of what a room keeps.

use crate::broker::{self, HistoryPage, HistoryQuery};
use crate::protocol::command::History;
use crate::protocol::reply::Reply;

use super::permission;
use super::subscribe::position;
use super::{Ask, Desk, Refused, Session, Step, class_of, narrowed, room_name};

/// A page stops before it exceeds this: some SDKs refuse frames above 1 MiB, and readers can ask on.
const PAGE_BYTES: usize = 512 * 1024;

impl Session {
    pub(super) fn history(&mut self, request: &History<'_>, desk: &mut Desk<'_>) -> Refused<Step> {
        let room = room_name(request.channel, desk)?;
        let class = class_of(&room, desk)?;
        permission::history(&class, self.standing(&room, desk))?;
        let since = request.since.as_ref();
        let since = since.map(|since| position(since.0.offset, since.0.epoch));
        let query = HistoryQuery {
            since,
            limit: usize::try_from(request.limit).unwrap_or(usize::MAX),
            max_bytes: PAGE_BYTES,
            reverse: request.reverse,
            after: 0,
        };
        let answer = narrowed::history(desk.shared, &room, query, class.readable());
        Ok(Step::Ask(Ask::History(room, answer)))
    }
}

pub(super) fn settle(page: Result<HistoryPage, broker::Error>) -> Refused<Reply> {
    Ok(Reply::History(page?))
}
