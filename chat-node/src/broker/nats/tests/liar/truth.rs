//! Without lies, every answer is the one of a real nats-server: status, headers and text, but for times and names.

use std::collections::BTreeMap;

use async_nats::{Client, HeaderMap, Message, Subscriber};
use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::time::{Duration, timeout};

use super::super::server::Server;
use super::Liar;

const DIRECT: &str = "$JS.API.DIRECT.GET.C_0";
const LEADER: &str = "$JS.API.STREAM.MSG.GET.C_0";
const INFO: &str = "$JS.API.STREAM.INFO.C_0";

/// What differs between any two servers.
const OWN: [&str; 9] = [
    "Nats-Time-Stamp",
    "bytes",
    "cluster",
    "config",
    "created",
    "first_ts",
    "last_ts",
    "time",
    "ts",
];

/// A message without what differs between any two servers.
#[derive(Debug, PartialEq)]
struct Seen {
    subject: String,
    status: Option<u16>,
    description: Option<String>,
    headers: BTreeMap<String, String>,
    payload: Value,
}

impl Seen {
    fn of(message: Message) -> Self {
        let headers = message.headers.unwrap_or_default();
        let headers = headers.iter().map(|(name, values)| {
            let values: Vec<_> = values.iter().map(ToString::to_string).collect();
            (name.to_string(), values.join(","))
        });
        let text = String::from_utf8_lossy(&message.payload);
        let mut payload = serde_json::from_str(&text).unwrap_or_else(|_| text.into());
        for own in OWN {
            remove(&mut payload, own);
        }
        Self {
            // Answers arrive under a subject that is new each time.
            subject: match message.subject.starts_with("_INBOX") {
                true => String::new(),
                false => message.subject.to_string(),
            },
            status: message.status.map(|status| status.as_u16()),
            description: message.description,
            headers: headers
                .filter(|(name, _)| !OWN.contains(&name.as_str()))
                .collect(),
            payload,
        }
    }
}

fn remove(value: &mut Value, key: &str) {
    if let Value::Object(fields) = value {
        fields.remove(key);
        fields.values_mut().for_each(|value| remove(value, key));
    }
}

/// A client of one of the two.
struct Asker {
    client: Client,
    inbox: String,
    answers: Subscriber,
    live: Subscriber,
}

impl Asker {
    async fn new(port: u16) -> Self {
        let client = async_nats::connect(format!("127.0.0.1:{port}"))
            .await
            .unwrap();
        let inbox = client.new_inbox();
        let answers = client.subscribe(inbox.clone()).await.unwrap();
        let live = client.subscribe("c.live.0.>").await.unwrap();
        Self {
            client,
            inbox,
            answers,
            live,
        }
    }

    async fn next(from: &mut Subscriber) -> Seen {
        let message = timeout(Duration::from_secs(10), from.next()).await;
        Seen::of(message.expect("an answer").unwrap())
    }

    /// The messages of the answer to a question, up to a batch's end.
    async fn ask(&mut self, subject: &str, headers: HeaderMap, question: &str) -> Vec<Seen> {
        let (subject, question) = (subject.to_owned(), question.to_owned());
        let inbox = self.inbox.clone();
        self.client
            .publish_with_reply_and_headers(subject, inbox, headers, question.into())
            .await
            .unwrap();
        let answers = &mut self.answers;
        let mut seen = vec![Self::next(answers).await];
        while let Some(last) = seen.last()
            && last.status.is_none()
            && last.headers.contains_key("Nats-Num-Pending")
        {
            seen.push(Self::next(answers).await);
        }
        seen
    }
}

/// The real server and the liar, asked the same.
struct Pair {
    server: Server,
    liar: Liar,
    askers: [Asker; 2],
}

impl Pair {
    async fn start() -> Self {
        let (server, liar) = (Server::start(1).await, Liar::start(1).await);
        let askers = [
            Asker::new(server.port).await,
            Asker::new(liar.ports[0]).await,
        ];
        Self {
            server,
            liar,
            askers,
        }
    }

    async fn compare(&mut self, subject: &str, headers: HeaderMap, question: &str) -> Vec<Seen> {
        let [server, liar] = &mut self.askers;
        let truth = server.ask(subject, headers.clone(), question).await;
        let told = liar.ask(subject, headers, question).await;
        assert_eq!(told, truth, "{subject} {question}");
        told
    }

    async fn ask(&mut self, subject: &str, question: Value) {
        let question = question.to_string();
        self.compare(subject, HeaderMap::new(), &question).await;
    }

