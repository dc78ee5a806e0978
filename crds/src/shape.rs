//! What derives cannot say: defaults, schemas of free-form fields, and the last touch on the generated resource.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde::de::DeserializeOwned;

use crate::ChatService;

/// An age such as 720h or 1h30m.
pub(crate) const AGE: &str = "^([0-9]{1,5}(h|m|s)){1,3}$";

/// The resources as YAML, each field in a fixed order: what the chart installs.
pub fn yaml() -> Result<String, serde_saphyr::ser_error::Error> {
    serde_saphyr::to_string(&crd())
}

/// The resource as it is installed.
pub fn crd() -> CustomResourceDefinition {
    let mut crd = ChatService::crd();
    for version in &mut crd.spec.versions {
        let schema = version.schema.as_mut();
        if let Some(schema) = schema.and_then(|schema| schema.open_api_v3_schema.as_mut()) {
            forbid_null(schema);
        }
    }
    crd
}

/// An optional field is absent or has a value. `null` would count as a value in the rules' `has()`.
fn forbid_null(schema: &mut JSONSchemaProps) {
    schema.nullable = None;
    if let Some(values) = &mut schema.enum_ {
        values.retain(|value| !value.0.is_null());
    }
    for property in schema.properties.iter_mut().flatten() {
        forbid_null(property.1);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items {
        forbid_null(items);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &mut schema.additional_properties {
        forbid_null(values);
    }
}

pub(crate) fn int<const N: i32>() -> i32 {
    N
}

pub(crate) fn text(text: &str) -> String {
    text.to_owned()
}

/// A value with every field at its default.
pub(crate) fn empty<T: DeserializeOwned>() -> T {
    serde_json::from_value(serde_json::json!({})).expect("each field has a default")
}

/// An object of another kind, which the API server keeps as it is.
pub(crate) fn anything(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
}

/// Quantities by name, as in a pod: `cpu: 1`, `memory: 1Gi`.
pub(crate) fn quantities(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "object", "additionalProperties": {"x-kubernetes-int-or-string": true}})
}
