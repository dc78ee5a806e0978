//! Orders about sessions, from the wire to what workers obey.

use std::sync::Arc;

use crate::auth::GivenRoom;
use crate::broker::Position;
use crate::broker::peers::order::What;
use crate::broker::peers::{Close, Done, Enter, Failure, FailureCode, Leave, Order, Refresh};
use crate::ids::{RoomName, SessionId, UserId};
use crate::protocol::CloseReason;
use crate::session::given::Entrance;
use crate::worker::orders::{self, Chosen, Outcome};

/// Errors: the order is of a later release, or not one at all.
pub fn read(order: Order) -> Result<orders::Order, Failure> {
    let unfit = |text: &str| Failure::new(FailureCode::Unsupported, text);
    let Order {
        user,
        client,
        except,
        what,
    } = order;
    let id = |text: &String| SessionId::parse(text).ok_or_else(|| unfit("no session's id"));
    let client = Some(client).filter(|client| !client.is_empty());
    let what = match what {
        Some(What::Close(Close { code, reason })) => {
            let reason = CloseReason::given(code, reason).map_err(|error| unfit(&error))?;
            orders::What::Close(reason)
        }
        Some(What::Enter(enter)) => orders::What::Enter(Arc::new(entrance(enter))),
        Some(What::Leave(Leave { room })) => {
            let room = RoomName::parse(&room, 255).map_err(|_| unfit("no room's name"))?;
            orders::What::Leave(room)
        }
        Some(What::Refresh(Refresh { expire_at })) => {
            orders::What::Refresh((expire_at > 0).then_some(expire_at))
        }
        None => return Err(unfit("this release does not know the order")),
    };
    Ok(orders::Order {
        of: Chosen {
            user: UserId::named(&user),
            client: client.as_ref().map(id).transpose()?,
            except: except.iter().map(id).collect::<Result<_, _>>()?,
        },
        what,
    })
}

fn entrance(enter: Enter) -> Entrance {
    let Enter {
        room,
        info,
        data,
        expire_at,
        since,
    } = enter;
    Entrance {
        given: GivenRoom {
            name: room,
            info: (!info.is_empty()).then_some(info),
            data: (!data.is_empty()).then_some(data),
            expires_at: (expire_at > 0).then_some(expire_at),
        },
        since: since.map(|since| Position {
            offset: since.offset,
            epoch: since.epoch.into(),
        }),
    }
}

/// What came of an order on all workers.
pub fn done(outcomes: Vec<Outcome>) -> Done {
    let sessions = outcomes.iter().map(|outcome| outcome.sessions as u64).sum();
    let refusal = outcomes.into_iter().find_map(|outcome| outcome.refusal);
    let (error, detail) = refusal.map_or((0, String::new()), |refusal| {
        (refusal.code.code(), refusal.message().into_owned())
    });
    Done {
        sessions,
        error,
        detail,
    }
}
