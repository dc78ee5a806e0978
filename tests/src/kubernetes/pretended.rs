//! Machines that are only pretended, by kwok: a pod that is bound to one is ready at once, and nothing of it runs.
//!
//! So a cluster on one machine has thousands of pods. Their addresses lead nowhere.

use std::process::Stdio;

use serde_json::{Value, json};
use tempfile::NamedTempFile;
use tokio::process::{Child, Command};

use super::{kubectl, run, until};

/// Where `make e2e` leaves kwok, and what it is to do with nodes and pods.
const PROGRAMS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/cluster/bin");

/// Their addresses: for tests of networks, and of nobody's.
const ADDRESSES: &str = "198.19.0.0/16";

pub struct Pretended {
    kwok: Child,
    /// What it complains of; now and then of a pod that it was too slow for, and tries again.
    log: NamedTempFile,
}

impl Pretended {
    /// Starts kwok here, and so many machines in the cluster.
    pub async fn start(machines: usize) -> Self {
        let cluster = std::env::var("KUBECONFIG").expect("`make e2e-full` sets KUBECONFIG");
        let log = NamedTempFile::new().expect("there is a place for temporary files");
        let kwok = Command::new(format!("{PROGRAMS}/kwok"))
            .args(["--kubeconfig", &cluster])
            .args(["--config", &format!("{PROGRAMS}/kwok.yaml")])
            .args([
                "--manage-nodes-with-annotation-selector",
                "kwok.x-k8s.io/node=fake",
            ])
            .args(["--cidr", ADDRESSES, "--node-ip", "198.19.0.1"])
            .args(["--node-lease-duration-seconds", "40", "--v", "WARN"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.reopen().expect("a file that was made can be opened"))
            .kill_on_drop(true)
            .spawn()
            .expect("kwok can be started: `make e2e-full` builds it");
        let mut pretended = Self { kwok, log };
        let nodes: Vec<_> = (0..machines).map(node).collect();
        let nodes = run("kubectl", &["apply", "-f", "-"], &nodes.join("---\n")).await;
        nodes.succeeded();
        until("pretended machines to be ready", async || {
            let ended = pretended.kwok.try_wait().expect("kwok is a child");
            assert_eq!(ended, None, "kwok has ended");
            let ready = "jsonpath={.items[*].status.conditions[?(@.type=='Ready')].status}";
            let words = ["get", "nodes", "-l", "natter.dev/pretended", "-o", ready];
            let ready = kubectl(&words).await.succeeded();
            ready.matches("True").count() == machines
        })
        .await;
        pretended
    }
}

fn node(number: usize) -> String {
    format!(
        "
apiVersion: v1
kind: Node
metadata:
  name: pretended-{number}
  annotations: {{kwok.x-k8s.io/node: fake}}
  labels:
    natter.dev/pretended: 'yes'
    kubernetes.io/hostname: pretended-{number}
    topology.kubernetes.io/zone: pretended-{number}
spec:
  taints: [{{key: natter.dev/pretended, effect: NoSchedule}}]
"
    )
}

impl Drop for Pretended {
    fn drop(&mut self) {
        // Kubernetes removes pods of machines that are gone.
        let _ = std::process::Command::new("kubectl")
            .args([
                "delete",
                "nodes",
                "-l",
                "natter.dev/pretended",
                "--wait=false",
            ])
            .stdout(Stdio::null())
            .status();
        let _ = self.kwok.start_kill();
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.log.path()).unwrap_or_default();
            eprintln!("--- log of kwok ---\n{log}---");
        }
    }
}

/// A pod template by which pods come to these machines.
pub fn pod_template() -> Value {
    let tolerated = json!({"key": "natter.dev/pretended", "operator": "Exists"});
    let here = json!({"natter.dev/pretended": "yes"});
    json!({"spec": {"nodeSelector": here, "tolerations": [tolerated]}})
}
