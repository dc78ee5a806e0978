//! `channels`: the rooms that have members now, on all nodes.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::broker::peers::{ListRooms, Request, Response};
use crate::peer::pattern;

use super::params::{bad, read};
use super::{Api, Outcome};

#[derive(Deserialize)]
struct Parameters<'a> {
    #[serde(borrow)]
    pattern: Option<Cow<'a, str>>,
}

pub async fn channels(api: &Api, params: &RawValue) -> Outcome {
    let Parameters { pattern } = read(params)?;
    let pattern = pattern.unwrap_or_default().into_owned();
    pattern::compile(&pattern).map_err(|error| bad(format!("pattern: {error}")))?;
    let answers = api.everywhere(Request::ListRooms(ListRooms { pattern }));
    let mut members = BTreeMap::<String, u64>::new();
    for (_, answer) in answers.await? {
        if let Response::Rooms(rooms) = answer {
            for (room, count) in rooms.members {
                *members.entry(room).or_default() += count;
            }
        }
    }
    let channels = members.into_iter();
    let channels = channels.map(|(room, count)| (room, serde_json::json!({"num_clients": count})));
    let result = serde_json::json!({"channels": channels.collect::<serde_json::Map<_, _>>()});
    Ok(result.to_string().into_bytes())
}
