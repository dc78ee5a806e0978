//! NATS servers get new settings one after the other: asks each how it is, and deletes the pod that `plan/nats.rs` names.

use std::net::SocketAddr;

use futures_util::future::join_all;
use kube::api::{DeleteParams, DynamicObject, Preconditions};
use kube::{Api, Client};
use natter_crds::ChatService;

use super::apply::reason;
use super::build::metadata::{Component, RESTART_HASH, ROUTES_HASH};
use super::build::nats::MONITOR_PORT;
use super::context::Context;
use super::plan::Pod;
use super::plan::nats::{self, SETTLED, Said, Server, Step, Wanted};
use super::status::Workload;
use crate::ask::Ask;

#[derive(Debug, thiserror::Error)]
#[error("failed to delete pod {name}: {}", reason(source))]
pub struct Error {
    pub name: String,
    #[source]
    pub source: kube::Error,
}

/// Servers that are given new settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rolling {
    /// How many have them and are ready.
    pub updated: usize,
    /// What is done, or what is waited for.
    pub text: String,
}

/// Takes the next step, if there is one. `None`: all servers have the newest settings.
pub async fn roll(
    context: &Context,
    service: &ChatService,
    namespace: &str,
    set: &DynamicObject,
    pods: &[Pod],
) -> Result<Option<Rolling>, Error> {
    let uid = service.metadata.uid.as_deref().unwrap_or_default();
    let workload = Workload::read(set.metadata.generation, &set.data);
    let wanted = Wanted {
        servers: workload.wanted.unsigned_abs(),
        hash: annotation(set, RESTART_HASH),
        routes_hash: annotation(set, ROUTES_HASH),
    };
    let hash = wanted.hash;
    let pods: Vec<_> = pods
        .iter()
        .filter(|pod| pod.is_of(Component::Nats))
        .collect();
    if !pods.iter().any(|pod| nats::is_due(pod, hash)) {
        context.well_for(uid, None);
        return Ok(None);
    }
    let updated = pods
        .iter()
        .filter(|pod| pod.is_ready() && !nats::is_due(pod, hash));
    let updated = updated.count();
    let rolling = |text: String| Ok(Some(Rolling { updated, text }));
    if !workload.current {
        // A pod that is deleted now would come back as it was.
        return rolling("the StatefulSet's controller has not seen the newest settings".to_owned());
    }

    let servers = join_all(pods.into_iter().map(async |pod| Server {
        said: how_is(&context.ask, pod).await,
        pod: pod.clone(),
    }));
    let servers = servers.await;
    let all: Vec<_> = servers.iter().collect();
    let is_well = nats::trouble(wanted.servers, &all, None).is_none();
    let uids = || servers.iter().map(|server| server.pod.uid.as_str());
    let well_for = context.well_for(uid, is_well.then(|| uids().collect()));
    match nats::next(wanted, &servers, well_for) {
        Step::Done => Ok(None),
        Step::Wait(why) => rolling(why),
        Step::Settle => rolling(format!(
            "everything is current; the next server follows when it stays so for {} s",
            SETTLED.as_secs()
        )),
        Step::Restart(names) => {
            context.well_for(uid, None);
            for server in servers.iter().filter(|it| names.contains(&it.pod.name)) {
                let pod = &server.pod;
                delete(&context.client, namespace, pod).await?;
                let (name, wanted) = (&pod.name, wanted.servers);
                let note = format!(
                    "NATS server {name} gets the newest settings; {updated}/{wanted} have them"
                );
                let reference = pod.reference(namespace);
                context.announce_restart(service, reference, note).await;
            }
            rolling(format!("restarting {}", names.join(", ")))
        }
    }
}

