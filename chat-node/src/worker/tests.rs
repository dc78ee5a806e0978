//! A worker with a broker that takes its time: what the embedded broker, which answers at once, never shows.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::oneshot;

use super::{Event, start};
use crate::broker::{
    Answer, Broker, Feed, HistoryPage, HistoryQuery, Joined, Message, Position, Publication,
};
use crate::config::Config;
use crate::ids::RoomName;
use crate::metrics::Metrics;
use crate::node::Shared;
use crate::room::registry::Registry;

/// Answers joins when the test says so.
#[derive(Default)]
struct SlowBroker {
    joins: Mutex<Vec<oneshot::Sender<Joined>>>,
}

impl Broker for SlowBroker {
    fn readiness(&self) -> Result<(), String> {
        Ok(())
    }

    fn publish(&self, _: &RoomName, _: Message) -> Answer<Position> {
        unreachable!("nobody publishes here")
    }

    fn open(&self, _: &RoomName) {}

    fn close(&self, _: &RoomName) {}

    fn join(&self, _: &RoomName, _: Option<Position>) -> Answer<Joined> {
        let (answer, answered) = oneshot::channel();
        self.joins.lock().unwrap().push(answer);
        Box::pin(async { Ok(answered.await.expect("the test answers")) })
    }

    fn history(&self, _: &RoomName, _: HistoryQuery) -> Answer<HistoryPage> {
        unreachable!("nobody reads history here")
    }
}

struct Bench {
    broker: Arc<SlowBroker>,
    registry: Arc<Registry>,
    client: TcpStream,
}

impl Bench {
    fn new() -> Self {
        let (broker, registry) = (Arc::<SlowBroker>::default(), Arc::<Registry>::default());
        let shared = Shared::new(
            Config::default(),
            Metrics::new(100).unwrap(),
            broker.clone(),
            registry.clone(),
        );
        let (inbox, _) = start(0, Arc::new(shared)).unwrap();
        registry.connect(vec![inbox.clone()]);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        client
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        let (stream, _) = listener.accept().unwrap();
        stream.set_nonblocking(true).unwrap();
        inbox.send(Event::Accepted {
            stream,
            early: Default::default(),
            at: Duration::ZERO,
        });
        Self {
            broker,
            registry,
            client,
        }
    }

    fn send(&mut self, text: &str) {
        let length = u8::try_from(text.len()).unwrap();
        assert!(length < 126);
        // A mask of zeros changes nothing.
        let mut frame = vec![0x81, 0x80 | length, 0, 0, 0, 0];
        frame.extend_from_slice(text.as_bytes());
        self.client.write_all(&frame).unwrap();
    }

    /// Reads until `text` has arrived, and returns all that came.
    fn read_until(&mut self, text: &str) -> String {
        let mut got = String::new();
        while !got.contains(text) {
            let mut bytes = [0; 4096];
            let read = self.client.read(&mut bytes).expect("arrives in time");
            assert!(read > 0, "closed after {got}");
            got.push_str(&String::from_utf8_lossy(&bytes[..read]));
        }
        got
    }

    fn answer_join(&self, offset: u64) {
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        let answer = loop {
            if let Some(answer) = self.broker.joins.lock().unwrap().pop() {
                break answer;
            }
            assert!(std::time::Instant::now() < deadline, "nobody joins");
            std::thread::yield_now();
        };
        let epoch = "e".into();
        let joined = Joined {
            position: Position { offset, epoch },
            recovered: false,
            publications: Vec::new(),
        };
        assert!(answer.send(joined).is_ok());
    }

    fn publish(&self, offset: u64) {
        let publication = Publication {
            offset,
            data: format!("\"number {offset}\"").into(),
            author: None,
        };
        let room = RoomName::parse("room", 255).unwrap();
        self.registry.deliver(&room, &Arc::new(publication));
    }
}

#[test]
fn what_is_published_while_a_join_is_answered_follows_the_reply() {
    let mut bench = Bench::new();
    bench.send(r#"{"id":1,"connect":{}}"#);
    bench.read_until(r#""id":1"#);
    bench.send(r#"{"id":2,"subscribe":{"channel":"room"}}"#);
    while bench.registry.rooms() == 0 {
        std::thread::yield_now();
    }
    // The answer covers the first; the others arrive before the answer, and nothing arrives after it.
    bench.publish(1);
    bench.publish(2);
    bench.publish(3);
    bench.answer_join(1);
    let got = bench.read_until("number 3");
    let place = |text| {
        got.find(text)
            .unwrap_or_else(|| panic!("{text} is missing in {got}"))
    };
    assert!(place(r#""id":2"#) < place("number 2") && place("number 2") < place("number 3"));
    assert!(!got.contains("number 1"));
}

#[test]
fn commands_behind_a_question_wait_and_are_answered_in_order() {
    let mut bench = Bench::new();
    bench.send(r#"{"id":1,"connect":{}}"#);
    bench.send(r#"{"id":2,"subscribe":{"channel":"room"}}"#);
    bench.send("{\"id\":3,\"ping\":{}}\n{\"id\":4,\"ping\":{}}");
    bench.answer_join(0);
    bench.send(r#"{"id":5,"ping":{}}"#);
    let got = bench.read_until(r#"{"id":5"#);
    let places: Vec<_> = (1..=5)
        .map(|id| got.find(&format!("{{\"id\":{id}")).unwrap())
        .collect();
    assert!(places.is_sorted(), "{got}");
}
