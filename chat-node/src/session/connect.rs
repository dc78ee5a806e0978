//! `connect`: the first command. Decides who the session is, whether the node has room for it, and puts it into the
//! rooms that it was given.
//!
//! token -> identity -> admission -> rooms -> reply. Where a key or the broker takes its time everything waits.

use std::collections::HashMap;
use std::sync::atomic::Ordering::Relaxed;

use futures_util::future::join_all;
use http::HeaderMap;

use crate::auth::{Checked, Denied, Identity, Question, TokenError, Webhook, Welcome, unix_now};
use crate::broker::{self, Joined, Position};
use crate::protocol::command::{Connect, NotJson, Resume};
use crate::protocol::reply::{Connected, Reply};
use crate::protocol::{CloseReason, ErrorCode, Refusal, Wire};

use super::grant::{Grant, ttl};
use super::subscribe::{self, Entering};
use super::{Ask, Desk, Refused, Session, State, Step, claimed};

/// Where the client was in the rooms that it was put into before, by name.
pub(super) type Resumes = HashMap<String, Position>;

/// A connect that waits for the broker.
#[derive(Default)]
pub struct Entry {
    identity: Identity,
    rooms: Vec<Entering>,
}

impl Session {
    pub(super) fn connect(&mut self, request: &Connect<'_>, desk: &mut Desk<'_>) -> Refused<Step> {
        if self.state != State::Fresh {
            return Ok(Step::Close(CloseReason::bad_request("already connected")));
        }
        let step = self.begin(request, desk);
        self.refused_if_failed(step, desk)
    }

    fn begin(&mut self, request: &Connect<'_>, desk: &mut Desk<'_>) -> Refused<Step> {
        if !desk.shared.allow_connect() {
            let detail = "too many new connections a second, try again";
            return Err(Refusal::new(ErrorCode::TooManyRequests, detail));
        }
        let Ok(token) = request.token.decode() else {
            let detail = "it is not a valid string";
            return Ok(Step::Close(CloseReason::invalid_token(detail)));
        };
        let resumes = resumes(request);
        let auth = &desk.shared.auth;
        if !token.is_empty() {
            return match auth.identity(&token) {
                Checked::Now(identity) => {
                    self.identified(resumes, identity.map_err(Denied::from), desk)
                }
                Checked::Later(identity) => {
                    let welcome = async { identity.await.map_err(Denied::from) };
                    Ok(self.wait(resumes, Box::pin(welcome)))
                }
            };
        }
        if let Some(webhook) = &auth.webhook {
            let question = self.question(request, webhook, desk.wire)?;
            return Ok(self.wait(resumes, webhook.ask(question)));
        }
        if !auth.allows_anonymous {
            let detail = "connect with a token: this node lets nobody in without";
            return Err(Refusal::new(ErrorCode::Unauthorized, detail));
        }
        let anonymous = Identity {
            info: claimed::info(request.data.json().unwrap_or_default()),
            ..Identity::default()
        };
        self.identified(resumes, Ok(anonymous), desk)
    }

    fn wait(&mut self, resumes: Resumes, welcome: Welcome) -> Step {
        self.state = State::Connecting;
        Step::Ask(Ask::Identity(resumes, welcome))
    }

    /// What the backend is told.
    fn question(
        &mut self,
        request: &Connect<'_>,
        webhook: &Webhook,
        wire: Wire,
    ) -> Refused<Question> {
        let bad = |error: NotJson| Refusal::new(ErrorCode::BadRequest, error.to_string());
        let grant = self.grant.as_mut();
        let mut headers =
            grant.map_or_else(HeaderMap::new, |grant| std::mem::take(&mut grant.headers));
        let emulated = request.headers.iter().flatten();
        webhook.add_emulated(
            &mut headers,
            emulated.map(|(name, value)| (name.as_str(), value.as_str())),
        );
        let (transport, protocol, encoding) = wire.described();
        Ok(Question {
            client: self.id,
            transport,
            protocol,
            encoding,
            data: request.data.json().map_err(bad)?.map(ToOwned::to_owned),
            name: request.name.decode().unwrap_or_default().into_owned(),
            version: request.version.decode().unwrap_or_default().into_owned(),
            headers,
        })
    }

    /// Goes on when it is known who the session is.
    pub(super) fn settle_identity(
        &mut self,
        resumes: Resumes,
        identity: Result<Identity, Denied>,
        desk: &mut Desk<'_>,
    ) -> Refused<Step> {
        let step = self.identified(resumes, identity, desk);
        self.refused_if_failed(step, desk)
    }

