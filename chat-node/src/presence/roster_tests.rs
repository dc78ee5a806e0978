//! Rosters that hear each other over a network that loses, repeats and delays.

use std::collections::{BTreeMap, VecDeque};

use proptest::prelude::*;
use slotmap::SlotMap;

use super::roster::{Announcement, Effect, Place, Rosters, What};
use super::view::{Delta, Listing};
use crate::broker::Author;
use crate::broker::peers::PresenceChange;
use crate::ids::{RoomName, SessionId, UserId};
use crate::socket::ConnectionKey;

fn room() -> RoomName {
    RoomName::parse("room", 255).unwrap()
}

/// A node, what is on its way to it, and what its members heard.
struct Node {
    name: &'static str,
    rosters: Rosters,
    members: Vec<(Place, SessionId)>,
    arriving: VecDeque<(&'static str, PresenceChange)>,
    asked: VecDeque<(String, RoomName)>,
    heard: Vec<Announcement>,
}

impl Node {
    fn new(name: &'static str, incarnation: u64) -> Self {
        Self {
            name,
            rosters: Rosters::new(incarnation),
            members: Vec::new(),
            arriving: VecDeque::new(),
            asked: VecDeque::new(),
            heard: Vec::new(),
        }
    }

    /// Does what a node does, and returns what it tells the others.
    fn act(&mut self, effects: Vec<Effect>, others: &[&str]) -> Vec<PresenceChange> {
        let mut told = Vec::new();
        for effect in effects {
            match effect {
                Effect::Announce(announcement) => self.heard.push(announcement),
                Effect::Tell(_, change) => told.push(change),
                Effect::Repair(node, room) => self.asked.push_back((node, room)),
                Effect::Meet(room) => {
                    let asked = others.iter().map(|node| ((*node).to_owned(), room.clone()));
                    self.asked.extend(asked);
                }
            }
        }
        told
    }

    /// Whoever is there by what was heard since `from`, and panics where somebody comes twice or leaves twice.
    fn present(&self) -> Vec<SessionId> {
        let mut present = BTreeMap::new();
        for Announcement { what, member, .. } in &self.heard {
            let count: &mut i32 = present.entry(member.client.to_string()).or_default();
            *count += if *what == What::Joined { 1 } else { -1 };
            assert!((-1..=1).contains(count), "{what:?} twice: {member:?}");
        }
        let present = present.into_iter().filter(|(_, count)| *count > 0);
        present
            .map(|(id, _)| SessionId::parse(&id).unwrap())
            .collect()
    }
}

struct Bench {
    nodes: Vec<Node>,
    keys: SlotMap<ConnectionKey, ()>,
}

const NAMES: [&str; 3] = ["a", "b", "c"];

impl Bench {
    fn new() -> Self {
        let nodes = NAMES.iter().zip(1..).map(|(name, n)| Node::new(name, n));
        Self {
            nodes: nodes.collect(),
            keys: SlotMap::with_key(),
        }
    }

    fn apply(&mut self, node: usize, effects: Vec<Effect>, lost: bool) {
        let others: Vec<_> = NAMES
            .into_iter()
            .filter(|name| *name != NAMES[node])
            .collect();
        let told = self.nodes[node].act(effects, &others);
        for change in told {
            for other in (0..3).filter(|other| *other != node && !lost) {
                let from = NAMES[node];
                self.nodes[other].arriving.push_back((from, change.clone()));
            }
        }
    }

    fn join(&mut self, node: usize, lost: bool) -> SessionId {
        let place = (0, self.keys.insert(()));
        let member = Author::plain(UserId::ANONYMOUS, SessionId::random());
        let id = member.client;
        self.nodes[node].members.push((place, id));
        let effects = self.nodes[node].rosters.joined(&room(), place, member);
        self.apply(node, effects, lost);
        id
    }

    fn leave(&mut self, node: usize, which: usize, lost: bool) {
        if self.nodes[node].members.is_empty() {
            return;
        }
        let which = which % self.nodes[node].members.len();
        let (place, _) = self.nodes[node].members.remove(which);
        let effects = self.nodes[node].rosters.left(&room(), place);
        self.apply(node, effects, lost);
        // Whoever comes next has heard nothing.
        if self.nodes[node].members.is_empty() {
            self.nodes[node].heard.clear();
        }
    }

    /// One change arrives at a node.
    fn arrive(&mut self, node: usize) {
        if let Some((from, change)) = self.nodes[node].arriving.pop_front() {
            let delta = Delta::read(change).unwrap();
            let effects = self.nodes[node].rosters.heard(from, &room(), delta);
            self.apply(node, effects, false);
        }
    }

