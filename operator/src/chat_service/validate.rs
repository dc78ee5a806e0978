//! ChatService and what it points to -> `ValidatedService`, the only input of `build`. Pure.
//!
//! What one resource can be checked by is CEL and refused by the API server; here is what needs more: what this
//! release can do, ages, the sizes of numbers, templates, and Secrets.

use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::{Resource, ResourceExt};
use natter_crds::{ChatService, ChatServiceSpec, ExternalNats, ManagedNats};
use serde_json::Value;

use super::build::metadata::{LABELS, Owner, SERVERS};
use super::build::nats::credentials::{self, Keys};
use crate::quantity;

/// What validation needs beside the resource.
#[derive(Clone, Debug, Default)]
pub struct Given {
    pub images: Images,
    /// The Secret of the NATS servers that run for this ChatService; `None` before there is one.
    pub nats_secret: Option<Secret>,
    /// The Secret that `nats.external.credentialsSecretRef` names, if there is one.
    pub external_secret: Option<Secret>,
    /// The Secret that `nats.external.caSecretRef` names, if there is one.
    pub ca_secret: Option<Secret>,
    /// The Secret that `auth.jwt.keySecretRef` names, if there is one.
    pub jwt_secret: Option<Secret>,
    /// The StatefulSet of the NATS servers, if there is one.
    pub stateful_set: Option<Value>,
}

/// Images of this release of the operator.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Images {
    pub chat_node: String,
    pub nats: String,
}

/// A ChatService that can be carried out.
#[derive(Clone, Debug)]
pub struct ValidatedService {
    pub namespace: String,
    pub name: String,
    pub owner: Owner,
    pub spec: ChatServiceSpec,
    pub image: String,
    pub max_bytes_per_shard: u64,
    pub nats: NatsServers,
    /// What is asked for and not done by this release, a sentence each.
    pub unsupported: Vec<String>,
}

#[derive(Clone, Debug)]
pub enum NatsServers {
    Managed(Box<Managed>),
    External(ExternalNats),
}

/// Servers that the operator runs.
#[derive(Clone, Debug)]
pub struct Managed {
    pub spec: ManagedNats,
    pub image: String,
    pub replicas: u32,
    pub storage_bytes: u64,
    pub keys: Keys,
}

/// Why a ChatService cannot be carried out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Only an edit helps.
    #[error("{}", .0.join("; "))]
    Invalid(Vec<String>),
    /// A Secret may still come, or be mended.
    #[error("{0}")]
    Secret(String),
}

/// Checks `service`; every mistake is named, not only the first.
pub fn validate(service: &ChatService, given: Given) -> Result<ValidatedService, Error> {
    let spec = service.spec.clone();
    let mut wrong = Vec::new();
    check_auth(&spec, &mut wrong);
    check_ages(&spec, &mut wrong);
    check_template("podTemplate", spec.pod_template.as_ref(), &mut wrong);
    let max_bytes_per_shard = bytes(
        "history.maxBytesPerShard",
        &spec.history.max_bytes_per_shard,
        &mut wrong,
    );
    if max_bytes_per_shard < 1 << 20 {
        wrong.push("history.maxBytesPerShard must be at least 1Mi".to_owned());
    }
    let mut storage_bytes = 0;
    if let Some(managed) = &spec.nats.managed {
        let template = managed.pod_template.as_ref();
        check_template("nats.managed.podTemplate", template, &mut wrong);
        storage_bytes = bytes(
            "nats.managed.storage.size",
            &managed.storage.size,
            &mut wrong,
        );
    }
    let (Some(namespace), Some(uid)) = (service.namespace(), service.uid()) else {
        wrong.push(
            "the resource has no namespace or uid: it was not read from an API server".to_owned(),
        );
        return Err(Error::Invalid(wrong));
    };
    if !wrong.is_empty() {
        return Err(Error::Invalid(wrong));
    }

    let Given {
        images,
        nats_secret,
        external_secret,
        ca_secret,
        jwt_secret,
        stateful_set,
    } = given;
    if let Some(reference) = spec
        .auth
        .jwt
        .as_ref()
        .and_then(|jwt| jwt.key_secret_ref.as_ref())
    {
        check_secret(
            "auth.jwt.keySecretRef",
            &reference.name,
            &[&reference.key],
            jwt_secret.as_ref(),
        )?;
    }
    let mut unsupported = unsupported(&spec);
    let nats = match (&spec.nats.managed, &spec.nats.external) {
        (Some(managed), None) => {
            let mut managed = managed.clone();
            if let Some(set) = &stateful_set {
                keep_size(&mut managed, set, &mut unsupported);
                storage_bytes = quantity::bytes(&managed.storage.size).unwrap_or(storage_bytes);
            }
            NatsServers::Managed(Box::new(Managed {
                image: managed.image.clone().unwrap_or(images.nats),
                replicas: managed.replicas.unsigned_abs(),
                storage_bytes,
                keys: credentials::keys(nats_secret.as_ref()).map_err(Error::Secret)?,
                spec: managed,
            }))
        }
        (None, Some(external)) => {
            check_secrets(external, external_secret.as_ref(), ca_secret.as_ref())?;
            NatsServers::External(external.clone())
        }
        _ => {
            return Err(Error::Invalid(vec![
                "set exactly one of nats.managed and nats.external".to_owned(),
            ]));
        }
    };
    let name = service.name_any();
    Ok(ValidatedService {
        owner: Owner {
            api_version: ChatService::api_version(&()).into_owned(),
            kind: ChatService::kind(&()).into_owned(),
            name: name.clone(),
            uid,
        },
        namespace,
        name,
        image: spec.image.clone().unwrap_or(images.chat_node),
        max_bytes_per_shard,
        nats,
        unsupported,
        spec,
    })
}

