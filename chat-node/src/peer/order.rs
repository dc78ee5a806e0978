//! Orders about sessions, from the wire to what workers obey.

use crate::broker::peers::order::What;
use crate::broker::peers::{Close, Failure, FailureCode, Leave, Order, Refresh};
use crate::ids::{RoomName, SessionId, UserId};
use crate::protocol::CloseReason;
use crate::worker::orders::{self, Chosen};

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
