//! The operator, installed once for all tests by its chart, as a user does it.

use serde_json::json;
use tokio::sync::{Mutex, MutexGuard, OnceCell};

use super::{Namespace, Said, kill_9, kubectl, run, until, until_some};
use crate::metrics::Metrics;

/// Where the operator runs.
pub const NAMESPACE: &str = "natter-operator";

const PODS: &str = "app.kubernetes.io/name=natter-operator";
const LEASE: &str = "natter";

/// Installs the chart, or upgrades it to that of this checkout, and waits until the operator is ready.
pub async fn installed() {
    static INSTALLED: OnceCell<()> = OnceCell::const_new();
    INSTALLED.get_or_init(install).await;
}

async fn install() {
    kubectl(&["create", "namespace", NAMESPACE]).await;
    let restricted = "pod-security.kubernetes.io/enforce=restricted";
    kubectl(&["label", "namespace", NAMESPACE, restricted, "--overwrite"])
        .await
        .succeeded();
    upgraded("").await;
}

/// Upgrades the chart: to the images of these tests, and more values.
pub async fn upgraded(more: &str) {
    let chart = concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/natter");
    let images = "image.tag=test,defaults.chatNode.image=natter.dev/chat-node:test";
    let mut words = vec!["upgrade", "--install", "natter", chart, "--set", images];
    if !more.is_empty() {
        words.extend(["--set", more]);
    }
    words.extend(["--wait", "--timeout", "120s"]);
    helm(&words).await.succeeded();
}

/// Runs `helm` in the operator's namespace.
pub async fn helm(words: &[&str]) -> Said {
    run("helm", &[&["--namespace", NAMESPACE], words].concat(), "").await
}

/// For tests that stop the operator, or change it: those that need it to themselves come one after the other.
pub async fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::const_new(());
    let alone = ALONE.lock().await;
    installed().await;
    if pods().await.is_empty() {
        // A test that failed has left it stopped.
        upgraded("").await;
    }
    alone
}

/// Stops the operator, until the chart is upgraded again.
pub async fn stopped() {
    upgraded("replicas=0").await;
    until("no operator", async || {
        namespace().list("pods", PODS).await.is_empty()
    })
    .await;
}

/// Ends the process that leads, as `kill -9` does, and waits until Kubernetes has started it anew.
pub async fn kill_leader() {
    let before = restarts().await;
    let leader = until_some("the operator to lead", async || {
        let (leader, pods) = (holder().await, pods().await);
        pods.contains(&leader).then_some(leader)
    })
    .await;
    kill_9(&namespace(), &leader).await;
    until("the operator's process to be another", async || {
        restarts().await > before
    })
    .await;
}

/// The operator's own namespace.
pub fn namespace() -> Namespace {
    Namespace::existing(NAMESPACE)
}

/// Names of the operator's pods that are not on their way out.
pub async fn pods() -> Vec<String> {
    namespace().pods(PODS).await
}

/// How often the operator's containers have been started anew.
pub async fn restarts() -> u64 {
    let pods = namespace().list("pods", PODS).await;
    let counts = pods
        .iter()
        .map(|pod| pod["status"]["containerStatuses"][0]["restartCount"].as_u64());
    counts.flatten().sum()
}

/// Who leads.
pub async fn holder() -> String {
    let lease = namespace().get("lease", LEASE).await;
    let holder =
        lease.and_then(|lease| lease["spec"]["holderIdentity"].as_str().map(str::to_owned));
    holder.unwrap_or_default()
}

/// What the operator that leads counts; `None` while none does, or it does not answer.
pub async fn metrics() -> Option<Metrics> {
    let leader = holder().await;
    if leader.is_empty() {
        return None;
    }
    let path = format!("/api/v1/namespaces/{NAMESPACE}/pods/{leader}:9090/proxy/metrics");
    let said = kubectl(&["get", "--raw", &path]).await;
    let metrics = said.ok.then_some(Metrics(said.stdout))?;
    (metrics.get("natter_operator_leader") == Some(1.0)).then_some(metrics)
}

/// Kills the operator that leads, and waits until another one does.
pub async fn killed() {
    let leader = until_some("the operator to lead", async || {
        metrics().await?;
        Some(holder().await)
    })
    .await;
    let words = ["delete", "pod", &leader, "--grace-period=0", "--force"];
    namespace().kubectl(&words).await.succeeded();
    until_some("another operator to lead", async || {
        (holder().await != leader).then_some(())?;
        metrics().await
    })
    .await;
}

/// Writes somebody else into the lease, who will never renew it.
pub async fn give_lease_to(identity: &str) {
    until_some("the operator to lead", async || {
        (!holder().await.is_empty()).then_some(())
    })
    .await;
    let patch = json!({"spec": {"holderIdentity": identity}}).to_string();
    let words = ["patch", "lease", LEASE, "--type=merge", "--patch", &patch];
    namespace().kubectl(&words).await.succeeded();
}
