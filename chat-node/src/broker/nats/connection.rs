//! One connection to one NATS server, for its life; and questions over it, with one inbox for all answers.
//!
//! A connection that breaks is not mended: what the library had queued for it must never be sent later, as whoever
//! published it has been told that it failed. [`Link`](super::link::Link) opens the next one.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_nats::client::PublishErrorKind;
use async_nats::{Client, Event, HeaderMap, ServerAddr, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::sync::{Notify, mpsc, watch};

use super::account::{Account, Obstacle};

/// How long opening a connection may take.
const OPEN: Duration = Duration::from_secs(3);
/// The oldest server with one sync for many messages: what the delivery rules were proven on.
const OLDEST: (i64, i64, i64) = (2, 15, 0);

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("no connection to {server}: {obstacle}")]
    Unreachable { server: String, obstacle: Obstacle },
    #[error("no connection to {server} within {OPEN:?}")]
    TooSlow { server: String },
    #[error("nats-server at {server} is version {version}; 2.15.0 or newer is needed")]
    TooOld { server: String, version: String },
    #[error("the connection to {server} broke at once")]
    Broke { server: String },
}

/// Something that happened on a connection and concerns those who use it.
#[derive(Clone, Debug)]
pub enum Incident {
    /// The library dropped messages that came faster than they were taken.
    Dropped,
    /// The server refused something, in its words.
    Refused(String),
}

/// How a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    Usable,
    /// The server is about to shut down.
    Leaving,
    Ended,
}

pub struct Connection {
    client: Client,
    server: String,
    opened: Instant,
    /// What answers begin their subject with.
    inbox: String,
    questions: AtomicU64,
    waiting: Arc<Waiting>,
    life: Arc<watch::Sender<Life>>,
    suspected: Notify,
}

/// Who waits for which answer.
#[derive(Default)]
struct Waiting(Mutex<HashMap<u64, mpsc::UnboundedSender<async_nats::Message>>>);

impl Connection {
    /// Connects to `server`. What happens to the connection later is told to `incidents`.
    pub async fn open(
        account: &Account,
        name: &str,
        server: &ServerAddr,
        incidents: mpsc::UnboundedSender<Incident>,
    ) -> Result<Arc<Self>, Error> {
        let life = Arc::new(watch::Sender::new(Life::Usable));
        let on_event = life.clone();
        let options = account
            .options_for_one_life(name)
            .event_callback(move |event| {
                on_event_of(&event, &on_event, &incidents);
                async {}
            });
        let named = server.as_url_str().to_owned();
        let connecting = options.connect(server.clone());
        let client = match tokio::time::timeout(OPEN, connecting).await {
            Ok(Ok(client)) => client,
            Ok(Err(error)) => {
                return Err(Error::Unreachable {
                    server: named,
                    obstacle: account.obstacle(&error),
                });
            }
            Err(_) => return Err(Error::TooSlow { server: named }),
        };
        let info = client.server_info();
        let (major, minor, patch) = OLDEST;
        if !client.is_server_compatible(major, minor, patch) {
            return Err(Error::TooOld {
                server: named,
                version: info.version,
            });
        }
        let inbox = format!("{}.", client.new_inbox());
        let waiting = Arc::<Waiting>::default();
        let answers = client.subscribe(format!("{inbox}*")).await;
        let Ok(answers) = answers else {
            return Err(Error::Broke { server: named });
        };
        tokio::spawn(hand_out(
            answers,
            inbox.len(),
            waiting.clone(),
            life.clone(),
        ));
        Ok(Arc::new(Self {
            client,
            server: info.server_name,
            opened: Instant::now(),
            inbox,
            questions: AtomicU64::new(0),
            waiting,
            life,
            suspected: Notify::new(),
        }))
    }

    /// The name of the server at the other end.
    pub fn server(&self) -> &str {
        &self.server
    }

    pub fn age(&self) -> Duration {
        self.opened.elapsed()
    }

    /// Waits until the connection should be replaced.
    pub async fn over(&self) -> Life {
        let mut life = self.life.subscribe();
        let over = life.wait_for(|life| *life != Life::Usable).await;
        over.map_or(Life::Ended, |life| *life)
    }

    /// It looks open, but answers nothing.
    pub fn suspect(&self) {
        self.suspected.notify_one();
    }

    /// Waits until somebody suspects the connection.
    pub async fn suspected(&self) {
        self.suspected.notified().await;
    }

    /// The library refuses what it is given once the connection has ended, and may tell of the end later: whoever was
    /// refused must not try again with this connection.
    fn end(&self) {
        self.life.send_replace(Life::Ended);
    }

    pub fn has_ended(&self) -> bool {
        *self.life.borrow() == Life::Ended
    }

    pub async fn ended(&self) {
        let mut life = self.life.subscribe();
        let _ = life.wait_for(|life| *life == Life::Ended).await;
    }

