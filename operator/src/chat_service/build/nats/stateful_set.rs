//! The servers. They start together, as a cluster needs a quorum to become ready, and are replaced by the operator
//! alone (OnDelete), one at a time.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{
    StatefulSet, StatefulSetPersistentVolumeClaimRetentionPolicy, StatefulSetSpec,
    StatefulSetUpdateStrategy,
};
use k8s_openapi::api::core::v1::{
    ConfigMapVolumeSource, Container, ContainerPort, EmptyDirVolumeSource, EnvVar, EnvVarSource,
    ExecAction, KeyToPath, Lifecycle, LifecycleHandler, ObjectFieldSelector, PersistentVolumeClaim,
    PersistentVolumeClaimSpec, PodSpec, PodTemplateSpec, SecretVolumeSource,
    TopologySpreadConstraint, Volume, VolumeMount, VolumeResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use natter_crds::{ReclaimPolicy, Resources};

use super::config::{CONFIG_DIR, DATA_DIR, FILE, PID_FILE, ROUTES_DIR, ROUTES_FILE, hash};
use super::{CLIENT_PORT, MONITOR_PORT, NATS, ROUTE_PORT};
use crate::chat_service::build::metadata::{RESTART_HASH, SERVERS};
use crate::chat_service::build::{Error, Kind, Object, pod};
use crate::chat_service::validate::{Managed, ValidatedService};
use crate::quantity;

/// Lame duck mode takes 30 s, and leaving the cluster some more.
const GRACE_SECONDS: i64 = 60;

pub fn build(service: &ValidatedService, managed: &Managed) -> Result<Object, Error> {
    let name = service.name_of(NATS);
    let kept = match managed.spec.storage.reclaim_policy {
        ReclaimPolicy::Retain => "Retain",
        ReclaimPolicy::Delete => "Delete",
    };
    let mut metadata = service.metadata(&name, NATS);
    metadata.annotations = Some([(SERVERS.to_owned(), managed.replicas.to_string())].into());
    let set = StatefulSet {
        metadata,
        spec: Some(StatefulSetSpec {
            replicas: Some(managed.spec.replicas),
            service_name: Some(name.clone()),
            selector: service.label_selector(NATS),
            pod_management_policy: Some("Parallel".to_owned()),
            update_strategy: Some(StatefulSetUpdateStrategy {
                type_: Some("OnDelete".to_owned()),
                ..StatefulSetUpdateStrategy::default()
            }),
            persistent_volume_claim_retention_policy: Some(
                StatefulSetPersistentVolumeClaimRetentionPolicy {
                    when_deleted: Some(kept.to_owned()),
                    // A server that was taken away may come back and must not find an empty volume.
                    when_scaled: Some("Retain".to_owned()),
                },
            ),
            volume_claim_templates: Some(vec![volume_claim(service, managed)]),
            ..StatefulSetSpec::default()
        }),
        ..StatefulSet::default()
    };
    let mut set = Object::new(Kind::StatefulSet, &name, &set);
    let memory = memory_limit(managed.spec.resources.as_ref())?;
    let template = template(service, managed, memory);
    set.body["spec"]["template"] =
        pod::with_template(&template, managed.spec.pod_template.as_ref());
    Ok(set)
}

/// The container's memory limit in bytes, if it has one.
fn memory_limit(resources: Option<&Resources>) -> Result<Option<u64>, Error> {
    let limits = resources.and_then(|resources| resources.limits.as_ref());
    let Some(limit) = limits.and_then(|limits| limits.get("memory")) else {
        return Ok(None);
    };
    let text = pod::text(limit);
    match quantity::bytes(&text) {
        Some(bytes) => Ok(Some(bytes)),
        None => Err(Error(format!(
            "nats.managed.resources.limits.memory: {text} is no size such as 4Gi"
        ))),
    }
}

fn template(
    service: &ValidatedService,
    managed: &Managed,
    memory_limit: Option<u64>,
) -> PodTemplateSpec {
    let annotations = [(RESTART_HASH.to_owned(), hash(service, managed))];
    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(service.labels(NATS)),
            annotations: Some(annotations.into()),
            ..ObjectMeta::default()
        }),
        spec: Some(PodSpec {
            service_account_name: Some(service.name_of(NATS)),
            automount_service_account_token: Some(false),
            enable_service_links: Some(false),
            termination_grace_period_seconds: Some(GRACE_SECONDS),
            security_context: Some(pod::security(true)),
            topology_spread_constraints: (managed.replicas > 1).then(|| spread(service)),
            containers: vec![container(managed, memory_limit)],
            volumes: Some(volumes(service)),
            ..PodSpec::default()
        }),
    }
}

