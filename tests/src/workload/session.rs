//! One session for all of a run: it joins, reads, publishes, loses its connection, and comes back by another entrance.

mod connection;
mod member;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use crate::checker::{Attempt, Id, Outcome, View};
use crate::client::error_code;

use super::Shared;
use super::progress::Stage;
use super::publisher::Publisher;
use connection::{Asked, Connection};
use member::Member;

pub(super) struct Session {
    number: usize,
    shared: Arc<Shared>,
    stages: watch::Receiver<Stage>,
    members: Vec<Member>,
    publisher: Option<Publisher>,
    was_joined: bool,
    part: Part,
}

/// What a session hands over at the end.
#[derive(Default)]
pub(super) struct Part {
    pub attempts: Vec<Attempt>,
    pub views: Vec<View>,
    pub problems: Vec<String>,
    pub stuck: Vec<String>,
    pub connects: usize,
    pub ends: BTreeMap<String, usize>,
    pub errors: BTreeMap<String, usize>,
    pub slowest: BTreeMap<&'static str, Duration>,
}

/// Why a connection is over.
enum End {
    /// The session wanted it so.
    Left,
    /// All that the session waited for has come, or nobody waits any more.
    Done,
    Broken(String),
}

/// How long opening, and writing a frame, may take.
const STEP_TIMEOUT: Duration = Duration::from_secs(3);

/// How long a reply may take; SDKs have given up by then.
const REPLY_TIMEOUT: Duration = Duration::from_secs(6);

/// What a ping may be late.
const PING_GRACE: Duration = Duration::from_secs(3);

/// Of those who leave, how many come back as somebody new who was never there: one in so many.
const FORGETFUL: usize = 8;

/// Problems that one session tells of.
const MAX_PROBLEMS: usize = 5;

impl Session {
    pub(super) fn new(number: usize, shared: Arc<Shared>, stages: watch::Receiver<Stage>) -> Self {
        let workload = &shared.workload;
        let rooms = (0..workload.rooms_per_session).map(|index| {
            // Rooms with consecutive numbers, so that all have as many members.
            let room = (number * workload.rooms_per_session + index) % workload.rooms;
            Member::new(number, shared.rooms[room].clone())
        });
        let members = rooms.collect();
        let publisher = (number < workload.publishers).then(|| Publisher::new(number, workload));
        Self {
            number,
            members,
            publisher,
            shared,
            stages,
            was_joined: false,
            part: Part::default(),
        }
    }

    /// Lives until all is done.
    pub(super) async fn run(mut self) -> Part {
        let mut failures = 0;
        let mut entrance = fastrand::usize(..self.shared.entrances.len());
        loop {
            let connects = self.part.connects;
            let end = self.live(entrance).await;
            if let Some(publisher) = &mut self.publisher {
                publisher.lose_connection();
            }
            failures = if self.part.connects > connects {
                0
            } else {
                failures + 1
            };
            let pause = match end {
                End::Done => break,
                End::Left => {
                    self.forget();
                    self.shared.workload.away.mul_f64(2.0 * fastrand::f64())
                }
                End::Broken(why) => {
                    let end = match self.shared.entrances[entrance].from {
                        None => format!("{}: {why}", self.shared.name(entrance)),
                        // Whatever its address is, it is the same Service.
                        Some(_) => why,
                    };
                    *self.part.ends.entry(end).or_default() += 1;
                    let backoff = Duration::from_millis(50 << failures.min(4));
                    backoff.mul_f64(0.5 + fastrand::f64())
                }
            };
            self.note_published();
            let pause = tokio::time::sleep(pause);
            let stopped = self.stages.wait_for(|stage| matches!(stage, Stage::Stop));
            tokio::select! {
                () = pause => {}
                _ = stopped => break,
            }
            // Another one, if there is one.
            let step = 1 + fastrand::usize(..self.shared.entrances.len().max(2) - 1);
            entrance = (entrance + step) % self.shared.entrances.len();
        }
        self.hand_over()
    }

    /// One connection from its beginning to its end.
    async fn live(&mut self, entrance: usize) -> End {
        let opening = Connection::open(entrance, self.shared.entrances[entrance]);
        let opened = timeout(STEP_TIMEOUT, opening).await;
        let mut connection = match opened {
            Ok(Ok(connection)) => connection,
            Ok(Err(why)) => return End::Broken(format!("no connection: {why}")),
            Err(_) => return End::Broken("no connection: timeout".to_owned()),
        };
        if let Err(end) = connection.ask(Asked::Connect, "connect", json!({})).await {
            return end;
        }
        loop {
            let next = self.next(&connection);
            let read = tokio::select! {
                read = connection.socket.read() => Some(read),
                () = sleep_until(next) => None,
                _ = self.stages.changed() => None,
            };
            let done = match read {
                Some(Ok(text)) => self.take(&mut connection, &text).await,
                Some(Err(end)) => Err(self.ended(entrance, &end)),
                None => Ok(()),
            };
            let done = match done {
                Ok(()) => self.act(&mut connection).await,
                Err(end) => Err(end),
            };
            if let Err(end) = done {
                if matches!(end, End::Left) && fastrand::bool() {
                    // Half of those who leave say so.
                    let _ = timeout(STEP_TIMEOUT, connection.socket.close()).await;
                }
                return end;
            }
        }
    }

