//! What runs now, and what a ChatService points to -> `Observed`.
//!
//! Which objects there are is known from the watches; an object is read only if it is not as the operator left it. So a
//! look at a service that is well costs three requests: its Deployment, its pods, its Secret.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{self as core, ConfigMap, Secret, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::{ApiResource, DynamicObject, ListParams, ObjectMeta};
use kube::{Api, Client, ResourceExt};
use natter_crds::ChatService;
use serde_json::Value;

use super::apply::{self, Written, reason};
use super::build::Kind;
use super::build::metadata::{Component, selector_of_all};
use super::children::Children;
use super::plan::Pod;
use super::secrets;
use super::validate::{Given, Images};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("failed to read {what}: {}", reason(source))]
    Read {
        what: String,
        #[source]
        source: kube::Error,
    },
    #[error("failed to watch {0}s: the operator's log says why")]
    Watch(Kind),
}

/// An object that is there.
#[derive(Clone, Debug)]
pub struct Live {
    pub kind: Kind,
    pub name: String,
    pub metadata: ObjectMeta,
    /// Of its essence.
    pub state: blake3::Hash,
    /// `None`: it was not read, as it is as the operator left it.
    pub body: Option<DynamicObject>,
}

impl Live {
    pub fn read(kind: Kind, body: DynamicObject) -> Self {
        Self {
            kind,
            name: body.name_any(),
            metadata: body.metadata.clone(),
            state: apply::state(&body),
            body: Some(body),
        }
    }
}

/// Everything that a reconcile decides by.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// Objects with the labels of this ChatService, whoever owns them.
    pub objects: Vec<Live>,
    /// Pods of nodes and servers.
    pub pods: Vec<Pod>,
    /// Secrets that the ChatService names, and that of its own NATS servers, by name; those that are there.
    pub secrets: BTreeMap<String, Secret>,
}

impl Observed {
    pub fn object(&self, kind: Kind, name: &str) -> Option<&Live> {
        self.objects
            .iter()
            .find(|live| live.kind == kind && live.name == name)
    }

    /// What validation needs of it.
    pub fn given(&self, service: &str, images: Images) -> Given {
        let servers = self.object(Kind::StatefulSet, &Component::Nats.object_name(service));
        Given {
            images,
            secrets: self.secrets.clone(),
            stateful_set: servers.and_then(|live| serde_json::to_value(live.body.as_ref()?).ok()),
        }
    }
}

/// The kind as the API server knows it.
pub fn resource(kind: Kind) -> ApiResource {
    match kind {
        Kind::ServiceAccount => ApiResource::erase::<ServiceAccount>(&()),
        Kind::Secret => ApiResource::erase::<Secret>(&()),
        Kind::ConfigMap => ApiResource::erase::<ConfigMap>(&()),
        Kind::Service => ApiResource::erase::<Service>(&()),
        Kind::NetworkPolicy => ApiResource::erase::<NetworkPolicy>(&()),
        Kind::PodDisruptionBudget => ApiResource::erase::<PodDisruptionBudget>(&()),
        Kind::StatefulSet => ApiResource::erase::<StatefulSet>(&()),
        Kind::Deployment => ApiResource::erase::<Deployment>(&()),
    }
}

pub fn api(client: &Client, namespace: &str, kind: Kind) -> Api<DynamicObject> {
    Api::namespaced_with(client.clone(), namespace, &resource(kind))
}

pub async fn fetch(
    client: &Client,
    children: &Children,
    written: &Written,
    service: &ChatService,
) -> Result<Observed, Error> {
    let namespace = service.namespace().unwrap_or_default();
    let name = service.name_any();
    let uid = service.uid().unwrap_or_default();
    let mut objects = Vec::new();
    let known = children.of(&namespace, &name).await;
    for (kind, child) in known.map_err(Error::Watch)? {
        let object = child.name_any();
        // How workloads are stands in them, and changes all the time.
        let is_workload = matches!(kind, Kind::Deployment | Kind::StatefulSet);
        let version = child.metadata.resource_version.as_deref();
        let known = written.state_of(&uid, kind, &object, version.unwrap_or_default());
        if let Some(state) = known.filter(|_| !is_workload) {
            objects.push(Live {
                kind,
                name: object,
                metadata: child.metadata.clone(),
                state,
                body: None,
            });
            continue;
        }
        objects.extend(read(client, &namespace, kind, &object).await?);
    }
    let servers = Component::Nats.object_name(&name);
    let is_set = |live: &Live| (live.kind, &live.name) == (Kind::StatefulSet, &servers);
    if service.spec.nats.managed.is_some() && !objects.iter().any(is_set) {
        // Servers and volumes stay as many and as large as they are, even if the watch is late to tell of them.
        objects.extend(read(client, &namespace, Kind::StatefulSet, &servers).await?);
    }
    let labelled = ListParams::default().labels(&selector_of_all(&name));
    let pods: Api<core::Pod> = Api::namespaced(client.clone(), &namespace);
    let pods = pods.list(&labelled).await.map_err(|source| Error::Read {
        what: format!("Pods in {namespace}"),
        source,
    })?;
    let mut secrets = BTreeMap::new();
    for name in secrets_of(service) {
        let secret: Option<Secret> = Api::namespaced(client.clone(), &namespace)
            .get_opt(&name)
            .await
            .map_err(|source| Error::Read {
                what: format!("Secret {namespace}/{name}"),
                source,
            })?;
        secrets.extend(secret.map(|secret| (name, secret)));
    }
    Ok(Observed {
        objects,
        pods: pods.items.iter().filter_map(Pod::read).collect(),
        secrets,
    })
}

async fn read(
    client: &Client,
    namespace: &str,
    kind: Kind,
    name: &str,
) -> Result<Option<Live>, Error> {
    let body = api(client, namespace, kind).get_opt(name).await;
    let body = body.map_err(|source| Error::Read {
        what: format!("{kind} {namespace}/{name}"),
        source,
    })?;
    Ok(body.map(|body| Live::read(kind, body)))
}

/// The names of all Secrets that `service` depends on.
fn secrets_of(service: &ChatService) -> BTreeSet<String> {
    let spec = &service.spec;
    let keys = secrets::keys(spec).map(|(_, secret)| secret.name.clone());
    let credentials = match spec.nats.external {
        Some(_) => secrets::credentials(spec).map(|secret| secret.name.clone()),
        None => Some(Component::Nats.object_name(&service.name_any())),
    };
    keys.chain(credentials).collect()
}

/// What the controller of Deployments writes into them.
const REVISION: &str = "deployment.kubernetes.io/revision";

/// The parts of an object's body that count as its state: everything but what each write and each status changes.
pub fn essence(object: &DynamicObject) -> Value {
    let annotations = object.metadata.annotations.iter().flatten();
    let annotations: BTreeMap<_, _> = annotations.filter(|(key, _)| *key != REVISION).collect();
    let mut body = object.data.clone();
    if let Some(fields) = body.as_object_mut() {
        fields.remove("status");
    }
    serde_json::json!({
        "uid": object.metadata.uid,
        "labels": object.metadata.labels,
        "annotations": annotations,
        "owners": object.metadata.owner_references,
        "body": body,
    })
}
