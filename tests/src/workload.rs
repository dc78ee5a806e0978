//! Many sessions over several nodes that publish, read, leave and come back, while a test does harm; all is written down.
//!
//! ```text
//! every session joins -> publishers publish, sessions come and go, faults happen -> one last message to each room
//!     -> every session has it, or the deadline passes -> the log, for the checker
//! ```
//!
//! A publisher sends each message once: an error, or no answer, means that the outcome is unknown. A session resumes where it
//! was, by any entrance, as often as it takes: another node, or another client's address at a Service. Sessions are tasks of
//! the test's runtime, one socket each.

mod closer;
mod progress;
mod publisher;
mod session;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use crate::checker::{self, Log, Name, Report, Rules};
use crate::entrance::Entrance;
pub use progress::Progress;
use progress::Stage;
use session::Session;

/// How much is going on.
#[derive(Clone, Debug)]
pub struct Workload {
    pub rooms: usize,
    pub sessions: usize,
    pub rooms_per_session: usize,
    /// The first of the sessions publish too.
    pub publishers: usize,
    /// That all publishers together try to send, at least: they go on while there are faults.
    pub messages: usize,
    /// Of all publishers together, while nothing holds them up.
    pub messages_per_second: f64,
    /// How many messages a publisher sends before it waits for an answer.
    pub in_flight: usize,
    /// How long a session stays, on average, before it leaves. None: until it is thrown out.
    pub stay: Option<Duration>,
    /// How long it stays away, on average.
    pub away: Duration,
    /// For all of it. What is missing then is missing.
    pub deadline: Duration,
}

impl Default for Workload {
    fn default() -> Self {
        Self {
            rooms: 12,
            sessions: 48,
            rooms_per_session: 3,
            publishers: 16,
            messages: 2000,
            messages_per_second: 250.0,
            in_flight: 1,
            stay: Some(Duration::from_secs(3)),
            away: Duration::from_millis(300),
            deadline: Duration::from_secs(300),
        }
    }
}

/// What a run has brought.
#[derive(Debug, Default)]
pub struct Outcome {
    pub log: Log,
    /// What no client may see, each with its time and session; more of the same is not repeated for ever.
    pub problems: Vec<String>,
    /// Sessions that did not have all last messages in time.
    pub stuck: Vec<String>,
    /// Connections that became sessions.
    pub connects: usize,
    /// How connections ended, or failed to begin.
    pub ends: BTreeMap<String, usize>,
    /// Errors in replies, by command and code.
    pub errors: BTreeMap<String, usize>,
    /// The slowest reply, by command. Replies that took so long that they were given up are errors.
    pub slowest: BTreeMap<&'static str, Duration>,
    pub took: Duration,
    /// The longest time without an acknowledgement.
    pub longest_pause: Duration,
}

/// What the tasks of a run share.
struct Shared {
    workload: Workload,
    entrances: Vec<Entrance>,
    rooms: Vec<Name>,
    progress: Progress,
}

impl Workload {
    /// How many messages the environment asks for, by `NATTER_CHAOS_MESSAGES`, if it does.
    pub fn messages_wanted() -> Option<usize> {
        let text = std::env::var("NATTER_CHAOS_MESSAGES").ok()?;
        Some(text.parse().expect("NATTER_CHAOS_MESSAGES is a number"))
    }

    /// Runs with these entrances; meanwhile does what `faults` says, and goes on until that is over.
    pub async fn run(
        &self,
        entrances: &[impl Into<Entrance> + Copy],
        faults: impl AsyncFnOnce(&Progress),
    ) -> Outcome {
        assert!(self.rooms <= 128, "one session has to close all rooms");
        let shared = Arc::new(Shared {
            workload: self.clone(),
            entrances: entrances.iter().map(|it| (*it).into()).collect(),
            rooms: (0..self.rooms)
                .map(|room| format!("r{room}").into())
                .collect(),
            progress: Progress::new(self),
        });
        let progress = &shared.progress;
        let (stage, stages) = watch::channel(Stage::Join);
        let mut sessions = JoinSet::new();
        for number in 0..self.sessions {
            let session = Session::new(number, shared.clone(), stages.clone());
            sessions.spawn(session.run());
        }
        let mut outcome = Outcome::default();
        let deadline = Instant::now() + self.deadline;
        let ran = timeout_at(deadline, async {
            progress.joined().await;
            stage.send_replace(Stage::Publish);
            faults(progress).await;
            progress.note_faults_over();
            progress.published().await;
            let last = closer::close(&shared).await;
            outcome.log.attempts.extend(last.attempts);
            stage.send_replace(Stage::Finish(Arc::new(last.messages)));
            progress.finished().await;
        });
        let in_time = ran.await.is_ok();
        stage.send_replace(Stage::Stop);
        while let Some(ended) = sessions.join_next().await {
            match ended {
                Ok(part) => outcome.add(part),
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            }
        }
        if !in_time {
            let problem = format!("not done after {:?}: {progress}", self.deadline);
            outcome.problems.push(problem);
        }
        outcome.took = progress.now();
        outcome.longest_pause = progress.longest_pause();
        outcome
    }
}

impl Workload {
    /// When a session leaves that has come now: most soon, some late.
    fn leave_at(&self, now: Instant) -> Option<Instant> {
        let stay = self.stay?.mul_f64(-(1.0 - fastrand::f64()).ln());
        Some(now + stay)
    }
}

impl Shared {
    /// What an entrance is, for whoever reads what happened there.
    fn name(&self, entrance: usize) -> String {
        match self.entrances[entrance].from {
            None => format!("node {entrance}"),
            Some(from) => format!("client {from}"),
        }
    }
}

impl Outcome {
    fn add(&mut self, part: session::Part) {
        let session::Part {
            attempts,
            views,
            problems,
            stuck,
            connects,
            ends,
            errors,
            slowest,
        } = part;
        self.log.attempts.extend(attempts);
        self.log.views.extend(views);
        self.problems.extend(problems);
        self.stuck.extend(stuck);
        self.connects += connects;
        for (end, count) in ends {
            *self.ends.entry(end).or_default() += count;
        }
        for (error, count) in errors {
            *self.errors.entry(error).or_default() += count;
        }
        for (command, took) in slowest {
            let slowest = self.slowest.entry(command).or_default();
            *slowest = took.max(*slowest);
        }
    }

    /// Checks the log, prints what happened, and panics unless every promise was kept.
    pub fn assert_clean(&self, rules: &Rules) -> Report {
        let report = checker::check(&self.log, rules);
        let kept =
            report.violations.is_empty() && self.problems.is_empty() && self.stuck.is_empty();
        assert!(kept, "a promise was broken:\n{report}{self}");
        println!("{report}{self}");
        report
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "took {:.1?}, {} connects, longest pause without an acknowledgement {:.1?}",
            self.took, self.connects, self.longest_pause
        )?;
        writeln!(f, "slowest replies {:.1?}", self.slowest)?;
        writeln!(f, "errors {:?}", self.errors)?;
        writeln!(f, "ends {:?}", self.ends)?;
        for problem in self.problems.iter().chain(&self.stuck).take(20) {
            writeln!(f, "{problem}")?;
        }
        Ok(())
    }
}