    /// When there is something to do even if nothing comes.
    fn next(&self, connection: &Connection) -> Instant {
        let publish = self.publisher.as_ref().and_then(Publisher::due);
        let publish = publish.filter(|_| self.may_publish(connection));
        let times = [connection.next(), publish].into_iter().flatten();
        times.min().unwrap_or(connection.silent_at)
    }

    fn may_publish(&self, connection: &Connection) -> bool {
        connection.is_connected
            && matches!(&*self.stages.borrow(), Stage::Publish)
            && !self.has_published_all()
            && self.members.iter().any(Member::is_here)
    }

    /// Does what is due.
    async fn act(&mut self, connection: &mut Connection) -> Result<(), End> {
        let now = Instant::now();
        let stage = self.stages.borrow_and_update().clone();
        match stage {
            Stage::Stop => return Err(End::Done),
            Stage::Finish(last) => {
                if self.members.iter().all(|member| member.has_all(&last)) {
                    self.shared.progress.note_finished();
                    return Err(End::Done);
                }
                connection.leave_at = None;
            }
            Stage::Publish if connection.leave_at.is_none() => {
                connection.leave_at = self.shared.workload.leave_at(now);
            }
            // Nobody leaves before everybody has come.
            Stage::Publish | Stage::Join => {}
        }
        if now >= connection.silent_at {
            return Err(End::Broken("no ping".to_owned()));
        }
        for asked in connection.expired(now) {
            match (asked, &mut self.publisher) {
                (Asked::Publish { attempt }, Some(publisher)) => {
                    self.part.note_error("publish timeout");
                    publisher.settle(attempt, Outcome::Unknown);
                }
                (asked, _) => return Err(End::Broken(format!("no reply to {}", asked.name()))),
            }
        }
        self.publish(connection).await?;
        self.note_published();
        let leaves = connection.leave_at.is_some_and(|at| now >= at);
        if leaves && matches!(&*self.stages.borrow(), Stage::Publish) {
            return Err(End::Left);
        }
        Ok(())
    }

    /// Publishes to a room where this connection is a member, if it is time.
    async fn publish(&mut self, connection: &mut Connection) -> Result<(), End> {
        if !self.may_publish(connection) {
            return Ok(());
        }
        let Some(publisher) = &mut self.publisher else {
            return Ok(());
        };
        if publisher.due().is_some_and(|due| due <= Instant::now()) {
            let member = fastrand::choice(&self.members).filter(|member| member.is_here());
            let Some(member) = member else {
                return Ok(());
            };
            let (attempt, id) = publisher.send(member.room.clone(), self.shared.progress.now());
            self.shared.progress.note_sent();
            let command = json!({"channel": &*member.room, "data": {"id": id.to_string()}});
            let asked = Asked::Publish { attempt };
            connection.ask(asked, "publish", command).await?;
        }
        Ok(())
    }

    /// Takes a frame from the node.
    async fn take(&mut self, connection: &mut Connection, text: &str) -> Result<(), End> {
        connection.heard();
        for mut object in crate::check::objects(text) {
            if let Some(id) = object["id"].as_u64() {
                self.take_reply(connection, id, object).await?;
            } else if object.get("push").is_some() {
                let push = object["push"].take();
                self.take_push(connection, push).await?;
            } else if object == json!({}) {
                connection.send("{}".to_owned()).await?;
            } else {
                self.problem(connection.entrance, format!("unexpected: {object}"));
            }
        }
        Ok(())
    }

