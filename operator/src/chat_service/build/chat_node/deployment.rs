//! The Deployment of the nodes.
//!
//! A rollout starts all new pods before it stops the first old one (surge 100 %, max unavailable 0): every client that
//! has to reconnect lands on a new pod, and nobody is disconnected twice.

use k8s_openapi::api::apps::v1::{
    Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment,
};
use k8s_openapi::api::core::v1::{
    ConfigMapVolumeSource, Container, ContainerPort, EmptyDirVolumeSource, EnvVar, EnvVarSource,
    KeyToPath, Lifecycle, LifecycleHandler, ObjectFieldSelector, PodSpec, PodTemplateSpec,
    SecretVolumeSource, SleepAction, TopologySpreadConstraint, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::config_map::{
    CA_DIR, CA_FILE, CONFIG_DIR, CREDENTIALS_DIR, CREDENTIALS_FILE, DRAIN_ACCEPT_SECONDS, FILE,
    JWT_DIR, JWT_FILE, restart_hash,
};
use super::{ADMIN_PORT, CLIENT_PORT, NODES};
use crate::chat_service::build::metadata::{Component, RESTART_HASH};
use crate::chat_service::build::{Error, Kind, Object, pod};
use crate::chat_service::validate::{NatsServers, ValidatedService};

/// So long Services may still send clients to a pod that was told to stop.
const PRE_STOP_SECONDS: i64 = 3;
/// What the node needs after its drain: answers of the broker, and clients that read the rest.
const LAST_SECONDS: i64 = 12;

pub fn build(service: &ValidatedService) -> Result<Object, Error> {
    let name = service.name_of(NODES);
    let deployment = Deployment {
        metadata: service.metadata(&name, NODES),
        spec: Some(DeploymentSpec {
            replicas: Some(service.spec.replicas),
            selector: service.label_selector(NODES),
            strategy: Some(DeploymentStrategy {
                type_: Some("RollingUpdate".to_owned()),
                rolling_update: Some(RollingUpdateDeployment {
                    max_surge: Some(IntOrString::String("100%".to_owned())),
                    max_unavailable: Some(IntOrString::Int(0)),
                }),
            }),
            revision_history_limit: Some(3),
            ..DeploymentSpec::default()
        }),
        ..Deployment::default()
    };
    let mut deployment = Object::new(Kind::Deployment, &name, &deployment);
    deployment.body["spec"]["template"] =
        pod::with_template(&template(service), service.spec.pod_template.as_ref());
    Ok(deployment)
}

fn template(service: &ValidatedService) -> PodTemplateSpec {
    let annotations = [(RESTART_HASH.to_owned(), restart_hash(service))];
    let drain = i64::from(service.spec.disruption.drain_seconds);
    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(service.labels(NODES)),
            annotations: Some(annotations.into()),
            ..ObjectMeta::default()
        }),
        spec: Some(PodSpec {
            service_account_name: Some(service.name_of(NODES)),
            automount_service_account_token: Some(false),
            enable_service_links: Some(false),
            termination_grace_period_seconds: Some(
                PRE_STOP_SECONDS + DRAIN_ACCEPT_SECONDS + drain + LAST_SECONDS,
            ),
            security_context: Some(pod::security(false)),
            topology_spread_constraints: Some(spread(service)),
            containers: vec![container(service)],
            volumes: Some(volumes(service)),
            ..PodSpec::default()
        }),
    }
}

fn container(service: &ValidatedService) -> Container {
    let node_name = EnvVar {
        name: "NATTER_NODE_NAME".to_owned(),
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector {
                field_path: "metadata.name".to_owned(),
                ..ObjectFieldSelector::default()
            }),
            ..EnvVarSource::default()
        }),
        ..EnvVar::default()
    };
    let port = |name: &str, port| ContainerPort {
        name: Some(name.to_owned()),
        container_port: port,
        ..ContainerPort::default()
    };
    Container {
        name: "chat-node".to_owned(),
        image: Some(service.image.clone()),
        args: Some(vec!["--config".to_owned(), format!("{CONFIG_DIR}/{FILE}")]),
        env: Some(vec![node_name]),
        ports: Some(vec![
            port("clients", CLIENT_PORT),
            port("admin", ADMIN_PORT),
        ]),
        // A node waits for NATS as long as it takes: it is alive meanwhile, and not ready.
        readiness_probe: Some(pod::probe("/readyz", "admin", 2, 3)),
        liveness_probe: Some(pod::probe("/healthz", "admin", 10, 3)),
        lifecycle: Some(Lifecycle {
            pre_stop: Some(LifecycleHandler {
                sleep: Some(SleepAction {
                    seconds: PRE_STOP_SECONDS,
                }),
                ..LifecycleHandler::default()
            }),
            ..Lifecycle::default()
        }),
        resources: Some(pod::resources(
            service.spec.resources.as_ref(),
            "250m",
            "256Mi",
        )),
        security_context: Some(pod::container_security()),
        volume_mounts: Some(mounts(service)),
        ..Container::default()
    }
}

