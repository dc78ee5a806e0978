//! The nodes' configuration: the file that `chat-node --config` reads, with the ChatService's paths where it has them.
//!
//! A node takes some settings over while it runs and reads the others at its start only. `restart_hash` is of the
//! latter: when it changes, pods are replaced; when the rest changes, they are not.

use k8s_openapi::api::core::v1::ConfigMap;
use natter_crds::Auth;
use serde_json::{Value, json};

use super::{ADMIN_PORT, CLIENT_PORT, NODES};
use crate::chat_service::build::nats;
use crate::chat_service::validate::{NatsServers, ValidatedService};

pub const FILE: &str = "natter.yaml";
pub const CONFIG_DIR: &str = "/etc/natter";
pub const CREDENTIALS_DIR: &str = "/etc/natter-nats";
pub const CREDENTIALS_FILE: &str = "node.nk";
pub const CA_DIR: &str = "/etc/natter-ca";
pub const CA_FILE: &str = "ca.pem";
pub const JWT_DIR: &str = "/etc/natter-jwt";
pub const JWT_FILE: &str = "keys";

/// New connections still arrive for a moment after a pod was told to stop.
pub const DRAIN_ACCEPT_SECONDS: i64 = 5;

/// Limits that a node goes by from its start to its end.
const FIXED_LIMITS: [&str; 1] = ["messageBytes"];

pub fn build(service: &ValidatedService) -> ConfigMap {
    ConfigMap {
        metadata: service.metadata(&service.name_of(NODES), NODES),
        data: Some([(FILE.to_owned(), text(service))].into()),
        ..ConfigMap::default()
    }
}

/// The file. Keys stand in a fixed order, so the same service gives the same text.
pub fn text(service: &ValidatedService) -> String {
    let yaml = serde_saphyr::to_string(&settings(service)).expect("settings are plain YAML");
    format!(
        "# Made by natter-operator from ChatService {}.\n{yaml}",
        service.name
    )
}

/// A hash of the settings that only a restart changes.
pub fn restart_hash(service: &ValidatedService) -> String {
    let mut settings = settings(service);
    let fields = settings.as_object_mut().expect("settings are a map");
    fields.remove("roomClasses");
    if let Some(auth) = fields.get_mut("auth").and_then(Value::as_object_mut) {
        auth.remove("allowedOrigins");
    }
    if let Some(limits) = fields.get_mut("limits").and_then(Value::as_object_mut) {
        limits.retain(|limit, _| FIXED_LIMITS.contains(&limit.as_str()));
    }
    blake3::hash(settings.to_string().as_bytes()).to_hex()[..16].to_owned()
}

fn settings(service: &ValidatedService) -> Value {
    let spec = &service.spec;
    let (auth, history) = (&spec.auth, &spec.history);
    json!({
        "listen": format!("0.0.0.0:{CLIENT_PORT}"),
        "adminListen": format!("0.0.0.0:{ADMIN_PORT}"),
        "logFormat": "json",
        "drainAccept": format!("{DRAIN_ACCEPT_SECONDS}s"),
        "drainTimeout": format!("{}s", spec.disruption.drain_seconds),
        "auth": auth_settings(auth),
        "limits": spec.limits,
        "history": {
            "maxAge": history.max_age,
            // For `chat-node nats init`, which takes this file too; in bytes, as it reads fewer units than Kubernetes.
            "maxBytesPerShard": service.max_bytes_per_shard.to_string(),
            "shards": history.shards,
        },
        "broker": "nats",
        "nats": nats_settings(service),
        "roomClasses": spec.room_classes,
    })
}

fn auth_settings(auth: &Auth) -> Value {
    let mut settings = json!({
        "allowAnonymous": auth.allow_anonymous,
        "allowedOrigins": auth.allowed_origins,
    });
    if let Some(jwt) = &auth.jwt {
        let key_file = jwt
            .key_secret_ref
            .as_ref()
            .map(|_| format!("{JWT_DIR}/{JWT_FILE}"));
        let given = [
            ("jwksURL", &jwt.jwks_url),
            ("keyFile", &key_file),
            ("issuer", &jwt.issuer),
            ("audience", &jwt.audience),
        ];
        for (setting, value) in given {
            if let Some(value) = value {
                settings["jwt"][setting] = value.clone().into();
            }
        }
    }
    settings
}

fn nats_settings(service: &ValidatedService) -> Value {
    let credentials = format!("{CREDENTIALS_DIR}/{CREDENTIALS_FILE}");
    let mut settings = match &service.nats {
        NatsServers::Managed(managed) => json!({
            "url": nats::urls(service, managed),
            "credentials": credentials,
            // Three copies outlive any one server, on five servers too.
            "replicas": managed.replicas.min(3),
        }),
        NatsServers::External(external) => {
            let mut settings = json!({"url": external.urls, "replicas": external.stream_replicas});
            if external.credentials_secret_ref.is_some() {
                settings["credentials"] = credentials.into();
            }
            if external.ca_secret_ref.is_some() {
                settings["ca"] = format!("{CA_DIR}/{CA_FILE}").into();
            }
            settings
        }
    };
    if matches!(&service.nats, NatsServers::Managed(managed) if managed.replicas > 1) {
        settings["placementTags"] = json!(["sync:always"]);
    }
    settings
}
