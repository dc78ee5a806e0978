//! The commands that came together, in whichever encoding the connection has: one after the other, borrowed.

use super::command::{self, Command};
use super::protobuf;
use super::wire::Encoding;

/// What [`Batch::next`] may have to keep so that a command can borrow from it.
pub type Kept = protobuf::wire::Command;

pub enum Batch<'a> {
    Json(command::Commands<'a>),
    Protobuf(protobuf::Commands<'a>),
}

/// Text for the client: what was expected of it.
#[derive(Debug, thiserror::Error)]
pub enum BadCommand {
    #[error(transparent)]
    Json(#[from] command::BadCommand),
    #[error("expected length-prefixed commands in Protobuf, {0}")]
    Protobuf(#[from] protobuf::BadCommand),
    #[error("expected command objects in JSON, got bytes that are not UTF-8")]
    NotText,
}

impl<'a> Batch<'a> {
    pub fn json(text: &'a str) -> Self {
        Self::Json(command::Commands::new(text))
    }

    pub fn protobuf(bytes: &'a [u8]) -> Self {
        Self::Protobuf(protobuf::Commands::new(bytes))
    }

    /// Bytes of which nobody knows yet whether they are what the encoding wants.
    pub fn of(encoding: Encoding, bytes: &'a [u8]) -> Result<Self, BadCommand> {
        match encoding {
            Encoding::Json => str::from_utf8(bytes)
                .map(Self::json)
                .map_err(|_| BadCommand::NotText),
            Encoding::Protobuf => Ok(Self::protobuf(bytes)),
        }
    }

    /// What has not been read yet, without the space around it; empty if that is nothing.
    pub fn rest(&self) -> &'a [u8] {
        match self {
            Self::Json(commands) => commands.rest().trim_ascii().as_bytes(),
            Self::Protobuf(commands) => commands.rest(),
        }
    }

    pub fn next<'k>(&mut self, kept: &'k mut Kept) -> Option<Result<Command<'k>, BadCommand>>
    where
        'a: 'k,
    {
        match self {
            Self::Json(commands) => commands.next().map(|command| Ok(command?)),
            Self::Protobuf(commands) => commands.next(kept).map(|command| Ok(command?)),
        }
    }
}