    /// Sends `payload` to `subject`; what comes back comes by the answers.
    pub async fn ask(
        &self,
        subject: String,
        headers: Option<HeaderMap>,
        payload: Bytes,
    ) -> Answers {
        let question = self.questions.fetch_add(1, Relaxed);
        let (sender, receiver) = mpsc::unbounded_channel();
        self.waiting.lock().insert(question, sender);
        let mut answers = Answers {
            question,
            is_too_large: false,
            receiver,
            waiting: self.waiting.clone(),
        };
        let reply = format!("{}{question}", self.inbox);
        // If the connection has ended, so do the answers, at once.
        let sent = match headers {
            Some(headers) => {
                let client = &self.client;
                client
                    .publish_with_reply_and_headers(subject, reply, headers, payload)
                    .await
            }
            None => {
                self.client
                    .publish_with_reply(subject, reply, payload)
                    .await
            }
        };
        match sent.map_err(|error| error.kind()) {
            Ok(()) | Err(PublishErrorKind::InvalidSubject) => {}
            Err(PublishErrorKind::MaxPayloadExceeded) => answers.is_too_large = true,
            Err(PublishErrorKind::Send) => self.end(),
        }
        if answers.is_too_large || self.has_ended() {
            self.waiting.lock().remove(&question);
        }
        answers
    }

    /// The most bytes that the server takes in a message.
    pub fn largest(&self) -> usize {
        self.client.server_info().max_payload
    }

    /// Sends without asking for an answer, unless the connection has ended.
    pub async fn tell(&self, subject: String, payload: Bytes) {
        if !self.has_ended() {
            let told = self.client.publish(subject, payload).await;
            if told.is_err_and(|error| error.kind() == PublishErrorKind::Send) {
                self.end();
            }
        }
    }

    /// Waits until what was sent is on its way to the server, or the connection has ended.
    pub async fn flush(&self) {
        tokio::select! {
            _ = self.client.flush() => {}
            () = self.ended() => {}
        }
    }

    /// Subscribes: the server knows of it before it sees the next question. `None` if the connection ended.
    pub async fn subscribe(&self, subject: String) -> Option<Subscriber> {
        let Ok(subscriber) = self.client.subscribe(subject).await else {
            self.end();
            return None;
        };
        self.flush().await;
        (!self.has_ended()).then_some(subscriber)
    }
}

impl Drop for Connection {
    /// The library's client lives as long as somebody holds a subscription: this ends the one for answers.
    fn drop(&mut self) {
        self.end();
    }
}

/// The answers to one question, in the order in which they come.
pub struct Answers {
    question: u64,
    /// The server takes no message of this size: it was not sent.
    pub is_too_large: bool,
    receiver: mpsc::UnboundedReceiver<async_nats::Message>,
    waiting: Arc<Waiting>,
}

impl Answers {
    /// The next answer; `None` after `timeout` or when the connection has ended.
    pub async fn next(&mut self, timeout: Duration) -> Option<async_nats::Message> {
        let next = tokio::time::timeout(timeout, self.receiver.recv()).await;
        next.ok().flatten()
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        self.waiting.lock().remove(&self.question);
    }
}

impl Waiting {
    fn lock(
        &self,
    ) -> std::sync::MutexGuard<'_, HashMap<u64, mpsc::UnboundedSender<async_nats::Message>>> {
        self.0.lock().expect("no panic holds this lock")
    }
}

/// What the servers say of a publish to an inbox: nodes publish there to answer calls, and may do so for some seconds.
const LATE_ANSWER: &str = "Permissions Violation for Publish to \"_INBOX_";

fn on_event_of(
    event: &Event,
    life: &watch::Sender<Life>,
    incidents: &mpsc::UnboundedSender<Incident>,
) {
    let incident = match event {
        Event::Disconnected | Event::Closed => {
            life.send_replace(Life::Ended);
            return;
        }
        Event::LameDuckMode => {
            life.send_if_modified(|life| {
                let usable = *life == Life::Usable;
                if usable {
                    *life = Life::Leaving;
                }
                usable
            });
            return;
        }
        Event::SlowConsumer(_) => Incident::Dropped,
        Event::ServerError(error) => {
            let error = error.to_string();
            // An answer to another node's call that came too late for the servers to let it through.
            if error.contains(LATE_ANSWER) {
                tracing::debug!(error, "NATS: an answer was too late");
                return;
            }
            Incident::Refused(error)
        }
        Event::Connected | Event::Draining | Event::ClientError(_) => return,
    };
    // Nobody listens any more when the node shuts down.
    let _ = incidents.send(incident);
}

/// Gives each answer to whoever waits for it, until the connection ends.
async fn hand_out(
    mut answers: Subscriber,
    prefix: usize,
    waiting: Arc<Waiting>,
    life_sender: Arc<watch::Sender<Life>>,
) {
    let mut life = life_sender.subscribe();
    loop {
        let answer = tokio::select! {
            answer = answers.next() => answer,
            _ = life.wait_for(|life| *life == Life::Ended) => None,
        };
        let Some(answer) = answer else {
            break;
        };
        let question = answer.subject.get(prefix..);
        if let Some(question) = question.and_then(|question| question.parse().ok())
            && let Some(asker) = waiting.lock().get(&question)
        {
            let _ = asker.send(answer);
        }
    }
    life_sender.send_replace(Life::Ended);
    waiting.lock().clear();
}
