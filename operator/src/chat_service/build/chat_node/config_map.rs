//! The nodes' configuration: the file that `chat-node --config` reads, with the ChatService's paths where it has them.
//!
//! A node takes some settings over while it runs and reads the others at its start only. `restart_hash` is of the
//! latter: when it changes, pods are replaced. `live_hash` is of the former: when it changes, pods are told.

use chat_node::config::{Config, ConfigError};
use k8s_openapi::api::core::v1::ConfigMap;
use natter_crds::Auth;
use serde_json::{Value, json};

use super::{ADMIN_PORT, API_PORT, CLIENT_PORT, NODES};
use crate::chat_service::build::{Error, nats};
use crate::chat_service::validate::{NatsServers, ValidatedService};

pub const FILE: &str = "natter.yaml";
pub const CONFIG_DIR: &str = "/etc/natter";
pub const CREDENTIALS_DIR: &str = "/etc/natter-nats";
pub const CREDENTIALS_FILE: &str = "node.nk";
pub const CA_DIR: &str = "/etc/natter-ca";
pub const CA_FILE: &str = "ca.pem";
pub const MODERATOR_FILE: &str = "moderator.nk";
pub const JWT_DIR: &str = "/etc/natter-jwt";
pub const JWT_FILE: &str = "keys";
pub const API_DIR: &str = "/etc/natter-api";
pub const API_FILE: &str = "keys";
pub const WEBHOOK_DIR: &str = "/etc/natter-webhook";
pub const WEBHOOK_FILE: &str = "token";

/// New connections still arrive for a moment after a pod was told to stop.
pub const DRAIN_ACCEPT_SECONDS: i64 = 5;

/// Limits that a node goes by from its start to its end.
const FIXED_LIMITS: [&str; 1] = ["messageBytes"];

/// What `chat-node nats init` reads in the same file, and nodes do not.
const OF_STREAMS: [(&str, &str); 3] = [
    ("history", "maxBytesPerShard"),
    ("nats", "replicas"),
    ("nats", "placementTags"),
];

pub fn build(service: &ValidatedService) -> Result<ConfigMap, Error> {
    let text = text(service);
    // Nodes would not start with what their own reader refuses.
    Config::from_text(&text).map_err(|error| Error(in_words_of_the_resource(&error)))?;
    Ok(ConfigMap {
        metadata: service.metadata(&service.name_of(NODES), NODES),
        data: Some([(FILE.to_owned(), text)].into()),
        ..ConfigMap::default()
    })
}

/// Paths in the file are those of the resource.
fn in_words_of_the_resource(error: &ConfigError) -> String {
    let text = error.to_string();
    let of_file = format!("config file {FILE}: ");
    match text.strip_prefix(&of_file) {
        Some(text) => text.to_owned(),
        None => text,
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
    hash(&split(service).0)
}

/// A hash of the settings that nodes take over while they run.
pub fn live_hash(service: &ValidatedService) -> String {
    hash(&split(service).1)
}

fn hash(settings: &Value) -> String {
    blake3::hash(settings.to_string().as_bytes()).to_hex()[..16].to_owned()
}

/// What nodes read at their start only, and what they take over while they run.
fn split(service: &ValidatedService) -> (Value, Value) {
    let mut at_start = settings(service);
    let mut live = json!({"roomClasses": at_start["roomClasses"].take()});
    if let Some(auth) = at_start["auth"].as_object_mut() {
        live["allowedOrigins"] = auth.remove("allowedOrigins").into();
    }
    if let Some(limits) = at_start["limits"].as_object_mut() {
        let mut live_limits = limits.clone();
        live_limits.retain(|limit, _| !FIXED_LIMITS.contains(&limit.as_str()));
        limits.retain(|limit, _| FIXED_LIMITS.contains(&limit.as_str()));
        live["limits"] = live_limits.into();
    }
    for (section, setting) in OF_STREAMS {
        if let Some(section) = at_start[section].as_object_mut() {
            section.remove(setting);
        }
    }
    (at_start, live)
}

fn settings(service: &ValidatedService) -> Value {
    let spec = &service.spec;
    let (auth, history) = (&spec.auth, &spec.history);
    let mut settings = json!({
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
    });
    if service.has_api() {
        settings["apiListen"] = format!("0.0.0.0:{API_PORT}").into();
    }
    settings
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
    if auth.api_key_secret_ref.is_some() {
        settings["apiKeyFile"] = format!("{API_DIR}/{API_FILE}").into();
    }
    if let Some(webhook) = &auth.connect_webhook {
        settings["connectWebhook"] = json!({
            "url": webhook.url,
            "timeoutSeconds": webhook.timeout_seconds,
        });
        if webhook.token_secret_ref.is_some() {
            let file = format!("{WEBHOOK_DIR}/{WEBHOOK_FILE}");
            settings["connectWebhook"]["tokenFile"] = file.into();
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
    // The server API erases, which nothing else of a node may do.
    if service.has_api() && settings.get("credentials").is_some() {
        settings["moderatorCredentials"] = format!("{CREDENTIALS_DIR}/{MODERATOR_FILE}").into();
    }
    settings
}
