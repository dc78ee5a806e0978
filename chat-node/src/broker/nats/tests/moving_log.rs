//! Resumes from below a log that drops its oldest all the time, as others publish to the same shard.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use super::*;
use crate::broker::Publication;

struct Nowhere;

impl Feed for Nowhere {
    fn deliver(&self, _: &RoomName, _: &Arc<Publication>) {}

    fn interrupt(&self, _: &dyn Fn(&RoomName) -> bool, _: &crate::broker::Epoch) {}
}

fn message(n: usize) -> Message {
    Message {
        data: n.to_string().into(),
        author: None,
        id: None,
        tags: None,
    }
}

/// Many rooms at once, so that each has to wait for its turn while the log moves on.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn resumes_from_below_the_log_catch_up_with_it() {
    let server = Server::start(1).await;
    let broker = with(
        Arc::new(Nowhere),
        Arc::<Recorder>::default(),
        server,
        |settings| {
            settings.shards = 1;
            settings.log.entries = 2000;
        },
    )
    .await;
    let room = |name: &str| RoomName::parse(name, 255).unwrap();
    let (busy, quiet) = (room("busy"), (0..200).map(|n| room(&n.to_string())));
    let start = broker.join(&busy, None).await.unwrap().position;
    for (n, room) in quiet.clone().enumerate() {
        broker.publish(&room, message(n)).await.unwrap();
    }
    let stop = Arc::new(AtomicBool::new(false));
    let publishers: Vec<_> = (0..64)
        .map(|_| {
            let (broker, busy, stop) = (broker.clone(), busy.clone(), stop.clone());
            tokio::spawn(async move {
                while !stop.load(Relaxed) {
                    broker.publish(&busy, message(0)).await.unwrap();
                }
            })
        })
        .collect();
    server::until("the log to drop its first", async || {
        let end = broker.join(&busy, None).await.unwrap().position.offset;
        end > start.offset + 3000
    })
    .await;
    let joins: Vec<_> = quiet
        .map(|room| tokio::spawn(broker.join(&room, Some(start.clone()))))
        .collect();
    for (n, join) in joins.into_iter().enumerate() {
        let joined = join.await.unwrap().expect("the broker can be reached");
        assert!(joined.recovered);
        let data: Vec<_> = joined.publications.iter().map(|p| &p.data[..]).collect();
        assert_eq!(data, [n.to_string().as_bytes()]);
    }
    stop.store(true, Relaxed);
    for publisher in publishers {
        publisher.await.unwrap();
    }
}
