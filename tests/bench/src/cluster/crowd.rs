//! Members on several nodes that come back to another one when theirs is killed, and what they must not miss.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde::Serialize;
use tokio::task::spawn_local;
use tokio::time::sleep;

use super::command::{FlowPlan, GatherPlan};
use super::member::Member;
use super::pace::pace;
use super::publisher::Publisher;
use crate::histogram::{Histogram, Quantiles};
use crate::stopwatch::Stopwatch;

/// Nothing that is missing so long will come.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) struct Crowd {
    clock: Stopwatch,
    plan: GatherPlan,
    publishers: Vec<Publisher>,
    seen: Rc<RefCell<Seen>>,
}

/// What all members together have seen.
pub(crate) struct Seen {
    /// Members that are in their rooms.
    pub(crate) joined: u64,
    acknowledged: u64,
    pub(crate) deliveries: u64,
    /// Deliveries that resumes brought.
    pub(crate) recovered: u64,
    pub(crate) lost: u64,
    pub(crate) repeated: u64,
    pub(crate) resumed: u64,
    pub(crate) unrecovered: u64,
    /// From a member's first step back until it had all it had missed.
    pub(crate) each_ns: Histogram,
    pub(crate) first_return_ns: Option<u64>,
    pub(crate) last_resumed_ns: u64,
    /// Why a session ended.
    pub(crate) failure: Option<String>,
}

#[derive(Serialize)]
pub(crate) struct Flowed {
    published: u64,
    acknowledged: u64,
    expected: u64,
    deliveries: u64,
    recovered: u64,
    lost: u64,
    repeated: u64,
    resumed: u64,
    unrecovered: u64,
    /// From the first member's return until the last one had all it had missed.
    resume_seconds: f64,
    each_us: Quantiles,
    seconds: f64,
}

impl Crowd {
    /// Connects all members and publishers.
    pub(crate) async fn gather(plan: GatherPlan, clock: Stopwatch) -> Result<Self> {
        let seen = Rc::new(RefCell::new(Seen::new()));
        let nodes = plan.nodes.len();
        for index in 0..plan.members as usize {
            let member = Member {
                clock,
                node: plan.nodes[index % nodes],
                refuge: plan.refuge,
                away: Duration::from_secs_f64(plan.away_seconds),
                room: (index / nodes) as u32 % plan.rooms,
                next: 0,
                position: None,
                seen: seen.clone(),
            };
            let seen = seen.clone();
            spawn_local(async move {
                if let Err(error) = member.live().await {
                    seen.borrow_mut().failure = Some(format!("a member: {error:#}"));
                }
            });
        }
        let mut publishers = Vec::new();
        for room in 0..plan.rooms {
            let seen = seen.clone();
            let on_answer = move |answer: Result<u64>| {
                let mut seen = seen.borrow_mut();
                match answer {
                    Ok(_) => seen.acknowledged += 1,
                    Err(error) => seen.failure = Some(format!("{error:#}")),
                }
            };
            publishers.push(Publisher::open(plan.refuge, room, on_answer).await?);
        }
        let crowd = Self {
            clock,
            plan,
            publishers,
            seen,
        };
        let members = u64::from(crowd.plan.members);
        crowd.wait(|seen| seen.joined == members).await?;
        Ok(crowd)
    }

    /// Publishes, and waits until every member has everything.
    pub(crate) async fn flow(&mut self, plan: &FlowPlan) -> Result<Flowed> {
        let start = Instant::now();
        let Self {
            clock, publishers, ..
        } = self;
        let mut next = 0;
        let send = async || {
            next = (next + 1) % publishers.len();
            publishers[next].publish(clock).await
        };
        pace(plan.messages, plan.rate, send).await?;
        let GatherPlan { members, rooms, .. } = self.plan;
        let expected = plan.messages * u64::from(members / rooms);
        self.wait(|seen| seen.acknowledged == plan.messages && seen.deliveries >= expected)
            .await?;
        let seen = self.seen.borrow();
        let first = seen.first_return_ns.unwrap_or(seen.last_resumed_ns);
        Ok(Flowed {
            published: plan.messages,
            acknowledged: seen.acknowledged,
            expected,
            deliveries: seen.deliveries,
            recovered: seen.recovered,
            lost: seen.lost,
            repeated: seen.repeated,
            resumed: seen.resumed,
            unrecovered: seen.unrecovered,
            resume_seconds: seen.last_resumed_ns.saturating_sub(first) as f64 / 1e9,
            each_us: seen.each_ns.quantiles(),
            seconds: start.elapsed().as_secs_f64(),
        })
    }

    /// Waits until the members have come so far, or come no further.
    async fn wait(&self, until: impl Fn(&Seen) -> bool) -> Result<()> {
        let mut before = 0;
        let mut progress = Instant::now();
        loop {
            {
                let seen = self.seen.borrow();
                if let Some(failure) = &seen.failure {
                    bail!("{failure}");
                }
                let now = seen.joined + seen.acknowledged + seen.deliveries + seen.resumed;
                if now != before {
                    (before, progress) = (now, Instant::now());
                }
                if until(&seen) || progress.elapsed() > PATIENCE {
                    return Ok(());
                }
            }
            sleep(Duration::from_millis(1)).await;
        }
    }
}

impl Seen {
    fn new() -> Self {
        Self {
            joined: 0,
            acknowledged: 0,
            deliveries: 0,
            recovered: 0,
            lost: 0,
            repeated: 0,
            resumed: 0,
            unrecovered: 0,
            each_ns: Histogram::new(),
            first_return_ns: None,
            last_resumed_ns: 0,
            failure: None,
        }
    }
}
