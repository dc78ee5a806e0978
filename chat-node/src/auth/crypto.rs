//! Signatures of tokens, checked by ring: the cryptography that TLS brings along already.
//!
//! `jsonwebtoken` reads tokens and keys, and asks here whether a signature is right. Nothing signs in this process.

use jsonwebtoken::crypto::{CryptoProvider, JwkUtils, JwtVerifier};
use jsonwebtoken::errors::{ErrorKind, new_error};
use jsonwebtoken::signature::{self, Verifier};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind};
use ring::{hmac, signature as rs};

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: |_, _| Err(new_error(ErrorKind::InvalidKeyFormat)),
    verifier_factory: |algorithm, key| {
        let check = Check {
            algorithm: *algorithm,
            key: key.clone(),
        };
        match key.family() == algorithm.family() && method(*algorithm).is_some() {
            true => Ok(Box::new(check)),
            false => Err(new_error(ErrorKind::InvalidAlgorithm)),
        }
    },
    jwk_utils: JwkUtils::new_unimplemented(),
};

/// Makes `jsonwebtoken` ask here; to be called before the first token is read, any number of times.
pub fn install() {
    // It fails where it has been done before.
    let _ = PROVIDER.install_default();
}

struct Check {
    algorithm: Algorithm,
    key: DecodingKey,
}

enum Method {
    Hmac(hmac::Algorithm),
    Rsa(&'static rs::RsaParameters),
    Point(&'static dyn rs::VerificationAlgorithm),
}

/// How tokens of `algorithm` are checked; `None` for those that this node takes no tokens of.
fn method(algorithm: Algorithm) -> Option<Method> {
    Some(match algorithm {
        Algorithm::HS256 => Method::Hmac(hmac::HMAC_SHA256),
        Algorithm::HS384 => Method::Hmac(hmac::HMAC_SHA384),
        Algorithm::HS512 => Method::Hmac(hmac::HMAC_SHA512),
        Algorithm::RS256 => Method::Rsa(&rs::RSA_PKCS1_2048_8192_SHA256),
        Algorithm::RS384 => Method::Rsa(&rs::RSA_PKCS1_2048_8192_SHA384),
        Algorithm::RS512 => Method::Rsa(&rs::RSA_PKCS1_2048_8192_SHA512),
        Algorithm::ES256 => Method::Point(&rs::ECDSA_P256_SHA256_FIXED),
        Algorithm::ES384 => Method::Point(&rs::ECDSA_P384_SHA384_FIXED),
        Algorithm::EdDSA => Method::Point(&rs::ED25519),
        Algorithm::PS256 | Algorithm::PS384 | Algorithm::PS512 => return None,
    })
}

impl Verifier<Vec<u8>> for Check {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), signature::Error> {
        let wrong = |_| signature::Error::new();
        match (method(self.algorithm), self.key.kind()) {
            (Some(Method::Hmac(algorithm)), DecodingKeyKind::SecretOrDer(secret)) => {
                hmac::verify(&hmac::Key::new(algorithm, secret), message, signature).map_err(wrong)
            }
            (Some(Method::Rsa(method)), DecodingKeyKind::SecretOrDer(der)) => {
                rs::UnparsedPublicKey::new(method, der)
                    .verify(message, signature)
                    .map_err(wrong)
            }
            (Some(Method::Rsa(method)), DecodingKeyKind::RsaModulusExponent { n, e }) => {
                rs::RsaPublicKeyComponents { n, e }
                    .verify(method, message, signature)
                    .map_err(wrong)
            }
            (Some(Method::Point(method)), DecodingKeyKind::SecretOrDer(point)) => {
                rs::UnparsedPublicKey::new(method, point)
                    .verify(message, signature)
                    .map_err(wrong)
            }
            (_, DecodingKeyKind::RsaModulusExponent { .. }) | (None, _) => {
                Err(signature::Error::new())
            }
        }
    }
}

impl JwtVerifier for Check {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}