/// A volume of the pod and where it is mounted.
fn files(service: &ValidatedService) -> Vec<(Volume, &'static str)> {
    let secret = |name: &str, secret: &str, key: &str, file: &str| Volume {
        name: name.to_owned(),
        // One key: the operator's and the moderator's stay out of the pod.
        secret: Some(SecretVolumeSource {
            secret_name: Some(secret.to_owned()),
            items: Some(vec![KeyToPath {
                key: key.to_owned(),
                path: file.to_owned(),
                ..KeyToPath::default()
            }]),
            default_mode: Some(0o440),
            ..SecretVolumeSource::default()
        }),
        ..Volume::default()
    };
    let config = Volume {
        name: "config".to_owned(),
        config_map: Some(ConfigMapVolumeSource {
            name: service.name_of(NODES),
            ..ConfigMapVolumeSource::default()
        }),
        ..Volume::default()
    };
    let temporary = Volume {
        name: "tmp".to_owned(),
        empty_dir: Some(EmptyDirVolumeSource::default()),
        ..Volume::default()
    };
    let mut files = vec![(config, CONFIG_DIR), (temporary, "/tmp")];
    let (credentials, ca) = match &service.nats {
        NatsServers::Managed(_) => (Some(service.name_of(Component::Nats)), None),
        NatsServers::External(external) => {
            let credentials = external.credentials_secret_ref.as_ref();
            (
                credentials.map(|secret| secret.name.clone()),
                external.ca_secret_ref.as_ref(),
            )
        }
    };
    if let Some(name) = credentials {
        let seed = secret("nats", &name, CREDENTIALS_FILE, CREDENTIALS_FILE);
        files.push((seed, CREDENTIALS_DIR));
    }
    if let Some(ca) = ca {
        files.push((secret("nats-ca", &ca.name, &ca.key, CA_FILE), CA_DIR));
    }
    let jwt = service.spec.auth.jwt.as_ref();
    if let Some(key) = jwt.and_then(|jwt| jwt.key_secret_ref.as_ref()) {
        files.push((secret("jwt", &key.name, &key.key, JWT_FILE), JWT_DIR));
    }
    files
}

fn volumes(service: &ValidatedService) -> Vec<Volume> {
    files(service)
        .into_iter()
        .map(|(volume, _)| volume)
        .collect()
}

fn mounts(service: &ValidatedService) -> Vec<VolumeMount> {
    let mount = |(volume, path): (Volume, &str)| VolumeMount {
        read_only: (path != "/tmp").then_some(true),
        name: volume.name,
        mount_path: path.to_owned(),
        ..VolumeMount::default()
    };
    files(service).into_iter().map(mount).collect()
}

/// Nodes prefer machines and zones of their own; they do not insist, as more of them may be needed than there are.
fn spread(service: &ValidatedService) -> Vec<TopologySpreadConstraint> {
    let keys = ["kubernetes.io/hostname", "topology.kubernetes.io/zone"];
    let over = |key: &str| TopologySpreadConstraint {
        max_skew: 1,
        topology_key: key.to_owned(),
        when_unsatisfiable: "ScheduleAnyway".to_owned(),
        label_selector: Some(service.label_selector(NODES)),
        // Old and new pods of a rollout are spread apart from each other.
        match_label_keys: Some(vec!["pod-template-hash".to_owned()]),
        ..TopologySpreadConstraint::default()
    };
    keys.map(over).into()
}
