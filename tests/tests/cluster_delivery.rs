//! Nothing acknowledged is lost, doubled or reordered while servers and nodes are killed, frozen and cut off.
//!
//! Every fault is a test at a small size. `make chaos` runs the same at a size at which rare holes show.

use std::ops::Range;
use std::time::Duration;

use natter_tests::checker::{Report, Rules};
use natter_tests::cluster::{self, ready};
use natter_tests::links::Way;
use natter_tests::node::Signal;
use natter_tests::script::installed;
use natter_tests::workload::{Progress, Workload};
use natter_tests::{Cluster, Nats};

/// How much is published and how often the fault happens meanwhile.
struct Size {
    workload: Workload,
    rounds: usize,
}

impl Size {
    /// As many messages as `NATTER_CHAOS_MESSAGES` says; without it, what suits a test among others.
    fn from_environment() -> Self {
        match Workload::messages_wanted() {
            Some(messages) => Self {
                workload: Workload {
                    rooms: 64,
                    sessions: 200,
                    rooms_per_session: 4,
                    publishers: 80,
                    messages,
                    messages_per_second: 800.0,
                    deadline: Duration::from_secs(300 + messages as u64 / 50),
                    ..Workload::default()
                },
                rounds: 8,
            },
            None => Self {
                workload: Workload {
                    messages: 1500,
                    messages_per_second: 150.0,
                    ..Workload::default()
                },
                rounds: 1,
            },
        }
    }
}

/// A frozen, full or isolated server may yet store a message whose publisher was told "unknown" and went on.
const LATE: Rules = Rules {
    losses: Vec::new(),
    late_unknowns: true,
};

const STRICT: Rules = Rules {
    losses: Vec::new(),
    late_unknowns: false,
};

fn cluster() -> cluster::Start {
    // A frozen node shows soon.
    let flags = ["--ping-interval", "6s", "--pong-timeout", "5s"];
    Cluster::with(3, 3).flags(&flags)
}

/// Does harm to a cluster in use, several times, and checks what its clients saw.
async fn survives(rules: Rules, fault: impl AsyncFnMut(&mut Cluster, &Progress, usize)) -> Report {
    let size = Size::from_environment();
    survives_under(size, cluster(), rules, fault).await
}

async fn survives_under(
    Size { workload, rounds }: Size,
    cluster: cluster::Start,
    rules: Rules,
    mut fault: impl AsyncFnMut(&mut Cluster, &Progress, usize),
) -> Report {
    let mut cluster = cluster.start().await;
    let addresses = cluster.addresses();
    let outcome = workload.run(&addresses, async |progress: &Progress| {
        for round in 0..rounds {
            progress
                .reaches((round + 1) as f64 / (rounds + 1) as f64)
                .await;
            fault(&mut cluster, progress, round).await;
            progress.goes_on().await;
        }
    });
    let outcome = outcome.await;
    let report = outcome.assert_clean(&rules);
    assert_eq!(report.refused, 0, "{report}");
    assert!(report.acked >= workload.messages / 2, "{report}");
    assert!(report.recovered > 0, "{report}");
    report
}

/// Kills a server, and lets the cluster do without it for a while.
async fn kill_and_restart(cluster: &mut Cluster, server: usize) {
    cluster.nats[server].kill();
    pause(3).await;
    cluster.nats[server].restart().await;
    cluster.nats.healthy().await;
}

