//! A namespace of its own for each test, gone when dropped.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::{DEADLINE, PAUSE, Said, kubectl, parsed, run};
use crate::wait::until_some_within;

pub struct Namespace {
    pub name: String,
    /// It is not a test's own, and stays.
    is_shared: bool,
}

impl Namespace {
    /// Makes a namespace that admits pods only by the standard *restricted*.
    pub async fn new(what: &str) -> Self {
        Self::enforcing(what, "restricted").await
    }

    /// Makes a namespace whose pods may do to their machine what they like.
    pub async fn privileged(what: &str) -> Self {
        Self::enforcing(what, "privileged").await
    }

    async fn enforcing(what: &str, standard: &str) -> Self {
        let name = format!("natter-{what}-{:06x}", fastrand::u32(..1 << 24));
        kubectl(&["create", "namespace", &name]).await.succeeded();
        let enforced = format!("pod-security.kubernetes.io/enforce={standard}");
        let namespace = Self {
            name,
            is_shared: false,
        };
        kubectl(&["label", "namespace", &namespace.name, &enforced])
            .await
            .succeeded();
        namespace
    }

    /// A namespace that others use too.
    pub fn existing(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            is_shared: true,
        }
    }

    /// Runs `kubectl` in this namespace.
    pub async fn kubectl(&self, words: &[&str]) -> Said {
        kubectl(&[&["--namespace", &self.name], words].concat()).await
    }

    /// Applies YAML, as a user does with `kubectl apply -f`.
    pub async fn apply(&self, yaml: &str) -> Said {
        let words = ["--namespace", &self.name, "apply", "-f", "-"];
        run("kubectl", &words, yaml).await
    }

    /// The objects of a kind, with these labels.
    pub async fn list(&self, kind: &str, selector: &str) -> Vec<Value> {
        let words = ["get", kind, "--selector", selector, "--output", "json"];
        let mut list = parsed(&self.kubectl(&words).await.succeeded());
        match list["items"].take() {
            Value::Array(items) => items,
            other => panic!("a list without items: {other}"),
        }
    }

    /// One object; `None` if it is not there.
    pub async fn get(&self, kind: &str, name: &str) -> Option<Value> {
        let words = ["get", kind, name, "--ignore-not-found", "--output", "json"];
        let said = self.kubectl(&words).await.succeeded();
        (!said.trim().is_empty()).then(|| parsed(&said))
    }

    /// Waits until `check` says true of an object.
    pub async fn until(
        &self,
        kind: &str,
        name: &str,
        what: &str,
        check: impl Fn(&Value) -> bool,
    ) -> Value {
        self.until_within(DEADLINE, kind, name, what, check).await
    }

    /// The same, with a deadline of the test's own.
    pub async fn until_within(
        &self,
        deadline: Duration,
        kind: &str,
        name: &str,
        what: &str,
        check: impl Fn(&Value) -> bool,
    ) -> Value {
        let what = format!("{kind}/{name} to be {what}");
        until_some_within(deadline, PAUSE, &what, async || {
            self.get(kind, name).await.filter(&check)
        })
        .await
    }

    /// Waits until an object is not there any more.
    pub async fn gone(&self, kind: &str, name: &str) {
        let what = format!("{kind}/{name} to be gone");
        until_some_within(DEADLINE, PAUSE, &what, async || {
            self.get(kind, name).await.is_none().then_some(())
        })
        .await;
    }

    /// Ends all pods with these labels at once, without a drain.
    pub async fn kill_pods(&self, selector: &str) {
        let now = ["--grace-period=0", "--force"];
        let words = [&["delete", "pods", "--selector", selector], &now[..]].concat();
        self.kubectl(&words).await.succeeded();
    }

    /// Waits until every pod of a Deployment or StatefulSet is the newest and ready, and none of before is left.
    pub async fn rolled_out(&self, kind: &str, name: &str) {
        self.until(kind, name, "rolled out", |object| {
            let (spec, status) = (&object["spec"], &object["status"]);
            let wanted = spec["replicas"].as_u64().unwrap_or(1);
            let is = |field: &str| status[field].as_u64().unwrap_or(0) == wanted;
            status["observedGeneration"] == object["metadata"]["generation"]
                && is("replicas")
                && is("readyReplicas")
                && (kind != "deployment" || is("updatedReplicas"))
        })
        .await;
    }

    /// Names of the pods with these labels that are not on their way out.
    pub async fn pods(&self, selector: &str) -> Vec<String> {
        let pods = self.list("pods", selector).await.into_iter();
        pods.filter(|pod| pod["metadata"]["deletionTimestamp"].is_null())
            .filter_map(|pod| pod["metadata"]["name"].as_str().map(str::to_owned))
            .collect()
    }

    /// What a pod answers at `port` and `path`, asked through the API server.
    pub async fn ask_pod(&self, pod: &str, port: u16, path: &str) -> String {
        let path = format!(
            "/api/v1/namespaces/{}/pods/{pod}:{port}/proxy{path}",
            self.name
        );
        kubectl(&["get", "--raw", &path]).await.succeeded()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if self.is_shared {
            return;
        }
        let kubectl = |words: &[&str]| {
            let output = Command::new("kubectl")
                .args(["--namespace", &self.name])
                .args(words)
                .output();
            output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
        };
        if std::thread::panicking() {
            let looks: [&[&str]; 3] = [
                &["get", "all,persistentvolumeclaims", "--output", "wide"],
                &["get", "events", "--sort-by", ".lastTimestamp"],
                &["describe", "pods"],
            ];
            for words in looks {
                eprintln!(
                    "$ kubectl {}\n{}",
                    words.join(" "),
                    kubectl(words).unwrap_or_default()
                );
            }
            let pods = kubectl(&["get", "pods", "--output", "name"]).unwrap_or_default();
            for pod in pods.lines() {
                let words = ["logs", pod, "--all-containers", "--tail", "40"];
                eprintln!(
                    "$ kubectl {}\n{}",
                    words.join(" "),
                    kubectl(&words).unwrap_or_default()
                );
            }
        }
        let _ = kubectl(&["delete", "namespace", &self.name, "--wait=false"]);
    }
}
