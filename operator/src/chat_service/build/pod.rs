//! What every pod has in common: the *restricted* security profile, resources, and the user's template on top.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Capabilities, HTTPGetAction, PodSecurityContext, PodTemplateSpec, Probe, ResourceRequirements,
    SeccompProfile, SecurityContext,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use natter_crds::Resources;
use serde_json::Value;

use super::strategic_merge::merge;

/// The user that pods run as: `nonroot` of distroless images, and nobody's in particular.
const USER: i64 = 65532;

pub fn security(owns_files: bool) -> PodSecurityContext {
    PodSecurityContext {
        run_as_non_root: Some(true),
        run_as_user: Some(USER),
        run_as_group: Some(USER),
        fs_group: Some(USER),
        // Volumes that are theirs already are not walked through at each start.
        fs_group_change_policy: owns_files.then(|| "OnRootMismatch".to_owned()),
        seccomp_profile: Some(SeccompProfile {
            type_: "RuntimeDefault".to_owned(),
            ..SeccompProfile::default()
        }),
        ..PodSecurityContext::default()
    }
}

pub fn container_security() -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        read_only_root_filesystem: Some(true),
        capabilities: Some(Capabilities {
            drop: Some(vec!["ALL".to_owned()]),
            ..Capabilities::default()
        }),
        ..SecurityContext::default()
    }
}

/// Asks `path` every `period` seconds; so many failures in a row count.
pub fn probe(path: &str, port: &str, period: i32, failures: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::String(port.to_owned()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period),
        timeout_seconds: Some(3),
        failure_threshold: Some(failures),
        ..Probe::default()
    }
}

/// The user's resources, or these requests and no limits.
pub fn resources(given: Option<&Resources>, cpu: &str, memory: &str) -> ResourceRequirements {
    let quantities = |given: &BTreeMap<String, IntOrString>| {
        let quantity =
            |(name, value): (&String, &IntOrString)| (name.clone(), Quantity(text(value)));
        given.iter().map(quantity).collect::<BTreeMap<_, _>>()
    };
    match given {
        Some(Resources { requests, limits }) => ResourceRequirements {
            requests: requests.as_ref().map(quantities),
            limits: limits.as_ref().map(quantities),
            ..ResourceRequirements::default()
        },
        None => {
            let requests = [("cpu", cpu), ("memory", memory)];
            let requests =
                requests.map(|(name, value)| (name.to_owned(), Quantity(value.to_owned())));
            ResourceRequirements {
                requests: Some(requests.into()),
                ..ResourceRequirements::default()
            }
        }
    }
}

/// A quantity as text; users may write a number.
pub fn text(value: &IntOrString) -> String {
    match value {
        IntOrString::Int(number) => number.to_string(),
        IntOrString::String(text) => text.clone(),
    }
}

/// The operator's template with the user's merged over it.
pub fn with_template(template: &PodTemplateSpec, user: Option<&Value>) -> Value {
    let own = serde_json::to_value(template).expect("a pod template is JSON");
    match user {
        Some(user) => merge(own, user),
        None => own,
    }
}
