//! A machine of the cluster that takes no pods any more, or is lost with all that is on it.
//!
//! Lost means what an administrator does about a machine that does not come back: its Node is deleted, and so are its pods, by force.
//! What runs there then ends, and its volumes can be reached by nobody. When dropped, the machine is as it was.

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::{Namespace, kubectl, parsed, run, until};

pub struct Machine {
    pub name: String,
    /// Its Node as it was when it was lost.
    lost: Option<String>,
    is_cordoned: bool,
}

impl Machine {
    fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            lost: None,
            is_cordoned: false,
        }
    }

    /// The machine on which a pod runs.
    pub async fn of(namespace: &Namespace, pod: &str) -> Self {
        let pod = namespace.get("pod", pod).await.expect("the pod is there");
        Self::new(pod["spec"]["nodeName"].as_str().expect("it runs"))
    }

    /// All of the cluster.
    pub async fn all() -> Vec<Self> {
        let words = [
            "get",
            "nodes",
            "--output",
            "jsonpath={.items[*].metadata.name}",
        ];
        let names = kubectl(&words).await.succeeded();
        names.split_whitespace().map(Self::new).collect()
    }

    /// Lets no more pods in; those that are there stay.
    pub async fn cordon(&mut self) {
        kubectl(&["cordon", &self.name]).await.succeeded();
        self.is_cordoned = true;
    }

    pub async fn uncordon(&mut self) {
        kubectl(&["uncordon", &self.name]).await.succeeded();
        self.is_cordoned = false;
    }

    /// Takes it away, with the pods of `namespace` that are on it. Kubernetes itself deletes those of others a minute later.
    pub async fn lose(&mut self, namespace: &Namespace) {
        self.cordon().await;
        let node = kubectl(&["get", "node", &self.name, "--output", "json"]).await;
        self.lost = Some(recreated(parsed(&node.succeeded())).to_string());
        kubectl(&["delete", "node", &self.name]).await.succeeded();
        let on_it = format!("spec.nodeName={}", self.name);
        let pods = ["delete", "pods", "--field-selector", &on_it];
        let now = ["--grace-period=0", "--force"];
        namespace
            .kubectl(&[&pods[..], &now].concat())
            .await
            .succeeded();
    }

    /// Brings it back, disks and all. Pods it takes when it is no longer cordoned.
    pub async fn comes_back(&mut self) {
        let node = self.lost.take().expect("it was lost");
        run("kubectl", &["create", "-f", "-"], &node)
            .await
            .succeeded();
        let words = ["get", "node", &self.name, "--output", "json"];
        until(&format!("machine {} to be ready", self.name), async || {
            let node = parsed(&kubectl(&words).await.succeeded());
            let conditions = node["status"]["conditions"].as_array();
            let mut conditions = conditions.into_iter().flatten();
            conditions.any(|it| it["type"] == "Ready" && it["status"] == "True")
        })
        .await;
    }
}

/// A Node that can be created again: its status stays, as a kubelet writes only what changes of it.
fn recreated(mut node: Value) -> Value {
    let metadata = node["metadata"].as_object_mut();
    let metadata = metadata.expect("a Node has metadata");
    for field in [
        "uid",
        "resourceVersion",
        "creationTimestamp",
        "managedFields",
    ] {
        metadata.remove(field);
    }
    node
}

impl Drop for Machine {
    fn drop(&mut self) {
        if let Some(node) = self.lost.take() {
            let child = Command::new("kubectl")
                .args(["create", "-f", "-"])
                .stdin(Stdio::piped())
                .spawn();
            if let Ok(mut child) = child {
                let stdin = child.stdin.take();
                let written = stdin.map(|mut stdin| stdin.write_all(node.as_bytes()));
                eprintln!("{} comes back: {written:?}, {:?}", self.name, child.wait());
            }
        }
        if self.is_cordoned {
            let ended = Command::new("kubectl")
                .args(["uncordon", &self.name])
                .status();
            eprintln!("{} takes pods again: {ended:?}", self.name);
        }
    }
}
