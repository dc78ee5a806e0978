//! Who gets in, and by what a backend is known. Secrets are named, never written here.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::shape::int;

/// Who gets in.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Auth {
    /// Clients without a token are let in.
    #[serde(default)]
    pub allow_anonymous: bool,
    /// Web origins that may connect, such as https://example.com, https://*.example.com or * for any. The node's own
    /// page always may.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128), inner(length(max = 253)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub allowed_origins: Vec<String>,
    /// The key that a backend sends as X-API-Key to the server API. Absent: there is no server API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key_secret_ref: Option<SecretKey>,
    /// Clients bring a JSON Web Token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwt: Option<Jwt>,
    /// Your backend decides on each connect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect_webhook: Option<ConnectWebhook>,
}

/// How clients' tokens are checked.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.jwksURL) != has(self.keySecretRef)").message("set exactly one of jwksURL and keySecretRef"))]
pub struct Jwt {
    /// Where the public keys are published.
    #[serde(default, rename = "jwksURL", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    #[x_kube(validation = Rule::new("isURL(self) && url(self).getScheme() in ['https', 'http']").message("must be an http(s) URL"))]
    pub jwks_url: Option<String>,
    /// One key: a shared secret, or a public key as PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_secret_ref: Option<SecretKey>,
    /// The claim `iss` that tokens must have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub issuer: Option<String>,
    /// What the claim `aud` of tokens must hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub audience: Option<String>,
}

/// The backend that decides on each connect.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ConnectWebhook {
    /// Where a node asks, by POST.
    #[schemars(length(max = 2048))]
    #[x_kube(validation = Rule::new("isURL(self)").message("must be a URL"))]
    pub url: String,
    /// How long a node waits for the answer, in seconds.
    #[serde(default = "int::<5>")]
    #[schemars(range(min = 1, max = 30))]
    pub timeout_seconds: i32,
    /// The bearer token that the node sends along.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_secret_ref: Option<SecretKey>,
}

/// One key of a Secret in the same namespace.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct SecretKey {
    /// The Secret's name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The key in its data.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}
