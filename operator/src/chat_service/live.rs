//! Running nodes are told of settings that they take over: the kubelet brings a changed ConfigMap within a minute, or at
//! once when an annotation of the pod changes.

use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::json;

use super::apply::reason;
use super::build::metadata::{Component, LIVE_HASH, MANAGED_BY};
use super::plan::Pod;

#[derive(Debug, thiserror::Error)]
#[error("failed to annotate pod {name}: {}", reason(source))]
pub struct Error {
    pub name: String,
    #[source]
    pub source: kube::Error,
}

/// Marks every node that was not told of the settings with this hash. Returns how many had been told of others before;
/// a node that was told of none has only just started, with these.
pub async fn tell(
    client: &Client,
    namespace: &str,
    hash: &str,
    pods: &[Pod],
) -> Result<usize, Error> {
    let api: Api<k8s_openapi::api::core::v1::Pod> = Api::namespaced(client.clone(), namespace);
    let patch = json!({"metadata": {"annotations": {LIVE_HASH: hash}}});
    let params = PatchParams::apply(MANAGED_BY);
    let nodes = pods
        .iter()
        .filter(|pod| pod.is_of(Component::Nodes) && !pod.is_terminating);
    let mut told = 0;
    for pod in nodes.filter(|pod| pod.live_hash != hash) {
        match api
            .patch_metadata(&pod.name, &params, &Patch::Merge(&patch))
            .await
        {
            Ok(_) => told += usize::from(!pod.live_hash.is_empty()),
            Err(kube::Error::Api(status)) if status.is_not_found() => {}
            Err(source) => {
                let name = pod.name.clone();
                return Err(Error { name, source });
            }
        }
    }
    Ok(told)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake_api::FakeApi;

    fn node(name: &str, live_hash: &str) -> Pod {
        Pod {
            name: name.to_owned(),
            component: "nodes".to_owned(),
            live_hash: live_hash.to_owned(),
            ..Pod::default()
        }
    }

    fn path(name: &str) -> String {
        format!("/api/v1/namespaces/chat/pods/{name}")
    }

    #[tokio::test]
    async fn nodes_are_told_once_and_keep_everything_else() {
        let (api, client) = FakeApi::start();
        for name in ["a", "b", "c"] {
            let labels = json!({"app.kubernetes.io/component": "nodes"});
            api.put(
                &path(name),
                json!({"metadata": {"name": name, "labels": labels}}),
            );
        }
        let pods = [node("a", "old"), node("b", ""), node("c", "new")];
        assert_eq!(tell(&client, "chat", "new", &pods).await.unwrap(), 1);
        let patches = ["a", "b"].map(|name| format!("PATCH {}", path(name)));
        assert_eq!(api.take_requests(), patches);
        let after = &api.objects(&path("a"))[0]["metadata"];
        assert_eq!(after["annotations"]["natter.dev/live-hash"], "new");
        assert_eq!(after["labels"]["app.kubernetes.io/component"], "nodes");
    }

    #[tokio::test]
    async fn servers_and_nodes_that_end_are_left_alone() {
        let (api, client) = FakeApi::start();
        let server = Pod {
            component: "nats".to_owned(),
            ..node("lobby-nats-0", "")
        };
        let ending = Pod {
            is_terminating: true,
            ..node("a", "old")
        };
        assert_eq!(
            tell(&client, "chat", "new", &[server, ending])
                .await
                .unwrap(),
            0
        );
        assert_eq!(api.take_requests(), [""; 0]);
    }

    #[tokio::test]
    async fn a_node_that_is_gone_by_now_is_no_trouble() {
        let (_api, client) = FakeApi::start();
        assert_eq!(
            tell(&client, "chat", "new", &[node("a", "old")])
                .await
                .unwrap(),
            0
        );
    }
}
