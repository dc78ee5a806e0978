//! Clients' connections of each service, for the status. One node knows the load of all, so one is asked.
//!
//! Apart from reconciles, which would read every object each time.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use kube::api::{Patch, PatchParams};
use kube::runtime::reflector::Store;
use kube::{Api, Client, ResourceExt as _};
use natter_crds::ChatService;
use serde_json::json;
use tracing::warn;

use super::apply::reason;
use super::build::chat_node::ADMIN_PORT;
use super::build::metadata::{Component, MANAGED_BY};
use super::context::Context;
use super::plan::Pod;
use crate::ask::Ask;

/// Between two looks at a service.
const EVERY: Duration = Duration::from_secs(30);

/// Services that are asked at a time. A thousand of which no node answers are through in 100 s.
const AT_ONCE: usize = 64;

/// Nodes that are asked before a service is given up until the next look.
const TRIES: usize = 3;

/// Where the nodes of one service are, and what was written of it last.
#[derive(Clone, Debug)]
pub struct Nodes {
    pub uid: String,
    pub namespace: String,
    pub name: String,
    pub addresses: Vec<IpAddr>,
    pub connections: Option<i64>,
}

/// Where ready nodes are.
pub fn addresses(pods: &[Pod]) -> Vec<IpAddr> {
    let nodes = pods
        .iter()
        .filter(|pod| pod.is_of(Component::Nodes) && pod.is_ready() && !pod.is_terminating);
    nodes.filter_map(|pod| pod.ip).collect()
}

/// Looks again and again, for ever. `services` are those that there are: others are forgotten.
pub async fn watch(context: Arc<Context>, services: Store<ChatService>) {
    loop {
        tokio::time::sleep(EVERY).await;
        let there = services.state();
        let there: Vec<_> = there.iter().filter_map(|it| it.uid()).collect();
        context.forget_others(&there);
        look(&context).await;
    }
}

/// Asks a node of every service, and writes what changed.
async fn look(context: &Context) {
    let services = stream::iter(context.nodes());
    let look = async |mut nodes: Nodes| {
        let addresses = std::mem::take(&mut nodes.addresses);
        let Some(connections) = ask(&context.ask, addresses).await.map(rounded) else {
            // Nobody answers: nothing is known, which is not the same as nobody being there.
            return;
        };
        if nodes.connections == Some(connections) {
            return;
        }
        match write(&context.client, &nodes, connections).await {
            Ok(()) => context.remember_connections(&nodes.uid, connections),
            Err(error) => warn!(
                namespace = nodes.namespace,
                name = nodes.name,
                error = reason(&error),
                "failed to write connections into the status"
            ),
        }
    };
    services.for_each_concurrent(AT_ONCE, look).await;
}

/// Nodes to ask, other ones each time: those that are silent are not asked for ever.
fn chosen(mut addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    fastrand::shuffle(&mut addresses);
    addresses.truncate(TRIES);
    addresses
}

/// The connections of all nodes, as the first says that answers.
async fn ask(ask: &Ask, addresses: Vec<IpAddr>) -> Option<u64> {
    for address in chosen(addresses) {
        let address = SocketAddr::new(address, ADMIN_PORT);
        let nodes = ask.json(address, "/nodes").await.ok();
        if let Some(nodes) = nodes.as_ref().and_then(|nodes| nodes.as_array()) {
            let connections = nodes.iter().filter_map(|it| it["connections"].as_u64());
            return Some(connections.sum());
        }
    }
    None
}

/// To two digits: the status then changes seldom.
fn rounded(connections: u64) -> i64 {
    let mut unit = 1;
    while connections / unit >= 100 {
        unit *= 10;
    }
    let rounded = (connections + unit / 2) / unit * unit;
    rounded.try_into().unwrap_or(i64::MAX)
}

async fn write(client: &Client, nodes: &Nodes, connections: i64) -> Result<(), kube::Error> {
    let api: Api<ChatService> = Api::namespaced(client.clone(), &nodes.namespace);
    let patch = json!({"status": {"connections": connections}});
    let params = PatchParams::apply(MANAGED_BY);
    match api
        .patch_status(&nodes.name, &params, &Patch::Merge(patch))
        .await
    {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::net::Ipv4Addr;

    use axum::Router;
    use axum::routing::get;
    use tokio::net::TcpListener;

    use super::*;
    use crate::chat_service::validate::Images;
    use crate::fake_api::FakeApi;
    use crate::fixtures::{SMALLEST, lobby};
    use crate::metrics::Metrics;

    #[test]
    fn two_digits_are_enough() {
        let cases = [
            (0, 0),
            (7, 7),
            (99, 99),
            (104, 100),
            (105, 110),
            (1999, 2000),
            (123_456, 120_000),
        ];
        for (connections, expected) in cases {
            assert_eq!(rounded(connections), expected);
        }
    }

    #[test]
    fn a_service_whose_nodes_are_silent_takes_a_bounded_time() {
        let addresses: Vec<_> = (0..50u8)
            .map(|host| IpAddr::from([10, 0, 0, host]))
            .collect();
        let chosen: HashSet<_> = chosen(addresses.clone()).into_iter().collect();
        assert_eq!(chosen.len(), TRIES);
        assert!(chosen.iter().all(|address| addresses.contains(address)));
    }

    #[tokio::test]
    async fn a_change_is_written_once_and_silence_is_no_change() {
        let (api, client) = FakeApi::start();
        let path = "/apis/natter.dev/v1alpha1/namespaces/chat/chatservices/lobby";
        let mut service = serde_json::to_value(lobby(SMALLEST)).unwrap();
        service["status"] = json!({"replicas": 2});
        api.put(path, service);
        let context = Context::new(client, Images::default(), Metrics::new().unwrap(), "test");
        let nobody = IpAddr::from(Ipv4Addr::new(127, 83, 1, 1));
        let somebody = Ipv4Addr::new(127, 83, 1, 2);
        context.remember_nodes(&lobby(SMALLEST), vec![nobody, somebody.into()]);
        look(&context).await;
        assert_eq!(api.take_requests(), [""; 0], "nobody answered");

        let said = r#"[{"node": "a", "connections": 1200}, {"node": "b", "connections": 34}]"#;
        let router = Router::new().route("/nodes", get(async move || said));
        let listener = TcpListener::bind((somebody, ADMIN_PORT)).await.unwrap();
        tokio::spawn(axum::serve(listener, router).into_future());
        look(&context).await;
        assert_eq!(api.take_requests(), [format!("PATCH {path}/status")]);
        let status = &api.objects(path)[0]["status"];
        assert_eq!(*status, json!({"replicas": 2, "connections": 1200}));
        look(&context).await;
        assert_eq!(api.take_requests(), [""; 0]);
        assert_eq!(context.connections("1-2-3"), Some(1200));

        context.forget_others(&["1-2-3".to_owned()]);
        assert_eq!(context.nodes().len(), 1);
        context.forget_others(&[]);
        assert!(context.nodes().is_empty(), "it is not asked for ever");
    }
}
