//! `presence` and `presence_stats`: who is in a room, on all nodes, whatever its class lets clients know.

use serde_json::value::RawValue;

use crate::presence::members::Wanted;
use crate::protocol::reply::{write_member_numbers, write_members};

use super::params::{InChannel, read};
use super::{Api, Outcome};

pub async fn presence(api: &Api, params: &RawValue) -> Outcome {
    asked(api, params, Wanted::List).await
}

pub async fn stats(api: &Api, params: &RawValue) -> Outcome {
    asked(api, params, Wanted::Numbers).await
}

async fn asked(api: &Api, params: &RawValue, wanted: Wanted) -> Outcome {
    let InChannel { channel } = read(params)?;
    let room = api.room(&channel)?;
    let members = api.shared.presence.clone().of(room, wanted).await;
    let mut result = Vec::new();
    match wanted {
        Wanted::List => write_members(&mut result, &members),
        Wanted::Numbers => write_member_numbers(&mut result, &members),
    }
    Ok(result)
}