/// Release of nats-server, as a server says that is ready; asked once for each template.
pub async fn version(
    context: &Context,
    service: &ChatService,
    set: &DynamicObject,
    pods: &[Pod],
) -> Option<String> {
    let uid = service.metadata.uid.as_deref().unwrap_or_default();
    let hash = annotation(set, RESTART_HASH);
    let known = context.nats_version(uid, hash);
    if known.is_some() {
        return known;
    }
    let mut pods = pods.iter().filter(|pod| pod.is_of(Component::Nats));
    let pod = pods.find(|pod| pod.is_ready() && pod.restart_hash == hash)?;
    let address = SocketAddr::new(pod.ip?, MONITOR_PORT);
    let varz = context.ask.json(address, "/varz").await.ok()?;
    let version = varz["version"].as_str()?;
    context.remember_nats_version(uid, hash, version);
    Some(version.to_owned())
}

/// An annotation of the pods that a set makes.
fn annotation<'a>(set: &'a DynamicObject, name: &str) -> &'a str {
    let annotations = &set.data["spec"]["template"]["metadata"]["annotations"];
    annotations[name].as_str().unwrap_or_default()
}

async fn how_is(ask: &Ask, pod: &Pod) -> Result<Said, String> {
    let ip = pod.ip.ok_or("it has no address yet")?;
    let address = SocketAddr::new(ip, MONITOR_PORT);
    let answers = tokio::try_join!(
        ask.json(address, "/varz"),
        ask.json(address, "/healthz"),
        ask.json(
            address,
            "/jsz?accounts=true&streams=true&consumers=true&config=true"
        ),
    );
    let (varz, healthz, jsz) = answers.map_err(|error| error.to_string())?;
    Ok(Said::read(&varz, &healthz, &jsz))
}

