//! Who may talk to the servers: nodes and the operator as clients, servers among themselves.

use std::collections::BTreeMap;

use k8s_openapi::api::networking::v1::{
    NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort,
    NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::NATS;
use crate::chat_service::build::metadata::{Component, MANAGED_BY};
use crate::chat_service::validate::ValidatedService;

pub fn build(service: &ValidatedService) -> NetworkPolicy {
    let pods = |component| NetworkPolicyPeer {
        pod_selector: Some(service.label_selector(component)),
        ..NetworkPolicyPeer::default()
    };
    let rule = |ports: &[&str], from: &[&NetworkPolicyPeer]| NetworkPolicyIngressRule {
        from: Some(from.iter().map(|&peer| peer.clone()).collect()),
        ports: Some(ports.iter().map(|name| port(name)).collect()),
    };
    let (nodes, servers) = (pods(Component::Nodes), pods(NATS));
    NetworkPolicy {
        metadata: service.metadata(&service.name_of(NATS), NATS),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(service.label_selector(NATS)),
            policy_types: Some(vec!["Ingress".to_owned()]),
            ingress: Some(vec![
                rule(&["client"], &[&nodes, &operator()]),
                rule(&["route"], &[&servers]),
                rule(&["monitor"], &[&operator()]),
            ]),
            ..NetworkPolicySpec::default()
        }),
    }
}

/// The operator's pods, in whatever namespace it was installed.
pub fn operator() -> NetworkPolicyPeer {
    let labels: BTreeMap<_, _> =
        [("app.kubernetes.io/name".to_owned(), MANAGED_BY.to_owned())].into();
    NetworkPolicyPeer {
        namespace_selector: Some(LabelSelector::default()),
        pod_selector: Some(LabelSelector {
            match_labels: Some(labels),
            ..LabelSelector::default()
        }),
        ..NetworkPolicyPeer::default()
    }
}

pub fn port(name: &str) -> NetworkPolicyPort {
    NetworkPolicyPort {
        port: Some(IntOrString::String(name.to_owned())),
        protocol: Some("TCP".to_owned()),
        ..NetworkPolicyPort::default()
    }
}
