//! A thousand ChatServices on one cluster: what they cost the operator when they are made, when nothing changes, and when it
//! starts anew. `make e2e-full` runs this. NATTER_SERVICES: how many, if not a thousand.
//!
//! Everything is real but the machines that the chat nodes run on: kwok says that their pods are ready. So nobody answers when the
//! operator asks a node for its connections. NATS is one real server, with an account and the stream of each service.

#[path = "kubernetes_full_thousand/costs.rs"]
mod costs;
#[path = "kubernetes_full_thousand/crowd.rs"]
mod crowd;

use std::time::{Duration, Instant};

use natter_tests::kubernetes::operator;
use serde_json::json;

use costs::{Peak, counted, settled};
use crowd::Crowd;

/// How long nothing may happen.
const QUIET: Duration = Duration::from_secs(120);

/// Of these services, the one that is edited.
const EDITED: usize = 7;

#[tokio::test]
#[ignore = "needs a Kubernetes: make e2e-full"]
async fn a_thousand_services_fit_into_200_mb_and_are_quiet_when_nothing_changes() {
    let services = std::env::var("NATTER_SERVICES").map_or(1000, |count| {
        count.parse().expect("NATTER_SERVICES is a number")
    });
    let _alone = operator::alone().await;
    let mut crowd = Crowd::start(services).await;
    // One that has done nothing yet.
    operator::killed().await;

    for (count, megabytes) in [(10, 60), (100, 200), (services, 200)] {
        let peak = Peak::watch();
        let begun = Instant::now();
        crowd.grow_to(count.min(services)).await;
        let time = begun.elapsed();
        let now = settled().await;
        let peak = peak.end().await;
        println!(
            "{count} services: ready {:.0} s after the first was asked for; memory {:.1} MB, at most {:.1} MB; since its start {now}",
            time.as_secs_f64(),
            now.megabytes(),
            peak,
        );
        assert!(
            peak < f64::from(megabytes),
            "{peak} MB for {count} services"
        );
    }

    let (before, versions) = (counted().await, crowd.versions().await);
    tokio::time::sleep(QUIET).await;
    let spent = counted().await.since(&before);
    println!(
        "quiet for {} s, memory {:.1} MB: {spent}",
        QUIET.as_secs(),
        spent.megabytes()
    );
    assert_eq!(crowd.versions().await, versions, "nothing changes");
    assert_eq!(spent.writes(), 0, "{spent}");
    // Only looks that are due after ten minutes read anything, a service's Deployment, pods and Secret.
    assert!(spent.reads() <= 3 * spent.reconciles(), "{spent}");
    assert!(spent.reconciles() <= services as u64 / 2, "{spent}");

    // One edit touches one service.
    let before = counted().await;
    let class = json!({"roomClasses": [{"prefix": "chat"}]});
    crowd.edit(EDITED, &class).await;
    let spent = settled().await.since(&before);
    println!("one edit: {spent}");
    let after = crowd.versions().await;
    let name = Crowd::name(EDITED);
    let changed = after.difference(&versions);
    let (mine, others): (Vec<_>, Vec<_>) = changed.partition(|it| it.contains(&name));
    assert!(!mine.is_empty() && others.is_empty(), "{mine:?} {others:?}");

    // An operator that starts anew looks at all of them, and changes nothing.
    let begun = Instant::now();
    operator::killed().await;
    let led = begun.elapsed();
    let peak = Peak::watch();
    costs::reconciled(services as u64).await;
    let time = begun.elapsed();
    let now = settled().await;
    let peak = peak.end().await;
    println!(
        "killed: another leads after {:.0} s and has looked at all after {:.0} s; memory {:.1} MB, at most {peak:.1} MB; {now}",
        led.as_secs_f64(),
        time.as_secs_f64(),
        now.megabytes(),
    );
    assert!(peak < 200.0, "{peak} MB after a restart");
    assert_eq!(crowd.versions().await, after, "a restart changes nothing");
}
