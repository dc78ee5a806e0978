//! The client of a cluster: how long messages take over NATS, through nodes and without; and sessions that resume.
//!
//! command -> open | slice | flood | gather | flow -> answer
//!
//! Unlike the load client it sleeps while there is nothing to do: nodes, NATS servers and this program share the cores,
//! and one that spins would take one of them away.

use std::io::{BufRead, Write};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::LocalSet;

mod bare;
mod command;
mod crowd;
mod member;
mod pace;
mod publisher;
mod relay;
mod report;
mod socket;

use crate::stopwatch::Stopwatch;
use bare::Bare;
use command::{Command, Way};
use crowd::Crowd;
use relay::Relay;

/// Everything that lives from one command to the next.
struct Cluster {
    clock: Stopwatch,
    relay: Option<Relay>,
    bare: Option<Bare>,
    crowd: Option<Crowd>,
}

pub(crate) fn run() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    LocalSet::new().block_on(&runtime, serve())
}

/// Commands are read in a thread, so that connections live on between them.
async fn serve() -> Result<()> {
    let (sender, mut lines) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    let mut cluster = Cluster {
        clock: Stopwatch::start(),
        relay: None,
        bare: None,
        crowd: None,
    };
    while let Some(line) = lines.recv().await {
        let line = line?;
        let command =
            serde_json::from_str(&line).with_context(|| format!("not a command: {line}"))?;
        let answer = cluster.execute(command).await?;
        let mut out = std::io::stdout().lock();
        writeln!(out, "{answer}")?;
        out.flush()?;
    }
    Ok(())
}

impl Cluster {
    async fn execute(&mut self, command: Command) -> Result<Value> {
        let clock = self.clock;
        match command {
            Command::Open(places) => {
                let mut relay = Relay::open(&places, clock).await?;
                let bare = Bare::open(&places, clock, relay.outsider()).await?;
                self.relay = Some(relay);
                self.bare = Some(bare);
                Ok(json!({}))
            }
            Command::Slice(plan) => {
                let report = match plan.way {
                    Way::Nodes => self.relay.as_mut().context(CLOSED)?.slice(&plan).await?,
                    Way::Bare => self.bare.as_mut().context(CLOSED)?.slice(&plan).await?,
                };
                Ok(serde_json::to_value(report)?)
            }
            Command::Flood(plan) => {
                let bare = self.bare.as_mut().context(CLOSED)?;
                Ok(serde_json::to_value(bare.flood(&plan).await?)?)
            }
            Command::Gather(plan) => {
                self.crowd = Some(Crowd::gather(plan, clock).await?);
                Ok(json!({}))
            }
            Command::Flow(plan) => {
                let crowd = self.crowd.as_mut().context("nobody was gathered")?;
                Ok(serde_json::to_value(crowd.flow(&plan).await?)?)
            }
        }
    }
}

const CLOSED: &str = "open comes first";
