//! What runs now, and what a ChatService points to -> `Observed`.

use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::{ApiResource, DynamicObject, ListParams};
use kube::{Api, Client, ResourceExt};
use natter_crds::ChatService;
use serde_json::Value;

use super::build::Kind;
use super::build::metadata::selector_of_all;
use super::validate::{Given, Images};

#[derive(Debug, thiserror::Error)]
#[error("failed to read {what}")]
pub struct Error {
    pub what: String,
    #[source]
    pub source: kube::Error,
}

/// An object that is there.
#[derive(Clone, Debug)]
pub struct Live {
    pub kind: Kind,
    pub name: String,
    pub body: DynamicObject,
}

/// Everything that a reconcile decides by.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// Objects with the labels of this ChatService, whoever owns them.
    pub objects: Vec<Live>,
    pub nats_secret: Option<Secret>,
    pub external_secret: Option<Secret>,
    pub ca_secret: Option<Secret>,
    pub jwt_secret: Option<Secret>,
}

impl Observed {
    pub fn object(&self, kind: Kind, name: &str) -> Option<&Live> {
        self.objects
            .iter()
            .find(|live| live.kind == kind && live.name == name)
    }

    /// What validation needs of it.
    pub fn given(&self, service: &str, images: Images) -> Given {
        let servers = self.object(Kind::StatefulSet, &format!("{service}-nats"));
        Given {
            images,
            nats_secret: self.nats_secret.clone(),
            external_secret: self.external_secret.clone(),
            ca_secret: self.ca_secret.clone(),
            jwt_secret: self.jwt_secret.clone(),
            stateful_set: servers.and_then(|live| serde_json::to_value(&live.body).ok()),
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

pub async fn fetch(client: &Client, service: &ChatService) -> Result<Observed, Error> {
    let namespace = service.namespace().unwrap_or_default();
    let name = service.name_any();
    let labelled = ListParams::default().labels(&selector_of_all(&name));
    let mut objects = Vec::new();
    for kind in Kind::ALL {
        let list = api(client, &namespace, kind).list(&labelled).await;
        let list = list.map_err(|source| Error {
            what: format!("{kind}s in {namespace}"),
            source,
        })?;
        objects.extend(list.items.into_iter().map(|body| Live {
            kind,
            name: body.name_any(),
            body,
        }));
    }
    let external = service.spec.nats.external.as_ref();
    let credentials = external.and_then(|external| external.credentials_secret_ref.as_ref());
    let ca = external.and_then(|external| external.ca_secret_ref.as_ref());
    let jwt = service.spec.auth.jwt.as_ref();
    let jwt = jwt.and_then(|jwt| jwt.key_secret_ref.as_ref());
    let managed = external.is_none().then(|| format!("{name}-nats"));
    Ok(Observed {
        objects,
        nats_secret: secret(client, &namespace, managed.as_deref()).await?,
        external_secret: secret(
            client,
            &namespace,
            credentials.map(|secret| secret.name.as_str()),
        )
        .await?,
        ca_secret: secret(client, &namespace, ca.map(|secret| secret.name.as_str())).await?,
        jwt_secret: secret(client, &namespace, jwt.map(|secret| secret.name.as_str())).await?,
    })
}

async fn secret(
    client: &Client,
    namespace: &str,
    name: Option<&str>,
) -> Result<Option<Secret>, Error> {
    let Some(name) = name else {
        return Ok(None);
    };
    let secret = Api::namespaced(client.clone(), namespace)
        .get_opt(name)
        .await;
    secret.map_err(|source| Error {
        what: format!("Secret {namespace}/{name}"),
        source,
    })
}

/// The parts of an object's body that count as its state: everything but what each write and each status changes.
pub fn essence(object: &DynamicObject) -> Value {
    let mut body = object.data.clone();
    if let Some(fields) = body.as_object_mut() {
        fields.remove("status");
    }
    serde_json::json!({
        "uid": object.metadata.uid,
        "labels": object.metadata.labels,
        "annotations": object.metadata.annotations,
        "owners": object.metadata.owner_references,
        "body": body,
    })
}