/// Deletes this very pod, and not one that has its name by now.
async fn delete(client: &Client, namespace: &str, pod: &Pod) -> Result<(), Error> {
    let pods: Api<k8s_openapi::api::core::v1::Pod> = Api::namespaced(client.clone(), namespace);
    let params = DeleteParams {
        preconditions: Some(Preconditions {
            uid: Some(pod.uid.clone()),
            resource_version: None,
        }),
        ..DeleteParams::default()
    };
    match pods.delete(&pod.name, &params).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => Ok(()),
        Err(source) => Err(Error {
            name: pod.name.clone(),
            source,
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::sync::Arc;

    use axum::Router;
    use axum::routing::get;
    use k8s_openapi::jiff::Timestamp;
    use serde_json::json;
    use tokio::net::TcpListener;

    use super::*;
    use crate::chat_service::validate::Images;
    use crate::fake_api::FakeApi;
    use crate::fixtures::{SMALLEST, lobby};
    use crate::metrics::Metrics;

    /// A server that is well, one of three, on an address of loopback that is this test's alone.
    async fn serve(ip: Ipv4Addr, name: &'static str) {
        let others = ["n-0", "n-1", "n-2"].into_iter().filter(|&it| it != name);
        let others = others.map(|it| json!({"name": it, "current": true, "active": 5}));
        let others: Vec<_> = others.collect();
        let jsz = json!({"meta_cluster": {"leader": "n-0", "cluster_size": 3, "replicas": others}});
        let varz = json!({"server_name": name, "version": "2.15.1"});
        let router = Router::new()
            .route("/varz", get(async move || varz.to_string()))
            .route("/healthz", get(async || r#"{"status":"ok"}"#))
            .route("/jsz", get(async move || jsz.to_string()));
        let listener = TcpListener::bind((ip, MONITOR_PORT)).await.unwrap();
        tokio::spawn(axum::serve(listener, router).into_future());
    }

    fn pod(name: &str, ip: Ipv4Addr, hash: &str) -> Pod {
        Pod {
            name: name.to_owned(),
            uid: format!("uid of {name}"),
            component: "nats".to_owned(),
            ip: Some(ip.into()),
            restart_hash: hash.to_owned(),
            ready_since: Some(Timestamp::UNIX_EPOCH),
            ..Pod::default()
        }
    }

    fn set(observed_generation: i64) -> DynamicObject {
        let template = json!({"metadata": {"annotations": {"natter.dev/restart-hash": "new"}}});
        let set = json!({
            "metadata": {"name": "lobby-nats", "generation": 2},
            "spec": {"replicas": 3, "template": template}, "status": {"observedGeneration": observed_generation},
        });
        serde_json::from_value(set).unwrap()
    }

    fn cluster() -> (FakeApi, Arc<Context>) {
        let (api, client) = FakeApi::start();
        for name in ["n-0", "n-1", "n-2"] {
            let metadata = json!({"name": name, "uid": format!("uid of {name}")});
            api.put(
                &format!("/api/v1/namespaces/chat/pods/{name}"),
                json!({"metadata": metadata}),
            );
        }
        let metrics = Metrics::new().unwrap();
        (
            api,
            Context::new(client, Images::default(), metrics, "test"),
        )
    }

    async fn rolled(context: &Context, set: &DynamicObject, pods: &[Pod]) -> Option<Rolling> {
        let service = lobby(SMALLEST);
        roll(context, &service, "chat", set, pods).await.unwrap()
    }

    fn deletes(api: &FakeApi) -> Vec<String> {
        let requests = api.take_requests().into_iter();
        requests.filter(|it| it.starts_with("DELETE")).collect()
    }

    #[tokio::test]
    async fn servers_that_are_well_are_watched_before_one_is_restarted() {
        let (api, context) = cluster();
        let ips = [1, 2, 3].map(|last| Ipv4Addr::new(127, 82, 1, last));
        let names = ["n-0", "n-1", "n-2"];
        let pods: Vec<_> = (0..3).map(|it| pod(names[it], ips[it], "old")).collect();
        for (ip, name) in ips.into_iter().zip(names) {
            serve(ip, name).await;
        }
        let rolling = rolled(&context, &set(2), &pods).await.unwrap();
        assert!(
            rolling.text.starts_with("everything is current"),
            "{}",
            rolling.text
        );
        assert_eq!((rolling.updated, deletes(&api)), (0, Vec::new()));
    }

    #[tokio::test]
    async fn a_server_that_is_down_is_replaced_and_the_same_pod_only() {
        let (api, context) = cluster();
        let nobody = Ipv4Addr::new(127, 82, 2, 1);
        let mut pods: Vec<_> = ["n-0", "n-1", "n-2"]
            .map(|it| pod(it, nobody, "old"))
            .into();
        pods[1].ready_since = None;
        let rolling = rolled(&context, &set(2), &pods).await.unwrap();
        assert_eq!(rolling.text, "restarting n-1");
        // The API server in memory insists on the uid.
        assert_eq!(deletes(&api), ["DELETE /api/v1/namespaces/chat/pods/n-1"]);
        let rolling = rolled(&context, &set(2), &pods[..1]).await.unwrap();
        assert_eq!(rolling.text, "1 of 3 servers are there");
    }

    #[tokio::test]
    async fn nothing_is_deleted_before_the_new_template_is_seen_nor_when_all_have_it() {
        let (api, context) = cluster();
        let nobody = Ipv4Addr::new(127, 82, 3, 1);
        let pods = ["n-0", "n-1", "n-2"].map(|it| pod(it, nobody, "old"));
        let rolling = rolled(&context, &set(1), &pods).await.unwrap();
        assert!(rolling.text.contains("has not seen"), "{}", rolling.text);
        let pods = ["n-0", "n-1", "n-2"].map(|it| pod(it, nobody, "new"));
        assert_eq!(rolled(&context, &set(2), &pods).await, None);
        assert_eq!(api.take_requests(), [""; 0]);
    }

    #[tokio::test]
    async fn the_release_is_asked_for_once() {
        let (_api, context) = cluster();
        let ip = Ipv4Addr::new(127, 82, 4, 1);
        let pods = [pod("n-0", ip, "new")];
        let service = lobby(SMALLEST);
        assert_eq!(version(&context, &service, &set(2), &pods).await, None);
        serve(ip, "n-0").await;
        let known = version(&context, &service, &set(2), &pods).await;
        assert_eq!(known.as_deref(), Some("2.15.1"));
        assert_eq!(version(&context, &service, &set(2), &[]).await, known);
    }
}
