//! Natter's Kubernetes resources, group `natter.dev`.
//!
//! The structs are the one source: `crdgen` prints the YAML that the chart installs, the operator reads and writes
//! the same types. Rules that one resource can be checked by are CEL, so that the API server refuses what cannot
//! work and says why; this crate has no other validation.

mod chat_service;
mod conditions;
mod shape;

#[cfg(test)]
mod tests;

pub use chat_service::*;
pub use conditions::{ConditionType, Reason};
pub use shape::{crd, yaml};

pub const GROUP: &str = "natter.dev";
pub const VERSION: &str = "v1alpha1";
