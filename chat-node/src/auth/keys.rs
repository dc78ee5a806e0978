//! The keys that tokens are signed with: a file's or a JWKS document's text -> keys. No IO.
//!
//! A key says by itself which algorithms go with it. What a token's header claims only chooses among those: no token
//! can have a public key taken for a secret.

use jsonwebtoken::jwk::{AlgorithmParameters, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey};
use serde_json::Value;

/// More keys than a rotation needs: beyond it somebody has mistaken the file.
const MOST_KEYS: usize = 64;
/// Shorter secrets can be guessed by whoever has seen one token: told, and taken, as they are what the tokens of a running
/// service are signed with.
const SAFE_SECRET_BYTES: usize = 16;

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum KeysError {
    #[error("there is no key in it")]
    Empty,
    #[error("it has more than {MOST_KEYS} keys")]
    TooMany,
    #[error("it has a private key: put only the public one here")]
    PrivateKey,
    #[error("it is not UTF-8 text")]
    NotText,
    #[error("it is not a JWKS document: {0}")]
    NotJwks(String),
    #[error("none of its keys is a public key for RS256, RS384, RS512, ES256, ES384 or EdDSA")]
    NoneUsable,
    #[error("its PEM has no public key for RS256, RS384, RS512, ES256, ES384 or EdDSA")]
    BadPem,
}

/// All keys that are good at the same time.
#[derive(Debug, Default)]
pub struct Keys(Vec<Key>);

#[derive(Debug)]
pub struct Key {
    id: Option<String>,
    algorithms: &'static [Algorithm],
    pub material: DecodingKey,
}

const HMAC: &[Algorithm] = &[Algorithm::HS256, Algorithm::HS384, Algorithm::HS512];
const RSA: &[Algorithm] = &[Algorithm::RS256, Algorithm::RS384, Algorithm::RS512];
const P256: &[Algorithm] = &[Algorithm::ES256];
const P384: &[Algorithm] = &[Algorithm::ES384];
const ED25519: &[Algorithm] = &[Algorithm::EdDSA];

impl Keys {
    /// Reads a key file: a JWKS document or one JWK, public keys in PEM, or else one secret a line.
    pub fn from_file(bytes: &[u8]) -> Result<Self, KeysError> {
        let text = std::str::from_utf8(bytes).map_err(|_| KeysError::NotText)?;
        let text = text.trim();
        let keys = if text.starts_with('{') {
            from_json(text, true)?
        } else if text.contains("-----BEGIN") {
            from_pem(text)?
        } else {
            from_secrets(text)
        };
        Self::checked(keys)
    }

    /// Reads a JWKS document that anybody may read: a secret in it would be none, and counts as no key.
    pub fn from_public_jwks(bytes: &[u8]) -> Result<Self, KeysError> {
        let text = std::str::from_utf8(bytes).map_err(|_| KeysError::NotText)?;
        Self::checked(from_json(text, false)?)
    }

    fn checked(keys: Vec<Key>) -> Result<Self, KeysError> {
        match keys.len() {
            0 => Err(KeysError::Empty),
            1..=MOST_KEYS => Ok(Self(keys)),
            _ => Err(KeysError::TooMany),
        }
    }

    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Whether some secret can be guessed by whoever has seen a token.
    pub fn has_weak_secret(&self) -> bool {
        self.0.iter().any(|Key { material, .. }| {
            material.family() == AlgorithmFamily::Hmac
                && material.as_bytes().len() < SAFE_SECRET_BYTES
        })
    }

    /// The keys that may have signed a token of `algorithm` whose header names `id`. A key without an id may have
    /// signed any.
    pub fn fitting(&self, algorithm: Algorithm, id: Option<&str>) -> impl Iterator<Item = &Key> {
        self.0.iter().filter(move |key| {
            let is_meant = match (&key.id, id) {
                (Some(own), Some(wanted)) => own == wanted,
                _ => true,
            };
            is_meant && key.algorithms.contains(&algorithm)
        })
    }

    /// Whether some key fits the id, whatever its algorithm.
    pub fn knows(&self, id: Option<&str>) -> bool {
        self.0.iter().any(|key| match (&key.id, id) {
            (Some(own), Some(wanted)) => own == wanted,
            _ => true,
        })
    }
}

