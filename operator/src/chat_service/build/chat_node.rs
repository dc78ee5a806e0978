//! The chat nodes of one ChatService, and the Services in front of them.

pub mod config_map;
mod deployment;
mod network_policy;
mod service;

use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::metadata::Component;
use super::{Error, Kind, Object};
use crate::chat_service::validate::ValidatedService;

const NODES: Component = Component::Nodes;

const CLIENT_PORT: i32 = 8080;
const API_PORT: i32 = 8081;
pub const ADMIN_PORT: u16 = 9090;

pub fn build(service: &ValidatedService) -> Result<Vec<Object>, Error> {
    let name = service.name_of(NODES);
    let mut objects = vec![
        Object::new(Kind::ServiceAccount, &name, &service_account(service)),
        Object::new(Kind::ConfigMap, &name, &config_map::build(service)?),
        Object::new(Kind::Service, &service.name, &service::for_clients(service)),
        Object::new(Kind::Service, &name, &service::headless(service)),
        Object::new(Kind::NetworkPolicy, &name, &network_policy::build(service)),
    ];
    if service.has_api() {
        let name = format!("{}-api", service.name);
        let service = service::for_backends(service, &name);
        objects.push(Object::new(Kind::Service, &name, &service));
    }
    // With one pod it would block every drain of its machine.
    if service.spec.replicas > 1 {
        objects.push(Object::new(
            Kind::PodDisruptionBudget,
            &name,
            &disruption_budget(service),
        ));
    }
    objects.push(deployment::build(service)?);
    Ok(objects)
}

impl ValidatedService {
    /// Whether backends may call the nodes.
    fn has_api(&self) -> bool {
        self.spec.auth.api_key_secret_ref.is_some()
    }
}

/// The nodes talk to NATS only, never to the API server.
fn service_account(service: &ValidatedService) -> ServiceAccount {
    ServiceAccount {
        metadata: service.metadata(&service.name_of(NODES), NODES),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    }
}

fn disruption_budget(service: &ValidatedService) -> PodDisruptionBudget {
    PodDisruptionBudget {
        metadata: service.metadata(&service.name_of(NODES), NODES),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            selector: Some(service.label_selector(NODES)),
            // A node that is not ready holds nobody: it must not keep a machine from being drained.
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".to_owned()),
            ..PodDisruptionBudgetSpec::default()
        }),
        ..PodDisruptionBudget::default()
    }
}

#[cfg(test)]
mod tests;
