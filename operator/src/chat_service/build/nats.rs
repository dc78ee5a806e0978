//! The NATS servers that the operator runs for one ChatService.
//!
//! One Service, `<cr>-nats`, gives each server a name; clients are told all of them, so that who loses one knows the
//! others.

pub mod config;
pub mod credentials;
mod network_policy;
mod stateful_set;

use k8s_openapi::api::core::v1::{ServiceAccount, ServicePort, ServiceSpec};
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

pub use network_policy::port;

use super::metadata::Component;
use super::{Error, Kind, Object};
use crate::chat_service::validate::{Managed, ValidatedService};

const NATS: Component = Component::Nats;

/// Where clients connect, where the servers meet each other, and where their state is read.
const CLIENT_PORT: i32 = 4222;
const ROUTE_PORT: i32 = 6222;
const MONITOR_PORT: i32 = 8222;

pub fn build(service: &ValidatedService, managed: &Managed) -> Result<Vec<Object>, Error> {
    let name = service.name_of(NATS);
    let config = config::config_map(service, managed);
    let mut objects = vec![
        Object::new(Kind::ServiceAccount, &name, &service_account(service)),
        Object::new(Kind::Secret, &name, &credentials::secret(service, managed)),
        Object::new(Kind::ConfigMap, &name, &config),
        Object::new(Kind::Service, &name, &headless_service(service)),
        Object::new(Kind::NetworkPolicy, &name, &network_policy::build(service)),
    ];
    // A single server could never be moved with a budget.
    if managed.replicas > 1 {
        objects.push(Object::new(
            Kind::PodDisruptionBudget,
            &name,
            &disruption_budget(service),
        ));
    }
    objects.push(stateful_set::build(service, managed)?);
    Ok(objects)
}

/// Addresses of the servers, as chat nodes and the operator use them.
pub fn urls(service: &ValidatedService, managed: &Managed) -> Vec<String> {
    hosts(service, managed.replicas)
        .map(|host| format!("nats://{host}:{CLIENT_PORT}"))
        .collect()
}

/// The servers' names, with the namespace: the operator lives in another one.
fn hosts(service: &ValidatedService, replicas: u32) -> impl Iterator<Item = String> {
    let (name, namespace) = (service.name_of(NATS), service.namespace.clone());
    (0..replicas).map(move |ordinal| format!("{name}-{ordinal}.{name}.{namespace}.svc"))
}

fn service_account(service: &ValidatedService) -> ServiceAccount {
    ServiceAccount {
        metadata: service.metadata(&service.name_of(NATS), NATS),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    }
}

fn headless_service(service: &ValidatedService) -> k8s_openapi::api::core::v1::Service {
    let port = |name: &str, port| ServicePort {
        name: Some(name.to_owned()),
        port,
        target_port: Some(IntOrString::String(name.to_owned())),
        ..ServicePort::default()
    };
    k8s_openapi::api::core::v1::Service {
        metadata: service.metadata(&service.name_of(NATS), NATS),
        spec: Some(ServiceSpec {
            cluster_ip: Some("None".to_owned()),
            // Servers must find each other to become ready.
            publish_not_ready_addresses: Some(true),
            selector: Some(service.selector(NATS)),
            ports: Some(vec![
                port("client", CLIENT_PORT),
                port("route", ROUTE_PORT),
                port("monitor", MONITOR_PORT),
            ]),
            ..ServiceSpec::default()
        }),
        ..Default::default()
    }
}

fn disruption_budget(service: &ValidatedService) -> PodDisruptionBudget {
    PodDisruptionBudget {
        metadata: service.metadata(&service.name_of(NATS), NATS),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            selector: Some(service.label_selector(NATS)),
            ..PodDisruptionBudgetSpec::default()
        }),
        ..PodDisruptionBudget::default()
    }
}

#[cfg(test)]
mod tests;
