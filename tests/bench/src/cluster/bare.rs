//! The way of the same message without nodes: JetStream publishes over one NATS connection, live copies over another.
//!
//! It sends what a node sends, taken from a node: the bytes of a stored event, with the time and number in them replaced.

use std::net::SocketAddr;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use async_nats::{Client, HeaderMap, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt;
use serde::Deserialize;
use tokio::task::{AbortHandle, spawn_local};

use super::command::{FloodPlan, Places, SlicePlan};
use super::pace::pace;
use super::publisher::Publisher;
use super::report::{self, Report, Shared, Tally};
use crate::message::{self, Message};
use crate::stopwatch::Stopwatch;

/// The one stream of the clusters that are measured, and the live copies of what it keeps.
const STREAM: &str = "C_0";
const LIVE: &str = "c.live.0.>";

pub(crate) struct Bare {
    clock: Stopwatch,
    publishes: Client,
    deliveries: Client,
    subject: String,
    /// A stored event with a message at `at`.
    event: Vec<u8>,
    at: usize,
    published: u64,
    tally: Shared,
}

#[derive(Deserialize)]
struct PubAck {
    #[serde(default)]
    duplicate: bool,
    seq: u64,
}

impl Bare {
    /// Connects, and learns from what `publisher` publishes.
    pub(crate) async fn open(
        places: &Places,
        clock: Stopwatch,
        publisher: &mut Publisher,
    ) -> Result<Self> {
        let (first, last) = (places.nats.first(), places.nats.last());
        let publishes = connect(first.context("a NATS server is needed")?).await?;
        let deliveries = connect(last.context("a NATS server is needed")?).await?;
        let mut live = deliveries.subscribe(LIVE).await?;
        deliveries.flush().await?;
        publisher.publish(&clock).await?;
        let copy = live.next().await.context("nothing was delivered")?;
        live.unsubscribe().await?;
        let token = copy.subject.strip_prefix("c.live.0.");
        let subject = format!("c.in.0.{}", token.context("a foreign subject")?);
        let at = message::find(&copy.payload, &mut 0).context("the event carries no message")?;
        Ok(Self {
            clock,
            publishes,
            deliveries,
            subject,
            event: copy.payload.to_vec(),
            at,
            published: publisher.published(),
            tally: Shared::new(Tally::new().into()),
        })
    }

    pub(crate) async fn slice(&mut self, plan: &SlicePlan) -> Result<Report> {
        let count = (plan.rate * plan.seconds) as u64;
        let live = self.follow().await?;
        let start = Instant::now();
        let this = &mut *self;
        let send = async || {
            this.publish();
            Ok(())
        };
        pace(count, plan.rate, send).await?;
        let report = report::finish(&self.tally, count, start).await;
        live.abort();
        report
    }

    /// Publishes with so many in flight.
    pub(crate) async fn flood(&mut self, plan: &FloodPlan) -> Result<Report> {
        let live = self.follow().await?;
        let start = Instant::now();
        let mut sent = 0;
        while sent < plan.messages {
            let in_flight = sent - self.tally.borrow().acknowledgements();
            if in_flight < plan.in_flight as u64 {
                self.publish();
                sent += 1;
            } else {
                tokio::task::yield_now().await;
            }
        }
        let report = report::finish(&self.tally, plan.messages, start).await;
        live.abort();
        report
    }

    /// Counts live copies until that is aborted.
    async fn follow(&mut self) -> Result<AbortHandle> {
        let mut live = self.deliveries.subscribe(LIVE).await?;
        self.deliveries.flush().await?;
        self.tally.replace(Tally::new());
        let (tally, clock, first) = (self.tally.clone(), self.clock, self.published);
        let counting = spawn_local(async move {
            if let Err(error) = count(&mut live, &tally, clock, first).await {
                tally.borrow_mut().failure = Some(format!("the bare client: {error:#}"));
            }
        });
        Ok(counting.abort_handle())
    }

    /// Publishes one message; a task takes its acknowledgement.
    fn publish(&mut self) {
        let sent_ns = self.clock.elapsed_ns();
        let message = Message {
            due_ns: sent_ns,
            room: 0,
            sequence: self.published,
        };
        self.published += 1;
        message.overwrite(&mut self.event[self.at..]);
        let payload = Bytes::copy_from_slice(&self.event);
        let mut headers = HeaderMap::new();
        headers.insert(
            "Nats-Msg-Id",
            format!("{sent_ns:016x}{:016x}", self.published),
        );
        headers.insert("Nats-Expected-Stream", STREAM);
        let (client, subject) = (self.publishes.clone(), self.subject.clone());
        let (tally, clock) = (self.tally.clone(), self.clock);
        spawn_local(async move {
            let answer = client.request_with_headers(subject, headers, payload);
            let stored = answer
                .await
                .map_err(anyhow::Error::from)
                .and_then(|answer| {
                    let ack: PubAck = serde_json::from_slice(&answer.payload)?;
                    ensure!(
                        ack.seq > 0 && !ack.duplicate,
                        "it was not stored: {answer:?}"
                    );
                    Ok(())
                });
            let mut tally = tally.borrow_mut();
            match stored {
                Ok(()) => tally.acknowledged(sent_ns, &clock),
                Err(error) => tally.failure = Some(format!("a bare publish: {error:#}")),
            }
        });
    }
}

async fn connect(address: &SocketAddr) -> Result<Client> {
    let options = async_nats::ConnectOptions::new().ignore_discovered_servers();
    let client = options.connect(address.to_string()).await;
    client.with_context(|| format!("no connection to NATS at {address}"))
}

async fn count(
    live: &mut Subscriber,
    tally: &Shared,
    clock: Stopwatch,
    mut next: u64,
) -> Result<()> {
    let mut at = 0;
    while let Some(copy) = live.next().await {
        let at = message::find(&copy.payload, &mut at).context("a foreign message came")?;
        let message = Message::read(&copy.payload[at..]).context("a damaged message came")?;
        let mut tally = tally.borrow_mut();
        tally.gaps += u64::from(next != message.sequence);
        next = message.sequence + 1;
        tally.delivered(message.due_ns, &clock);
    }
    bail!("the server has gone")
}
