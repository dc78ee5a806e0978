//! `batch`: many commands in one request, each with a reply of its own, in their order.

use std::collections::BTreeMap;

use futures_util::{StreamExt, stream};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::params::{bad, read};
use super::{Api, Method, Outcome, error, listed, wrapped};
use crate::protocol::{ErrorCode, Refusal};

/// Commands that are done at a time if they may be.
const AT_A_TIME: usize = 64;

#[derive(Deserialize)]
struct Parameters<'a> {
    #[serde(borrow)]
    commands: Vec<BTreeMap<String, &'a RawValue>>,
    parallel: Option<bool>,
}

/// Returns the whole answer, `{"replies":[…]}`.
pub async fn batch(api: &Api, params: &RawValue) -> Outcome {
    let Parameters { commands, parallel } = read(params)?;
    let at_a_time = match parallel {
        Some(true) => AT_A_TIME,
        _ => 1,
    };
    let each = commands.iter().map(|command| reply(api, command));
    let replies = stream::iter(each.collect::<Vec<_>>()).buffered(at_a_time);
    let replies: Vec<_> = replies.collect().await;
    Ok(wrapped("replies", &listed(&replies)))
}

async fn reply(api: &Api, command: &BTreeMap<String, &RawValue>) -> Vec<u8> {
    match obey(api, command).await {
        Ok(reply) => reply,
        Err(refusal) => error(&refusal),
    }
}

async fn obey(api: &Api, command: &BTreeMap<String, &RawValue>) -> Outcome {
    let mut command = command.iter();
    let (Some((name, params)), None) = (command.next(), command.next()) else {
        return Err(bad("expected commands with one method each"));
    };
    let method =
        Method::named(name).ok_or_else(|| Refusal::new(ErrorCode::MethodNotFound, name.clone()))?;
    let result = api.single(method, params).await?;
    Ok(wrapped(name, &result))
}
