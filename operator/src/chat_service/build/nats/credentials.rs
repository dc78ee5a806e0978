//! Keys of the three roles and the servers' password: made once, kept in the Secret `<cr>-nats`, never changed.
//!
//! A Secret that is lost is made anew with other keys: servers know users by the public keys in their configuration,
//! and streams belong to the account's name.

use std::collections::BTreeMap;
use std::fmt;

use chat_node::broker::nats::account::Role;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use nkeys::{KeyPair, KeyPairType};

use super::NATS;
use super::config::{ROUTES_FILE, routes};
use crate::chat_service::validate::{Managed, ValidatedService};

const PASSWORD: &str = "route-password";

/// Names of the seeds in a Secret, as `chat-node nats users` names its files.
pub const SEEDS: [&str; 3] = ["operator.nk", "node.nk", "moderator.nk"];

/// What lies in the Secret. Never shown.
#[derive(Clone)]
pub struct Keys {
    /// Of operator, node and moderator.
    seeds: [KeyPair; 3],
    pub route_password: String,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys(..)")
    }
}

impl Keys {
    pub fn public_key(&self, role: Role) -> String {
        self.pair(role).public_key()
    }

    pub fn seed(&self, role: Role) -> String {
        let seed = self.pair(role).seed();
        seed.expect("a pair that was made or read from a seed has one")
    }

    fn pair(&self, role: Role) -> &KeyPair {
        let [operator, node, moderator] = &self.seeds;
        match role {
            Role::Operator => operator,
            Role::Node => node,
            Role::Moderator => moderator,
        }
    }
}

/// The name of a role's seed in a Secret.
pub fn seed_name(role: Role) -> &'static str {
    let [operator, node, moderator] = SEEDS;
    match role {
        Role::Operator => operator,
        Role::Node => node,
        Role::Moderator => moderator,
    }
}

/// The keys in `secret`; those that are missing are made. Errors: text for the user, if one is there and is no key.
pub fn keys(secret: Option<&Secret>) -> Result<Keys, String> {
    let data = secret.and_then(|secret| secret.data.as_ref());
    let name = secret
        .and_then(|secret| secret.metadata.name.as_deref())
        .unwrap_or_default();
    let text = |key: &str| {
        let bytes = data.and_then(|data| data.get(key));
        bytes.map(|ByteString(bytes)| String::from_utf8_lossy(bytes).trim().to_owned())
    };
    let seed = |role: Role| -> Result<KeyPair, String> {
        let key = seed_name(role);
        let Some(seed) = text(key) else {
            return Ok(KeyPair::new_user());
        };
        match KeyPair::from_seed(&seed) {
            Ok(pair) if pair.key_pair_type() == KeyPairType::User => Ok(pair),
            _ => Err(format!(
                "Secret {name}: {key} is no nkey seed of a user (SU…); remove it and another one is made"
            )),
        }
    };
    let password = text(PASSWORD).filter(|password| !password.is_empty());
    Ok(Keys {
        seeds: [
            seed(Role::Operator)?,
            seed(Role::Node)?,
            seed(Role::Moderator)?,
        ],
        route_password: password.unwrap_or_else(new_password),
    })
}

/// A password for whoever wants to be a server: as much chance as a key has.
fn new_password() -> String {
    // A public key is letters and digits only, and nobody knows this one's seed.
    KeyPair::new_user().public_key()
}

pub fn secret(service: &ValidatedService, managed: &Managed) -> Secret {
    let keys = &managed.keys;
    let mut data = BTreeMap::new();
    for role in Role::ALL {
        let seed = keys.seed(role).into_bytes();
        data.insert(seed_name(role).to_owned(), ByteString(seed));
    }
    let password = keys.route_password.clone().into_bytes();
    data.insert(PASSWORD.to_owned(), ByteString(password));
    let routes = routes(service, managed).into_bytes();
    data.insert(ROUTES_FILE.to_owned(), ByteString(routes));
    Secret {
        metadata: service.metadata(&service.name_of(NATS), NATS),
        type_: Some("Opaque".to_owned()),
        data: Some(data),
        ..Secret::default()
    }
}
