//! The load client: one thread that holds the members' connections, injects messages and checks what arrives.
//!
//! command -> open | slice | storm | stall -> answer
//!
//! It never blocks in epoll while it measures: a sleeping client would have to be woken by the server, on the
//! server's account. It reads each connection's stream whole and checks every message's sequence, so a server cannot gain
//! by losing or repeating one.

use std::io::{BufRead, Write};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

mod command;
mod connection;
mod envelope;
mod opening;
mod outbox;
mod slice;
mod stalled;
mod target;

use crate::stopwatch::Stopwatch;
use command::Command;
use connection::Connection;
use envelope::Envelope;
use opening::Arrivals;
use stalled::Stalled;
use target::Target;

/// Everything that lives from one command to the next.
struct Load {
    targets: Vec<Target>,
    envelope: Envelope,
    stalled: Stalled,
    /// The connections of the last storm.
    storm: Vec<Connection>,
    knocking: Option<Arrivals>,
    clock: Stopwatch,
}

pub(crate) fn run() -> Result<()> {
    let mut load = Load {
        targets: Vec::new(),
        envelope: Envelope::default(),
        stalled: Stalled::default(),
        storm: Vec::new(),
        knocking: None,
        clock: Stopwatch::start(),
    };
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let command =
            serde_json::from_str(&line).with_context(|| format!("not a command: {line}"))?;
        let answer = load.execute(command)?;
        let mut out = std::io::stdout().lock();
        writeln!(out, "{answer}")?;
        out.flush()?;
    }
    Ok(())
}

impl Load {
    fn execute(&mut self, command: Command) -> Result<Value> {
        match command {
            Command::Target(description) => {
                self.targets.push(Target::open(description)?);
                Ok(json!({ "target": self.targets.len() - 1 }))
            }
            Command::Open {
                target,
                count,
                rooms_each,
            } => {
                let elapsed = self.target(target)?.open_members(count, rooms_each)?;
                let seconds = elapsed.as_secs_f64();
                Ok(json!({ "seconds": seconds }))
            }
            Command::Learn { target } => {
                let clock = self.clock;
                let envelope = self.target(target)?.learn_envelope(&clock)?;
                self.envelope = envelope;
                Ok(
                    json!({ "text_bytes": self.envelope.length(command::MESSAGE_BYTES), "example": self.envelope.example() }),
                )
            }
            Command::Slice(plan) => {
                let target = self
                    .targets
                    .get_mut(plan.target)
                    .context("no such target")?;
                let report = slice::run(target, &plan, &self.envelope, &self.clock)?;
                Ok(serde_json::to_value(report)?)
            }
            Command::Storm(plan) => {
                ensure!(self.storm.is_empty(), "the last storm was not released");
                let opened = opening::open(&plan.door(), plan.places(), plan.until)?;
                self.storm = opened.connections;
                Ok(json!({ "opened": self.storm.len(), "seconds": opened.elapsed.as_secs_f64() }))
            }
            Command::Knock(plan) => {
                let door = plan.door();
                let mut arrivals = Arrivals::new(door.dialect)?;
                for place in plan.places() {
                    arrivals.knock(&door, place, plan.until)?;
                }
                self.knocking = Some(arrivals);
                Ok(json!({}))
            }
            Command::Admit => {
                let mut arrivals = self.knocking.take().context("nobody knocked")?;
                let elapsed = arrivals.wait()?;
                self.storm = arrivals.into_connections();
                Ok(json!({ "opened": self.storm.len(), "seconds": elapsed.as_secs_f64() }))
            }
            Command::Release => {
                self.storm.clear();
                Ok(json!({}))
            }
            Command::Stall(plan) => {
                let door = self.target(plan.target)?.door().clone();
                Ok(json!({ "ports": self.stalled.add(&door, &plan)? }))
            }
            Command::Unstall => {
                self.stalled.release();
                Ok(json!({}))
            }
        }
    }

    fn target(&mut self, index: usize) -> Result<&mut Target> {
        self.targets.get_mut(index).context("no such target")
    }
}
