//! ChatServices for tests, written as a user writes them.

use natter_crds::ChatService;
use serde_json::{Value, json};

use crate::chat_service::build::{self, Kind, Object};
use crate::chat_service::validate::{Given, Images, ValidatedService, validate};

/// A ChatService `lobby` in namespace `chat` with this spec.
pub fn lobby(spec: &str) -> ChatService {
    let spec: Value = serde_saphyr::from_str(spec).unwrap();
    let resource = json!({
        "apiVersion": "natter.dev/v1alpha1", "kind": "ChatService", "spec": spec,
        "metadata": {"name": "lobby", "namespace": "chat", "uid": "1-2-3", "generation": 1},
    });
    serde_json::from_value(resource).unwrap()
}

pub fn given() -> Given {
    Given {
        images: Images {
            chat_node: "chat-node:1".to_owned(),
            nats: "nats:2.15.2".to_owned(),
        },
        ..Given::default()
    }
}

pub fn validated(spec: &str) -> ValidatedService {
    validate(&lobby(spec), given()).unwrap()
}

/// What is built from `spec`.
pub fn built(spec: &str) -> Vec<Object> {
    build::build(&validated(spec)).unwrap()
}

/// The one object of a kind and name.
pub fn object(objects: &[Object], kind: Kind, name: &str) -> Value {
    let found = objects
        .iter()
        .find(|object| object.kind == kind && object.name == name);
    found
        .unwrap_or_else(|| panic!("no {kind} {name}"))
        .body
        .clone()
}

/// The smallest spec there is.
pub const SMALLEST: &str = "auth: {allowAnonymous: true}";
