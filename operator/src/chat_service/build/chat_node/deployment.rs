//! The Deployment of the nodes.
//!
//! A rollout starts all new pods before it stops the first old one (surge 100 %, max unavailable 0): every client that
//! has to reconnect lands on a new pod, and nobody is disconnected twice. `plan/rollout.rs` slows it down while only one
//! new pod is to be tried.

use k8s_openapi::api::apps::v1::{
    Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment,
};
use k8s_openapi::api::core::v1::{
    ConfigMapVolumeSource, Container, EmptyDirVolumeSource, Lifecycle, LifecycleHandler, PodSpec,
    PodTemplateSpec, SecretVolumeSource, SleepAction, TopologySpreadConstraint, Volume,
    VolumeMount,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use natter_crds::SecretKey;

use super::config_map::{
    API_DIR, API_FILE, CA_DIR, CA_FILE, CONFIG_DIR, CREDENTIALS_DIR, CREDENTIALS_FILE,
    DRAIN_ACCEPT_SECONDS, FILE, JWT_DIR, JWT_FILE, MODERATOR_FILE, WEBHOOK_DIR, WEBHOOK_FILE,
    restart_hash,
};
use super::{ADMIN_PORT, API_PORT, CLIENT_PORT, NODES};
use crate::chat_service::build::metadata::Component;
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
            min_ready_seconds: Some(0),
            revision_history_limit: Some(3),
            ..DeploymentSpec::default()
        }),
        ..Deployment::default()
    };
    let mut deployment = Object::new(Kind::Deployment, &name, &deployment);
    deployment.body["spec"]["template"] = pod::with_template(
        &template(service),
        service.spec.pod_template.as_ref(),
        &format!("{}{}", restart_hash(service), service.key_of_nodes),
    );
    Ok(deployment)
}

fn template(service: &ValidatedService) -> PodTemplateSpec {
    let drain = i64::from(service.spec.disruption.drain_seconds);
    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(service.labels(NODES)),
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
    let mut ports = vec![
        pod::port("clients", CLIENT_PORT),
        pod::port("admin", ADMIN_PORT.into()),
    ];
    if service.has_api() {
        ports.push(pod::port("api", API_PORT));
    }
    Container {
        name: "chat-node".to_owned(),
        image: Some(service.image.clone()),
        args: Some(vec!["--config".to_owned(), format!("{CONFIG_DIR}/{FILE}")]),
        env: Some(vec![pod::own_name("NATTER_NODE_NAME")]),
        ports: Some(ports),
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
    // Named keys only: the operator's seed stays out of the pod.
    let secret = |name: &str, secret: &str, items: &[(&str, &str)]| Volume {
        name: name.to_owned(),
        secret: Some(SecretVolumeSource {
            secret_name: Some(secret.to_owned()),
            items: Some(items.iter().map(|&item| pod::item(item)).collect()),
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
        let seeds = [CREDENTIALS_FILE, MODERATOR_FILE].map(|seed| (seed, seed));
        let needed = if service.has_api() { 2 } else { 1 };
        files.push((secret("nats", &name, &seeds[..needed]), CREDENTIALS_DIR));
    }
    let auth = &service.spec.auth;
    let (jwt, webhook) = (auth.jwt.as_ref(), auth.connect_webhook.as_ref());
    let keys = [
        ("nats-ca", ca, CA_DIR, CA_FILE),
        (
            "jwt",
            jwt.and_then(|jwt| jwt.key_secret_ref.as_ref()),
            JWT_DIR,
            JWT_FILE,
        ),
        (
            "webhook",
            webhook.and_then(|webhook| webhook.token_secret_ref.as_ref()),
            WEBHOOK_DIR,
            WEBHOOK_FILE,
        ),
        ("api", auth.api_key_secret_ref.as_ref(), API_DIR, API_FILE),
    ];
    for (volume, reference, directory, file) in keys {
        if let Some(SecretKey { name, key }) = reference {
            files.push((secret(volume, name, &[(key, file)]), directory));
        }
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
        ..pod::mount(&volume.name, path)
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
