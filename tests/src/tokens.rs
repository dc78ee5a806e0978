//! Tokens as a backend signs them, and keys as nodes read them.

use std::time::{SystemTime, UNIX_EPOCH};

use data_encoding::BASE64URL_NOPAD;
use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};

/// What a test's node has in its key file.
pub const SECRET: &str = "a secret of the tests, known to everybody";

/// Seconds since 1970.
pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("it is after 1970").as_secs()
}

/// A token by [`SECRET`].
pub fn token(claims: Value) -> String {
    token_by(SECRET, claims)
}

/// A token by another secret.
pub fn token_by(secret: &str, claims: Value) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    joined(&json!({"alg": "HS256", "typ": "JWT"}), &claims, |message| {
        hmac::sign(&key, message).as_ref().to_vec()
    })
}

/// A token that anybody could make.
pub fn unsigned(claims: Value) -> String {
    joined(&json!({"alg": "none"}), &claims, |_| Vec::new())
}

fn joined(header: &Value, claims: &Value, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let encoded = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
    let message = format!("{}.{}", encoded(header), encoded(claims));
    let signature = BASE64URL_NOPAD.encode(&sign(message.as_bytes()));
    format!("{message}.{signature}")
}

/// A pair of keys, the public one of which stands in a JWKS document.
pub struct Signer {
    id: String,
    pair: Ed25519KeyPair,
}

impl Signer {
    pub fn new(id: &str) -> Self {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new());
        let pkcs8 = pkcs8.expect("the system has random numbers");
        Self {
            id: id.to_owned(),
            pair: Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).expect("it was just made"),
        }
    }

    pub fn token(&self, claims: Value) -> String {
        let header = json!({"alg": "EdDSA", "kid": self.id});
        joined(&header, &claims, |message| {
            self.pair.sign(message).as_ref().to_vec()
        })
    }

    /// A JWKS document with the public keys of `signers`.
    pub fn document(signers: &[&Self]) -> String {
        let key = |signer: &&Self| {
            let x = BASE64URL_NOPAD.encode(signer.pair.public_key().as_ref());
            json!({"kty": "OKP", "crv": "Ed25519", "kid": signer.id, "x": x})
        };
        let keys: Vec<_> = signers.iter().map(key).collect();
        json!({"keys": keys}).to_string()
    }
}
