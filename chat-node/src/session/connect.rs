//! `connect`: the first command. Decides who the session is and whether the node has room for it.

use std::sync::atomic::Ordering::Relaxed;

use crate::protocol::command::Connect;
use crate::protocol::reply::Reply;
use crate::protocol::{CloseReason, ErrorCode, Refusal};

use super::{Desk, Refused, Session, State, Step};

impl Session {
    pub(super) fn connect(&mut self, request: &Connect<'_>, desk: &mut Desk<'_>) -> Refused<Step> {
        if self.state == State::Connected {
            return Ok(Step::Close(CloseReason::bad_request("already connected")));
        }
        // What is no text is no token that could be valid either.
        if !request.token.decode().is_ok_and(|token| token.is_empty()) {
            return Ok(Step::Close(CloseReason::INVALID_TOKEN));
        }
        self.admit(desk)
            .inspect_err(|_| self.state = State::Refused)?;
        self.state = State::Connected;
        desk.shared.metrics.connects.inc();
        let limits = &desk.shared.config.limits;
        Ok(Step::Reply(Reply::Connect {
            client: self.id,
            // Rounded up: a client that expected pings sooner would give up between two of them.
            ping_seconds: limits.ping_interval.as_millis().div_ceil(1000) as u64,
            emulation: None,
        }))
    }

    /// Counts the session in, unless the node is full or too many come at once. Both pass by themselves, so the
    /// client may come back: an HTTP error at the upgrade would drive SDKs off WebSocket for good.
    fn admit(&self, desk: &Desk<'_>) -> Refused<()> {
        let shared = desk.shared;
        if !shared.allow_connect() {
            let detail = "too many new connections a second, try again";
            return Err(Refusal::new(ErrorCode::TooManyRequests, detail));
        }
        if shared.sessions.fetch_add(1, Relaxed) >= shared.live().limits.connections {
            shared.sessions.fetch_sub(1, Relaxed);
            let detail = "this node is at its connection limit, try again";
            return Err(Refusal::new(ErrorCode::TooManyRequests, detail));
        }
        Ok(())
    }
}
