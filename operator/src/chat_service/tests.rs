//! Reconciles against an API server in memory: what stands there afterwards.

use serde_json::{Value, json};

use super::validate::Images;
use super::*;
use crate::fake_api::FakeApi;
use crate::fixtures::{SMALLEST, lobby};
use crate::metrics::Metrics;

const DEPLOYMENT: &str = "/apis/apps/v1/namespaces/chat/deployments/lobby-nodes";

struct Cluster {
    api: FakeApi,
    context: Arc<Context>,
}

impl Cluster {
    fn start() -> Self {
        let (api, client) = FakeApi::start();
        let images = Images {
            chat_node: "chat-node:1".to_owned(),
            nats: "nats:2.15.2".to_owned(),
        };
        let metrics = Metrics::new().unwrap();
        let context = Context::new(client, images, metrics, "test");
        Self { api, context }
    }

    /// Reconciles; the watches have told of everything.
    async fn reconcile(&self, spec: &str) -> Report {
        children::tests::show(&self.context.children, |kind| {
            let plural = fetch::resource(kind).plural;
            self.api.objects(&format!("/namespaces/chat/{plural}/"))
        });
        self.look(spec).await
    }

    /// The same while the watches are late.
    async fn look(&self, spec: &str) -> Report {
        let mut report = Report::default();
        let result = carry_out(&lobby(spec), &self.context, &mut report).await;
        result.unwrap();
        report
    }

    fn deployment(&self) -> Value {
        self.api.objects(DEPLOYMENT)[0]["spec"].clone()
    }

    /// The hash that new pods have.
    fn hash(&self) -> Value {
        self.deployment()["template"]["metadata"]["annotations"]["natter.dev/restart-hash"].clone()
    }

    fn pace(&self) -> (Value, Value) {
        let spec = self.deployment();
        let surge = spec["strategy"]["rollingUpdate"]["maxSurge"].clone();
        (surge, spec["minReadySeconds"].clone())
    }

    /// Starts a node, as the Deployment's controller would.
    fn node(&self, name: &str, is_ready: bool) {
        let status = if is_ready { "True" } else { "False" };
        let pod = json!({
            "metadata": {
                "name": name, "uid": name, "labels": {"app.kubernetes.io/component": "nodes"},
                "annotations": {"natter.dev/restart-hash": self.hash()},
            },
            "status": {"conditions": [
                {"type": "Ready", "status": status, "lastTransitionTime": "2026-01-01T00:00:00Z"},
            ]},
        });
        self.api.put(&pod_path(name), pod);
    }

    fn live_hash(&self, name: &str) -> Value {
        let pod = &self.api.objects(&pod_path(name))[0];
        pod["metadata"]["annotations"]["natter.dev/live-hash"].clone()
    }

    /// Requests that change something, but for events.
    fn writes(&self) -> Vec<String> {
        let requests = self.api.take_requests().into_iter();
        let writes = requests.filter(|it| !it.starts_with("GET") && !it.contains("/events"));
        writes.collect()
    }
}

fn pod_path(name: &str) -> String {
    format!("/api/v1/namespaces/chat/pods/{name}")
}

#[tokio::test]
async fn a_second_look_writes_nothing() {
    let cluster = Cluster::start();
    cluster.reconcile(SMALLEST).await;
    cluster.node("a", true);
    cluster.reconcile(SMALLEST).await;
    cluster.writes();
    cluster.reconcile(SMALLEST).await;
    assert_eq!(cluster.writes(), [""; 0]);
}

