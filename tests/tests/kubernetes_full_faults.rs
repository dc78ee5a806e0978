//! Machines that are lost, and programs that are killed in the middle of what they do: each ends in the condition that
//! docs/operator.md has for it, loses nothing meanwhile, and is over when it is cured. `make e2e-full` runs these.

use std::collections::BTreeSet;

use natter_tests::Client;
use natter_tests::kubernetes::chat_service::{NODES, SERVERS, condition, is_ready};
use natter_tests::kubernetes::faults::{recovered, survives, tells, until_said};
use natter_tests::kubernetes::servers::{Servers, taken_one_by_one};
use natter_tests::kubernetes::{
    ClientPod, Machine, Namespace, kill_9, operator, until, until_some,
};
use serde_json::{Value, json};

/// Nodes that are told to end are gone soon.
const QUICK_DRAIN: &str = "disruption: {drainSeconds: 10}";

/// The same with one NATS server, where it is about nodes.
const ONE_SERVER: &str = "disruption: {drainSeconds: 10}, nats: {managed: {replicas: 1}}";

/// The image of chat nodes under another name.
const OTHER_IMAGE: &str = "natter.dev/chat-node:next";

/// A machine with a NATS server and none of these clients, and the server.
async fn machine_without(namespace: &Namespace, clients: &[ClientPod]) -> (Machine, String) {
    let mut taken = BTreeSet::new();
    for client in clients {
        let machine = Machine::of(namespace, &client.name).await;
        taken.insert(machine.name.clone());
    }
    for server in namespace.pods(SERVERS).await {
        let machine = Machine::of(namespace, &server).await;
        if !taken.contains(&machine.name) {
            return (machine, server);
        }
    }
    panic!("each of three servers is on a machine of two clients: {taken:?}");
}

/// The volume that a server has.
async fn volume_of(namespace: &Namespace, server: &str) -> Value {
    let claim = format!("data-{server}");
    let claim = namespace.get("persistentvolumeclaim", &claim).await;
    claim.expect("a server has a volume")["spec"]["volumeName"].clone()
}

/// What is said while one of three servers has no machine to run on.
async fn until_a_server_is_missed(namespace: &Namespace, server: &str) {
    let why = format!("2/3 NATS servers ready: {server} cannot be scheduled");
    let service = until_said(namespace, "NATSReady", "NotAllServersReady", &why).await;
    assert_eq!(condition(&service, "NATSReady")["status"], "True");
    until_said(namespace, "Degraded", "NotAllServersReady", &why).await;
    // Nodes that were there are replaced, and two servers are enough.
    namespace
        .until("chatservice", "lobby", "ready without it", is_ready)
        .await;
}

