//! The chart and the operator that it installs: its test, its rights, upgrades, operators that take over from each other.
//! `make e2e` runs these.

use natter_tests::Client;
use natter_tests::kubernetes::chat_service::{NODES, SMALL, is_ready};
use natter_tests::kubernetes::{ClientPod, Namespace, kubectl, operator, until};
use serde_json::{Value, json};

#[tokio::test]
#[ignore = "needs a Kubernetes: make e2e"]
async fn an_upgrade_keeps_everyone_running_and_helm_test_chats() {
    let _alone = operator::alone().await;
    let namespace = Namespace::new("upgrade").await;
    namespace.chat_service("lobby", SMALL).await;
    let nodes = namespace.pods(NODES).await;
    let client = ClientPod::start(&namespace, "client", "lobby:8080").await;
    let mut session = Client::join_at(client.address, "news").await;

    // Other pods of the operator, with other settings; the test chats with a service beside them.
    let before = operator::pods().await;
    let values = "logLevel=debug,replicas=1,test.chatService=hall";
    operator::upgraded(values).await;
    let other = async || operator::pods().await.iter().all(|it| !before.contains(it));
    until("other pods of the operator", other).await;
    let beside = operator::namespace();
    beside.chat_service("hall", SMALL).await;
    let said = operator::helm(&["test", "natter", "--logs"]).await;
    let said = said.succeeded();
    assert!(said.contains("Succeeded"), "{said}");

    // What ran goes on, and what is asked for is done.
    session.publish("news", json!("still here")).await;
    assert_eq!(session.publication().await.data, "still here");
    assert_eq!(namespace.pods(NODES).await, nodes);
    namespace
        .patch_chat_service("lobby", &json!({"replicas": 2}))
        .await;
    let two = |object: &Value| object["status"]["readyReplicas"] == 2;
    namespace.until("chatservice", "lobby", "of two", two).await;

    // Back to what the other tests expect.
    let delete = ["delete", "chatservice", "hall"];
    beside.kubectl(&delete).await.succeeded();
    operator::upgraded("").await;
}

#[tokio::test]
#[ignore = "needs a Kubernetes: make e2e"]
async fn an_operator_that_lost_its_lease_ends_and_another_finishes_the_work() {
    let _alone = operator::alone().await;
    let namespace = Namespace::new("lease").await;
    namespace.chat_service("lobby", SMALL).await;
    let restarts = operator::restarts().await;
    // A rollout begins, and the operator is not the operator any more, as if it had been cut off from the API server.
    let drained = json!({"image": "natter.dev/chat-node:next", "replicas": 2});
    namespace.patch_chat_service("lobby", &drained).await;
    operator::give_lease_to("nobody").await;
    until("the operator to have ended", async || {
        operator::restarts().await > restarts
    })
    .await;
    // While nobody works, a node dies: Kubernetes itself replaces it.
    namespace.kill_pods(NODES).await;
    until("another operator to lead", async || {
        let holder = operator::holder().await;
        holder != "nobody" && !holder.is_empty()
    })
    .await;
    namespace
        .until_reason("lobby", "Progressing", "Complete")
        .await;
    let service = namespace
        .until("chatservice", "lobby", "ready", is_ready)
        .await;
    assert_eq!(service["status"]["image"], "natter.dev/chat-node:next");
}

#[tokio::test]
#[ignore = "needs a Kubernetes: make e2e"]
async fn the_operator_may_do_what_the_chart_lists_and_no_more() {
    operator::installed().await;
    let may = async |verb: &str, what: &str| {
        let user = format!("--as=system:serviceaccount:{}:natter", operator::NAMESPACE);
        let (resource, part) = what.split_once('/').unwrap_or((what, ""));
        let part = format!("--subresource={part}");
        let words = [
            "auth",
            "can-i",
            verb,
            resource,
            &part,
            "--namespace",
            "default",
        ];
        let said = kubectl(&[&words[..], &[&user]].concat()).await;
        said.stdout.trim() == "yes"
    };
    let allowed = [
        ("patch", "deployments.apps"),
        ("patch", "statefulsets.apps"),
        ("create", "secrets"),
        ("patch", "chatservices.natter.dev/status"),
        ("create", "events.events.k8s.io"),
    ];
    for (verb, what) in allowed {
        assert!(may(verb, what).await, "{verb} {what} is needed");
    }
    let forbidden = [
        ("*", "*"),
        ("create", "pods"),
        ("create", "pods/exec"),
        ("patch", "chatservices.natter.dev"),
        ("create", "roles.rbac.authorization.k8s.io"),
        ("create", "rolebindings.rbac.authorization.k8s.io"),
        ("patch", "customresourcedefinitions.apiextensions.k8s.io"),
        ("get", "nodes"),
        ("create", "leases.coordination.k8s.io"),
        ("impersonate", "users"),
    ];
    for (verb, what) in forbidden {
        assert!(!may(verb, what).await, "{verb} {what} is too much");
    }
}