#[tokio::test]
async fn a_second_look_reads_only_what_changes_by_itself() {
    let cluster = Cluster::start();
    cluster.reconcile(SMALLEST).await;
    cluster.api.take_requests();
    cluster.reconcile(SMALLEST).await;
    let look = [
        "/statefulsets/lobby-nats",
        "/deployments/lobby-nodes",
        "/pods",
        "/secrets/lobby-nats",
    ];
    let requests = cluster.api.take_requests();
    assert_eq!(requests.len(), look.len(), "{requests:?}");
    for (request, path) in requests.iter().zip(look) {
        let is_read = request.starts_with("GET ") && request.ends_with(path);
        assert!(is_read, "{request}");
    }

    // What somebody changed is read, and put back.
    let config = "/api/v1/namespaces/chat/configmaps/lobby-nodes";
    let (read, written) = (format!("GET {config}"), format!("PATCH {config}"));
    let before = cluster.api.objects(config)[0]["data"].clone();
    let nothing = json!({"natter.yaml": ""});
    cluster.api.edit(config, |it| it["data"] = nothing);
    cluster.reconcile(SMALLEST).await;
    let requests = cluster.api.take_requests();
    assert!(requests.contains(&read), "{requests:?}");
    assert!(requests.contains(&written), "{requests:?}");
    assert_eq!(cluster.api.objects(config)[0]["data"], before);

    // What a watch has not told of yet is looked for by its name, and not written again.
    let children = &cluster.context.children;
    children.take(Kind::ConfigMap, &watcher::Event::Init);
    children.take(Kind::ConfigMap, &watcher::Event::InitDone);
    cluster.look(SMALLEST).await;
    let requests = cluster.api.take_requests();
    assert!(requests.contains(&read), "{requests:?}");
    assert!(!requests.contains(&written), "{requests:?}");
}

#[tokio::test]
async fn another_image_is_tried_on_one_node_then_all_new_ones_start_then_old_ones_end() {
    let cluster = Cluster::start();
    let report = cluster.reconcile(SMALLEST).await;
    assert_eq!(report.rollout.phase, Phase::Free, "the first start");
    assert_eq!(cluster.pace(), (json!("100%"), json!(0)));
    cluster.node("a", true);
    cluster.node("b", true);

    let other = "{auth: {allowAnonymous: true}, image: 'chat-node:2'}";
    cluster.reconcile(other).await;
    assert_eq!(cluster.pace(), (json!(1), json!(300)));
    assert_eq!(
        cluster.deployment()["template"]["spec"]["containers"][0]["image"],
        "chat-node:2"
    );
    cluster.node("c", false);
    let report = cluster.reconcile(other).await;
    assert_eq!(report.rollout.phase, Phase::Canary);
    assert_eq!(
        report.rollout.waits_for.as_deref(),
        Some("c is not ready yet")
    );
    assert_eq!(next_look(&report), Duration::from_secs(2));
    assert_eq!(cluster.pace(), (json!(1), json!(300)));

    cluster.node("c", true);
    cluster.reconcile(other).await;
    assert_eq!(cluster.pace(), (json!("100%"), json!(300)));
    cluster.node("d", true);
    let report = cluster.reconcile(other).await;
    assert_eq!(report.rollout.phase, Phase::Free);
    assert_eq!(cluster.pace(), (json!("100%"), json!(0)));
}

#[tokio::test]
async fn a_room_class_reaches_running_nodes_and_restarts_none() {
    let cluster = Cluster::start();
    cluster.reconcile(SMALLEST).await;
    cluster.node("a", true);
    cluster.reconcile(SMALLEST).await;
    let (hash, before) = (cluster.hash(), cluster.live_hash("a"));
    assert!(before.is_string(), "a node that has just started is marked");
    cluster.writes();

    let class = "{auth: {allowAnonymous: true}, roomClasses: [{prefix: chat}]}";
    cluster.reconcile(class).await;
    let config = "PATCH /api/v1/namespaces/chat/configmaps/lobby-nodes".to_owned();
    assert_eq!(
        cluster.writes(),
        [config, format!("PATCH {}", pod_path("a"))]
    );
    assert_ne!(cluster.live_hash("a"), before);
    assert_eq!(cluster.hash(), hash);
}

#[test]
fn what_is_not_ready_is_looked_at_again_soon() {
    let workload = |ready| Workload {
        wanted: 2,
        ready,
        ..Workload::default()
    };
    let report = |nodes, servers| Report {
        nodes: Some(workload(nodes)),
        nats: Nats::Managed(workload(servers)),
        ..Report::default()
    };
    let soon = Duration::from_secs(10);
    assert_eq!(next_look(&report(1, 2)), soon);
    assert_eq!(next_look(&report(2, 1)), soon);
    assert!(next_look(&report(2, 2)) >= Duration::from_secs(600));
}

#[tokio::test]
async fn nothing_moves_while_it_is_paused() {
    let cluster = Cluster::start();
    cluster.reconcile(SMALLEST).await;
    cluster.node("a", true);
    cluster.writes();
    let report = cluster
        .reconcile("{auth: {allowAnonymous: true}, image: 'chat-node:2', paused: true}")
        .await;
    assert!(report.paused);
    assert_eq!(cluster.writes(), [""; 0]);
}
