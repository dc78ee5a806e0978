//! The way of a message through two nodes: published at one, read at the other.

use std::time::Instant;

use anyhow::{Context, Result, bail};
use tokio::task::spawn_local;

use super::command::{Places, SlicePlan};
use super::pace::pace;
use super::publisher::Publisher;
use super::report::{self, Report, Shared, Tally};
use super::socket::{self, Incoming};
use crate::dialect::{Dialect, Said};
use crate::message::{self, Message};
use crate::stopwatch::Stopwatch;

pub(crate) struct Relay {
    clock: Stopwatch,
    /// One a room, and one more whose room has no members.
    publishers: Vec<Publisher>,
    outsider: Publisher,
    next: usize,
    tally: Shared,
}

impl Relay {
    pub(crate) async fn open(places: &Places, clock: Stopwatch) -> Result<Self> {
        let tally = Shared::new(Tally::new().into());
        let (socket, mut incoming) = socket::open(places.read_at).await?;
        let (join, mut missing) = Dialect::Centrifuge.join(0, places.rooms as usize);
        socket.write(&join).await?;
        while missing > 0 {
            let open = incoming.lines(|line| match Dialect::Centrifuge.read(line) {
                Said::Answer => {
                    missing -= 1;
                    Ok(())
                }
                _ => bail!("the reader: {}", String::from_utf8_lossy(line)),
            });
            if !open.await? {
                bail!("the reader's node has gone");
            }
        }
        let reading = tally.clone();
        let rooms = places.rooms as usize;
        spawn_local(async move {
            if let Err(error) = read(incoming, &reading, clock, rooms).await {
                reading.borrow_mut().failure = Some(format!("the reader: {error:#}"));
            }
        });
        let mut publishers = Vec::new();
        for room in 0..=places.rooms {
            let tally = tally.clone();
            let on_answer = move |answer: Result<u64>| {
                let mut tally = tally.borrow_mut();
                match answer {
                    Ok(sent_ns) => tally.acknowledged(sent_ns, &clock),
                    Err(error) => tally.failure = Some(format!("{error:#}")),
                }
            };
            publishers.push(Publisher::open(places.publish_at, room, on_answer).await?);
        }
        let outsider = publishers.pop().context("there is one more than rooms")?;
        Ok(Self {
            clock,
            publishers,
            outsider,
            next: 0,
            tally,
        })
    }

    /// Publishes to a room without members.
    pub(crate) fn outsider(&mut self) -> &mut Publisher {
        &mut self.outsider
    }

    pub(crate) async fn slice(&mut self, plan: &SlicePlan) -> Result<Report> {
        let count = (plan.rate * plan.seconds) as u64;
        let start = Instant::now();
        // What was left over from another slice is not this one's.
        self.tally.replace(Tally::new());
        let Self {
            clock,
            publishers,
            next,
            ..
        } = self;
        let send = async || {
            *next = (*next + 1) % publishers.len();
            publishers[*next].publish(clock).await
        };
        pace(count, plan.rate, send).await?;
        report::finish(&self.tally, count, start).await
    }
}

async fn read(
    mut incoming: Incoming,
    tally: &Shared,
    clock: Stopwatch,
    rooms: usize,
) -> Result<()> {
    let mut next = vec![0; rooms];
    let mut at = 0;
    while incoming
        .lines(|line| {
            let Some(at) = message::find(line, &mut at) else {
                bail!("unexpected: {}", String::from_utf8_lossy(line));
            };
            let message = Message::read(&line[at..]).context("a damaged message came")?;
            let next: &mut u64 = next
                .get_mut(message.room as usize)
                .context("a message of an unknown room came")?;
            let mut tally = tally.borrow_mut();
            tally.gaps += u64::from(*next != message.sequence);
            *next = message.sequence + 1;
            tally.delivered(message.due_ns, &clock);
            Ok(())
        })
        .await?
    {}
    bail!("its node has gone")
}
