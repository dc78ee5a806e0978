//! `kill -9` of what runs in a pod, on any cluster that admits a pod which sees the processes of its machine.

use super::client_pod::IMAGE;
use super::{Namespace, until_some};

/// Ends every process in the first container of a pod, at once and without a word.
pub async fn kill_9(namespace: &Namespace, pod: &str) {
    let victim = namespace.get("pod", pod).await.expect("the pod is there");
    let container = victim["status"]["containerStatuses"][0]["containerID"].as_str();
    let container = container.and_then(|id| Some(id.split_once("://")?.1));
    let container = container.unwrap_or_else(|| panic!("{pod} has no container: {victim}"));
    let machine = victim["spec"]["nodeName"].as_str().expect("it runs");
    let beside = Namespace::privileged("kill").await;
    beside
        .apply(&manifest(machine, container))
        .await
        .succeeded();
    let ended = until_some("processes to be killed", async || {
        let pod = beside.get("pod", "kill").await?;
        let phase = pod["status"]["phase"].as_str()?.to_owned();
        matches!(&*phase, "Succeeded" | "Failed").then_some(phase)
    })
    .await;
    let said = beside.kubectl(&["logs", "kill"]).await;
    assert_eq!(ended, "Succeeded", "{said:?}");
    eprintln!("kill -9 of {pod} on {machine}: {}", said.stdout.trim());
}

/// Bound to the machine without the scheduler, which may have been told to use it no more.
fn manifest(machine: &str, container: &str) -> String {
    format!(
        "
apiVersion: v1
kind: Pod
metadata: {{name: kill}}
spec:
  nodeName: {machine}
  hostPID: true
  restartPolicy: Never
  automountServiceAccountToken: false
  enableServiceLinks: false
  containers:
  - name: kill
    image: {IMAGE}
    imagePullPolicy: IfNotPresent
    args: [kill, '{container}']
    securityContext: {{runAsUser: 0}}
"
    )
}