    async fn take_reply(
        &mut self,
        connection: &mut Connection,
        id: u64,
        mut reply: Value,
    ) -> Result<(), End> {
        let Some((asked, took)) = connection.answered(id) else {
            if !connection.was_asked(id) {
                self.problem(connection.entrance, format!("answers to nothing: {reply}"));
            }
            return Ok(());
        };
        let name = asked.name();
        let slowest = self.part.slowest.entry(name).or_default();
        *slowest = took.max(*slowest);
        if reply.get("error").is_some() {
            let code = error_code(&reply);
            let temporary = matches!(code, 100 | 111);
            self.part.note_error(&format!("{name} {code}"));
            if let (Asked::Publish { attempt }, Some(publisher)) = (&asked, &mut self.publisher) {
                let unknown = code == 100;
                let outcome = if unknown {
                    Outcome::Unknown
                } else {
                    Outcome::Refused
                };
                publisher.settle(*attempt, outcome);
                return Ok(());
            }
            if !temporary {
                self.problem(connection.entrance, format!("{name}: {reply}"));
            }
            return Err(End::Broken(format!("{name}: error {code}")));
        }
        let result = reply[name].take();
        match asked {
            Asked::Connect => {
                self.part.connects += 1;
                let ping = Duration::from_secs(result["ping"].as_u64().unwrap_or(25));
                connection.is_connected(ping + PING_GRACE);
                for index in 0..self.members.len() {
                    self.subscribe(connection, index).await?;
                }
            }
            Asked::Subscribe { member } => {
                let now = self.shared.progress.now();
                let entrance = connection.entrance;
                if let Err(problem) = self.members[member].join(entrance, now, &result) {
                    self.problem(entrance, problem);
                }
                if !self.was_joined && self.members.iter().all(Member::is_here) {
                    self.was_joined = true;
                    self.shared.progress.note_joined();
                }
            }
            Asked::Publish { attempt } => {
                if let Some(publisher) = &mut self.publisher {
                    publisher.settle(attempt, Outcome::Acked);
                    self.shared.progress.note_acked();
                }
            }
        }
        Ok(())
    }

    async fn take_push(&mut self, connection: &mut Connection, push: Value) -> Result<(), End> {
        if let Some(disconnect) = push.get("disconnect") {
            return Err(End::Broken(format!("disconnect {}", disconnect["code"])));
        }
        let room = push["channel"].as_str();
        let index = self.members.iter().position(|it| Some(&*it.room) == room);
        let Some(index) = index else {
            self.problem(connection.entrance, format!("of a foreign room: {push}"));
            return Ok(());
        };
        if let Some(unsubscribe) = push.get("unsubscribe") {
            self.members[index].leave();
            let code = unsubscribe["code"].as_u64();
            if code.is_none_or(|code| code < 2500) {
                self.problem(connection.entrance, format!("thrown out of a room: {push}"));
            }
            return self.subscribe(connection, index).await;
        }
        if let Err(problem) = self.members[index].hear(&push["pub"]) {
            self.problem(connection.entrance, problem);
        }
        Ok(())
    }

    async fn subscribe(&mut self, connection: &mut Connection, member: usize) -> Result<(), End> {
        let command = self.members[member].subscribe();
        let asked = Asked::Subscribe { member };
        connection.ask(asked, "subscribe", command).await
    }

    /// How the node ended the connection, and whether that may be.
    fn ended(&mut self, entrance: usize, end: &crate::socket::End) -> End {
        if let crate::socket::End::Closed(close) = end
            && matches!(close.code, 3500..=3999 | 4500..=4999)
        {
            self.problem(entrance, format!("{end}: an SDK would not come back"));
        }
        End::Broken(end.to_string())
    }

    /// Leaves each connection's rooms; one in some comes back as somebody new.
    fn forget(&mut self) {
        let forgets = fastrand::usize(..FORGETFUL) == 0;
        for member in &mut self.members {
            if forgets {
                self.part.views.push(member.begin_anew());
            }
        }
    }

    fn has_published_all(&self) -> bool {
        let is_enough = self.publisher.as_ref().is_none_or(Publisher::has_sent_all);
        is_enough && self.shared.progress.faults_are_over()
    }

    fn note_published(&mut self) {
        let is_settled = self.publisher.as_ref().is_some_and(Publisher::is_settled);
        if is_settled && self.has_published_all() {
            let publisher = self.publisher.take();
            self.part.attempts = publisher.map_or(Vec::new(), |it| it.attempts);
            self.shared.progress.note_published();
        }
    }

    fn hand_over(mut self) -> Part {
        let stage = self.stages.borrow().clone();
        if matches!(stage, Stage::Stop) {
            let ends = self.members.iter().map(Member::describe);
            let ends = ends.collect::<Vec<_>>().join("; ");
            self.part.stuck.push(format!("s{}: {ends}", self.number));
        }
        let views = self.members.drain(..).map(Member::into_view);
        self.part.views.extend(views);
        if let Some(publisher) = self.publisher.take() {
            self.part.attempts = publisher.attempts;
        }
        self.part
    }

    fn problem(&mut self, entrance: usize, problem: String) {
        if self.part.problems.len() < MAX_PROBLEMS {
            let (now, number) = (self.shared.progress.now(), self.number);
            let name = self.shared.name(entrance);
            let problem = format!("at {now:.1?}, session s{number}, {name}: {problem}");
            self.part.problems.push(problem);
        }
    }
}

impl Part {
    fn note_error(&mut self, error: &str) {
        *self.errors.entry(error.to_owned()).or_default() += 1;
    }
}

/// The message in the data of a publication.
fn message(publication: &Value) -> Option<Id> {
    publication["data"]["id"].as_str()?.parse().ok()
}
