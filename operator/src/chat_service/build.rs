//! `ValidatedService` -> every object that the operator owns. Pure.

pub mod chat_node;
pub mod metadata;
pub mod nats;
mod object;
mod pod;
mod strategic_merge;

pub use object::{Kind, Object};

use super::validate::{NatsServers, ValidatedService};

/// An object that cannot be made of what the user gave.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Error(String);

/// All that `service` needs, in the order in which it is best created: what pods mount before the pods.
pub fn build(service: &ValidatedService) -> Result<Vec<Object>, Error> {
    let nats = match &service.nats {
        NatsServers::Managed(managed) => nats::build(service, managed)?,
        NatsServers::External(_) => Vec::new(),
    };
    let nodes = chat_node::build(service)?;
    Ok([nats, nodes].concat())
}

#[cfg(test)]
mod tests {
    use crate::fixtures::{SMALLEST, built};

    fn names(spec: &str) -> Vec<String> {
        let objects = built(spec);
        let names = objects
            .iter()
            .map(|object| format!("{} {}", object.kind, object.name));
        names.collect()
    }

    #[test]
    fn the_smallest_service_gets_everything_it_needs() {
        let expected = [
            "ServiceAccount lobby-nats",
            "Secret lobby-nats",
            "ConfigMap lobby-nats",
            "Service lobby-nats",
            "NetworkPolicy lobby-nats",
            "PodDisruptionBudget lobby-nats",
            "StatefulSet lobby-nats",
            "ServiceAccount lobby-nodes",
            "ConfigMap lobby-nodes",
            "Service lobby",
            "Service lobby-nodes",
            "NetworkPolicy lobby-nodes",
            "PodDisruptionBudget lobby-nodes",
            "Deployment lobby-nodes",
        ];
        assert_eq!(names(SMALLEST), expected);
    }

    #[test]
    fn one_pod_has_no_budget_that_would_block_drains() {
        let names =
            names("{auth: {allowAnonymous: true}, replicas: 1, nats: {managed: {replicas: 1}}}");
        assert!(
            !names
                .iter()
                .any(|name| name.starts_with("PodDisruptionBudget")),
            "{names:?}"
        );
    }

    #[test]
    fn servers_of_the_users_own_need_no_servers() {
        let names =
            names("{auth: {allowAnonymous: true}, nats: {external: {urls: ['nats://a:4222']}}}");
        assert!(
            !names.iter().any(|name| name.ends_with("-nats")),
            "{names:?}"
        );
    }

    #[test]
    fn every_object_is_owned_and_labelled() {
        for object in built(SMALLEST) {
            let metadata = &object.body["metadata"];
            assert_eq!(metadata["name"], object.name);
            assert_eq!(metadata["namespace"], "chat");
            assert_eq!(
                metadata["ownerReferences"][0]["uid"], "1-2-3",
                "{}",
                object.name
            );
            assert_eq!(metadata["ownerReferences"][0]["controller"], true);
            assert_eq!(metadata["labels"]["app.kubernetes.io/instance"], "lobby");
            assert_eq!(
                metadata["labels"]["app.kubernetes.io/managed-by"],
                "natter-operator"
            );
            assert_eq!(object.body["kind"], object.kind.to_string());
        }
    }
}
