//! Calls between nodes: NATS requests, answered over the connection by which they came.
//!
//! caller -> c.node.<name>.call or c.node.all.call -> [`Peer::answer`] -> the caller's inbox

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_nats::{Message, StatusCode};
use futures_util::StreamExt;
use futures_util::stream::{FuturesUnordered, select};
use prost::Message as _;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::connection::Connection;
use super::directory::Directory;
use super::link::Link;
use crate::broker::peers::{
    Answer, Call, CallError, Failure, FailureCode, Gathered, Peer, Ping, Request, Response,
};
use crate::config::is_node_name;

/// Calls that a node answers at a time; more wait in the library, up to its limit.
const AT_A_TIME: usize = 256;
/// The servers let a node answer for so long.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// Whoever has not answered all others by then is asked whether it is there.
const PROBE_AFTER: Duration = Duration::from_millis(250);

const TO_ALL: &str = "c.node.all.call";

fn to_one(node: &str) -> String {
    format!("c.node.{node}.call")
}

#[derive(Clone)]
pub struct Calls {
    pub node: String,
    pub link: Arc<Link>,
    pub directory: Arc<Directory>,
}

impl Calls {
    /// Asks the node called `node`.
    pub async fn one(
        self,
        node: String,
        request: Request,
        patience: Duration,
    ) -> Result<Response, CallError> {
        self.ask(&node, request, Instant::now() + patience).await
    }

    async fn ask(
        &self,
        node: &str,
        request: Request,
        deadline: Instant,
    ) -> Result<Response, CallError> {
        if !is_node_name(node) || node == self.node {
            return Err(CallError::NoSuchNode);
        }
        let connection = self.link.current().ok_or(CallError::Unreachable)?;
        let asking = connection.ask(to_one(node), None, self.encode(request));
        let asked = timeout_at(deadline, asking).await;
        let mut answers = asked.map_err(|_| CallError::Unreachable)?;
        if answers.is_too_large {
            return Err(CallError::TooLarge);
        }
        let answer = answers.next(deadline - Instant::now()).await;
        read(&answer.ok_or(CallError::Unreachable)?)
            .map_or(Err(CallError::NoSuchNode), |(_, result)| result)
    }

    /// Asks all other nodes.
    pub async fn others(self, request: Request, patience: Duration) -> Gathered {
        let now = Instant::now();
        let (probe_at, deadline) = (now + PROBE_AFTER, now + patience);
        let nodes = self.directory.nodes().into_iter().map(|load| load.node);
        let expected: BTreeSet<_> = nodes.filter(|node| *node != self.node).collect();
        let Some(connection) = self.link.current() else {
            return self.gathered(Vec::new(), &expected);
        };
        let asking = connection.ask(TO_ALL.to_owned(), None, self.encode(request));
        let Ok(mut answers) = timeout_at(deadline, asking).await else {
            return self.gathered(Vec::new(), &expected);
        };
        if answers.is_too_large {
            let too_large = |node: &String| (node.clone(), Err(CallError::TooLarge));
            return self.gathered(expected.iter().map(too_large).collect(), &expected);
        }
        let mut waiting_for = expected.clone();
        let mut gathered: Vec<(String, Result<_, _>)> = Vec::new();
        let mut probes = FuturesUnordered::new();
        let mut probed = false;
        while !waiting_for.is_empty() {
            tokio::select! {
                answer = answers.next(deadline - Instant::now()) => {
                    let Some(answer) = answer else { break };
                    // Itself, too, hears what it asks all: it does not answer.
                    if let Some((node, result)) = read(&answer)
                        && !gathered.iter().any(|(from, _)| *from == node)
                    {
                        waiting_for.remove(&node);
                        gathered.push((node, result));
                    }
                }
                () = sleep_until(probe_at), if !probed => {
                    probed = true;
                    for node in waiting_for.iter().cloned() {
                        probes.push(async {
                            let pong = self.ask(&node, Request::Ping(Ping {}), deadline).await;
                            (node, pong)
                        });
                    }
                }
                Some((node, pong)) = probes.next(), if !probes.is_empty() => {
                    if pong == Err(CallError::NoSuchNode) {
                        waiting_for.remove(&node);
                    }
                }
            }
        }
        self.gathered(gathered, &expected)
    }

    fn gathered(
        &self,
        mut answers: Vec<(String, Result<Response, CallError>)>,
        expected: &BTreeSet<String>,
    ) -> Gathered {
        answers.sort_by(|(a, _), (b, _)| a.cmp(b));
        let has_answered = |node: &&String| answers.iter().any(|(from, _)| from == *node);
        let silent = expected.iter().filter(|node| !has_answered(node));
        Gathered {
            silent: silent.cloned().collect(),
            answers,
        }
    }

    fn encode(&self, request: Request) -> bytes::Bytes {
        let call = Call {
            from: self.node.clone(),
            request: Some(request),
        };
        call.encode_to_vec().into()
    }

    /// Has `peer` answer what other nodes ask, for ever.
    pub async fn answer(self, peer: Arc<dyn Peer>) {
        let permits = Arc::new(Semaphore::new(AT_A_TIME));
        loop {
            let connection = self.link.connected().await;
            let own = connection.subscribe(to_one(&self.node)).await;
            let all = connection.subscribe(TO_ALL.to_owned()).await;
            let (Some(own), Some(all)) = (own, all) else {
                continue;
            };
            let mut calls = select(own, all);
            let replaced = self.link.replaced(&connection);
            tokio::pin!(replaced);
            loop {
                let call = tokio::select! {
                    call = calls.next() => call,
                    () = &mut replaced => None,
                };
                let Some(call) = call else { break };
                let permit = permits.clone().acquire_owned().await;
                let permit = permit.expect("nobody closes the semaphore");
                let (node, connection, peer) =
                    (self.node.clone(), connection.clone(), peer.clone());
                tokio::spawn(async move {
                    answer(node, &connection, peer, call).await;
                    drop(permit);
                });
            }
        }
    }
}

/// An answer and the node that it is from; `None` if the server says that nobody listens.
fn read(answer: &Message) -> Option<(String, Result<Response, CallError>)> {
    if answer.status == Some(StatusCode::NO_RESPONDERS) {
        return None;
    }
    Some(match Answer::decode(answer.payload.clone()) {
        Ok(answer) => (answer.node.clone(), answer.result()),
        Err(_) => (String::new(), Err(CallError::Unsupported)),
    })
}

async fn answer(node: String, connection: &Connection, peer: Arc<dyn Peer>, call: Message) {
    let Some(reply) = call.reply else { return };
    let response = match Call::decode(call.payload) {
        Ok(call) if call.from == node => return,
        Ok(Call {
            from,
            request: Some(request),
        }) => {
            let answer = peer.answer(&from, request);
            match tokio::time::timeout(ANSWER_WITHIN, answer).await {
                Ok(response) => response,
                Err(_) => return,
            }
        }
        Ok(Call { request: None, .. }) | Err(_) => {
            let text = "this release does not know the request";
            Response::Failure(Failure::new(FailureCode::Unsupported, text))
        }
    };
    let encode = |response| {
        let (node, response) = (node.clone(), Some(response));
        Answer { node, response }.encode_to_vec()
    };
    let mut payload = encode(response);
    let most = connection.largest();
    if payload.len() > most {
        let text = format!("the answer has {} bytes, at most {most} fit", payload.len());
        payload = encode(Response::Failure(Failure::new(FailureCode::TooLarge, text)));
    }
    connection.tell(reply.to_string(), payload.into()).await;
}
