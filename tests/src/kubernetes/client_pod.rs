//! A pod that carries a client's connections: what connects to it has the pod's address for the Service behind it.
//!
//! So a test has as many clients' addresses as pods, on any cluster, and drives them from where it runs, by `kubectl port-forward`.

use std::net::SocketAddr;
use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStderr, Command};

use super::{DEADLINE, Namespace, parsed, until};

/// The image of `in-cluster`, which `make e2e` puts into the cluster.
pub(super) const IMAGE: &str = "natter.dev/in-cluster:test";

pub struct ClientPod {
    pub name: String,
    /// Where to connect, to be connected to the target.
    pub address: SocketAddr,
    // Ends with this.
    _forward: Child,
}

impl ClientPod {
    /// Starts a pod whose connections go to `target`, host:port.
    pub async fn start(namespace: &Namespace, name: &str, target: &str) -> Self {
        namespace.apply(&manifest(name, target)).await.succeeded();
        namespace
            .until("pod", name, "ready", |pod| {
                let conditions = pod["status"]["conditions"].as_array();
                let mut conditions = conditions.into_iter().flatten();
                conditions.any(|it| it["type"] == "Ready" && it["status"] == "True")
            })
            .await;
        let mut forward = Command::new("kubectl")
            .args(["--namespace", &namespace.name, "port-forward"])
            .args([&format!("pod/{name}"), ":7000"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("kubectl can be started");
        let stderr = forward.stderr.take().expect("stderr is a pipe");
        tokio::spawn(show_what_matters(BufReader::new(stderr)));
        let stdout = forward.stdout.take().expect("stdout is a pipe");
        let mut lines = BufReader::new(stdout).lines();
        let line = tokio::time::timeout(DEADLINE, lines.next_line()).await;
        let line = line.expect("kubectl says where it listens");
        let line = line.expect("kubectl writes UTF-8").unwrap_or_default();
        // Forwarding from 127.0.0.1:41205 -> 7000
        let address = line.split(' ').nth(2).and_then(|word| word.parse().ok());
        // What it says later is read and dropped, or it would block.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Self {
            name: name.to_owned(),
            address: address.unwrap_or_else(|| panic!("kubectl port-forward said {line:?}")),
            _forward: forward,
        }
    }

    /// Waits until whatever the pod connects to lets it in: a Service learns of other pods a little later.
    pub async fn reaches(&self, namespace: &Namespace, target: &str) {
        until(&format!("{} to reach {target}", self.name), async || {
            let knocked = self.knock(namespace, target, 1, 1).await;
            knocked["failures"] == json!({})
        })
        .await;
    }

    /// Opens so many sessions from inside the pod, evenly over so many seconds, and returns how many could be opened and what
    /// went wrong.
    pub async fn knock(
        &self,
        namespace: &Namespace,
        target: &str,
        sessions: u32,
        seconds: u32,
    ) -> Value {
        let (sessions, seconds) = (sessions.to_string(), seconds.to_string());
        let words = [
            "exec",
            &self.name,
            "--",
            "/in-cluster",
            "knock",
            target,
            &sessions,
            &seconds,
        ];
        parsed(&namespace.kubectl(&words).await.succeeded())
    }
}

/// Whoever leaves without a goodbye is an error to kubectl, and to nobody else.
async fn show_what_matters(stderr: BufReader<ChildStderr>) {
    let mut lines = stderr.lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if !line.contains("error copying from") {
            eprintln!("kubectl port-forward: {line}");
        }
    }
}

fn manifest(name: &str, target: &str) -> String {
    format!(
        "
apiVersion: v1
kind: Pod
metadata: {{name: {name}, labels: {{app: client}}}}
spec:
  terminationGracePeriodSeconds: 1
  automountServiceAccountToken: false
  enableServiceLinks: false
  securityContext: {{runAsNonRoot: true, runAsUser: 65532, seccompProfile: {{type: RuntimeDefault}}}}
  containers:
  - name: client
    image: {IMAGE}
    imagePullPolicy: IfNotPresent
    args: [relay, '0.0.0.0:7000', '{target}']
    readinessProbe: {{tcpSocket: {{port: 7000}}, periodSeconds: 1}}
    securityContext: {{allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {{drop: [ALL]}}}}
"
    )
}