    /// One question of a node is answered, or not.
    fn answer(&mut self, node: usize, lost: bool) {
        let Some((of, room)) = self.nodes[node].asked.pop_front() else {
            return;
        };
        let other = NAMES.iter().position(|name| *name == of).unwrap();
        let answer = self.nodes[other].rosters.own(&room);
        let listing = (!lost).then(|| Listing::of_answer(answer));
        let effects = self.nodes[node].rosters.listed(&of, &room, listing);
        self.apply(node, effects, false);
    }

    fn digest(&mut self, node: usize) {
        let digests = self.nodes[node].rosters.digests(2);
        for other in (0..3).filter(|other| *other != node) {
            for digest in &digests {
                let effects = self.nodes[other].rosters.compared(NAMES[node], digest);
                self.apply(other, effects, false);
            }
        }
    }

    /// The process dies and is started anew under its name; nobody hears of it.
    fn restart(&mut self, node: usize) {
        let incarnation = 1000 + self.keys.len() as u64;
        self.keys.insert(());
        self.nodes[node] = Node::new(NAMES[node], incarnation);
    }

    /// Everything arrives, and digests go round.
    fn settle(&mut self) {
        for _ in 0..3 {
            for node in 0..3 {
                while !self.nodes[node].arriving.is_empty() || !self.nodes[node].asked.is_empty() {
                    self.arrive(node);
                    self.answer(node, false);
                }
            }
            for node in 0..3 {
                self.digest(node);
            }
        }
    }

