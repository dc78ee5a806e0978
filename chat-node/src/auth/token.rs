//! A token's text and the keys -> its claims, or why it is not believed. No IO.

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Header, Validation};
use serde::de::DeserializeOwned;

use super::claims::BadClaims;
use super::keys::Keys;

/// How far this node's clock and that of whoever made the token may be apart.
pub const CLOCK_SKEW_SECONDS: u64 = 5;

/// Why a token is not believed. The text goes to whoever has sent it, and says nothing that it does not say itself.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum TokenError {
    /// It was good, or will be.
    #[error("{0}")]
    Expired(&'static str),
    #[error("{0}")]
    Invalid(String),
    /// Nobody knows: the keys cannot be had.
    #[error("the keys to check tokens with cannot be had just now")]
    NoKeys,
}

impl From<BadClaims> for TokenError {
    fn from(BadClaims(what): BadClaims) -> Self {
        Self::Invalid(what)
    }
}

/// What every token must say, whoever it is for.
#[derive(Debug, Clone, Default)]
pub struct Expected {
    pub issuer: Option<String>,
    pub audience: Option<String>,
}

/// A token that has been taken apart, and not been checked.
pub struct Unchecked<'a> {
    text: &'a str,
    header: Header,
}

impl<'a> Unchecked<'a> {
    pub fn read(text: &'a str) -> Result<Self, TokenError> {
        let header = jsonwebtoken::decode_header(text).map_err(|error| match error.kind() {
            ErrorKind::Json(_) | ErrorKind::InvalidAlgorithmName => invalid(
                "its header names no algorithm of HS256, HS384, HS512, RS256, RS384, RS512, ES256, ES384 and EdDSA",
            ),
            _ => invalid("it is not a JWT"),
        })?;
        // Whoever does not know what is critical must not believe the token (RFC 7515, 4.1.11).
        if header.crit.is_some() {
            return Err(invalid("its header asks for extensions by crit"));
        }
        Ok(Self { text, header })
    }

    pub fn key_id(&self) -> Option<&str> {
        self.header.kid.as_deref()
    }

    /// The claims, if one of `keys` has signed them and they hold now.
    pub fn check<C: DeserializeOwned>(
        &self,
        keys: &Keys,
        expected: &Expected,
    ) -> Result<C, TokenError> {
        let algorithm = self.header.alg;
        let mut validation = Validation::new(algorithm);
        validation.leeway = CLOCK_SKEW_SECONDS;
        validation.validate_nbf = true;
        validation.validate_aud = expected.audience.is_some();
        validation.required_spec_claims.clear();
        if let Some(issuer) = &expected.issuer {
            validation.set_issuer(&[issuer]);
            validation.required_spec_claims.insert("iss".to_owned());
        }
        if let Some(audience) = &expected.audience {
            validation.set_audience(&[audience]);
            validation.required_spec_claims.insert("aud".to_owned());
        }
        let mut is_known = false;
        for key in keys.fitting(algorithm, self.key_id()) {
            is_known = true;
            match jsonwebtoken::decode(self.text, &key.material, &validation) {
                Ok(token) => return Ok(token.claims),
                Err(error) if matches!(error.kind(), ErrorKind::InvalidSignature) => {}
                Err(error) => return Err(refused(error.kind())),
            }
        }
        Err(match is_known {
            true => invalid("its signature is not by a key of this service"),
            false => invalid("this service has no such key for its algorithm"),
        })
    }
}

fn invalid(what: &str) -> TokenError {
    TokenError::Invalid(what.to_owned())
}

fn refused(kind: &ErrorKind) -> TokenError {
    match kind {
        ErrorKind::ExpiredSignature => TokenError::Expired("the token's time is over"),
        ErrorKind::ImmatureSignature => TokenError::Expired("the token's time has not come"),
        ErrorKind::InvalidIssuer => invalid("its issuer is another one"),
        ErrorKind::InvalidAudience => invalid("it is meant for another audience"),
        ErrorKind::MissingRequiredClaim(claim) => TokenError::Invalid(format!("it lacks {claim}")),
        ErrorKind::Json(error) => TokenError::Invalid(format!("its claims: {error}")),
        ErrorKind::InvalidClaimFormat(claim) => {
            TokenError::Invalid(format!("its {claim} is no number of seconds"))
        }
        _ => invalid("it is not a JWT"),
    }
}

#[cfg(test)]
mod tests;