fn from_secrets(text: &str) -> Vec<Key> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines
        .map(|secret| Key {
            id: None,
            algorithms: HMAC,
            material: DecodingKey::from_secret(secret.as_bytes()),
        })
        .collect()
}

fn from_pem(text: &str) -> Result<Vec<Key>, KeysError> {
    if text.contains("PRIVATE KEY-----") {
        return Err(KeysError::PrivateKey);
    }
    let mut keys = Vec::new();
    let mut rest = text;
    while let Some((block, after)) = next_block(rest) {
        keys.push(pem_key(block.as_bytes()).ok_or(KeysError::BadPem)?);
        rest = after;
    }
    Ok(keys)
}

/// The first block of a PEM file, and what comes after it.
fn next_block(text: &str) -> Option<(&str, &str)> {
    let start = text.find("-----BEGIN ")?;
    let end = start + text[start..].find("-----END ")? + "-----END ".len();
    let end = end + text[end..].find("-----")? + "-----".len();
    Some((&text[start..end], &text[end..]))
}

fn pem_key(block: &[u8]) -> Option<Key> {
    let key = |algorithms, material| Key {
        id: None,
        algorithms,
        material,
    };
    if let Ok(material) = DecodingKey::from_rsa_pem(block) {
        return Some(key(RSA, material));
    }
    if let Ok(material) = DecodingKey::from_ec_pem(block) {
        return Some(key(curve(&material)?, material));
    }
    let material = DecodingKey::from_ed_pem(block).ok()?;
    Some(key(ED25519, material))
}

/// The one algorithm of a point on a curve, by its length; `None` for curves that no token may use.
fn curve(point: &DecodingKey) -> Option<&'static [Algorithm]> {
    match point.as_bytes().len() {
        65 => Some(P256),
        97 => Some(P384),
        _ => None,
    }
}

fn from_json(text: &str, may_be_secret: bool) -> Result<Vec<Key>, KeysError> {
    let bad = |error: serde_json::Error| KeysError::NotJwks(error.to_string());
    let document: Value = serde_json::from_str(text).map_err(bad)?;
    let listed = match document.get("keys") {
        Some(Value::Array(keys)) => keys.clone(),
        None if document.get("kty").is_some() => vec![document],
        _ => {
            return Err(KeysError::NotJwks(
                "expected an object with keys".to_owned(),
            ));
        }
    };
    if listed.iter().any(|key| key.get("d").is_some()) {
        return Err(KeysError::PrivateKey);
    }
    let keys: Vec<_> = listed
        .into_iter()
        .filter_map(|key| json_key(key, may_be_secret))
        .collect();
    match keys.is_empty() {
        true => Err(KeysError::NoneUsable),
        false => Ok(keys),
    }
}

/// A key that tokens may be signed with; others may stand in the same document.
fn json_key(key: Value, may_be_secret: bool) -> Option<Key> {
    let jwk: Jwk = serde_json::from_value(key).ok()?;
    let is_for_signatures = matches!(
        jwk.common.public_key_use,
        None | Some(PublicKeyUse::Signature)
    );
    let material = DecodingKey::from_jwk(&jwk).ok()?;
    let family = match (&jwk.algorithm, material.family()) {
        (AlgorithmParameters::OctetKey(_), _) if !may_be_secret => return None,
        (_, AlgorithmFamily::Hmac) => HMAC,
        (_, AlgorithmFamily::Rsa) => RSA,
        (_, AlgorithmFamily::Ec) => curve(&material)?,
        (_, AlgorithmFamily::Ed) => ED25519,
    };
    let algorithms = match jwk.common.key_algorithm {
        None => family,
        Some(only) => one_of(family, only)?,
    };
    is_for_signatures.then_some(Key {
        id: jwk.common.key_id,
        algorithms,
        material,
    })
}

