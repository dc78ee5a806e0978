//! `chat-node nats init`: ask for every stream, plan, create or update, and see that it is so.
//!
//! Only the asking is here; what is decided lies in `plan`. Every request has a time-out and is asked again: a
//! creation may hang or be refused while servers elect a leader, and asking twice does no harm.

mod plan;

use std::time::{Duration, Instant};

use async_nats::{Client, Event, RequestErrorKind, ServerError};
use bytes::Bytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use super::account::{self, Account, Obstacle, Role};
use super::api::{self, ApiError, StreamInfo, code, subject};
use super::streams::{Desired, StreamConfig, epoch, random_epoch};
use crate::config::{Init, Streams};
use plan::{Step, Wanted};

/// For one answer; then the question is asked again.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// Between a question without an answer and the next one.
const PAUSE: Duration = Duration::from_millis(500);
/// How long new copies may take to be complete before they are only reported.
const REPLICAS_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Account(#[from] account::Error),
    #[error("{0}")]
    Obstacle(Obstacle),
    /// The server, or a stream that somebody else changed meanwhile.
    #[error("{0}")]
    Unfit(String),
    #[error("the user may not do this ({0}); the credentials must be the operator's")]
    Forbidden(String),
    #[error("{stream}: refused{}", advice(reason))]
    Refused {
        stream: String,
        #[source]
        reason: ApiError,
    },
    #[error("{what}: not done in {}; last: {last}", humantime::format_duration(*.timeout))]
    TimedOut {
        what: String,
        timeout: Duration,
        last: String,
    },
    #[error("{stream}: the answer is not what the API sends")]
    Answer {
        stream: String,
        #[source]
        source: serde_json::Error,
    },
    /// Why no stream was touched, one sentence each.
    #[error("nothing was changed:\n{}", .0.join("\n"))]
    Planned(Vec<String>),
}

impl Error {
    /// Whether the settings are at fault, and not what was found.
    pub fn is_of_settings(&self) -> bool {
        matches!(self, Self::Account(_))
    }
}

/// What a run tells whoever started it.
#[derive(Debug)]
pub enum Line {
    /// What became of a stream, or of all.
    Result(String),
    Progress(String),
    Warning(String),
}

/// Shows a line: on a terminal, in a log.
pub type Say = fn(Line);

/// Creates, checks and repairs the streams.
pub async fn run(init: &Init, say: Say) -> Result<(), Error> {
    let account = Account::new(&init.servers, Role::Operator)?;
    let Streams {
        shards,
        max_age,
        message_bytes,
        max_bytes_per_shard,
        replicas,
        ref placement_tags,
    } = init.streams;
    let desired = Desired {
        shards,
        replicas,
        max_bytes: max_bytes_per_shard,
        max_age,
        message_bytes,
        placement_tags: placement_tags.clone(),
    };
    if let Some(warning) = plan::warning(&desired) {
        say(Line::Warning(warning));
    }
    let servers = Servers::connect(&account, init.run.timeout, say).await?;
    let server = servers.client.server_info();
    plan::check_server(&server.version, server.max_payload, &desired).map_err(Error::Unfit)?;

    let wanted = Wanted::new(&desired, &init.run, random_epoch);
    let (found, others) = survey(&servers, &wanted).await?;
    let steps = wanted.plan(&found, &others).map_err(Error::Planned)?;
    for stream in found.iter().flatten() {
        let name = &stream.config.name;
        for setting in stream.config.unknown_settings() {
            say(Line::Progress(format!(
                "{name}: has the setting {setting}, which this release does not know"
            )));
        }
    }
    for (config, step) in wanted.streams.iter().zip(&steps) {
        if init.run.dry_run {
            say(Line::Result(plan::said(&config.name, step, true)));
            continue;
        }
        let stream = settle(&servers, &wanted, config, step).await?;
        let epoch = epoch(&stream.created, &stream.config.metadata);
        let messages = stream.state.messages;
        let said = plan::said(&config.name, step, false);
        say(Line::Result(format!(
            "{said}; epoch {epoch}, {messages} messages"
        )));
    }
    say(Line::Result(plan::summary(&steps, init.run.dry_run)));
    Ok(())
}