    /// Publishes with these headers and compares the live copies, too.
    async fn publish(&mut self, subject: &str, headers: &[(&str, &str)], payload: &str) {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, *value);
        }
        let before = self.liar.last();
        self.compare(subject, map, payload).await;
        if self.liar.last() > before {
            let [server, liar] = &mut self.askers;
            let truth = Asker::next(&mut server.live).await;
            assert_eq!(Asker::next(&mut liar.live).await, truth);
        }
    }

    /// Asks all that a node asks, from before the first message to behind the last one.
    async fn ask_everything(&mut self) {
        for seq in [0, 1, 2, 4, 7, 8, 9, 11] {
            for filter in [">", "c.in.0.a.*", "c.in.0.b.m", "c.in.0.none.*"] {
                let next = json!({"seq": seq, "next_by_subj": filter});
                self.ask(LEADER, next.clone()).await;
                self.ask(DIRECT, next).await;
                for batch in [1, 3, 1000] {
                    let next = json!({"seq": seq, "next_by_subj": filter, "batch": batch, "max_bytes": 4 << 20});
                    self.ask(DIRECT, next).await;
                }
                let newest = json!({"multi_last": [filter], "up_to_seq": seq});
                self.ask(DIRECT, newest).await;
            }
            if seq > 0 {
                self.ask(LEADER, json!({"seq": seq})).await;
                self.ask(DIRECT, json!({"seq": seq})).await;
            }
        }
        for filter in ["c.in.0.a.*", "c.in.0.*.*", "c.in.0.none.*"] {
            self.ask(DIRECT, json!({"multi_last": [filter]})).await;
            self.ask(INFO, json!({"subjects_filter": filter})).await;
        }
        let few_bytes = json!({"seq": 1, "next_by_subj": ">", "batch": 9, "max_bytes": 40});
        self.ask(DIRECT, few_bytes).await;
        self.compare(INFO, HeaderMap::new(), "").await;
    }

    async fn erase(&mut self, sequence: u64) {
        let erase = json!({"seq": sequence});
        self.server.api("STREAM.MSG.DELETE.C_0", erase).await;
        self.liar.stream(|stream| stream.erase([sequence]));
    }
}

#[tokio::test]
async fn the_liar_answers_as_a_server_does() {
    let mut pair = Pair::start().await;
    pair.ask_everything().await;
    pair.publish("c.in.0.a.m", &[], "no headers").await;
    let expected = ("Nats-Expected-Stream", "C_0");
    for n in 2..8 {
        let id = format!("id {n}");
        let subject = ["c.in.0.a.m", "c.in.0.a.a", "c.in.0.b.m"][n % 3];
        let headers = [("Nats-Msg-Id", id.as_str()), expected];
        pair.publish(subject, &headers, &id).await;
    }
    // The same id again, another stream, too large with its headers, and no stream at all.
    pair.publish("c.in.0.b.m", &[("Nats-Msg-Id", "id 3")], "x")
        .await;
    pair.publish("c.in.0.b.m", &[("Nats-Expected-Stream", "C_1")], "x")
        .await;
    let (long, large) = ("x".repeat(1000), "x".repeat(131_072 - 500));
    pair.publish("c.in.0.b.m", &[("Long", &long)], &large).await;
    pair.publish("c.in.0.c.m", &[], "c").await;
    pair.publish("c.in.7.c.m", &[], "x").await;
    pair.ask_everything().await;
    pair.erase(3).await;
    pair.erase(8).await;
    pair.ask_everything().await;
    pair.server.api("STREAM.PURGE.C_0", json!({"seq": 5})).await;
    pair.liar.stream(|stream| stream.evict_before(5));
    pair.ask_everything().await;
    pair.server.api("STREAM.PURGE.C_0", json!({})).await;
    pair.liar.stream(|stream| stream.evict_before(9));
    pair.ask_everything().await;
    pair.publish("c.in.0.a.m", &[], "again").await;
    for malformed in ["", "{}", "[", r#"{"seq":1,"batch":"x"}"#] {
        pair.compare(DIRECT, HeaderMap::new(), malformed).await;
    }
    for (subject, question) in [
        ("$JS.API.DIRECT.GET.C_7", "{\"seq\":1}"),
        ("$JS.API.STREAM.MSG.GET.C_7", "{\"seq\":1}"),
        ("$JS.API.STREAM.INFO.C_7", ""),
    ] {
        pair.compare(subject, HeaderMap::new(), question).await;
    }
}
