//! How clients prove who they are.
//!
//! Files are only named here: whoever needs them reads them, at start and when they change.

use std::path::PathBuf;
use std::time::Duration;

use http::Uri;

use super::duration::{MINUTE, between};

#[derive(Debug, Clone, Default, clap::Args)]
pub struct Auth {
    #[command(flatten)]
    pub jwt: Jwt,
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

impl Jwt {
    pub fn has_keys(&self) -> bool {
        self.key_file.is_some() || self.jwks_url.is_some()
    }
}

impl Auth {
    /// Whether clients can prove who they are.
    pub fn can_tell_users(&self) -> bool {
        self.jwt.has_keys()
    }

    /// The first contradiction.
    pub(super) fn contradiction(&self) -> Option<&'static str> {
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
