//! Parameters -> checked values, with errors that say which one is wrong.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::Deserializer;
use serde_json::value::RawValue;

use crate::ids::RoomName;
use crate::protocol::{ErrorCode, Refusal};

use super::Api;

/// Reads a method's parameters; those that it does not know are not looked at.
pub fn read<'a, T: Deserialize<'a>>(params: &'a RawValue) -> Result<T, Refusal> {
    let text = params.get();
    // A list would be taken for the fields in their order.
    if !text.starts_with('{') {
        return Err(bad("expected an object with the method's parameters"));
    }
    serde_json::from_str(text).map_err(|error| {
        // The column says nothing to whoever wrote the parameters with a library.
        let error = error.to_string();
        let at = error.rfind(" at line").unwrap_or(error.len());
        bad(error[..at].to_owned())
    })
}

pub fn bad(detail: impl Into<Cow<'static, str>>) -> Refusal {
    Refusal::new(ErrorCode::BadRequest, detail)
}

/// Any JSON, also `null`, which must not count as absent.
pub fn present<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

#[derive(Deserialize)]
pub struct InChannel<'a> {
    #[serde(borrow)]
    pub channel: Cow<'a, str>,
}

/// Where a reader was.
#[derive(Deserialize)]
pub struct Since<'a> {
    #[serde(default)]
    pub offset: u64,
    #[serde(borrow, default)]
    pub epoch: Cow<'a, str>,
}

impl Api {
    /// The room of that name, if a class is configured for it.
    pub fn room(&self, channel: &str) -> Result<RoomName, Refusal> {
        let live = self.shared.live();
        let room = RoomName::parse(channel, live.limits.room_name_bytes)
            .map_err(|error| bad(format!("channel: {error}")))?;
        match live.room_classes.of(channel) {
            Some(_) => Ok(room),
            None => {
                let detail = "the part before ':' names no configured room class";
                Err(Refusal::new(ErrorCode::UnknownChannel, detail))
            }
        }
    }
}