/// Servers and volumes that are there stay as many and as large as they are: streams would have to be moved first.
fn keep_size(managed: &mut ManagedNats, set: &Value, unsupported: &mut Vec<String>) {
    // Not spec.replicas: somebody may have scaled the set by hand, which is put back.
    let servers = set["metadata"]["annotations"][SERVERS].as_str();
    let replicas = servers.and_then(|servers| servers.parse::<i32>().ok());
    if let Some(replicas) = replicas.filter(|replicas| *replicas != managed.replicas) {
        unsupported.push(format!(
            "nats.managed.replicas: there are {replicas} servers, and so many stay"
        ));
        managed.replicas = replicas;
    }
    let claim = &set["spec"]["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"];
    let size = claim.as_str().unwrap_or(&managed.storage.size).to_owned();
    if quantity::bytes(&size) != quantity::bytes(&managed.storage.size) {
        unsupported.push(format!("nats.managed.storage.size: volumes stay at {size}"));
    }
    // As it was written then: the API server refuses even another way to write it.
    managed.storage.size = size;
}

/// Tokens are a way in; who has the connect webhook alone is let in by nobody yet.
fn check_auth(spec: &ChatServiceSpec, wrong: &mut Vec<String>) {
    if !spec.auth.allow_anonymous && spec.auth.jwt.is_none() {
        wrong.push(
            "nobody could connect: this release does not ask auth.connectWebhook yet, \
             so set auth.jwt or auth.allowAnonymous: true"
                .to_owned(),
        );
    }
}

/// Ages fit the pattern already; streams cannot forget sooner than their duplicate window.
fn check_ages(spec: &ChatServiceSpec, wrong: &mut Vec<String>) {
    const SHORTEST: Duration = Duration::from_secs(300);
    match humantime::parse_duration(&spec.history.max_age) {
        Ok(age) if age >= SHORTEST => {}
        Ok(_) => wrong.push(format!(
            "history.maxAge is {}, and at least 5m is needed",
            spec.history.max_age
        )),
        Err(error) => wrong.push(format!("history.maxAge: {error}")),
    }
    for class in &spec.room_classes {
        let age = class
            .history_max_age
            .as_deref()
            .map(humantime::parse_duration);
        match age {
            Some(Err(error)) => wrong.push(format!(
                "roomClasses[{}].historyMaxAge: {error}",
                class.prefix
            )),
            Some(Ok(Duration::ZERO)) => wrong.push(format!(
                "roomClasses[{}].historyMaxAge must be at least 1s",
                class.prefix
            )),
            _ => {}
        }
    }
}

