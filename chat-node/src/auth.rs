//! Who a session is and what it may do, as tokens and the backend say it.
//!
//! token -> [`token::Unchecked`] -> keys, from a file or by URL -> claims -> [`Identity`] or [`RoomPass`]. Sessions ask,
//! workers wait where the keys are not there yet. No text here, and nothing that is logged, contains a token.

mod claims;
mod crypto;
mod http_client;
mod jwks;
mod key_file;
mod keys;
mod token;
mod webhook;

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::de::DeserializeOwned;

use crate::config::{Config, ConnectWebhook, Jwt};
use crate::metrics::AuthMetrics;
use crate::protocol::{CloseReason, ErrorCode, Refusal};

use claims::{BadClaims, ConnectionClaims, SubscriptionClaims};
use jwks::{Found, Jwks};
use keys::Keys;
use token::{Expected, Unchecked};

pub use claims::{GivenRoom, Identity, RoomPass, json as given_json};
pub use token::TokenError;
pub use webhook::{Question, Webhook, Welcome};

/// Why a session is not let in.
#[derive(Debug)]
pub enum Denied {
    Refused(Refusal),
    Closed(CloseReason),
}

impl From<TokenError> for Denied {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Invalid(what) => Self::Closed(CloseReason::invalid_token(what)),
            TokenError::Expired(_) | TokenError::NoKeys => Self::Refused(error.into()),
        }
    }
}

impl From<TokenError> for Refusal {
    fn from(error: TokenError) -> Self {
        let code = match error {
            TokenError::Expired(_) => ErrorCode::TokenExpired,
            TokenError::Invalid(_) => ErrorCode::PermissionDenied,
            TokenError::NoKeys => ErrorCode::Internal,
        };
        Self::new(code, error.to_string())
    }
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the file {file} of auth.jwt.keyFile (--jwt-key-file) {problem}")]
    KeyFile {
        file: PathBuf,
        problem: key_file::FileProblem,
    },
    #[error(
        "TLS needs the system's certificates of authorities, which cannot be had (SSL_CERT_FILE may name them): {0}"
    )]
    Authorities(std::io::Error),
    #[error(
        "the file {file} of auth.connectWebhook.tokenFile (--connect-webhook-token-file) cannot be used: {problem}"
    )]
    TokenFile { file: PathBuf, problem: String },
}

/// Seconds since 1970, by which tokens expire.
pub fn unix_now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// What a token has come to: at once, or once its key has come.
pub enum Checked<T> {
    Now(Result<T, TokenError>),
    Later(Later<T>),
}

pub type Later<T> = Pin<Box<dyn Future<Output = Result<T, TokenError>> + Send>>;

/// Tells whom to believe.
pub struct Auth {
    tokens: Option<Arc<Tokens>>,
    /// Asked about who comes without a token.
    pub webhook: Option<Arc<Webhook>>,
    pub allows_anonymous: bool,
}

struct Tokens {
    source: Source,
    expected: Expected,
    metrics: AuthMetrics,
}

enum Source {
    File(key_file::Current),
    Url(Arc<Jwks>),
}

impl Auth {
    /// Reads what the configuration names, and keeps it current on the runtime that this is called in.
    pub fn start(config: &Config, metrics: &AuthMetrics) -> Result<Self, Error> {
        crypto::install();
        let source = source(&config.access.auth.jwt, metrics)?;
        let tokens = source.map(|source| {
            let Jwt {
                issuer, audience, ..
            } = config.access.auth.jwt.clone();
            Arc::new(Tokens {
                source,
                expected: Expected { issuer, audience },
                metrics: metrics.clone(),
            })
        });
        Ok(Self {
            tokens,
            webhook: webhook(&config.access.auth.connect_webhook, metrics)?,
            allows_anonymous: config.allows_anonymous(),
        })
    }

    /// Whether tokens are worth anything here.
    pub fn has_keys(&self) -> bool {
        self.tokens.is_some()
    }

    /// Who sends this token.
    pub fn identity(&self, token: &str) -> Checked<Identity> {
        self.check::<ConnectionClaims, _>(token)
    }

    /// Whom this token lets into which room.
    pub fn pass(&self, token: &str) -> Checked<RoomPass> {
        self.check::<SubscriptionClaims, _>(token)
    }

    fn check<C, T>(&self, token: &str) -> Checked<T>
    where
        C: DeserializeOwned + TryInto<T, Error = BadClaims>,
        T: 'static,
    {
        let Some(tokens) = &self.tokens else {
            let none = "this node has no keys to check tokens with";
            return Checked::Now(Err(TokenError::Invalid(none.to_owned())));
        };
        let unchecked = match Unchecked::read(token) {
            Ok(unchecked) => unchecked,
            Err(error) => return Checked::Now(tokens.count(Err(error))),
        };
        let found = match &tokens.source {
            Source::File(keys) => Found::Now(Ok(keys.load_full())),
            Source::Url(jwks) => jwks.keys_for(unchecked.key_id()),
        };
        match found {
            Found::Now(keys) => Checked::Now(tokens.read::<C, T>(&unchecked, keys.ok().as_deref())),
            Found::Later(keys) => {
                let (tokens, token) = (tokens.clone(), token.to_owned());
                Checked::Later(Box::pin(async move {
                    let keys = keys.await;
                    tokens.read::<C, T>(&Unchecked::read(&token)?, keys.ok().as_deref())
                }))
            }
        }
    }
}

fn webhook(config: &ConnectWebhook, metrics: &AuthMetrics) -> Result<Option<Arc<Webhook>>, Error> {
    let Some(uri) = config.url.clone() else {
        return Ok(None);
    };
    if let Some(file) = &config.token_file {
        webhook::bearer(file).map_err(|problem| Error::TokenFile {
            file: file.clone(),
            problem,
        })?;
    }
    let webhook = Webhook::new(config, uri, metrics.clone()).map_err(Error::Authorities)?;
    Ok(Some(Arc::new(webhook)))
}

fn source(jwt: &Jwt, metrics: &AuthMetrics) -> Result<Option<Source>, Error> {
    if let Some(file) = &jwt.key_file {
        let keys = key_file::open(file.clone()).map_err(|problem| Error::KeyFile {
            file: file.clone(),
            problem,
        })?;
        return Ok(Some(Source::File(keys)));
    }
    let Some(uri) = &jwt.jwks_url else {
        return Ok(None);
    };
    let jwks = Jwks::open(uri.clone(), metrics.clone()).map_err(Error::Authorities)?;
    Ok(Some(Source::Url(jwks)))
}

impl Tokens {
    fn read<C, T>(&self, unchecked: &Unchecked<'_>, keys: Option<&Keys>) -> Result<T, TokenError>
    where
        C: DeserializeOwned + TryInto<T, Error = BadClaims>,
    {
        let read = || {
            let claims: C = unchecked.check(keys.ok_or(TokenError::NoKeys)?, &self.expected)?;
            Ok(claims.try_into()?)
        };
        self.count(read())
    }

    fn count<T>(&self, result: Result<T, TokenError>) -> Result<T, TokenError> {
        self.metrics.token(match &result {
            Ok(_) => "accepted",
            Err(TokenError::Expired(_)) => "expired",
            Err(TokenError::Invalid(_)) => "invalid",
            Err(TokenError::NoKeys) => "unknown",
        });
        result
    }
}
