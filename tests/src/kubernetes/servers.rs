//! The NATS servers of a ChatService as pods: which are new, and in which order a rollout takes them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;

use super::chat_service::{SERVERS, condition};
use super::{Namespace, PAUSE};
use crate::wait::until_some_within;

/// How long a rollout of three servers may take: with 30 s of calm before each, and somebody who disturbs it.
const ROLLOUT: Duration = Duration::from_secs(420);

/// The pods of servers at one moment, by name.
#[derive(Debug)]
pub struct Servers(BTreeMap<String, Server>);

#[derive(Debug)]
struct Server {
    uid: String,
    is_ready: bool,
    is_terminating: bool,
}

impl Servers {
    pub async fn of(namespace: &Namespace) -> Self {
        let pods = namespace.list("pods", SERVERS).await;
        Self(pods.iter().map(read).collect())
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Names of those that are the same pods as then.
    pub fn same_as(&self, then: &Self) -> Vec<String> {
        let uid = |servers: &Self, name| servers.0.get(name).map(|it| it.uid.clone());
        let names = self.0.keys();
        let same = names.filter(|&name| uid(self, name) == uid(then, name));
        same.cloned().collect()
    }
}

fn read(pod: &Value) -> (String, Server) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let conditions = pod["status"]["conditions"].as_array();
    let mut conditions = conditions.into_iter().flatten();
    let server = Server {
        uid: text(&pod["metadata"]["uid"]),
        is_ready: conditions.any(|it| it["type"] == "Ready" && it["status"] == "True"),
        is_terminating: !pod["metadata"]["deletionTimestamp"].is_null(),
    };
    (text(&pod["metadata"]["name"]), server)
}

/// Follows a rollout of the servers of ChatService `name` to its end, and panics if one is taken while another is not
/// ready. Returns their names in the order in which they were taken.
pub async fn taken_one_by_one(namespace: &Namespace, name: &str) -> Vec<String> {
    let mut last = Servers::of(namespace).await;
    let mut ended = BTreeSet::new();
    let mut taken = Vec::new();
    let over = async || {
        let now = Servers::of(namespace).await;
        for (server, pod) in &now.0 {
            // On its way out, or gone so fast that only the next one was seen.
            let before = last.0.get(server).map(|before| &before.uid);
            let gone = before.filter(|&before| *before != pod.uid);
            let going = pod.is_terminating.then_some(&pod.uid);
            for uid in [gone, going].into_iter().flatten() {
                if ended.insert(uid.clone()) {
                    taken.push(server.clone());
                    let mut others = now.0.iter().filter(|(other, _)| *other != server);
                    let are_ready = others.all(|(_, other)| other.is_ready);
                    assert!(are_ready, "{server} was taken: {now:?}");
                }
            }
        }
        // One that is not there for a moment was seen to end.
        last.0.extend(now.0);
        let service = namespace.get("chatservice", name).await;
        let service = service.expect("it is there");
        let progressing = condition(&service, "Progressing");
        let is_current = progressing["observedGeneration"] == service["metadata"]["generation"];
        (is_current && progressing["reason"] == "Complete").then_some(())
    };
    let what = format!("the servers of {name} to have the newest settings");
    until_some_within(ROLLOUT, PAUSE, &what, over).await;
    taken
}