/// `only`, if it is one of the family's.
fn one_of(family: &'static [Algorithm], only: KeyAlgorithm) -> Option<&'static [Algorithm]> {
    let at = family
        .iter()
        .position(|algorithm| format!("{algorithm:?}") == format!("{only:?}"))?;
    Some(&family[at..=at])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn algorithms(keys: &Keys) -> Vec<&'static [Algorithm]> {
        keys.0.iter().map(|key| key.algorithms).collect()
    }

    #[test]
    fn a_line_is_a_secret_and_good_for_hmac_only() {
        let keys =
            Keys::from_file(b"\nfirst-secret-of-32-bytes-or-more\n second-secret-of-32-bytes \n")
                .unwrap();
        assert_eq!(algorithms(&keys), [HMAC, HMAC]);
        assert_eq!(keys.0[1].material.as_bytes(), b"second-secret-of-32-bytes");
    }

    #[test]
    fn a_short_secret_is_taken_and_known_to_be_weak() {
        let is_weak = |text: &str| Keys::from_file(text.as_bytes()).unwrap().has_weak_secret();
        assert!(is_weak("secret"));
        assert!(is_weak("a-secret-of-16-bytes\nsecret"));
        assert!(!is_weak("a-secret-of-16-bytes"));
    }

    #[test]
    fn what_is_no_key_is_told_what_it_is() {
        let read = |text: &str| Keys::from_file(text.as_bytes()).unwrap_err();
        assert_eq!(read(" \n"), KeysError::Empty);
        assert_eq!(
            read("-----BEGIN PRIVATE KEY-----\nMA==\n-----END PRIVATE KEY-----"),
            KeysError::PrivateKey
        );
        assert_eq!(
            read("-----BEGIN PUBLIC KEY-----\nMA==\n-----END PUBLIC KEY-----"),
            KeysError::BadPem
        );
        assert!(matches!(read("{"), KeysError::NotJwks(_)));
        assert!(matches!(read(r#"{"keys":1}"#), KeysError::NotJwks(_)));
        assert_eq!(read(r#"{"keys":[]}"#), KeysError::NoneUsable);
        let private = r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","d":"nWGxne"}"#;
        assert_eq!(read(private), KeysError::PrivateKey);
        let many = "a-secret-of-16-bytes\n".repeat(MOST_KEYS + 1);
        assert_eq!(read(&many), KeysError::TooMany);
    }

    #[test]
    fn a_jwk_is_good_for_its_own_algorithm_only() {
        let rsa = |rest: &str| {
            format!(r#"{{"keys":[{{"kty":"RSA","n":"u1SU1LfVLPHCozMxH2Mo","e":"AQAB"{rest}}}]}}"#)
        };
        let read = |text: String| Keys::from_public_jwks(text.as_bytes());
        assert_eq!(algorithms(&read(rsa("")).unwrap()), [RSA]);
        assert_eq!(
            algorithms(&read(rsa(r#","alg":"RS384""#)).unwrap()),
            [&[Algorithm::RS384]]
        );
        for rest in [r#","alg":"HS256""#, r#","alg":"PS256""#, r#","use":"enc""#] {
            assert_eq!(
                read(rsa(rest)).unwrap_err(),
                KeysError::NoneUsable,
                "{rest}"
            );
        }
    }

    #[test]
    fn a_secret_in_a_public_document_is_no_key() {
        let text =
            r#"{"keys":[{"kty":"oct","kid":"a","k":"c2VjcmV0LW9mLTMyLWJ5dGVzLW9yLW1vcmUtPw"}]}"#;
        assert_eq!(
            Keys::from_public_jwks(text.as_bytes()).unwrap_err(),
            KeysError::NoneUsable
        );
        assert_eq!(
            algorithms(&Keys::from_file(text.as_bytes()).unwrap()),
            [HMAC]
        );
    }

    #[test]
    fn a_key_of_an_unknown_kind_is_passed_over() {
        let text = r#"{"keys":[{"kty":"new","x":1},{"kty":"OKP","crv":"Ed25519","kid":"a","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
        let keys = Keys::from_public_jwks(text.as_bytes()).unwrap();
        assert_eq!(algorithms(&keys), [ED25519]);
        assert!(keys.knows(Some("a")) && keys.knows(None) && !keys.knows(Some("b")));
        assert_eq!(keys.fitting(Algorithm::EdDSA, Some("a")).count(), 1);
        assert_eq!(keys.fitting(Algorithm::EdDSA, Some("b")).count(), 0);
        assert_eq!(keys.fitting(Algorithm::ES256, Some("a")).count(), 0);
    }
}
