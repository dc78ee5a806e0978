//! Rollouts while people chat, at full size: nothing is lost, doubled or reordered, and nobody is refused.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use natter_tests::checker::Rules;
use natter_tests::kubernetes::chat_service::{NODES, SERVERS, condition};
use natter_tests::kubernetes::{ClientPod, Namespace};
use natter_tests::wait::until_some_within;
use natter_tests::workload::{Progress, Workload};
use serde_json::{Value, json};

/// Three servers, and nodes whose drains are over in a while.
const LOBBY: &str = "replicas: 3, disruption: {drainSeconds: 20}";

/// Addresses that the load comes from; kube-proxy remembers a hundred for each pod.
const CLIENTS: u8 = 60;

/// How long one rollout may take under load. NATS servers are restarted one at a time, each after 30 s of calm.
const ROLLED_OUT: Duration = Duration::from_secs(600);

/// Between two looks at pods: every look costs CPU that the load could use.
const LOOK: Duration = Duration::from_secs(1);

fn workload() -> Workload {
    let messages = Workload::messages_wanted().unwrap_or(100_000);
    Workload {
        rooms: 20,
        sessions: 120,
        rooms_per_session: 3,
        publishers: 40,
        messages,
        messages_per_second: 250.0,
        stay: Some(Duration::from_secs(10)),
        deadline: 2 * ROLLED_OUT + Duration::from_secs(messages as u64 / 50),
        ..Workload::default()
    }
}

/// What replaces all pods of one kind.
struct Rollout {
    name: &'static str,
    pods: &'static str,
    change: Change,
}

enum Change {
    /// Of the ChatService's spec.
    Spec(Value),
    /// `kubectl rollout restart`, which the operator is not asked about.
    Restart,
}

fn rollouts() -> [Rollout; 4] {
    let note = json!({"metadata": {"annotations": {"example.com/note": "another template"}}});
    [
        Rollout {
            name: "nodes to another image",
            pods: NODES,
            change: Change::Spec(json!({"image": "natter.dev/chat-node:next"})),
        },
        Rollout {
            name: "nodes back to the image of before",
            pods: NODES,
            change: Change::Spec(json!({"image": null})),
        },
        Rollout {
            name: "NATS servers to another template",
            pods: SERVERS,
            change: Change::Spec(json!({"nats": {"managed": {"podTemplate": note}}})),
        },
        Rollout {
            name: "nodes by kubectl rollout restart",
            pods: NODES,
            change: Change::Restart,
        },
    ]
}

impl Rollout {
    /// Carries it out, until none of the pods of before is left.
    async fn carry_out(&self, namespace: &Namespace) {
        let before = namespace.list("pods", self.pods).await;
        match &self.change {
            Change::Spec(spec) => namespace.patch_chat_service("lobby", spec).await,
            Change::Restart => {
                let restart = ["rollout", "restart", "deployment/lobby-nodes"];
                namespace.kubectl(&restart).await.succeeded();
            }
        }
        let old: BTreeSet<_> = before.iter().map(uid).collect();
        let what = format!("the rollout of {}", self.name);
        until_some_within(ROLLED_OUT, LOOK, &what, async || {
            let pods = namespace.list("pods", self.pods).await;
            let is_over = pods.len() == before.len()
                && pods
                    .iter()
                    .all(|pod| condition(pod, "Ready")["status"] == "True")
                && pods.iter().all(|pod| !old.contains(&uid(pod)));
            is_over.then_some(())
        })
        .await;
        // The operator has seen it too.
        namespace
            .until_reason("lobby", "Progressing", "Complete")
            .await;
    }
}

fn uid(pod: &Value) -> String {
    let uid = pod["metadata"]["uid"].as_str();
    uid.expect("every pod has a uid").to_owned()
}

#[tokio::test]
#[ignore = "takes ten minutes and a Kubernetes: make e2e-full"]
async fn rollouts_under_load_lose_double_and_reorder_nothing() {
    let namespace = Namespace::new("load").await;
    namespace.chat_service("lobby", LOBBY).await;
    let entrances = namespace.entrances("lobby", CLIENTS).await;
    let (workload, rollouts) = (workload(), rollouts());
    let mut figures = Vec::new();
    let outcome = workload.run(&entrances, async |progress: &Progress| {
        for (number, rollout) in rollouts.iter().enumerate() {
            let share = (number + 1) as f64 / (rollouts.len() + 1) as f64;
            progress.reaches(share).await;
            progress.take_longest_pause();
            let begun = Instant::now();
            rollout.carry_out(&namespace).await;
            progress.goes_on().await;
            figures.push((begun.elapsed(), progress.take_longest_pause()));
        }
    });
    let outcome = outcome.await;
    for (rollout, (took, pause)) in rollouts.iter().zip(&figures) {
        println!(
            "{}: {took:.1?}, longest pause without an acknowledgement {pause:.2?}",
            rollout.name
        );
    }
    // A server that is told to stop hands over first, so not even what nobody knows of may come late.
    let report = outcome.assert_clean(&Rules::default());
    assert_eq!(report.refused, 0, "{report}");
    assert!(report.acked >= workload.messages / 10 * 9, "{report}");
    assert!(report.recovered > 0, "{report}");
    let ended = |how: &str| {
        let ends = outcome.ends.iter().filter(|(end, _)| end.contains(how));
        ends.map(|(_, count)| count).sum::<usize>()
    };
    assert!(
        ended("closed with 3001") > 0,
        "no drain met anybody: {outcome}"
    );
    assert_eq!(ended("no connection"), 0, "somebody was refused: {outcome}");
}

#[tokio::test]
#[ignore = "takes a Kubernetes: make e2e-full"]
async fn rollouts_refuse_none_of_ten_thousand() {
    const PODS: u32 = 5;
    const OF_EACH: u32 = 2000;
    const SECONDS: u32 = 60;
    const TARGET: &str = "lobby:8080";
    let namespace = Namespace::new("refused").await;
    namespace.chat_service("lobby", LOBBY).await;
    // Pods on several machines, each of which has a kube-proxy that hears of nodes in its own time.
    let mut clients = Vec::new();
    for number in 0..PODS {
        let name = format!("client-{number}");
        clients.push(ClientPod::start(&namespace, &name, TARGET).await);
    }
    let knocks = clients
        .iter()
        .map(|client| client.knock(&namespace, TARGET, OF_EACH, SECONDS));
    let [to_another, back, ..] = rollouts();
    let (begun, knocking) = (Instant::now(), Duration::from_secs(SECONDS.into()));
    let (knocked, rolled) = tokio::join!(futures_util::future::join_all(knocks), async {
        let mut rolled = Vec::new();
        for rollout in [to_another, back].iter().cycle() {
            let begun_this = Instant::now();
            rollout.carry_out(&namespace).await;
            rolled.push(begun_this.elapsed());
            if begun.elapsed() >= knocking {
                break;
            }
        }
        rolled
    });
    let opened: u64 = numbers(&knocked, "opened").sum();
    let slowest = numbers(&knocked, "slowest_ms").max().unwrap_or(0);
    println!(
        "{opened} sessions opened in {SECONDS} s, the slowest in {slowest} ms; rollouts meanwhile: {rolled:.1?}"
    );
    for said in &knocked {
        assert_eq!(said["failures"], json!({}), "{knocked:?}");
    }
    assert_eq!(opened, u64::from(PODS * OF_EACH));
}

/// A number of each of the reports.
fn numbers(reports: &[Value], name: &str) -> impl Iterator<Item = u64> {
    reports.iter().filter_map(move |it| it[name].as_u64())
}