    fn identified(
        &mut self,
        resumes: Resumes,
        identity: Result<Identity, Denied>,
        desk: &mut Desk<'_>,
    ) -> Refused<Step> {
        let identity = match identity {
            Ok(identity) => identity,
            Err(Denied::Closed(reason)) => return Ok(Step::Close(reason)),
            Err(Denied::Refused(refusal)) => return Err(refusal),
        };
        if identity.expires_at.is_some_and(|at| at <= unix_now()) {
            return Err(TokenError::Expired("the session's time is over").into());
        }
        if let Some(close) = self.admit(&identity, desk)? {
            return Ok(Step::Close(close));
        }
        self.grant = Grant::of(&identity);
        self.enter_all_given(identity, resumes, desk)
    }

    /// Counts the session in, unless the node is full, which passes by itself: the client may come back. An HTTP error
    /// at the upgrade would drive SDKs off WebSocket for good. A user with too many sessions would only add to them.
    fn admit(&mut self, identity: &Identity, desk: &Desk<'_>) -> Refused<Option<CloseReason>> {
        let shared = desk.shared;
        if shared.sessions.fetch_add(1, Relaxed) >= shared.live().limits.connections {
            shared.sessions.fetch_sub(1, Relaxed);
            let detail = "this node is at its connection limit, try again";
            return Err(Refusal::new(ErrorCode::TooManyRequests, detail));
        }
        let most = shared.live().limits.connections_per_user;
        if !shared.user_sessions.enter(&identity.user, most) {
            shared.sessions.fetch_sub(1, Relaxed);
            return Ok(Some(CloseReason::CONNECTION_LIMIT));
        }
        self.user = identity.user.clone();
        self.state = State::Entering;
        Ok(None)
    }

    /// Puts the session into the rooms it was given, all or none.
    fn enter_all_given(
        &mut self,
        identity: Identity,
        resumes: Resumes,
        desk: &mut Desk<'_>,
    ) -> Refused<Step> {
        subscribe::fit_into_session(identity.rooms.len(), desk)?;
        let (mut rooms, mut answers) = (Vec::new(), Vec::new());
        for given in &identity.rooms {
            let resume = resumes.get(given.name.as_str()).cloned();
            let (entering, answer) = self.enter_given(given, resume, desk)?;
            rooms.push(entering);
            answers.push(answer);
        }
        let entry = Entry { identity, rooms };
        if answers.is_empty() {
            return self.entered(entry, Vec::new(), desk);
        }
        let joined = Box::pin(join_all(answers));
        Ok(Step::Ask(Ask::Enter(Box::new(entry), joined)))
    }

    /// Answers the connect once the broker has answered for every room.
    pub(super) fn settle_entry(
        &mut self,
        entry: Entry,
        joined: Vec<Result<Joined, broker::Error>>,
        desk: &mut Desk<'_>,
    ) -> Refused<Step> {
        let step = self.entered(entry, joined, desk);
        self.refused_if_failed(step, desk)
    }

    fn entered(
        &mut self,
        entry: Entry,
        joined: Vec<Result<Joined, broker::Error>>,
        desk: &mut Desk<'_>,
    ) -> Refused<Step> {
        let Entry { identity, rooms } = entry;
        let (now, mut entered) = (unix_now(), Vec::new());
        for ((entering, joined), given) in rooms.into_iter().zip(joined).zip(identity.rooms) {
            let mut subscribed = self.settle_join(entering, joined, desk)?;
            subscribed.data = given.data;
            entered.push(subscribed);
        }
        self.state = State::Connected;
        desk.shared.metrics.connects.inc();
        // Rounded up: a client that expected pings sooner would give up between two of them.
        let ping = desk.shared.config.limits.ping_interval;
        Ok(Step::Reply(Reply::Connect(Box::new(Connected {
            client: self.id,
            ping_seconds: ping.as_millis().div_ceil(1000) as u64,
            pong: desk.wire.expects_pongs(),
            // Whoever has no token cannot refresh, and SDKs that are told to do end instead: it just comes again.
            ttl: ttl(identity.expires_at, now).filter(|_| identity.is_refreshable),
            data: identity.data,
            rooms: entered,
            emulation: None,
        }))))
    }

    /// A connect that came to nothing gives back what it has taken; the client is expected to close.
    fn refused_if_failed(&mut self, step: Refused<Step>, desk: &mut Desk<'_>) -> Refused<Step> {
        step.inspect_err(|_| self.end(desk))
    }
}

fn resumes(request: &Connect<'_>) -> Resumes {
    let subs = request.subs.iter().flatten();
    let wanted = subs.filter(|(_, resume)| resume.0.recover);
    wanted
        .map(|(room, resume)| {
            let Resume { offset, epoch, .. } = &resume.0;
            (room.clone(), subscribe::position(*offset, *epoch))
        })
        .collect()
}