/// Asks for every stream of the nodes, and for whatever else takes their subjects.
async fn survey(
    servers: &Servers,
    wanted: &Wanted<'_>,
) -> Result<(Vec<Option<StreamInfo>>, Vec<StreamInfo>), Error> {
    #[derive(Deserialize)]
    struct Names {
        #[serde(default)]
        streams: Option<Vec<String>>,
    }
    let mut found = Vec::new();
    for config in &wanted.streams {
        found.push(servers.info(&config.name).await?);
    }
    let filter = serde_json::json!({"subject": "c.in.>"});
    let names: Names = servers
        .ask("the streams' names", NAMES.to_owned(), &filter)
        .await?
        .map_err(|reason| refused("the streams' names", reason))?;
    let mut others = Vec::new();
    for name in names.streams.unwrap_or_default() {
        if wanted.streams.iter().all(|config| config.name != name) {
            others.extend(servers.info(&name).await?);
        }
    }
    Ok((found, others))
}

const NAMES: &str = "$JS.API.STREAM.NAMES";

/// Does a step, and comes back when the stream is as it should be and has a leader.
async fn settle(
    servers: &Servers,
    wanted: &Wanted<'_>,
    config: &StreamConfig,
    step: &Step,
) -> Result<StreamInfo, Error> {
    let name = &config.name;
    let mut step = step.clone();
    let mut complete_by = None;
    loop {
        let (subject, settings) = match &step {
            Step::Create(config) => (subject::create(name), Some(&**config)),
            Step::Update(update) => (subject::update(name), Some(&update.config)),
            Step::Keep => (String::new(), None),
        };
        if let Some(settings) = settings {
            let answer = servers
                .ask_once::<StreamInfo>(name, subject, settings)
                .await?;
            match answer {
                Some(Err(reason)) if reason.is(code::STREAM_NAME_IN_USE) => {}
                Some(Err(reason)) if !is_temporary(&reason) => return Err(refused(name, reason)),
                Some(Err(reason)) => servers.wait(name, reason.to_string()).await?,
                Some(Ok(_)) | None => {}
            }
        }
        let found = servers.info(name).await?;
        step = wanted
            .step(config, found.as_ref())
            .map_err(|refusals| Error::Unfit(refusals.join("; ")))?;
        let (Step::Keep, Some(stream)) = (&step, found) else {
            servers
                .wait(name, "not yet as it should be".to_owned())
                .await?;
            continue;
        };
        if !stream.has_leader() {
            servers.wait(name, "has no leader yet".to_owned()).await?;
            continue;
        }
        let (current, replicas) = (
            stream.current_replicas(),
            stream.config.num_replicas as usize,
        );
        let complete_by = complete_by.get_or_insert_with(|| Instant::now() + REPLICAS_TIMEOUT);
        if current >= replicas {
            return Ok(stream);
        }
        if Instant::now() >= *complete_by {
            (servers.say)(Line::Warning(format!(
                "{name}: {current} of {replicas} copies are complete"
            )));
            return Ok(stream);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Whether the same question may get another answer a little later: servers start, or elect a leader.
fn is_temporary(reason: &ApiError) -> bool {
    const NO_SUITABLE_PEERS: u32 = 10005;
    let is_final = reason.is(code::NOT_ENABLED) || reason.is(code::NOT_ENABLED_FOR_ACCOUNT);
    let temporary_code = matches!(reason.code, 429 | 503) || reason.is(NO_SUITABLE_PEERS);
    temporary_code && !is_final
}

fn advice(reason: &ApiError) -> &'static str {
    const REPLICAS_NOT_SUPPORTED: u32 = 10074;
    match reason.err_code {
        REPLICAS_NOT_SUPPORTED => " (a single server can only have --replicas 1)",
        code::NOT_ENABLED => " (the servers need a jetstream block)",
        code::NOT_ENABLED_FOR_ACCOUNT => " (the account needs jetstream: enabled)",
        _ => "",
    }
}

fn refused(stream: &str, reason: ApiError) -> Error {
    Error::Refused {
        stream: stream.to_owned(),
        reason,
    }
}

/// A connection, and until when it is used.
struct Servers {
    client: Client,
    /// What the servers said no to last; a forbidden request gets no other answer.
    violation: watch::Receiver<String>,
    timeout: Duration,
    deadline: Instant,
    say: Say,
}

impl Servers {
    async fn connect(account: &Account, timeout: Duration, say: Say) -> Result<Self, Error> {
        let deadline = Instant::now() + timeout;
        loop {
            let (violations, violation) = watch::channel(String::new());
            let note = move |event| {
                if let Event::ServerError(ServerError::Other(text)) = event {
                    violations.send_replace(text);
                }
                std::future::ready(())
            };
            let options = account
                .options_for_one_try("natter nats init")
                .event_callback(note);
            let error = match options.connect(account.urls()).await {
                Ok(client) => {
                    return Ok(Self {
                        client,
                        violation,
                        timeout,
                        deadline,
                        say,
                    });
                }
                Err(error) => error,
            };
            let obstacle = account.obstacle(&error);
            if obstacle.is_lasting() || Instant::now() + PAUSE >= deadline {
                return Err(Error::Obstacle(obstacle));
            }
            say(Line::Progress(format!("{obstacle}; trying again")));
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// A stream, or `None` if there is none. Answers without a leader count: they have the settings.
    async fn info(&self, stream: &str) -> Result<Option<StreamInfo>, Error> {
        let nothing = serde_json::Value::Null;
        match self.ask(stream, subject::info(stream), &nothing).await? {
            Ok(info) => Ok(Some(info)),
            Err(reason) if reason.is(code::STREAM_NOT_FOUND) => Ok(None),
            Err(reason) => Err(refused(stream, reason)),
        }
    }

    /// Asks until there is an answer that will not change by itself.
    async fn ask<T: DeserializeOwned>(
        &self,
        what: &str,
        subject: String,
        payload: &impl serde::Serialize,
    ) -> Result<api::Answer<T>, Error> {
        loop {
            match self.ask_once(what, subject.clone(), payload).await? {
                Some(Err(reason)) if is_temporary(&reason) => {
                    self.wait(what, reason.to_string()).await?;
                }
                Some(answer) => return Ok(answer),
                None => {}
            }
        }
    }

    /// Asks once. `None`: no answer came, and it is time to ask again.
    async fn ask_once<T: DeserializeOwned>(
        &self,
        what: &str,
        subject: String,
        payload: &impl serde::Serialize,
    ) -> Result<Option<api::Answer<T>>, Error> {
        let broken = |source| Error::Answer {
            stream: what.to_owned(),
            source,
        };
        let payload = match serde_json::to_vec(payload).map_err(broken)? {
            null if null == b"null" => Bytes::new(),
            payload => payload.into(),
        };
        let mut violation = self.violation.clone();
        let inbox = Role::Operator.inbox_prefix();
        let forbidden = violation
            .wait_for(|text| text.contains(&format!("\"{subject}\"")) || text.contains(&inbox));
        let request = async_nats::Request::new()
            .payload(payload)
            .timeout(Some(REQUEST_TIMEOUT));
        let answer = tokio::select! {
            answer = self.client.send_request(subject.clone(), request) => answer,
            Ok(text) = forbidden => return Err(Error::Forbidden(text.clone())),
        };
        match answer {
            Ok(message) => api::parse(&message.payload).map(Some).map_err(broken),
            Err(error) => {
                let said = match error.kind() {
                    RequestErrorKind::NoResponders => "JetStream does not answer".to_owned(),
                    RequestErrorKind::TimedOut => {
                        format!(
                            "no answer in {}",
                            humantime::format_duration(REQUEST_TIMEOUT)
                        )
                    }
                    _ => error.to_string(),
                };
                self.wait(what, said).await?;
                Ok(None)
            }
        }
    }

    /// Pauses before another try. Errors: if there is no time for one.
    async fn wait(&self, what: &str, last: String) -> Result<(), Error> {
        if Instant::now() + PAUSE >= self.deadline {
            return Err(Error::TimedOut {
                what: what.to_owned(),
                timeout: self.timeout,
                last,
            });
        }
        (self.say)(Line::Progress(format!("{what}: {last}; asking again")));
        tokio::time::sleep(PAUSE).await;
        Ok(())
    }
}
