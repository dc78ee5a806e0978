//! The Secrets that a ChatService names.

use natter_crds::{ChatServiceSpec, SecretKey, SecretName};

/// Every field that names a key of a Secret, and what it names.
pub fn keys(spec: &ChatServiceSpec) -> impl Iterator<Item = (&'static str, &SecretKey)> {
    let (jwt, webhook) = (spec.auth.jwt.as_ref(), spec.auth.connect_webhook.as_ref());
    let external = spec.nats.external.as_ref();
    let fields = [
        (
            "auth.apiKeySecretRef",
            spec.auth.api_key_secret_ref.as_ref(),
        ),
        (
            "auth.jwt.keySecretRef",
            jwt.and_then(|jwt| jwt.key_secret_ref.as_ref()),
        ),
        (
            "auth.connectWebhook.tokenSecretRef",
            webhook.and_then(|webhook| webhook.token_secret_ref.as_ref()),
        ),
        (
            "nats.external.caSecretRef",
            external.and_then(|external| external.ca_secret_ref.as_ref()),
        ),
    ];
    let named = fields.into_iter();
    named.filter_map(|(field, reference)| Some((field, reference?)))
}

/// The Secret with the seeds for servers of the user's own.
pub fn credentials(spec: &ChatServiceSpec) -> Option<&SecretName> {
    let external = spec.nats.external.as_ref()?;
    external.credentials_secret_ref.as_ref()
}