    /// Whoever has members knows all the others.
    fn is_right(&self) {
        for node in self.nodes.iter().filter(|node| !node.members.is_empty()) {
            let heard = node.present();
            for other in &self.nodes {
                for (_, id) in &other.members {
                    let is_known = node.rosters.knows(&room(), *id);
                    assert!(
                        is_known,
                        "{} does not know of a member of {}",
                        node.name, other.name
                    );
                }
            }
            for id in heard {
                let is_there = (self.nodes.iter())
                    .any(|other| other.members.iter().any(|(_, member)| *member == id));
                assert!(
                    is_there,
                    "{} takes somebody for present who is gone",
                    node.name
                );
            }
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Join(usize, bool),
    Leave(usize, usize, bool),
    Arrive(usize),
    Answer(usize, bool),
    Digest(usize),
    Restart(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let node = 0..3_usize;
    let lost = proptest::bool::weighted(0.2);
    prop_oneof![
        4 => (node.clone(), lost).prop_map(|(node, lost)| Step::Join(node, lost)),
        4 => (node.clone(), 0..5_usize, lost).prop_map(|(node, which, lost)| Step::Leave(node, which, lost)),
        8 => node.clone().prop_map(Step::Arrive),
        4 => (node.clone(), lost).prop_map(|(node, lost)| Step::Answer(node, lost)),
        2 => node.clone().prop_map(Step::Digest),
        1 => node.prop_map(Step::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_lost_everybody_is_told_of_everybody_once(steps in prop::collection::vec(step(), 1..80)) {
        let mut bench = Bench::new();
        for step in steps {
            match step {
                Step::Join(node, lost) => { bench.join(node, lost); }
                Step::Leave(node, which, lost) => bench.leave(node, which, lost),
                Step::Arrive(node) => bench.arrive(node),
                Step::Answer(node, lost) => bench.answer(node, lost),
                Step::Digest(node) => bench.digest(node),
                Step::Restart(node) => bench.restart(node),
            }
        }
        bench.settle();
        bench.is_right();
    }
}

fn heard(node: &Node) -> Vec<(What, SessionId)> {
    let heard = node.heard.iter();
    heard.map(|told| (told.what, told.member.client)).collect()
}

#[test]
fn joins_and_leaves_are_told_once_on_every_node_and_in_order() {
    let mut bench = Bench::new();
    let stays = bench.join(0, false);
    let first = bench.join(0, false);
    bench.settle();
    let second = bench.join(1, false);
    bench.settle();
    bench.leave(0, 1, false);
    bench.settle();
    assert_eq!(
        heard(&bench.nodes[0]),
        [
            (What::Joined, stays),
            (What::Joined, first),
            (What::Joined, second),
            (What::Left, first)
        ]
    );
    // Who was there before has not joined, but its leave is told.
    assert_eq!(
        heard(&bench.nodes[1]),
        [(What::Joined, second), (What::Left, first)]
    );
    assert!(bench.nodes[2].heard.is_empty());
}

#[test]
fn members_of_a_node_that_is_gone_leave_once() {
    let mut bench = Bench::new();
    bench.join(0, false);
    let lost = [bench.join(1, false), bench.join(1, false)];
    bench.settle();
    for _ in 0..4 {
        let effects = bench.nodes[0].rosters.keep_only(|node| node != "b");
        bench.apply(0, effects, false);
    }
    let left = heard(&bench.nodes[0]);
    let left = left.iter().filter(|(what, _)| *what == What::Left);
    let mut left: Vec<_> = left.map(|(_, id)| id.to_string()).collect();
    left.sort();
    let mut expected = lost.map(|id| id.to_string());
    expected.sort();
    assert_eq!(left, expected);
    // It was cut off and is back: its digest brings its members back.
    bench.digest(1);
    bench.settle();
    bench.is_right();
    let back = heard(&bench.nodes[0]);
    let back = back.iter().skip_while(|(what, _)| *what == What::Joined);
    let back = back.filter(|(what, _)| *what == What::Joined);
    let mut back: Vec<_> = back.map(|(_, id)| id.to_string()).collect();
    back.sort();
    assert_eq!(back, expected);
}

/// More than a listing has room for: the last ones are listed, and of the others it is known that they are there.
#[test]
fn leaves_of_a_large_room_are_told_too() {
    let mut bench = Bench::new();
    let many: Vec<_> = (0..4_500).map(|_| bench.join(1, false)).collect();
    bench.settle();
    bench.join(0, false);
    bench.settle();
    bench.is_right();
    // Heard as it happens, and made up for: of one who was listed and one who was not.
    let mut gone = Vec::new();
    for (which, lost) in [(4_499, true), (100, true), (4_000, false), (50, false)] {
        gone.push(bench.nodes[1].members[which].1);
        bench.leave(1, which, lost);
    }
    let late = bench.join(1, true);
    bench.settle();
    bench.settle();
    bench.is_right();
    let told = heard(&bench.nodes[0]).split_off(1);
    let of = |wanted| {
        let told = told.iter().filter(move |(what, _)| *what == wanted);
        let mut ids: Vec<_> = told.map(|(_, id)| id.to_string()).collect();
        ids.sort();
        ids
    };
    let mut gone: Vec<_> = gone.iter().map(ToString::to_string).collect();
    gone.sort();
    assert_eq!(of(What::Left), gone);
    assert_eq!(of(What::Joined), [late.to_string()]);
    // The node dies: everybody leaves, once.
    for _ in 0..3 {
        let effects = bench.nodes[0].rosters.keep_only(|node| node != "b");
        bench.apply(0, effects, false);
    }
    let left = heard(&bench.nodes[0]);
    let left = left.iter().filter(|(what, _)| *what == What::Left);
    assert_eq!(left.count(), many.len() + 1);
    let huge = (0..20_000).map(|_| bench.join(1, true)).count();
    let answer = bench.nodes[1].rosters.own(&room());
    assert_eq!(
        (huge, answer.members.len(), answer.clients.len()),
        (20_000, 4_000, 0)
    );
}

#[test]
fn a_restarted_node_has_none_of_its_members_of_before() {
    let mut bench = Bench::new();
    let own = bench.join(0, false);
    let old = bench.join(1, false);
    bench.settle();
    bench.restart(1);
    bench.digest(1);
    bench.settle();
    assert_eq!(
        heard(&bench.nodes[0]),
        [(What::Joined, own), (What::Joined, old), (What::Left, old)]
    );
    let new = bench.join(1, false);
    bench.settle();
    assert_eq!(heard(&bench.nodes[0]).last(), Some(&(What::Joined, new)));
}

#[test]
fn rooms_of_a_digest_may_be_many() {
    let mut rosters = Rosters::new(1);
    let mut keys = SlotMap::<ConnectionKey, ()>::with_key();
    for n in 0..100 {
        let room = RoomName::parse(&n.to_string(), 255).unwrap();
        let member = Author::plain(UserId::ANONYMOUS, SessionId::random());
        rosters.joined(&room, (0, keys.insert(())), member);
    }
    let digests = rosters.digests(7);
    assert_eq!(digests.len(), 15);
    assert_eq!(
        digests
            .iter()
            .map(|digest| digest.rooms.len())
            .sum::<usize>(),
        100
    );
    assert_eq!((digests[0].from_hash, digests[14].to_hash), (0, u64::MAX));
    for pair in digests.windows(2) {
        assert_eq!(pair[0].to_hash + 1, pair[1].from_hash);
    }
}
