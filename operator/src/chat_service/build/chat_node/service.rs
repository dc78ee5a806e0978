//! The Services: one for clients, with affinity, one for backends if they have a key, and one that gives every node a name.

use k8s_openapi::api::core::v1::{
    ClientIPConfig, Service, ServicePort, ServiceSpec, SessionAffinityConfig,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use natter_crds::{ExternalTrafficPolicy, ServiceType, SessionAffinity};

use super::{ADMIN_PORT, API_PORT, CLIENT_PORT, NODES};
use crate::chat_service::validate::ValidatedService;

/// Where clients connect.
pub fn for_clients(service: &ValidatedService) -> Service {
    let natter_crds::Service {
        type_,
        annotations,
        load_balancer_class,
        external_traffic_policy,
        session_affinity,
        session_affinity_config,
    } = &service.spec.service;
    let mut metadata = service.metadata(&service.name, NODES);
    metadata.annotations = annotations.clone();
    let is_external = *type_ != ServiceType::ClusterIP;
    let sticks = *session_affinity == SessionAffinity::ClientIP;
    Service {
        metadata,
        spec: Some(ServiceSpec {
            type_: Some(format!("{type_:?}")),
            selector: Some(service.selector(NODES)),
            ports: Some(vec![ServicePort {
                app_protocol: Some("kubernetes.io/ws".to_owned()),
                ..port("clients", CLIENT_PORT)
            }]),
            session_affinity: Some(format!("{session_affinity:?}")),
            session_affinity_config: sticks.then_some(SessionAffinityConfig {
                client_ip: Some(ClientIPConfig {
                    timeout_seconds: Some(session_affinity_config.client_ip.timeout_seconds),
                }),
            }),
            // The API server refuses both where nothing comes from outside.
            load_balancer_class: load_balancer_class
                .clone()
                .filter(|_| *type_ == ServiceType::LoadBalancer),
            external_traffic_policy: external_traffic_policy
                .filter(|_| is_external)
                .map(|policy: ExternalTrafficPolicy| format!("{policy:?}")),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

/// Where backends call the server API: any node will do, each time another one.
pub fn for_backends(service: &ValidatedService, name: &str) -> Service {
    Service {
        metadata: service.metadata(name, NODES),
        spec: Some(ServiceSpec {
            selector: Some(service.selector(NODES)),
            ports: Some(vec![port("api", API_PORT)]),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

/// Every node by name, also one that is not ready: its metrics say why.
pub fn headless(service: &ValidatedService) -> Service {
    Service {
        metadata: service.metadata(&service.name_of(NODES), NODES),
        spec: Some(ServiceSpec {
            cluster_ip: Some("None".to_owned()),
            publish_not_ready_addresses: Some(true),
            selector: Some(service.selector(NODES)),
            ports: Some(vec![
                port("clients", CLIENT_PORT),
                port("admin", ADMIN_PORT.into()),
            ]),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

fn port(name: &str, port: i32) -> ServicePort {
    ServicePort {
        name: Some(name.to_owned()),
        port,
        target_port: Some(IntOrString::String(name.to_owned())),
        ..ServicePort::default()
    }
}
