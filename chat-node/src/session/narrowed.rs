//! Reading where a class lets only the newest be read: questions to the broker, cut down to what is readable.

use crate::broker::{Answer, Error, HistoryPage, HistoryQuery, Joined, Position, Readable};
use crate::ids::RoomName;
use crate::node::Shared;

/// A page of what is readable.
pub fn history(
    shared: &Shared,
    room: &RoomName,
    query: HistoryQuery,
    readable: Readable,
) -> Answer<HistoryPage> {
    let broker = &shared.broker;
    if readable.is_all() || query.limit == 0 {
        return broker.history(room, query);
    }
    let (broker, room) = (broker.clone(), room.clone());
    in_time(shared, async move {
        let after = broker.readable_after(&room, readable).await?;
        broker.history(&room, HistoryQuery { after, ..query }).await
    })
}

/// A join that recovers only if all that was missed is still readable.
pub fn join(
    shared: &Shared,
    room: &RoomName,
    resume: Option<Position>,
    readable: Readable,
) -> Answer<Joined> {
    let is_resumed = resume.is_some();
    let joining = shared.broker.join(room, resume);
    if readable.is_all() || !is_resumed {
        return joining;
    }
    let (broker, room) = (shared.broker.clone(), room.clone());
    in_time(shared, async move {
        let mut joined = joining.await?;
        let Some(first) = joined.publications.first() else {
            return Ok(joined);
        };
        let too_many = readable
            .newest
            .is_some_and(|newest| joined.publications.len() > newest as usize);
        // What comes while this is asked makes nothing older: only the age is left to decide.
        let by_age = Readable {
            newest: None,
            ..readable
        };
        let too_old = !by_age.is_all() && {
            let offset = first.offset;
            broker.readable_after(&room, by_age).await? >= offset
        };
        if too_many || too_old {
            joined.recovered = false;
            joined.publications.clear();
        }
        Ok(joined)
    })
}

/// Two questions may take as long as one: clients stop listening soon after.
fn in_time<T: Send + 'static>(
    shared: &Shared,
    asking: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Answer<T> {
    let patience = shared.config.nats.publish_timeout;
    Box::pin(async move {
        let answer = tokio::time::timeout(patience, asking).await;
        answer.unwrap_or(Err(Error::Unreachable))
    })
}
