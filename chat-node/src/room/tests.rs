//! Random joins, leaves, stalls and floods: every member gets each publication after its join once, whole, in order,
//! and as its own wire has it.

use std::collections::HashMap;

use proptest::prelude::*;
use slotmap::SlotMap;

use super::delivery::Delivery;
use super::local::LocalRooms;
use crate::ids::RoomName;
use crate::protocol::Wire;
use crate::socket::ConnectionKey;

#[derive(Clone, Debug)]
enum Step {
    /// A publication, delivered to the worker at once or only with the next `Deliver`.
    Publish {
        room: usize,
        bytes: usize,
    },
    Deliver {
        count: usize,
    },
    /// A subscribe whose answer is taken now, and reaches the worker `late` steps later.
    Join {
        client: usize,
        room: usize,
        late: bool,
    },
    Answer {
        client: usize,
        room: usize,
    },
    Leave {
        client: usize,
        room: usize,
    },
    Vanish {
        client: usize,
    },
    /// The client's socket takes so many bytes before it blocks.
    Reads {
        client: usize,
        bytes: usize,
    },
    Pump {
        writes: usize,
    },
}

const ROOMS: usize = 3;
const CLIENTS: usize = 4;

fn step() -> impl Strategy<Value = Step> {
    let (room, client) = (0..ROOMS, 0..CLIENTS);
    prop_oneof![
        4 => (room.clone(), 1..40usize).prop_map(|(room, bytes)| Step::Publish { room, bytes }),
        3 => (1..5usize).prop_map(|count| Step::Deliver { count }),
        2 => (client.clone(), room.clone(), any::<bool>())
            .prop_map(|(client, room, late)| Step::Join { client, room, late }),
        2 => (client.clone(), room.clone()).prop_map(|(client, room)| Step::Answer { client, room }),
        1 => (client.clone(), room).prop_map(|(client, room)| Step::Leave { client, room }),
        1 => client.clone().prop_map(|client| Step::Vanish { client }),
        3 => (client, 0..100usize).prop_map(|(client, bytes)| Step::Reads { client, bytes }),
        4 => (1..6usize).prop_map(|writes| Step::Pump { writes }),
    ]
}

/// A client with a fake kernel buffer in front of it.
struct Client {
    key: ConnectionKey,
    wire: Wire,
    room_for: usize,
    unsent: Option<Vec<u8>>,
    got: Vec<u8>,
    /// Offset of the join's answer for each room it is in; `None` while the answer is out.
    joined: HashMap<usize, (u64, Option<u64>)>,
    /// What it must have got in the end: (room, offset), in each room's order.
    due: Vec<(usize, u64)>,
}

