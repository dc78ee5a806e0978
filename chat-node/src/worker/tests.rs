//! A worker with a broker that takes its time: what the embedded broker, which answers at once, never shows.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::orders::{Chosen, Order, What};
use super::{Accepted, Event, Inbox, start};
use crate::auth::{Auth, GivenRoom};
use crate::broker::peers::{self, CallError, Gathered, Pending, Request, Response};
use crate::broker::{
    Answer, Broker, Error, Feed, HistoryPage, HistoryQuery, Joined, Message, NodeLoad, Position,
    Publication, Readable,
};
use crate::config::Config;
use crate::ids::{RoomName, SessionId, UserId};
use crate::metrics::Metrics;
use crate::node::Shared;
use crate::presence::Presence;
use crate::protocol::Wire;
use crate::room::registry::Registry;
use crate::session::given::Entrance;

type Acknowledge = oneshot::Sender<Result<Position, Error>>;

/// Answers when the test says so.
#[derive(Default)]
struct SlowBroker {
    joins: Mutex<Vec<oneshot::Sender<Joined>>>,
    publishes: Mutex<Vec<(Bytes, Acknowledge)>>,
}

impl Broker for SlowBroker {
    fn serve_worker(&self) {}

    fn readiness(&self) -> Result<(), String> {
        Ok(())
    }

    fn announce(&self, _: NodeLoad) {}

    fn nodes(&self) -> Vec<NodeLoad> {
        Vec::new()
    }

    fn leave(&self) -> Answer<()> {
        Box::pin(async { Ok(()) })
    }

    fn publish(&self, _: &RoomName, message: Message) -> Answer<Position> {
        let (answer, answered) = oneshot::channel();
        let mut publishes = self.publishes.lock().unwrap();
        publishes.push((message.data, answer));
        Box::pin(async { answered.await.expect("the test answers") })
    }

    fn open(&self, _: &RoomName) {}

    fn close(&self, _: &RoomName) {}

    fn join(&self, _: &RoomName, _: Option<Position>) -> Answer<Joined> {
        let (answer, answered) = oneshot::channel();
        self.joins.lock().unwrap().push(answer);
        Box::pin(async { Ok(answered.await.expect("the test answers")) })
    }

    fn erase(&self, _: &RoomName) -> Answer<()> {
        unreachable!("nobody erases here")
    }

    fn readable_after(&self, _: &RoomName, _: Readable) -> Answer<u64> {
        unreachable!("everything is readable here")
    }

    fn unread(&self, _: &RoomName, _: Position) -> Answer<u64> {
        unreachable!("nobody counts here")
    }

    fn history(&self, _: &RoomName, _: HistoryQuery) -> Answer<HistoryPage> {
        unreachable!("nobody reads history here")
    }

    fn call(&self, _: &str, _: Request, _: Duration) -> Pending<Result<Response, CallError>> {
        unreachable!("nobody calls others here")
    }

    fn call_others(&self, _: Request, _: Duration) -> Pending<Gathered> {
        unreachable!("nobody calls others here")
    }

    fn tell_others(&self, _: &RoomName, _: peers::Event) {}
}

struct Bench {
    broker: Arc<SlowBroker>,
    registry: Arc<Registry>,
    client: TcpStream,
    inbox: Inbox,
}

impl Bench {
    fn new() -> Self {
        let (broker, registry) = (Arc::<SlowBroker>::default(), Arc::<Registry>::default());
        let (config, metrics) = (Config::default(), Metrics::new(100).unwrap());
        let auth = Auth::start(&config, &metrics.auth).unwrap();
        let presence = Presence::new(registry.clone(), metrics.presence.clone());
        let (broker_, registry_) = (broker.clone(), registry.clone());
        let shared = Shared::new(config, metrics, auth, broker_, registry_, presence);
        let (inbox, _) = start(0, Arc::new(shared)).unwrap();
        registry.connect(vec![inbox.clone()]);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        client
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        let (stream, _) = listener.accept().unwrap();
        stream.set_nonblocking(true).unwrap();
        inbox.send(Event::Accepted(vec![Accepted {
            wire: Wire::WebSocketJson,
            passed: None,
            head: Bytes::new(),
            stream,
            early: Default::default(),
            at: Duration::ZERO,
        }]));
        Self {
            broker,
            registry,
            client,
            inbox,
        }
    }