#[tokio::test]
#[ignore = "needs a Kubernetes to itself: make e2e-full"]
async fn a_machine_that_is_away_for_a_while_brings_its_server_and_volume_back() {
    let _alone = operator::alone().await;
    let namespace = Namespace::new("away").await;
    namespace.chat_service("lobby", QUICK_DRAIN).await;
    survives(&namespace, async |clients, progress| {
        let (mut machine, server) = machine_without(&namespace, clients).await;
        let volume = volume_of(&namespace, &server).await;
        tells(&namespace, "NotAllServersReady", async || {
            machine.lose(&namespace).await;
        })
        .await;
        until_a_server_is_missed(&namespace, &server).await;
        progress.goes_on().await;

        machine.comes_back().await;
        machine.uncordon().await;
        recovered(&namespace).await;
        assert_eq!(volume_of(&namespace, &server).await, volume);
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a Kubernetes to itself: make e2e-full"]
async fn a_machine_that_is_lost_with_its_volume_costs_no_message_and_no_quorum() {
    let _alone = operator::alone().await;
    let namespace = Namespace::new("lost").await;
    namespace.chat_service("lobby", QUICK_DRAIN).await;
    survives(&namespace, async |clients, progress| {
        let (mut machine, server) = machine_without(&namespace, clients).await;
        let volume = volume_of(&namespace, &server).await;
        tells(&namespace, "NotAllServersReady", async || {
            machine.lose(&namespace).await;
        })
        .await;
        until_a_server_is_missed(&namespace, &server).await;
        progress.goes_on().await;

        // As docs/operations.md has it: there is another machine, and then nobody waits for the old volume any more.
        machine.comes_back().await;
        let claim = ["delete", "persistentvolumeclaim", &format!("data-{server}")];
        namespace.kubectl(&claim).await.succeeded();
        let pod = ["delete", "pod", &server];
        namespace.kubectl(&pod).await.succeeded();
        machine.uncordon().await;
        recovered(&namespace).await;
        assert_ne!(volume_of(&namespace, &server).await, volume);

        // What came back empty counts: now another server is away, and one of the two that are left began with nothing.
        let mut machines = Machine::all().await;
        for machine in &mut machines {
            machine.cordon().await;
        }
        let others = namespace.pods(SERVERS).await;
        let other = others.iter().find(|&it| *it != server);
        let other = other.expect("there are three servers");
        let now = ["delete", "pod", other, "--grace-period=0", "--force"];
        tells(&namespace, "NotAllServersReady", async || {
            namespace.kubectl(&now).await.succeeded();
        })
        .await;
        until_a_server_is_missed(&namespace, other).await;
        progress.goes_on().await;
        for machine in &mut machines {
            machine.uncordon().await;
        }
        recovered(&namespace).await;
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a Kubernetes to itself: make e2e-full"]
async fn without_a_quorum_nothing_is_taken_and_nothing_is_lost() {
    let _alone = operator::alone().await;
    let namespace = Namespace::new("quorum").await;
    namespace.chat_service("lobby", QUICK_DRAIN).await;
    survives(&namespace, async |clients, progress| {
        let mut machines = Machine::all().await;
        for machine in &mut machines {
            machine.cordon().await;
        }
        tells(&namespace, "NatsNotReady", async || {
            let two = ["delete", "pod", "lobby-nats-0", "lobby-nats-1"];
            let now = ["--grace-period=0", "--force"];
            let said = namespace.kubectl(&[&two[..], &now].concat()).await;
            said.succeeded();
        })
        .await;
        until_said(
            &namespace,
            "Ready",
            "NatsNotReady",
            "1/3 NATS servers ready",
        )
        .await;
        let service = until_said(&namespace, "NATSReady", "NoQuorum", "1/3").await;
        assert_eq!(condition(&service, "NATSReady")["status"], "False");
        let mut client = Client::join_at(clients[0].address, "quiet").await;
        let message = json!({"channel": "quiet", "data": "nobody keeps it"});
        // Whoever is deleted by force may run on for a moment.
        until("nothing to be taken any more", async || {
            let reply = client.request("publish", message.clone()).await;
            reply["error"]["code"] == 100
        })
        .await;

        for machine in &mut machines {
            machine.uncordon().await;
        }
        recovered(&namespace).await;
        progress.goes_on().await;
    })
    .await;
}

/// A change that NATS servers get by a restart.
fn restarting() -> Value {
    let annotations = json!({"test": fastrand::u32(..).to_string()});
    json!({"nats": {"managed": {"podTemplate": {"metadata": {"annotations": annotations}}}}})
}

/// Waits until one of three servers has the newest settings, and returns those that do not.
async fn half_way(namespace: &Namespace, before: &Servers) -> Vec<String> {
    let one_of_three = |service: &Value| {
        let operation = service["status"]["nats"]["operation"].as_str();
        operation.unwrap_or_default().starts_with("Rollout 1/3")
    };
    namespace
        .until(
            "chatservice",
            "lobby",
            "at one of three servers",
            one_of_three,
        )
        .await;
    Servers::of(namespace).await.same_as(before)
}

/// Each was taken once.
fn assert_each_once(mut taken: Vec<String>) {
    taken.sort_unstable();
    assert_eq!(taken, ["lobby-nats-0", "lobby-nats-1", "lobby-nats-2"]);
}

#[tokio::test]
#[ignore = "needs a Kubernetes to itself: make e2e-full"]
async fn a_server_that_is_killed_in_a_rollout_of_the_servers_holds_it_up_and_no_more() {
    let _alone = operator::alone().await;
    let namespace = Namespace::new("nats-kill").await;
    namespace.chat_service("lobby", QUICK_DRAIN).await;
    survives(&namespace, async |_, _| {
        let before = Servers::of(&namespace).await;
        namespace.patch_chat_service("lobby", &restarting()).await;
        let harm = async {
            let old = half_way(&namespace, &before).await;
            kill_9(&namespace, &old[0]).await;
        };
        let (taken, ()) = tokio::join!(taken_one_by_one(&namespace, "lobby"), harm);
        eprintln!("restarted {taken:?}");
        assert_each_once(taken);
        recovered(&namespace).await;
        namespace.until_event("lobby", "Restarting").await;
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a Kubernetes to itself: make e2e-full"]
async fn an_operator_that_is_killed_in_a_rollout_of_the_servers_goes_on_where_it_was() {
    let _alone = operator::alone().await;
    let namespace = Namespace::new("nats-operator").await;
    namespace.chat_service("lobby", QUICK_DRAIN).await;
    survives(&namespace, async |_, _| {
        let before = Servers::of(&namespace).await;
        namespace.patch_chat_service("lobby", &restarting()).await;
        let harm = async {
            half_way(&namespace, &before).await;
            operator::kill_leader().await;
        };
        // None of them twice: what was done before the kill counts.
        let (taken, ()) = tokio::join!(taken_one_by_one(&namespace, "lobby"), harm);
        eprintln!("restarted {taken:?}");
        assert_each_once(taken);
        recovered(&namespace).await;
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a Kubernetes to itself: make e2e-full"]
async fn an_operator_that_is_killed_in_a_rollout_of_nodes_goes_on_where_it_was_and_nobody_is_refused()
 {
    let _alone = operator::alone().await;
    let namespace = Namespace::new("node-operator").await;
    let spec = format!("replicas: 3, {ONE_SERVER}");
    namespace.chat_service("lobby", &spec).await;
    let client = ClientPod::start(&namespace, "client", "lobby:8080").await;
    client.reaches(&namespace, "lobby:8080").await;
    let before = namespace.pods(NODES).await;
    let is_new = |pod: &String| !before.contains(pod);

    let rollout = async {
        let change = json!({"image": OTHER_IMAGE});
        namespace.patch_chat_service("lobby", &change).await;
        namespace
            .until_reason("lobby", "Progressing", "Canary")
            .await;
        operator::kill_leader().await;
        let canary: Vec<_> = namespace
            .pods(NODES)
            .await
            .into_iter()
            .filter(is_new)
            .collect();
        namespace
            .until_reason("lobby", "Progressing", "RollingOut")
            .await;
        operator::kill_leader().await;
        recovered(&namespace).await;
        for pod in &before {
            namespace.gone("pod", pod).await;
        }
        canary
    };
    let knocking = client.knock(&namespace, "lobby:8080", 10_000, 120);
    let (knocked, canary) = tokio::join!(knocking, rollout);
    eprintln!("{knocked}");
    assert_eq!(knocked["failures"], json!({}), "{knocked}");
    assert_eq!(knocked["opened"], 10_000, "{knocked}");
    let after = namespace.pods(NODES).await;
    assert_eq!(after.len(), 3, "{after:?}");
    assert!(
        !canary.is_empty() && canary.iter().all(|pod| after.contains(pod)),
        "{canary:?}"
    );
    let service = namespace.get("chatservice", "lobby").await;
    assert_eq!(
        service.expect("it is there")["status"]["image"],
        OTHER_IMAGE
    );
}

#[tokio::test]
#[ignore = "needs a Kubernetes to itself: make e2e-full"]
async fn without_an_operator_people_chat_on_and_later_it_says_how_it_is() {
    let _alone = operator::alone().await;
    let namespace = Namespace::new("no-operator").await;
    namespace.chat_service("lobby", ONE_SERVER).await;
    survives(&namespace, async |_, progress| {
        operator::stopped().await;
        // Each node once, so that it was everybody's.
        for node in namespace.pods(NODES).await {
            let now = ["delete", "pod", &node, "--grace-period=0", "--force"];
            namespace.kubectl(&now).await.succeeded();
            progress.goes_on().await;
            namespace.rolled_out("deployment", "lobby-nodes").await;
        }
        // Again, and this time Kubernetes may not replace it.
        let quota = "
apiVersion: v1
kind: ResourceQuota
metadata: {name: none}
spec: {hard: {count/pods: '1'}}
";
        namespace.apply(quota).await.succeeded();
        let counted = |quota: &Value| !quota["status"]["used"]["count/pods"].is_null();
        namespace
            .until("resourcequota", "none", "counted", counted)
            .await;
        let nodes = namespace.pods(NODES).await;
        let now = ["delete", "pod", &nodes[0], "--grace-period=0", "--force"];
        namespace.kubectl(&now).await.succeeded();
        let one_is_left = |it: &Value| it["status"]["readyReplicas"] == 1;
        namespace
            .until("deployment", "lobby-nodes", "of one node", one_is_left)
            .await;
        progress.goes_on().await;
        let service = namespace.get("chatservice", "lobby").await;
        assert!(
            is_ready(&service.expect("it is there")),
            "nobody has said otherwise"
        );

        tells(&namespace, "NotAllNodesReady", async || {
            operator::upgraded("").await;
        })
        .await;
        let why = "1/2 nodes ready";
        until_said(&namespace, "Ready", "NotAllNodesReady", why).await;
        until_said(
            &namespace,
            "Degraded",
            "NotAllNodesReady",
            "exceeded quota: none",
        )
        .await;
        let delete = ["delete", "resourcequota", "none"];
        namespace.kubectl(&delete).await.succeeded();
        recovered(&namespace).await;
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a Kubernetes to itself: make e2e-full"]
async fn servers_that_no_machine_has_room_for_stop_their_rollout_and_nothing_else() {
    let _alone = operator::alone().await;
    let namespace = Namespace::new("room").await;
    namespace.chat_service("lobby", QUICK_DRAIN).await;
    survives(&namespace, async |_, progress| {
        let before = Servers::of(&namespace).await;
        let memory = |requests: Value| json!({"nats": {"managed": {"resources": requests}}});
        let too_much = memory(json!({"requests": {"memory": "900Ti"}}));
        tells(&namespace, "NotAllServersReady", async || {
            namespace.patch_chat_service("lobby", &too_much).await;
        })
        .await;
        let server = until_some("a server that was taken", async || {
            let same = Servers::of(&namespace).await.same_as(&before);
            let names = (0..3).map(|number| format!("lobby-nats-{number}"));
            names.into_iter().find(|name| !same.contains(name))
        })
        .await;
        until_a_server_is_missed(&namespace, &server).await;
        let why = format!("0/3 NATS servers have the newest settings: {server} cannot be");
        until_said(&namespace, "Progressing", "RollingOut", &why).await;
        progress.goes_on().await;

        namespace
            .patch_chat_service("lobby", &memory(Value::Null))
            .await;
        recovered(&namespace).await;
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a Kubernetes to itself: make e2e-full"]
async fn the_secret_of_three_servers_is_lost_and_nothing_else_is() {
    let _alone = operator::alone().await;
    let namespace = Namespace::new("secret").await;
    namespace.chat_service("lobby", QUICK_DRAIN).await;
    survives(&namespace, async |_, _| {
        let keys = |object: &Value| object["data"]["node.nk"].clone();
        let old = namespace.get("secret", "lobby-nats").await;
        let old = keys(&old.expect("it is there"));
        let (before, nodes) = (Servers::of(&namespace).await, namespace.pods(NODES).await);
        let delete = ["delete", "secret", "lobby-nats"];
        namespace.kubectl(&delete).await.succeeded();
        namespace
            .until("secret", "lobby-nats", "there again", |it| keys(it) != old)
            .await;
        until("other servers and nodes", async || {
            let servers = Servers::of(&namespace).await;
            let pods = namespace.pods(NODES).await;
            servers.len() == 3
                && servers.same_as(&before).is_empty()
                && !pods.iter().any(|it| nodes.contains(it))
        })
        .await;
        recovered(&namespace).await;
    })
    .await;
}