/// How long a fault lasts, where time is what it consists of.
async fn pause(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

#[tokio::test]
async fn nothing_happens() {
    survives(STRICT, async |_, _, _| {}).await;
}

#[tokio::test]
async fn kill_of_the_server_that_leads_a_stream() {
    survives(STRICT, async |cluster, _, _| {
        let leader = cluster.nats.leader(&cluster.some_stream()).await;
        kill_and_restart(cluster, leader).await;
    })
    .await;
}

#[tokio::test]
async fn kill_of_the_server_that_leads_a_stream_while_publishers_do_not_wait() {
    let Size { workload, rounds } = Size::from_environment();
    let workload = Workload {
        in_flight: 8,
        messages: workload.messages * 2,
        messages_per_second: workload.messages_per_second * 2.0,
        ..workload
    };
    let size = Size { workload, rounds };
    survives_under(size, cluster(), STRICT, async |cluster, _, _| {
        let leader = cluster.nats.leader(&cluster.some_stream()).await;
        kill_and_restart(cluster, leader).await;
    })
    .await;
}

#[tokio::test]
async fn kill_of_a_server_that_follows() {
    survives(STRICT, async |cluster, _, _| {
        let follower = cluster.nats.follower(&cluster.some_stream()).await;
        kill_and_restart(cluster, follower).await;
    })
    .await;
}

#[tokio::test]
async fn kill_of_a_server_whose_disk_is_lost() {
    survives(STRICT, async |cluster, _, round| {
        let server = round % 3;
        cluster.nats[server].kill();
        cluster.nats[server].wipe();
        cluster.nats[server].restart().await;
        cluster.nats.healthy().await;
    })
    .await;
}

#[tokio::test]
async fn kill_of_all_servers() {
    survives(STRICT, async |cluster, _, _| {
        for server in cluster.nats.iter_mut() {
            server.kill();
        }
        pause(2).await;
        for server in cluster.nats.iter_mut() {
            server.restart().await;
        }
        cluster.nats.healthy().await;
    })
    .await;
}

#[tokio::test]
async fn restart_of_one_server_after_the_other() {
    survives(STRICT, async |cluster, progress, _| {
        for server in 0..3 {
            cluster.nats[server].terminate().await;
            cluster.nats[server].restart().await;
            cluster.nats.healthy().await;
            progress.goes_on().await;
        }
    })
    .await;
}

#[tokio::test]
async fn lame_duck_of_one_server_after_the_other() {
    survives(STRICT, async |cluster, progress, _| {
        for server in 0..3 {
            cluster.nats[server].lame_duck();
            cluster.nats[server].exit().await;
            cluster.nats[server].restart().await;
            cluster.nats.healthy().await;
            progress.goes_on().await;
        }
    })
    .await;
}

#[tokio::test]
async fn kill_of_nodes() {
    survives(STRICT, async |cluster, progress, round| {
        for node in [round % 3, (round + 1) % 3] {
            cluster.nodes[node].kill();
            pause(1).await;
            cluster.nodes[node].restart().await;
            ready(&cluster.nodes[node]).await;
            progress.goes_on().await;
        }
    })
    .await;
}

#[tokio::test]
async fn restart_of_one_node_after_the_other() {
    survives(STRICT, async |cluster, progress, _| {
        for node in &mut cluster.nodes {
            node.signal(Signal::Terminate);
            node.exit().await;
            node.restart().await;
            ready(node).await;
            progress.goes_on().await;
        }
    })
    .await;
}

#[tokio::test]
async fn kill_of_a_node_and_a_server_at_once() {
    survives(STRICT, async |cluster, _, round| {
        let leader = cluster.nats.leader(&cluster.some_stream()).await;
        cluster.nodes[round % 3].kill();
        kill_and_restart(cluster, leader).await;
        cluster.nodes[round % 3].restart().await;
        ready(&cluster.nodes[round % 3]).await;
    })
    .await;
}

#[tokio::test]
async fn isolation_of_a_server() {
    survives(LATE, async |cluster, _, _| {
        let server = cluster.nats.leader(&cluster.some_stream()).await;
        cluster.nats.isolate(server, Way::Refused);
        pause(20).await;
        cluster.nats.isolate(server, Way::Open);
        cluster.nats.healthy().await;
    })
    .await;
}

#[tokio::test]
async fn silence_around_a_server() {
    survives(LATE, async |cluster, _, _| {
        let server = cluster.nats.leader(&cluster.some_stream()).await;
        cluster.nats.isolate(server, Way::Silent);
        pause(15).await;
        cluster.nats.isolate(server, Way::Open);
        cluster.nats.healthy().await;
    })
    .await;
}

#[tokio::test]
async fn cuts_between_servers() {
    survives(STRICT, async |cluster, _, _| {
        for cut in 0..6 {
            cluster.nats.cut(cut % 3, (cut + 1) % 3);
            pause(2).await;
        }
        cluster.nats.healthy().await;
    })
    .await;
}

#[tokio::test]
async fn cuts_between_nodes_and_servers() {
    survives(STRICT, async |cluster, progress, _| {
        for server in [0, 1, 2, 0, 1, 2] {
            cluster.nats[server].clients.cut();
            progress.goes_on().await;
        }
    })
    .await;
}

#[tokio::test]
async fn freeze_of_the_server_that_leads_a_stream() {
    survives(LATE, async |cluster, _, _| {
        let leader = cluster.nats.leader(&cluster.some_stream()).await;
        cluster.nats[leader].freeze().await;
        pause(15).await;
        cluster.nats[leader].thaw();
        cluster.nats.healthy().await;
    })
    .await;
}

#[tokio::test]
async fn freeze_of_a_node() {
    survives(LATE, async |cluster, _, round| {
        let node = &cluster.nodes[round % 3];
        node.freeze().await;
        pause(15).await;
        node.signal(Signal::Continue);
    })
    .await;
}

#[tokio::test]
async fn full_disk_of_a_server() {
    let cluster = cluster().disk_megabytes(192);
    survives_under(
        Size::from_environment(),
        cluster,
        LATE,
        async |cluster, progress, round| {
            let server = &mut cluster.nats[round % 3];
            server.fill_disk();
            server.logged("no space left on device").await;
            progress.goes_on().await;
            // A server that ran out of space does without its store until it is started anew.
            server.free_disk();
            server.restart().await;
            cluster.nats.healthy().await;
        },
    )
    .await;
}

#[tokio::test]
async fn jumps_of_the_nodes_clocks() {
    let folder = tempfile::tempdir().expect("there is a place for temporary files");
    let clock = folder.path().join("clock");
    let jump = |offset: &str| {
        // Replaced as a whole: a node reads it at any time.
        let next = folder.path().join("next");
        std::fs::write(&next, offset).expect("the temporary folder can be written to");
        std::fs::rename(&next, &clock).expect("the temporary folder can be written to");
    };
    jump("+0");
    let library = installed("target/tools/libfaketimeMT.so.1");
    let cluster = cluster()
        .env("LD_PRELOAD", &library.display().to_string())
        .env("FAKETIME_TIMESTAMP_FILE", &clock.display().to_string())
        .env("FAKETIME_CACHE_DURATION", "1")
        // The monotonic clock does not jump.
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    survives_under(
        Size::from_environment(),
        cluster,
        STRICT,
        async |cluster, progress, _| {
            for (offset, skews) in [("+3600", true), ("-86400", true), ("+0", false)] {
                jump(offset);
                for node in &cluster.nodes {
                    let series = r#"natter_nats_troubles{kind="clock_skew"}"#;
                    node.metric_becomes(series, f64::from(skews)).await;
                }
                progress.goes_on().await;
            }
        },
    )
    .await;
}

#[tokio::test]
async fn streams_that_are_deleted_and_recreated_begin_a_new_epoch() {
    let Size { workload, .. } = Size::from_environment();
    let mut loss: Range<Duration> = Duration::ZERO..Duration::ZERO;
    let cluster = cluster().start().await;
    let nats = Nats::connect(&cluster.nats).await;
    let addresses = cluster.addresses();
    let outcome = workload.run(&addresses, async |progress: &Progress| {
        progress.reaches(0.5).await;
        loss.start = progress.now();
        for shard in 0..cluster.shards {
            nats.delete_stream(&Cluster::stream(shard)).await;
        }
        pause(3).await;
        cluster.init(&["--recreate-missing"]).await;
        loss.end = progress.now();
        progress.goes_on().await;
        pause(5).await;
    });
    let outcome = outcome.await;
    let rules = Rules {
        losses: vec![loss],
        ..STRICT
    };
    let report = outcome.assert_clean(&rules);
    assert_eq!(report.epochs, 2, "{report}");
    assert!(report.unrecovered > 0, "{report}");
}
