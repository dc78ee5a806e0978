//! Nothing lost, nothing doubled, one order: many sessions on one node, checked message by message.

use std::time::Duration;

use natter_tests::checker::Rules;
use natter_tests::node::Signal;
use natter_tests::workload::{Progress, Workload};
use natter_tests::{NO_RATES, Node};

/// A node that keeps all that a test publishes.
async fn node() -> Node {
    let keep_all = [
        "--history-max-messages",
        "100000",
        "--history-max-bytes",
        "100000000",
        "--ping-interval",
        "2s",
        "--pong-timeout",
        "1500ms",
    ];
    Node::start(&[&NO_RATES[..], &keep_all].concat()).await
}

fn workload() -> Workload {
    Workload {
        messages: 3000,
        messages_per_second: 600.0,
        stay: Some(Duration::from_secs(1)),
        ..Workload::default()
    }
}

#[tokio::test]
async fn sessions_that_come_and_go_see_every_message_once() {
    let node = node().await;
    let outcome = workload().run(&[node.address], async |_| {}).await;
    let report = outcome.assert_clean(&Rules::default());
    assert!(report.acked > 2900, "{report}");
    assert!(report.resumes > 100, "{report}");
    assert!(report.recovered > 100, "{report}");
}

#[tokio::test]
async fn publishers_that_do_not_wait_for_answers_keep_their_order() {
    let node = node().await;
    let workload = Workload {
        in_flight: 16,
        messages_per_second: 1500.0,
        ..workload()
    };
    let outcome = workload.run(&[node.address], async |_| {}).await;
    outcome.assert_clean(&Rules::default());
}

#[tokio::test]
async fn a_node_that_freezes_loses_nothing() {
    let node = node().await;
    let freeze = async |progress: &Progress| {
        progress.reaches(0.3).await;
        node.freeze().await;
        // Longer than pings take.
        tokio::time::sleep(Duration::from_secs(7)).await;
        node.signal(Signal::Continue);
        progress.goes_on().await;
    };
    let outcome = workload().run(&[node.address], freeze).await;
    outcome.assert_clean(&Rules::default());
    assert!(outcome.longest_pause > Duration::from_secs(6), "{outcome}");
}

#[tokio::test]
async fn a_node_that_dies_takes_its_history_along_and_says_so() {
    let mut node = node().await;
    let address = node.address;
    let mut loss = Duration::ZERO..Duration::ZERO;
    let kill = async |progress: &Progress| {
        progress.reaches(0.5).await;
        loss.start = progress.now();
        node.restart().await;
        loss.end = progress.now();
        progress.goes_on().await;
    };
    let outcome = workload().run(&[address], kill).await;
    let rules = Rules {
        losses: vec![loss],
        ..Rules::default()
    };
    let report = outcome.assert_clean(&rules);
    assert_eq!(report.epochs, 2, "{report}");
    assert!(report.unrecovered > 10, "{report}");
}
