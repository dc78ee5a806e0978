//! `history`: a page of what a room keeps.

use crate::broker::{self, HistoryPage, HistoryQuery, Position};
use crate::config::ReadAccess;
use crate::protocol::command::History;
use crate::protocol::reply::Reply;
use crate::protocol::{ErrorCode, Refusal};

use super::{Ask, Desk, Refused, Session, Step, class_of, narrowed, room_name};

/// A page stops before it exceeds this: some SDKs refuse frames above 1 MiB, and readers can ask on.
const PAGE_BYTES: usize = 512 * 1024;

impl Session {
    pub(super) fn history(&mut self, request: &History<'_>, desk: &mut Desk<'_>) -> Refused<Step> {
        let room = room_name(request.channel, desk)?;
        let denied = |detail| Err(Refusal::new(ErrorCode::PermissionDenied, detail));
        let class = class_of(&room, desk)?;
        match class.history {
            ReadAccess::Anyone => {}
            ReadAccess::Subscribers => {
                if desk.rooms.find(desk.connection, room.as_str()).is_none() {
                    return denied("subscribe to the room before reading its history");
                }
            }
            ReadAccess::Server => return denied("only the server reads this room's history"),
            ReadAccess::None => {
                let detail = "this room's class has no readable history";
                return Err(Refusal::new(ErrorCode::NotAvailable, detail));
            }
        }
        let since = request.since.as_ref().map(|since| Position {
            offset: since.0.offset.0,
            epoch: since.0.epoch.decode().unwrap_or("_".into()).into(),
        });
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
