//! `history`, a page of what a room keeps, whatever its class lets clients read; and `history_remove`, which erases it.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::broker::{HistoryQuery, Position};
use crate::protocol::reply::write_page;

use super::params::{InChannel, Since, bad, read};
use super::{Api, NOTHING, Outcome};

/// A page stops before it exceeds this: whoever wants more asks on from the last offset.
const PAGE_BYTES: usize = 4 << 20;

#[derive(Deserialize)]
struct Parameters<'a> {
    #[serde(borrow)]
    channel: Cow<'a, str>,
    limit: Option<i64>,
    #[serde(borrow)]
    since: Option<Since<'a>>,
    reverse: Option<bool>,
}

pub async fn history(api: &Api, params: &RawValue) -> Outcome {
    let Parameters {
        channel,
        limit,
        since,
        reverse,
    } = read(params)?;
    let room = api.room(&channel)?;
    let limit = match limit.unwrap_or(0) {
        -1 => usize::MAX,
        limit => usize::try_from(limit)
            .map_err(|_| bad("limit: expected a number from 0, or -1 for a whole page"))?,
    };
    let query = HistoryQuery {
        since: since.map(|since| Position {
            offset: since.offset,
            epoch: since.epoch.into(),
        }),
        limit,
        max_bytes: PAGE_BYTES,
        reverse: reverse.unwrap_or(false),
        after: 0,
    };
    let page = api.shared.broker.history(&room, query).await?;
    let mut result = Vec::new();
    write_page(&mut result, &page);
    Ok(result)
}

pub async fn remove(api: &Api, params: &RawValue) -> Outcome {
    let InChannel { channel } = read(params)?;
    let room = api.room(&channel)?;
    api.shared.broker.erase(&room).await?;
    Ok(NOTHING.to_vec())
}