fn container(managed: &Managed, memory_limit: Option<u64>) -> Container {
    let pod_name = EnvVar {
        name: "POD_NAME".to_owned(),
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector {
                field_path: "metadata.name".to_owned(),
                ..ObjectFieldSelector::default()
            }),
            ..EnvVarSource::default()
        }),
        ..EnvVar::default()
    };
    // Go then frees caches before the kernel kills the server.
    let memory = memory_limit.map(|bytes| EnvVar {
        name: "GOMEMLIMIT".to_owned(),
        value: Some((bytes / 5 * 4).to_string()),
        ..EnvVar::default()
    });
    let port = |name: &str, port| ContainerPort {
        name: Some(name.to_owned()),
        container_port: port,
        ..ContainerPort::default()
    };
    let mount = |name: &str, path: &str| VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        ..VolumeMount::default()
    };
    Container {
        name: "nats".to_owned(),
        image: Some(managed.image.clone()),
        command: Some(vec!["/nats-server".to_owned()]),
        args: Some(vec!["--config".to_owned(), format!("{CONFIG_DIR}/{FILE}")]),
        env: Some([Some(pod_name), memory].into_iter().flatten().collect()),
        ports: Some(vec![
            port("client", CLIENT_PORT),
            port("route", ROUTE_PORT),
            port("monitor", MONITOR_PORT),
        ]),
        // Not the bare /healthz: it asks for every stream, and one that is broken would keep a server from starting.
        startup_probe: Some(pod::probe(
            "/healthz?js-server-only=true",
            "monitor",
            2,
            300,
        )),
        readiness_probe: Some(pod::probe("/healthz?js-server-only=true", "monitor", 5, 3)),
        liveness_probe: Some(pod::probe(
            "/healthz?js-enabled-only=true",
            "monitor",
            30,
            3,
        )),
        lifecycle: Some(Lifecycle {
            pre_stop: Some(LifecycleHandler {
                exec: Some(ExecAction {
                    command: Some(vec![
                        "/nats-server".to_owned(),
                        "--signal".to_owned(),
                        format!("ldm={PID_FILE}"),
                    ]),
                }),
                ..LifecycleHandler::default()
            }),
            ..Lifecycle::default()
        }),
        resources: Some(pod::resources(
            managed.spec.resources.as_ref(),
            "200m",
            "512Mi",
        )),
        security_context: Some(pod::container_security()),
        volume_mounts: Some(vec![
            mount("config", CONFIG_DIR),
            mount("routes", ROUTES_DIR),
            mount("data", DATA_DIR),
            mount("run", "/run/nats"),
        ]),
        ..Container::default()
    }
}

fn volumes(service: &ValidatedService) -> Vec<Volume> {
    let name = service.name_of(NATS);
    vec![
        Volume {
            name: "config".to_owned(),
            config_map: Some(ConfigMapVolumeSource {
                name: name.clone(),
                ..ConfigMapVolumeSource::default()
            }),
            ..Volume::default()
        },
        Volume {
            name: "routes".to_owned(),
            // The routes alone: seeds of users are none of the servers' business.
            secret: Some(SecretVolumeSource {
                secret_name: Some(name),
                items: Some(vec![KeyToPath {
                    key: ROUTES_FILE.to_owned(),
                    path: ROUTES_FILE.to_owned(),
                    ..KeyToPath::default()
                }]),
                default_mode: Some(0o440),
                ..SecretVolumeSource::default()
            }),
            ..Volume::default()
        },
        Volume {
            name: "run".to_owned(),
            empty_dir: Some(EmptyDirVolumeSource::default()),
            ..Volume::default()
        },
    ]
}

/// Two servers on one machine, or all in one zone, would fall together. Zones are a wish: there may be fewer.
fn spread(service: &ValidatedService) -> Vec<TopologySpreadConstraint> {
    let over = |key: &str, otherwise: &str| TopologySpreadConstraint {
        max_skew: 1,
        topology_key: key.to_owned(),
        when_unsatisfiable: otherwise.to_owned(),
        label_selector: Some(service.label_selector(NATS)),
        ..TopologySpreadConstraint::default()
    };
    vec![
        over("kubernetes.io/hostname", "DoNotSchedule"),
        over("topology.kubernetes.io/zone", "ScheduleAnyway"),
    ]
}

fn volume_claim(service: &ValidatedService, managed: &Managed) -> PersistentVolumeClaim {
    let storage = &managed.spec.storage;
    let requests: BTreeMap<_, _> = [("storage".to_owned(), Quantity(storage.size.clone()))].into();
    PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: Some("data".to_owned()),
            labels: Some(service.selector(NATS)),
            ..ObjectMeta::default()
        },
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec!["ReadWriteOnce".to_owned()]),
            storage_class_name: storage.storage_class_name.clone(),
            resources: Some(VolumeResourceRequirements {
                requests: Some(requests),
                ..VolumeResourceRequirements::default()
            }),
            ..PersistentVolumeClaimSpec::default()
        }),
        ..PersistentVolumeClaim::default()
    }
}