fn bytes(field: &str, text: &str, wrong: &mut Vec<String>) -> u64 {
    quantity::bytes(text).unwrap_or_else(|| {
        wrong.push(format!("{field}: {text} is no size such as 512Mi"));
        u64::MAX
    })
}

/// A template may add labels, but not take away those by which Services and Deployments find their pods.
fn check_template(field: &str, template: Option<&Value>, wrong: &mut Vec<String>) {
    let labels = template.map(|template| &template["metadata"]["labels"]);
    for label in LABELS {
        if labels.is_some_and(|labels| labels.get(label).is_some()) {
            wrong.push(format!(
                "{field}.metadata.labels: {label} is set by the operator"
            ));
        }
    }
    let replaced = template.map(|template| {
        [
            &template["$patch"],
            &template["metadata"]["$patch"],
            &template["spec"]["$patch"],
        ]
    });
    if replaced.is_some_and(|patches| patches.iter().any(|patch| !patch.is_null())) {
        wrong.push(format!(
            "{field}: $patch can replace or delete items of lists only"
        ));
    }
}

fn check_secrets(
    external: &ExternalNats,
    credentials: Option<&Secret>,
    ca: Option<&Secret>,
) -> Result<(), Error> {
    if let Some(reference) = &external.credentials_secret_ref {
        let field = "nats.external.credentialsSecretRef";
        check_secret(field, &reference.name, &credentials::SEEDS, credentials)?;
    }
    if let Some(reference) = &external.ca_secret_ref {
        check_secret(
            "nats.external.caSecretRef",
            &reference.name,
            &[&reference.key],
            ca,
        )?;
    }
    Ok(())
}

/// A Secret that a field names must be there and have these keys.
fn check_secret(
    field: &str,
    name: &str,
    keys: &[&str],
    secret: Option<&Secret>,
) -> Result<(), Error> {
    let Some(secret) = secret else {
        return Err(Error::Secret(format!("{field}: there is no Secret {name}")));
    };
    let has = |key: &str| {
        secret
            .data
            .as_ref()
            .is_some_and(|data| data.contains_key(key))
    };
    let missing: Vec<_> = keys.iter().copied().filter(|key| !has(key)).collect();
    match missing.is_empty() {
        true => Ok(()),
        false => Err(Error::Secret(format!(
            "{field}: Secret {name} has no {}",
            missing.join(", ")
        ))),
    }
}

