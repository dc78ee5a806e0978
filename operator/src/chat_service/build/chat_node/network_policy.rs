//! Who may talk to the nodes: anyone as a client; for metrics and health only pods of the cluster.

use k8s_openapi::api::networking::v1::{
    NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::NODES;
use crate::chat_service::build::nats::port;
use crate::chat_service::validate::ValidatedService;

pub fn build(service: &ValidatedService) -> NetworkPolicy {
    let pods_of_the_cluster = NetworkPolicyPeer {
        namespace_selector: Some(LabelSelector::default()),
        ..NetworkPolicyPeer::default()
    };
    NetworkPolicy {
        metadata: service.metadata(&service.name_of(NODES), NODES),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(service.label_selector(NODES)),
            policy_types: Some(vec!["Ingress".to_owned()]),
            ingress: Some(vec![
                NetworkPolicyIngressRule {
                    from: None,
                    ports: Some(vec![port("clients")]),
                },
                NetworkPolicyIngressRule {
                    from: Some(vec![pods_of_the_cluster]),
                    ports: Some(vec![port("admin")]),
                },
            ]),
            ..NetworkPolicySpec::default()
        }),
    }
}
