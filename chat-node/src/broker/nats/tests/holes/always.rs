//! What every broker promises, while all lies are told again and again.

use super::super::OnItsOwnServer;
use super::super::liar::{Copy, Outcome, Replica};
use super::*;
use crate::broker::contract::promises;

async fn with_its_log(feed: Arc<node::Recorder>) -> Arc<dyn Broker> {
    among_liars(feed, Setup::default()).await
}

/// The log holds nearly nothing: nearly everything is read from the stream.
async fn from_the_stream(feed: Arc<node::Recorder>) -> Arc<dyn Broker> {
    among_liars(feed, Setup::with_log_of(3)).await
}

async fn among_liars(feed: Arc<node::Recorder>, setup: Setup) -> Arc<dyn Broker> {
    let liar = Liar::start(1).await;
    let setup = Setup {
        patience: Duration::from_secs(15),
        ..setup
    };
    let rig = setup.join_feeding(liar, feed.clone(), feed).await;
    rig.is_ready().await;
    lie_always(&rig.liar);
    Arc::new(OnItsOwnServer {
        nats: rig.nats,
        _server: Box::new(rig.liar),
    })
}

fn lie_always(liar: &Liar) {
    let one_in = |count: u32| fastrand::u32(..count) == 0;
    liar.copies(move |_| match fastrand::u8(..8) {
        0 => Copy::Lost,
        _ => Copy::Sent,
    });
    liar.replicas(move || Replica {
        behind: if one_in(8) { fastrand::u64(..50) } else { 0 },
        ..Replica::default()
    });
    liar.answers(move |replies| match fastrand::u8(..20) {
        // The head, something in the middle, the last messages, and rarely the end.
        0 => drop(replies.drain(..replies.len() / 2)),
        1 => drop(replies.remove(replies.len() / 3)),
        2 if replies.len() > 1 => drop(replies.remove(replies.len() - 2)),
        3 if one_in(20) => replies.truncate(replies.len() - 1),
        _ => {}
    });
    liar.infos(move |info| {
        if one_in(4) {
            // The leader has just changed.
            info["cluster"]["leader"] = "".into();
            info["state"]["last_seq"] = 1.into();
        }
    });
    let outcomes = (0..100_000).map(|_| match fastrand::u16(..1000) {
        0..5 => Outcome::AckLost,
        5..10 => Outcome::Lost,
        10..20 => Outcome::Frozen,
        20..40 => Outcome::InProcess,
        40..60 => Outcome::NoResponders,
        60..65 => Outcome::StoredAndHungUp,
        65..70 => Outcome::HungUp,
        _ => Outcome::Stored,
    });
    liar.publishes(outcomes);
}

mod live {
    super::promises! { super::with_its_log:
        offsets_strictly_increase,
        the_feed_brings_each_publication_once_and_in_order,
        a_publication_arrives_as_it_was_published,
        a_room_is_fed_until_its_last_close,
        the_cut_is_exact_while_others_publish,
    }
}

mod stored {
    super::promises! { super::from_the_stream:
        a_join_recovers_exactly_what_was_missed,
        a_room_can_be_resumed_from_before_its_first_publication,
        a_new_room_is_recovered_from_the_beginning,
        the_cut_is_exact_while_others_publish,
        history_pages_forward,
        history_pages_backward,
        rooms_do_not_see_each_other,
    }
}
