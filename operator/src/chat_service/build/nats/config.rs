//! The servers' configuration, the same for all but for the name, which each has from its pod.

use std::fmt::Write as _;

use chat_node::broker::nats::users;
use k8s_openapi::api::core::v1::ConfigMap;

use super::{CLIENT_PORT, MONITOR_PORT, NATS, ROUTE_PORT, hosts};
use crate::chat_service::validate::{Managed, ValidatedService};

/// The account of the chat nodes. Its streams lie on the volumes under this name, so new keys find them again.
pub const ACCOUNT: &str = "natter";

/// Where the files are in the container.
pub const CONFIG_DIR: &str = "/etc/nats";
pub const ROUTES_DIR: &str = "/etc/nats-routes";
pub const DATA_DIR: &str = "/data";
pub const PID_FILE: &str = "/run/nats/nats.pid";

pub const FILE: &str = "nats.conf";
const ACCOUNTS_FILE: &str = "accounts.conf";
/// In the Secret: routes carry a password.
pub const ROUTES_FILE: &str = "routes.conf";

pub fn config_map(service: &ValidatedService, managed: &Managed) -> ConfigMap {
    let data = [
        (FILE.to_owned(), server(managed, &service.name_of(NATS))),
        (ACCOUNTS_FILE.to_owned(), accounts(service, managed)),
    ];
    ConfigMap {
        metadata: service.metadata(&service.name_of(NATS), NATS),
        data: Some(data.into()),
        ..ConfigMap::default()
    }
}

/// Everything that servers read at their start; another text needs servers to be told or started anew.
pub fn hash(service: &ValidatedService, managed: &Managed) -> String {
    let mut hasher = blake3::Hasher::new();
    let parts = [
        server(managed, &service.name_of(NATS)),
        accounts(service, managed),
        routes(service, managed),
    ];
    for part in parts {
        hasher.update(part.as_bytes());
    }
    hasher.finalize().to_hex()[..16].to_owned()
}

fn server(managed: &Managed, cluster: &str) -> String {
    // Four fifths of the volume: the rest is for what JetStream writes while it compacts.
    let max_file = managed.storage_bytes / 5 * 4;
    let mut text = format!(
        "# Made by natter-operator.\n\
         server_name: $POD_NAME\n\
         listen: \"0.0.0.0:{CLIENT_PORT}\"\n\
         http: \"0.0.0.0:{MONITOR_PORT}\"\n\
         pid_file: \"{PID_FILE}\"\n\
         jetstream {{\n  \
           store_dir: \"{DATA_DIR}\"\n  \
           max_mem: 256MB\n  \
           max_file: {max_file}\n  \
           # An acknowledged message is on the disk of most servers.\n  \
           sync_interval: always\n\
         }}\n\
         server_tags: [\"sync:always\"]\n\
         max_payload: 1MB\n\
         write_deadline: \"10s\"\n\
         # A server that hangs is noticed before retries give up.\n\
         ping_interval: \"10s\"\n\
         ping_max: 2\n\
         lame_duck_grace_period: \"10s\"\n\
         lame_duck_duration: \"30s\"\n\
         include \"{ACCOUNTS_FILE}\"\n"
    );
    // A server alone must not be clustered: it would wait for others for ever.
    if managed.replicas > 1 {
        let _ = write!(
            text,
            "cluster {{\n  name: \"{cluster}\"\n  listen: \"0.0.0.0:{ROUTE_PORT}\"\n  no_advertise: true\n  include \"{ROUTES_FROM_CONFIG}/{ROUTES_FILE}\"\n}}\n"
        );
    }
    text
}

/// Includes are relative to the file that has them, whatever they look like.
const ROUTES_FROM_CONFIG: &str = "../nats-routes";

fn accounts(service: &ValidatedService, managed: &Managed) -> String {
    let shards = service.spec.history.shards.unsigned_abs() as u16;
    users::accounts(ACCOUNT, shards, |role| managed.keys.public_key(role))
}

/// Every server's route, its own too: the number of routes is the size that a new cluster waits for.
pub fn routes(service: &ValidatedService, managed: &Managed) -> String {
    let password = &managed.keys.route_password;
    let routes: String = hosts(service, managed.replicas)
        .map(|host| format!("  \"nats://route:{password}@{host}:{ROUTE_PORT}\"\n"))
        .collect();
    format!(
        "# Made by natter-operator: who may join the cluster, and who is in it.\n\
         authorization {{ user: route, password: \"{password}\", timeout: 5 }}\n\
         routes: [\n{routes}]\n"
    )
}
