//! The protocol in Protobuf: bytes <-> commands and replies. No IO.
//!
//! A message is its length as a varint, then its bytes; several may follow each other. What a command borrows from
//! JSON text it borrows here from the decoded message, so that everything behind is the same for both encodings.

mod reply;

use prost::Message as _;
use prost::encoding::decode_varint;

use super::command::{Command, Connect, Data, History, InChannel, Object, Offset, Publish, Since};
use super::command::{Refresh, Request, Resume, SubRefresh, Subscribe, Text};

pub use reply::{write_ping, write_push, write_reply};
use wire::command::Method;

/// The messages as `proto/natter/client/v2/client.proto` has them.
pub mod wire {
    include!(concat!(env!("OUT_DIR"), "/natter.client.v2.rs"));
}

/// The commands of one frame, in order.
pub struct Commands<'a> {
    rest: &'a [u8],
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum BadCommand {
    #[error("a length is no varint")]
    Length,
    #[error("a command should have {expected} bytes, {left} are left")]
    Cut { expected: u64, left: usize },
    #[error("a command does not have the protocol's fields")]
    Fields,
}

impl<'a> Commands<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What has not been read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Decodes the next command into `kept` and borrows it from there.
    pub fn next<'k>(
        &mut self,
        kept: &'k mut wire::Command,
    ) -> Option<Result<Command<'k>, BadCommand>> {
        if self.rest.is_empty() {
            return None;
        }
        let bytes = self.next_message();
        // Nothing is read behind a mistake: nobody knows where the next command begins.
        if bytes.is_err() {
            self.rest = &[];
        }
        Some(bytes.and_then(|bytes| {
            *kept = wire::Command::decode(bytes).map_err(|_| BadCommand::Fields)?;
            Ok(command(kept, bytes.len()))
        }))
    }

    fn next_message(&mut self) -> Result<&'a [u8], BadCommand> {
        let mut rest = self.rest;
        let expected = decode_varint(&mut rest).map_err(|_| BadCommand::Length)?;
        let left = rest.len();
        let length = usize::try_from(expected).unwrap_or(usize::MAX);
        let (message, rest) = rest
            .split_at_checked(length)
            .ok_or(BadCommand::Cut { expected, left })?;
        self.rest = rest;
        Ok(message)
    }
}

fn command(kept: &wire::Command, bytes: usize) -> Command<'_> {
    let request = match &kept.method {
        Some(method) => request(method),
        None if bytes == 0 => Request::Pong,
        None => Request::Unknown,
    };
    Command {
        id: kept.id,
        request,
        bytes,
    }
}

fn request(method: &Method) -> Request<'_> {
    match method {
        Method::Connect(connect) => Request::Connect(Connect {
            token: Text::plain(&connect.token),
            subs: Some(connect.subs.iter().map(resume).collect()),
            data: Data::of_bytes(&connect.data),
            name: Text::plain(&connect.name),
            version: Text::plain(&connect.version),
            headers: Some(connect.headers.clone().into_iter().collect()),
        }),
        Method::Subscribe(subscribe) => Request::Subscribe(Subscribe {
            channel: Text::plain(&subscribe.channel),
            token: Text::plain(&subscribe.token),
            recover: subscribe.recover,
            offset: Offset(subscribe.offset),
            epoch: Text::plain(&subscribe.epoch),
            flag: subscribe.flag,
            kind: subscribe.r#type,
            join_leave: subscribe.join_leave,
        }),
        Method::Unsubscribe(request) => Request::Unsubscribe(InChannel {
            channel: Text::plain(&request.channel),
        }),
        Method::Publish(publish) => Request::Publish(Publish {
            channel: Text::plain(&publish.channel),
            data: Data::of_bytes(&publish.data),
        }),
        Method::History(history) => Request::History(History {
            channel: Text::plain(&history.channel),
            since: history.since.as_ref().map(|since| {
                Object(Since {
                    offset: Offset(since.offset),
                    epoch: Text::plain(&since.epoch),
                })
            }),
            limit: history.limit,
            reverse: history.reverse,
        }),
        Method::Presence(request) => Request::Presence(InChannel {
            channel: Text::plain(&request.channel),
        }),
        Method::PresenceStats(request) => Request::PresenceStats(InChannel {
            channel: Text::plain(&request.channel),
        }),
        Method::Ping(_) => Request::Ping,
        Method::Send(_) => Request::Send,
        Method::Rpc(_) => Request::Rpc,
        Method::Refresh(refresh) => Request::Refresh(Refresh {
            token: Text::plain(&refresh.token),
        }),
        Method::SubRefresh(refresh) => Request::SubRefresh(SubRefresh {
            channel: Text::plain(&refresh.channel),
            token: Text::plain(&refresh.token),
        }),
    }
}

fn resume<'a>(sub: (&'a String, &'a wire::SubscribeRequest)) -> (String, Object<Resume<'a>>) {
    let (room, request) = sub;
    let resume = Resume {
        recover: request.recover,
        offset: Offset(request.offset),
        epoch: Text::plain(&request.epoch),
    };
    (room.clone(), Object(resume))
}

#[cfg(test)]
mod tests;