    /// Waits until a message has come to the broker, and answers it. Returns its data.
    fn answer_publish(&self, answer: Result<Position, Error>) -> Bytes {
        let (data, sender) = wait_for(|| self.broker.publishes.lock().unwrap().pop());
        assert!(sender.send(answer).is_ok());
        data
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
        let answer = wait_for(|| self.broker.joins.lock().unwrap().pop());
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
            tags: None,
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
fn what_is_not_kept_reaches_members_of_a_quiet_room_too() {
    let mut bench = Bench::new();
    bench.send(r#"{"id":1,"connect":{}}"#);
    bench.send(r#"{"id":2,"subscribe":{"channel":"room"}}"#);
    bench.answer_join(40);
    bench.read_until(r#""id":2"#);
    bench.publish(0);
    let got = bench.read_until("number 0");
    assert!(
        !got.contains("offset"),
        "SDKs keep the offset they have: {got}"
    );
    bench.publish(41);
    bench.read_until(r#""offset":41"#);
}

#[test]
fn commands_wait_for_the_question_of_their_room_and_of_no_other() {
    let mut bench = Bench::new();
    bench.send(r#"{"id":1,"connect":{}}"#);
    bench.send(r#"{"id":2,"subscribe":{"channel":"room"}}"#);
    bench.send(r#"{"id":3,"unsubscribe":{"channel":"room"}}"#);
    bench.send(r#"{"id":4,"subscribe":{"channel":"room"}}"#);
    bench.send("{\"id\":5,\"ping\":{}}\n{\"id\":6,\"unsubscribe\":{\"channel\":\"other\"}}");
    let got = bench.read_until(r#"{"id":6"#);
    assert!(
        !got.contains(r#"{"id":2"#) && !got.contains(r#"{"id":3"#),
        "{got}"
    );
    bench.answer_join(0);
    let got = bench.read_until(r#"{"id":3"#);
    assert!(got.find(r#"{"id":2"#) < got.find(r#"{"id":3"#), "{got}");
    bench.answer_join(0);
    bench.read_until(r#"{"id":4"#);
}

#[test]
fn what_follows_an_unknown_message_is_not_tried() {
    let mut bench = Bench::new();
    bench.send(r#"{"id":1,"connect":{}}"#);
    bench.send(r#"{"id":2,"subscribe":{"channel":"room"}}"#);
    bench.answer_join(0);
    // In one frame: the second is there before the first is answered, which is not before the ping is.
    let publish = |id| format!(r#"{{"id":{id},"publish":{{"channel":"room","data":{id}}}}}"#);
    let ping = r#"{"id":5,"ping":{}}"#;
    bench.send(&format!("{}\n{}\n{ping}", publish(3), publish(4)));
    bench.read_until(r#"{"id":5"#);
    bench.send(r#"{"id":6,"unsubscribe":{"channel":"room"}}"#);
    assert_eq!(bench.answer_publish(Err(Error::Unreachable)), "3");
    let got = bench.read_until(r#"{"id":6"#);
    for id in 3..=4 {
        let refused = format!(r#"{{"id":{id},"error":{{"code":100"#);
        assert!(got.contains(&refused), "{got}");
    }
    assert!(bench.broker.publishes.lock().unwrap().is_empty());
}

#[test]
fn a_session_that_is_to_leave_gets_its_answer_first() {
    let mut bench = Bench::new();
    bench.send(r#"{"id":1,"connect":{}}"#);
    bench.send(r#"{"id":2,"subscribe":{"channel":"room"}}"#);
    bench.answer_join(0);
    bench.send(r#"{"id":3,"publish":{"channel":"room","data":1}}"#);
    wait_for(|| (!bench.broker.publishes.lock().unwrap().is_empty()).then_some(()));
    bench.inbox.send(Event::DrainAll);
    // Whatever comes after that is not taken any more.
    let epoch = "e".into();
    bench.answer_publish(Ok(Position { offset: 1, epoch }));
    let got = bench.read_until("shutdown");
    assert!(
        got.find(r#"{"id":3,"publish""#) < got.find("shutdown"),
        "{got}"
    );
}

#[test]
fn who_is_put_into_a_room_is_so_after_what_he_asked_about_it() {
    let mut bench = Bench::new();
    bench.send(r#"{"id":1,"connect":{}}"#);
    let connected = bench.read_until(r#""id":1"#);
    bench.send(r#"{"id":2,"subscribe":{"channel":"room"}}"#);
    bench.send(r#"{"id":3,"unsubscribe":{"channel":"room"}}"#);
    bench.send(r#"{"id":4,"ping":{}}"#);
    bench.read_until(r#"{"id":4"#);
    let client = connected.split(r#""client":""#).nth(1).unwrap();
    let entrance = Entrance {
        given: GivenRoom {
            name: "room".to_owned(),
            info: None,
            data: Some(r#"{"why":1}"#.into()),
            expires_at: None,
        },
        since: None,
    };
    let order = Order {
        of: Chosen {
            user: UserId::ANONYMOUS,
            client: Some(SessionId::parse(&client[..36]).unwrap()),
            except: Vec::new(),
        },
        what: What::Enter(entrance.into()),
    };
    let (done, mut outcome) = oneshot::channel();
    bench.inbox.send(Event::Order(order.into(), done));
    bench.send(r#"{"id":5,"unsubscribe":{"channel":"room"}}"#);
    bench.send(r#"{"id":6,"ping":{}}"#);
    let got = bench.read_until(r#"{"id":6"#);
    assert!(!got.contains("push"), "its own join is still out: {got}");
    bench.answer_join(0);
    bench.read_until(r#"{"id":3"#);
    bench.answer_join(7);
    let got = bench.read_until(r#"{"id":5"#);
    let push = r#"{"push":{"channel":"room","subscribe":{"offset":7,"epoch":"e","data":{"why":1},"recoverable":true,"positioned":true}}}"#;
    assert!(
        got.find(push) < got.find(r#"{"id":5,"error":{"code":103"#),
        "{got}"
    );
    let outcome = wait_for(|| outcome.try_recv().ok());
    assert_eq!((outcome.sessions, outcome.refusal), (1, None));
    bench.publish(7);
    bench.publish(8);
    let got = bench.read_until("number 8");
    assert!(!got.contains("number 7"), "{got}");
}

fn wait_for<T>(mut something: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(found) = something() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain");
        std::thread::yield_now();
    }
}
