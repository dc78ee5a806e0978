//! What a session has asked the broker, and what waits for it: one question for each room at a time.
//!
//! So a client's messages to a room are kept in the order in which it sent them, and a room that has to wait holds up
//! no other.

use std::collections::VecDeque;

use crate::ids::RoomName;
use crate::session::given::Put;

/// Rooms with questions out, and the bytes of commands behind them, beyond which nothing more is read.
const MOST_ROOMS: usize = 64;
const MOST_BYTES: usize = 64 * 1024;

/// Boxed where it is kept: idle connections pay one word for it.
#[derive(Default)]
pub struct Asking {
    /// A question about the whole session is out: everything waits for it.
    is_about_all: bool,
    rooms: Vec<Room>,
    bytes: usize,
}

struct Room {
    name: RoomName,
    /// A question is out. Without one, the commands behind the last one are being handled.
    is_asked: bool,
    /// Nobody knows whether a message was kept: those behind it are not tried.
    has_unknown: bool,
    behind: VecDeque<Waiting>,
}

/// What has to wait for the answer to a question.
pub enum Waiting {
    Command(Box<[u8]>),
    /// A backend puts the session into the room.
    Put(Put),
}

impl Asking {
    pub fn is_empty(&self) -> bool {
        self.rooms.is_empty() && !self.is_about_all
    }

    /// Whether further commands should wait where they are, whatever their room.
    pub fn is_full(&self) -> bool {
        self.is_about_all || self.rooms.len() >= MOST_ROOMS || self.bytes >= MOST_BYTES
    }

    fn room(&mut self, name: &str) -> Option<&mut Room> {
        self.rooms
            .iter_mut()
            .find(|room| room.name.as_str() == name)
    }

    /// Whether a command for that room has to wait.
    pub fn holds(&self, name: &str) -> bool {
        self.rooms.iter().any(|room| room.name.as_str() == name)
    }

    /// A room whose question is answered while commands still wait behind it.
    pub fn next_to_go_on(&self) -> Option<RoomName> {
        let answered = self.rooms.iter().find(|room| !room.is_asked);
        answered.map(|room| room.name.clone())
    }

    /// A question about the whole session is out, or has been answered.
    pub fn ask_about_all(&mut self, is_out: bool) {
        self.is_about_all = is_out;
    }

    /// A question about the room is out.
    pub fn ask(&mut self, name: &RoomName) {
        match self.room(name.as_str()) {
            Some(room) => room.is_asked = true,
            None => self.rooms.push(Room {
                name: name.clone(),
                is_asked: true,
                has_unknown: false,
                behind: VecDeque::new(),
            }),
        }
    }

    /// Keeps a command for after the question about its room.
    pub fn wait(&mut self, name: &str, command: &[u8]) {
        if let Some(room) = self.room(name) {
            room.behind.push_back(Waiting::Command(command.into()));
            self.bytes += command.len();
        }
    }

    /// Keeps a backend's order for after the question about its room; returns it if there is none.
    pub fn wait_to_put(&mut self, put: Put) -> Option<Put> {
        match self.room(&put.entrance.given.name) {
            Some(room) => {
                room.behind.push_back(Waiting::Put(put));
                None
            }
            None => Some(put),
        }
    }

    /// The question about the room has been answered, or it was whether a message is kept, and nobody knows.
    pub fn answered(&mut self, name: &RoomName, is_unknown: bool) {
        if let Some(room) = self.room(name.as_str()) {
            room.is_asked = false;
            room.has_unknown |= is_unknown;
        }
    }

    /// Whether messages to that room could overtake one of which nobody knows whether it is kept.
    pub fn has_unknown(&mut self, name: &RoomName) -> bool {
        self.room(name.as_str())
            .is_some_and(|room| room.has_unknown)
    }

    /// What is next behind the room's last question; none while a new one is out. A room that nothing waits for
    /// is forgotten.
    pub fn next_behind(&mut self, name: &RoomName) -> Option<Waiting> {
        let room = self.room(name.as_str()).filter(|room| !room.is_asked)?;
        let next = room.behind.pop_front();
        match &next {
            Some(Waiting::Command(command)) => self.bytes -= command.len(),
            Some(Waiting::Put(_)) => {}
            None => self.rooms.retain(|room| room.name != *name),
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(name: &str) -> RoomName {
        RoomName::parse(name, 255).unwrap()
    }

    /// The next command for the room "a".
    fn next(asking: &mut Asking) -> Option<Box<[u8]>> {
        asking.next_behind(&room("a")).map(|next| match next {
            Waiting::Command(command) => command,
            Waiting::Put(_) => panic!("nobody is put into the room"),
        })
    }

    #[test]
    fn commands_wait_behind_the_question_of_their_room_only() {
        let mut asking = Asking::default();
        asking.ask(&room("a"));
        assert!(asking.holds("a") && !asking.holds("b"));
        asking.wait("a", b"first");
        asking.wait("a", b"second");
        assert_eq!(next(&mut asking), None);
        asking.answered(&room("a"), false);
        assert_eq!(asking.next_to_go_on(), Some(room("a")));
        assert_eq!(next(&mut asking).as_deref(), Some(&b"first"[..]));
        // That one became a question, too.
        asking.ask(&room("a"));
        assert_eq!(next(&mut asking), None);
        asking.answered(&room("a"), false);
        assert_eq!(next(&mut asking).as_deref(), Some(&b"second"[..]));
        assert_eq!(next(&mut asking), None);
        assert!(asking.is_empty() && asking.bytes == 0);
    }

    #[test]
    fn who_is_put_into_a_room_waits_in_line() {
        let (told, _) = tokio::sync::mpsc::unbounded_channel();
        let given = crate::auth::GivenRoom {
            name: "a".to_owned(),
            info: None,
            data: None,
            expires_at: None,
        };
        let since = None;
        let entrance = crate::session::given::Entrance { given, since }.into();
        let put = Put { entrance, told };
        let mut asking = Asking::default();
        asking.ask(&room("b"));
        assert!(asking.wait_to_put(put.clone()).is_some(), "nothing is out");
        asking.ask(&room("a"));
        asking.wait("a", b"first");
        assert!(asking.wait_to_put(put).is_none());
        asking.answered(&room("a"), false);
        assert_eq!(next(&mut asking).as_deref(), Some(&b"first"[..]));
        let next = asking.next_behind(&room("a"));
        assert!(matches!(next, Some(Waiting::Put(_))));
        assert!(asking.next_behind(&room("a")).is_none() && !asking.holds("a"));
    }

    #[test]
    fn everything_waits_for_a_question_about_the_session() {
        let mut asking = Asking::default();
        asking.ask_about_all(true);
        assert!(asking.is_full() && !asking.is_empty());
        asking.ask_about_all(false);
        assert!(!asking.is_full() && asking.is_empty());
    }

    #[test]
    fn what_waits_is_bounded_in_rooms_and_bytes() {
        let mut asking = Asking::default();
        for n in 0..MOST_ROOMS {
            assert!(!asking.is_full());
            asking.ask(&room(&n.to_string()));
        }
        assert!(asking.is_full());
        let mut asking = Asking::default();
        asking.ask(&room("a"));
        asking.wait("a", &[b'x'; MOST_BYTES]);
        assert!(asking.is_full());
    }
}