impl Client {
    fn new(keys: &mut SlotMap<ConnectionKey, ()>, wire: Wire) -> Self {
        Self {
            key: keys.insert(()),
            wire,
            room_for: 50,
            unsent: None,
            got: Vec::new(),
            joined: HashMap::new(),
            due: Vec::new(),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> usize {
        let taken = bytes.len().min(self.room_for);
        self.got.extend_from_slice(&bytes[..taken]);
        self.room_for -= taken;
        taken
    }

    fn flush(&mut self) {
        if let Some(mut unsent) = self.unsent.take() {
            let taken = self.write(&unsent);
            unsent.drain(..taken);
            if !unsent.is_empty() {
                self.unsent = Some(unsent);
            }
        }
    }
}

/// One worker's rooms with a feed in front and the pump's loop behind.
struct Bench {
    rooms: LocalRooms,
    names: Vec<RoomName>,
    last: [u64; ROOMS],
    feed: std::collections::VecDeque<(usize, Delivery)>,
    clients: Vec<Client>,
    keys: SlotMap<ConnectionKey, ()>,
}

impl Bench {
    fn new() -> Self {
        let mut keys = SlotMap::with_key();
        Self {
            rooms: LocalRooms::default(),
            names: (0..ROOMS)
                .map(|room| RoomName::parse(&format!("r{room}"), 255).unwrap())
                .collect(),
            last: [0; ROOMS],
            feed: Default::default(),
            clients: (0..CLIENTS)
                .map(|client| Client::new(&mut keys, Wire::ALL[client % 2]))
                .collect(),
            keys,
        }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Publish { room, bytes } => self.publish(room, bytes),
            Step::Deliver { count } => {
                for _ in 0..count {
                    self.deliver();
                }
            }
            Step::Join { client, room, late } => self.join(client, room, late),
            Step::Answer { client, room } => self.answer(client, room),
            Step::Leave { client, room } => self.leave(client, room),
            Step::Vanish { client } => {
                self.rooms.leave_all(self.clients[client].key);
                let wire = self.clients[client].wire;
                self.clients[client] = Client::new(&mut self.keys, wire);
            }
            Step::Reads { client, bytes } => {
                self.clients[client].room_for += bytes;
                self.catch_up(client);
            }
            Step::Pump { writes } => {
                self.pump(writes);
            }
        }
    }

    fn publish(&mut self, room: usize, bytes: usize) {
        self.last[room] += 7;
        let offset = self.last[room];
        let delivery = Delivery::framed(&self.names[room], offset, |wire| {
            let mut frame = format!("<{room}:{offset}:{}:", wire.index()).into_bytes();
            frame.resize(frame.len() + bytes, b'x');
            frame.push(b'>');
            frame
        });
        // As the registry does: only rooms with members are fed.
        if self
            .clients
            .iter()
            .any(|client| client.joined.contains_key(&room))
        {
            self.feed.push_back((room, delivery));
        }
        for client in &mut self.clients {
            if client.joined.contains_key(&room) {
                client.due.push((room, offset));
            }
        }
    }

    fn deliver(&mut self) {
        if let Some((_, delivery)) = self.feed.pop_front() {
            self.rooms.append(&delivery);
        }
    }

    fn join(&mut self, client: usize, room: usize, late: bool) {
        if self.clients[client].joined.contains_key(&room) {
            return;
        }
        let key = self.clients[client].key;
        let wire = self.clients[client].wire;
        self.rooms.enter(key, wire, false, &self.names[room]);
        self.clients[client]
            .joined
            .insert(room, (self.last[room], None));
        if !late {
            self.answer(client, room);
        }
    }

    fn answer(&mut self, client: usize, room: usize) {
        let client = &mut self.clients[client];
        if let Some((cut, answered @ None)) = client.joined.get_mut(&room) {
            *answered = Some(*cut);
            let key = self
                .rooms
                .find(client.key, self.names[room].as_str())
                .unwrap();
            self.rooms.start(client.key, key, *cut);
        }
    }

    fn leave(&mut self, client: usize, room: usize) {
        let client = &mut self.clients[client];
        if client.joined.remove(&room).is_some() {
            let key = self
                .rooms
                .find(client.key, self.names[room].as_str())
                .unwrap();
            self.rooms.leave(client.key, key);
            // What was under way is lost to it, what it got before must still be right: checked as a prefix.
            let on_its_way = client.unsent.as_deref().unwrap_or_default();
            let got = [&client.got, on_its_way].concat();
            let upto = received(&got, client.wire, room).len();
            let mut seen = 0;
            client.due.retain(|(due, _)| {
                seen += usize::from(*due == room);
                *due != room || seen <= upto
            });
        }
    }

    /// The pump's loop, with fake sockets.
    fn pump(&mut self, writes: usize) -> bool {
        let mut left = writes;
        while let Some((key, mut pass)) = self.rooms.next_visit() {
            if let Some(room) = self.rooms.get_mut(key) {
                while left > 0 && pass.next < room.members.len() {
                    let index = pass.next;
                    pass.next += 1;
                    let key = room.members[index].connection;
                    let client = self
                        .clients
                        .iter_mut()
                        .find(|client| client.key == key)
                        .unwrap();
                    if !room.waiting_for(index).is_empty() && client.unsent.is_none() {
                        left -= 1;
                        write(room, index, client);
                    }
                    pass.behind |= room.is_behind(index);
                }
            }
            if left == 0 {
                self.rooms.pause(key, pass);
                return true;
            }
            self.rooms.finish(key, pass);
        }
        false
    }

    fn catch_up(&mut self, client: usize) {
        let client = &mut self.clients[client];
        client.flush();
        for place in self.rooms.places(client.key).to_vec() {
            let room = self.rooms.get_mut(place.room).unwrap();
            if client.unsent.is_some() || room.waiting_for(place.index as usize).is_empty() {
                continue;
            }
            write(room, place.index as usize, client);
            self.rooms.visit_again(place.room);
        }
    }

    /// Lets everything through and checks what everybody got.
    fn settle(mut self) -> Result<(), TestCaseError> {
        while !self.feed.is_empty() {
            self.deliver();
        }
        for client in 0..CLIENTS {
            for room in 0..ROOMS {
                self.answer(client, room);
            }
            self.clients[client].room_for = usize::MAX;
            self.catch_up(client);
        }
        while self.pump(3) {}
        for client in &self.clients {
            for room in 0..ROOMS {
                let due: Vec<_> = client
                    .due
                    .iter()
                    .filter(|(due, _)| *due == room)
                    .map(|(_, offset)| *offset)
                    .collect();
                prop_assert_eq!(received(&client.got, client.wire, room), due);
            }
            for place in self.rooms.places(client.key).to_vec() {
                prop_assert_eq!(self.rooms.get_mut(place.room).unwrap().log.bytes(), 0);
            }
        }
        Ok(())
    }
}

fn write(room: &mut super::Room, index: usize, client: &mut Client) {
    let waiting = room.waiting_for(index);
    let wanted = waiting.len();
    let taken = client.write(waiting);
    let advanced = room.advance(index, taken);
    if taken < wanted {
        client.unsent = Some(advanced.cut.to_vec());
    }
}

/// The offsets of `room` among the whole frames in `got`, all of which must be in `wire`.
fn received(got: &[u8], wire: Wire, room: usize) -> Vec<u64> {
    let text = std::str::from_utf8(got).unwrap();
    text.split_inclusive('>')
        .filter(|frame| frame.ends_with('>'))
        .filter_map(|frame| {
            let fields: Vec<_> = frame.strip_prefix('<').unwrap().split(':').collect();
            assert_eq!(fields[2], wire.index().to_string());
            (fields[0] == room.to_string()).then(|| fields[1].parse().unwrap())
        })
        .collect()
}

proptest! {
    #[test]
    fn every_member_gets_each_publication_once_in_order(steps in prop::collection::vec(step(), 1..120)) {
        let mut bench = Bench::new();
        for step in steps {
            bench.take(step);
        }
        bench.settle()?;
    }
}
