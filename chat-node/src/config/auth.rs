//! How clients prove who they are.
//!
//! Files are only named here: whoever needs them reads them, at start and when they change.

use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderName, Uri, header};

use super::duration::{MINUTE, between};
use super::value::whole;

#[derive(Debug, Clone, Default, clap::Args)]
pub struct Auth {
    #[command(flatten)]
    pub jwt: Jwt,
    #[command(flatten)]
    pub connect_webhook: ConnectWebhook,
    /// How long a session or subscription that has expired goes on, so that a refresh under way wins, at most 10m
    #[arg(long, id = "auth.expiryGrace", value_name = "DURATION", default_value = "25s", value_parser = between(Duration::ZERO..=10 * MINUTE))]
    pub expiry_grace: Duration,
}

/// Tokens are believed as soon as there are keys.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Jwt {
    /// File with the keys that sign tokens: public keys in PEM, a JWKS document, or a secret a line; read again when it changes
    #[arg(long = "jwt-key-file", id = "auth.jwt.keyFile", value_name = "FILE")]
    pub key_file: Option<PathBuf>,
    /// Where the public keys that sign tokens are published, as a JWKS document
    #[arg(long = "jwt-jwks-url", id = "auth.jwt.jwksURL", value_name = "URL", value_parser = http_url)]
    pub jwks_url: Option<Uri>,
    /// What `iss` of every token must be; without it any is taken
    #[arg(long = "jwt-issuer", id = "auth.jwt.issuer", value_name = "TEXT", value_parser = text)]
    pub issuer: Option<String>,
    /// What must be among `aud` of every token; without it any is taken
    #[arg(
        long = "jwt-audience",
        id = "auth.jwt.audience",
        value_name = "TEXT",
        value_parser = text
    )]
    pub audience: Option<String>,
}

/// The backend is asked about who connects without a token.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct ConnectWebhook {
    /// Where the backend is asked who a client without a token is
    #[arg(long = "connect-webhook-url", id = "auth.connectWebhook.url", value_name = "URL", value_parser = http_url)]
    pub url: Option<Uri>,
    /// How long clients wait for their connect, 1 to 30: half a second before they have an answer, the backend's or a temporary error
    #[arg(long = "connect-webhook-timeout-seconds", id = "auth.connectWebhook.timeoutSeconds", value_name = "SECONDS", default_value = "5", value_parser = whole::<u64>(1..=30))]
    pub timeout_seconds: u64,
    /// File with the token that the node shows the backend (Authorization: Bearer …); read for each request
    #[arg(
        long = "connect-webhook-token-file",
        id = "auth.connectWebhook.tokenFile",
        value_name = "FILE"
    )]
    pub token_file: Option<PathBuf>,
    /// Headers of clients' requests that the backend gets to see, comma separated, such as cookie,x-forwarded-for
    #[arg(long = "connect-webhook-headers", id = "auth.connectWebhook.headers", value_name = "NAMES", value_delimiter = ',', value_parser = header_name)]
    pub headers: Vec<HeaderName>,
}

impl Jwt {
    pub fn has_keys(&self) -> bool {
        self.key_file.is_some() || self.jwks_url.is_some()
    }
}

impl Auth {
    /// Whether clients can prove who they are.
    pub fn can_tell_users(&self) -> bool {
        self.jwt.has_keys() || self.connect_webhook.url.is_some()
    }

    /// The first contradiction.
    pub(super) fn contradiction(&self) -> Option<&'static str> {
        let webhook = &self.connect_webhook;
        if webhook.url.is_none() && (webhook.token_file.is_some() || !webhook.headers.is_empty()) {
            return Some(
                "auth.connectWebhook.tokenFile (--connect-webhook-token-file) and auth.connectWebhook.headers \
                 (--connect-webhook-headers) need auth.connectWebhook.url (--connect-webhook-url)",
            );
        }
        if webhook.token_file.is_some() && webhook.headers.contains(&header::AUTHORIZATION) {
            return Some(
                "auth.connectWebhook.headers (--connect-webhook-headers) has authorization, in which the backend gets \
                 the token of auth.connectWebhook.tokenFile (--connect-webhook-token-file)",
            );
        }
        let Jwt {
            key_file,
            jwks_url,
            issuer,
            audience,
        } = &self.jwt;
        match (key_file, jwks_url) {
            (Some(_), Some(_)) => Some(
                "auth.jwt.keyFile (--jwt-key-file) and auth.jwt.jwksURL (--jwt-jwks-url) are both given: \
                 keys can come from one of them",
            ),
            (None, None) if issuer.is_some() || audience.is_some() => Some(
                "auth.jwt.issuer (--jwt-issuer) and auth.jwt.audience (--jwt-audience) need keys: give \
                 auth.jwt.keyFile (--jwt-key-file) or auth.jwt.jwksURL (--jwt-jwks-url)",
            ),
            _ => None,
        }
    }
}

/// An empty text would make every token without the claim a good one.
fn text(text: &str) -> Result<String, String> {
    match text.is_empty() {
        true => Err("expected a text".to_owned()),
        false => Ok(text.to_owned()),
    }
}

/// A header that can be handed on: not one that is about the node's own request.
fn header_name(text: &str) -> Result<HeaderName, String> {
    const OWN: [HeaderName; 7] = [
        header::CONNECTION,
        header::CONTENT_LENGTH,
        header::CONTENT_TYPE,
        header::HOST,
        header::TE,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
    ];
    let name = HeaderName::from_bytes(text.trim().as_bytes()).ok();
    name.filter(|name| !OWN.contains(name))
        .ok_or_else(|| "expected names of headers that can be handed on, such as cookie".to_owned())
}

pub(super) fn http_url(text: &str) -> Result<Uri, String> {
    let expected = || "expected a URL such as https://id.example.com/jwks.json".to_owned();
    let uri: Uri = text.trim().parse().map_err(|_| expected())?;
    let authority = uri.authority().ok_or_else(expected)?;
    if authority.as_str().contains('@') {
        return Err("expected a URL without a user: secrets come from files".to_owned());
    }
    match uri.scheme_str() {
        Some("http" | "https") if !authority.host().is_empty() => Ok(uri),
        _ => Err(expected()),
    }
}
