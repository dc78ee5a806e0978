//! Asking workers and nodes who is in a room, once for all who want to know at the same time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;

use crate::broker::Broker;
use crate::broker::peers::{ListMembers, Request, Response};
use crate::ids::RoomName;
use crate::room::registry::Registry;

use super::members::{Members, Wanted};

/// How long a node may be silent: whoever asks must not wait for the dead.
const PATIENCE: Duration = Duration::from_millis(150);
/// Of rooms with more members an answer may be so old for each of them: large rooms are asked about all the time.
const SMALL: u64 = 1000;
const AGE_PER_MEMBER: Duration = Duration::from_micros(100);

/// Asks this node's workers.
pub async fn here(registry: &Registry, room: &RoomName, wanted: Wanted) -> Members {
    let mut members = Members::default();
    for listing in registry.list_members(room, wanted) {
        // A worker that is gone has no members.
        if let Ok(listed) = listing.await {
            members.merge(listed);
        }
    }
    members.settle();
    members
}

/// Adds what the other nodes say. Returns how many were silent, too.
pub async fn everywhere(
    here: impl Future<Output = Members>,
    broker: &dyn Broker,
    room: &RoomName,
    wanted: Wanted,
) -> (Members, usize) {
    let question = ListMembers {
        room: room.as_str().to_owned(),
        list: wanted == Wanted::List,
        roster: false,
    };
    let others = broker.call_others(Request::ListMembers(question), PATIENCE);
    let (mut members, gathered) = futures_util::future::join(here, others).await;
    let mut silent = gathered.silent.len();
    for (_, answer) in gathered.answers {
        match answer {
            Ok(Response::Members(answer)) => members.merge(Members::of_answer(answer)),
            Ok(_) | Err(_) => silent += 1,
        }
    }
    members.settle();
    (members, silent)
}

type Key = (RoomName, Wanted);

/// One gathering for each room at a time: whoever comes meanwhile shares the next one.
#[derive(Default)]
pub struct Turns {
    rooms: Mutex<Rooms>,
}

#[derive(Default)]
struct Rooms {
    by_key: HashMap<Key, Arc<tokio::sync::Mutex<Option<Last>>>, RandomState>,
    sweep_at: usize,
}

struct Last {
    begun: Instant,
    members: Arc<Members>,
}

impl Last {
    /// Whether it tells of somebody who asks at `now` all that was known then, or little less for a large room.
    fn is_new_enough(&self, now: Instant) -> bool {
        if self.members.count <= SMALL {
            return now <= self.begun;
        }
        let members = u32::try_from(self.members.count).unwrap_or(u32::MAX);
        now <= self.begun + AGE_PER_MEMBER * members
    }
}

impl Turns {
    pub async fn take<F: Future<Output = Members>>(
        &self,
        key: Key,
        gather: impl FnOnce() -> F,
    ) -> Arc<Members> {
        let asked = Instant::now();
        let turn = self.turn(key);
        let mut last = turn.lock().await;
        if let Some(last) = last.as_ref().filter(|last| last.is_new_enough(asked)) {
            return last.members.clone();
        }
        let begun = Instant::now();
        let members = Arc::new(gather().await);
        *last = Some(Last {
            begun,
            members: members.clone(),
        });
        members
    }

    fn turn(&self, key: Key) -> Arc<tokio::sync::Mutex<Option<Last>>> {
        let mut rooms = self.rooms.lock().expect("no panic holds this lock");
        if rooms.by_key.len() >= rooms.sweep_at {
            rooms.by_key.retain(|_, turn| {
                Arc::strong_count(turn) > 1
                    || turn.try_lock().is_ok_and(|last| {
                        last.as_ref()
                            .is_some_and(|last| last.is_new_enough(Instant::now()))
                    })
            });
            rooms.sweep_at = (rooms.by_key.len() * 2).max(64);
        }
        rooms.by_key.entry(key).or_default().clone()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use tokio::sync::Notify;

    use super::*;

    fn key(room: &str) -> Key {
        (RoomName::parse(room, 255).unwrap(), Wanted::Numbers)
    }

    fn of(count: u64) -> Members {
        Members {
            count,
            ..Members::default()
        }
    }

    #[tokio::test]
    async fn whoever_asks_while_others_are_asked_shares_the_next_answer() {
        let (turns, asked, go) = (Turns::default(), AtomicUsize::new(0), Notify::new());
        let ask = || {
            turns.take(key("room"), || async {
                let number = asked.fetch_add(1, Relaxed);
                if number == 0 {
                    go.notified().await;
                }
                Members {
                    users: vec![number as u64],
                    ..Members::default()
                }
            })
        };
        let (first, second, third, ()) = tokio::join!(ask(), ask(), ask(), async {
            tokio::task::yield_now().await;
            go.notify_one();
        });
        // The first question was asked before the others came: they may know of more.
        assert_eq!(
            [&first.users, &second.users, &third.users],
            [&[0], &[1], &[1]]
        );
        assert_eq!(asked.load(Relaxed), 2);
        assert_eq!(ask().await.users, [2]);
    }

    #[tokio::test]
    async fn an_answer_about_a_large_room_serves_for_a_while() {
        let (turns, asked) = (Turns::default(), AtomicUsize::new(0));
        for _ in 0..10 {
            let members = turns.take(key("room"), || async {
                asked.fetch_add(1, Relaxed);
                of(1_000_000)
            });
            assert_eq!(members.await.count, 1_000_000);
        }
        assert_eq!(asked.load(Relaxed), 1);
    }

    #[tokio::test]
    async fn rooms_that_nobody_asks_about_are_forgotten() {
        let turns = Turns::default();
        for n in 0..1000 {
            turns.take(key(&n.to_string()), || async { of(0) }).await;
        }
        assert!(turns.rooms.lock().unwrap().by_key.len() <= 64);
    }
}