/// Fields that are set away from their default while nothing honours them: never ignored in silence.
fn unsupported(spec: &ChatServiceSpec) -> Vec<String> {
    let default = natter_crds::Disruption::default();
    let classes = &spec.room_classes;
    let asked = [
        (spec.autoscaling.is_some(), "autoscaling: replicas counts"),
        (
            spec.disruption.max_reconnects_per_second != default.max_reconnects_per_second,
            "disruption.maxReconnectsPerSecond: each pod spreads its clients over drainSeconds",
        ),
        (
            spec.disruption.rebalance_threshold_percent != default.rebalance_threshold_percent,
            "disruption.rebalanceThresholdPercent: connections stay where they are",
        ),
        (
            spec.auth.connect_webhook.is_some(),
            "auth.connectWebhook: nobody is asked",
        ),
        (
            spec.auth.api_key_secret_ref.is_some(),
            "auth.apiKeySecretRef: there is no server API",
        ),
        (
            classes
                .iter()
                .any(|class| class.presence != natter_crds::ReadAccess::default()),
            "roomClasses[].presence: nobody sees who is there",
        ),
        (
            classes.iter().any(|class| class.join_leave),
            "roomClasses[].joinLeave: nobody is told",
        ),
    ];
    let asked = asked.into_iter().filter(|(asked, _)| *asked);
    asked.map(|(_, text)| text.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;

    use super::*;
    use crate::fixtures::{SMALLEST, given, lobby, validated};

    fn refused(spec: &str) -> String {
        validate(&lobby(spec), given()).unwrap_err().to_string()
    }

    #[test]
    fn the_smallest_service_is_taken() {
        let service = validated(SMALLEST);
        assert_eq!(service.image, "chat-node:1");
        assert_eq!(service.unsupported, [""; 0]);
        assert_eq!(service.max_bytes_per_shard, 512 << 20);
    }

    #[test]
    fn every_mistake_is_named() {
        let text = refused(
            "{auth: {connectWebhook: {url: 'https://a'}}, history: {maxAge: 1m, maxBytesPerShard: 1Ki}}",
        );
        assert!(
            text.contains("so set auth.jwt or auth.allowAnonymous: true"),
            "{text}"
        );
        assert!(
            text.contains("history.maxAge is 1m, and at least 5m is needed"),
            "{text}"
        );
        assert!(
            text.contains("history.maxBytesPerShard must be at least 1Mi"),
            "{text}"
        );
    }

    #[test]
    fn labels_that_pods_are_found_by_stay_the_operators() {
        let text = refused(
            "{auth: {allowAnonymous: true}, podTemplate: {metadata: {labels: {app.kubernetes.io/instance: x}}}}",
        );
        assert_eq!(
            text,
            "podTemplate.metadata.labels: app.kubernetes.io/instance is set by the operator"
        );
    }

    #[test]
    fn what_nothing_honours_yet_is_said() {
        let service = validated(
            "{auth: {allowAnonymous: true, connectWebhook: {url: 'https://a'}}, autoscaling: {maxReplicas: 4},
              disruption: {maxReconnectsPerSecond: 5}, roomClasses: [{prefix: a, joinLeave: true}]}",
        );
        let fields: Vec<_> = service
            .unsupported
            .iter()
            .filter_map(|text| text.split(':').next())
            .collect();
        assert_eq!(
            fields,
            [
                "autoscaling",
                "disruption.maxReconnectsPerSecond",
                "auth.connectWebhook",
                "roomClasses[].joinLeave"
            ]
        );
    }

    #[test]
    fn servers_that_run_stay_as_many_and_as_large_as_they_are() {
        let set = serde_json::json!({"metadata": {"annotations": {"natter.dev/servers": "3"}}, "spec": {
            "replicas": 0,
            "volumeClaimTemplates": [{"spec": {"resources": {"requests": {"storage": "10Gi"}}}}],
        }});
        let given = Given {
            stateful_set: Some(set),
            ..given()
        };
        let spec =
            "{auth: {allowAnonymous: true}, nats: {managed: {replicas: 5, storage: {size: 20Gi}}}}";
        let service = validate(&lobby(spec), given).unwrap();
        let NatsServers::Managed(managed) = &service.nats else {
            panic!("not managed");
        };
        assert_eq!((managed.replicas, managed.storage_bytes), (3, 10 << 30));
        assert_eq!(
            service.unsupported,
            [
                "nats.managed.replicas: there are 3 servers, and so many stay",
                "nats.managed.storage.size: volumes stay at 10Gi",
            ]
        );
    }

    #[test]
    fn the_key_for_tokens_must_be_there() {
        let spec = "auth: {jwt: {keySecretRef: {name: keys, key: public.pem}}}";
        assert_eq!(
            refused(spec),
            "auth.jwt.keySecretRef: there is no Secret keys"
        );
    }

    const EXTERNAL: &str = "{auth: {allowAnonymous: true}, nats: {external: {urls: ['nats://a'], credentialsSecretRef: {name: keys}}}}";

    #[test]
    fn a_missing_secret_may_still_come() {
        let error = validate(&lobby(EXTERNAL), given()).unwrap_err();
        assert!(matches!(&error, Error::Secret(_)), "{error}");
        assert_eq!(
            error.to_string(),
            "nats.external.credentialsSecretRef: there is no Secret keys"
        );
    }

    #[test]
    fn a_secret_without_a_seed_is_named_with_what_it_lacks() {
        let seeds = [("node.nk".to_owned(), ByteString(b"SU".to_vec()))];
        let secret = Secret {
            data: Some(seeds.into()),
            ..Secret::default()
        };
        let given = Given {
            external_secret: Some(secret),
            ..given()
        };
        let error = validate(&lobby(EXTERNAL), given).unwrap_err().to_string();
        assert_eq!(
            error,
            "nats.external.credentialsSecretRef: Secret keys has no operator.nk, moderator.nk"
        );
    }
}
