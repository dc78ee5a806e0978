//! Tokens of every algorithm, and every way not to be believed.

use std::time::{SystemTime, UNIX_EPOCH};

use data_encoding::BASE64URL_NOPAD;
use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair,
};
use serde_json::{Value, json};

use super::super::claims::{ConnectionClaims, Identity};
use super::super::crypto;
use super::*;
use crate::ids::UserId;

/// Its private half is gone; it has signed the tokens below, whose claims are `{"sub":"ann"}`.
const RSA_PEM: &str = "-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEArMHILtfy49+IIZoqS1JF
noCg2aSR02aM5sCzYbmcThSF3yp9d9VGt3DQG99KRZGZKUzs8EUD8P1x7YJptkOH
kJOEx/59UWpMb+BfWmD9ZMB3Yuz7zbcOdexmMRxKHljXRwn7OblMKF+4w80O5z8k
dRthysBnz3zVn0cgrMpSpEf6+IsA28kk55iBwQZLBp/ioSALNMAu9B6xP3TCvnNF
uZc9TraARFgFCByiMP2LNG9VaWVOwE9NjNQKWlKfzERfsr3l0bfe04pcWWkV0X64
IcEqoHvnQIQPfpcTH1ifGhH6WuQrmg0ZXRkFCq7J4bqfGt3SgC8oiVbOmtYwJkpP
twIDAQAB
-----END PUBLIC KEY-----
";
const RSA_MODULUS: &str = "rMHILtfy49-IIZoqS1JFnoCg2aSR02aM5sCzYbmcThSF3yp9d9VGt3DQG99KRZGZKUzs8EUD8P1x7YJptkOHkJOEx_59UWpMb-BfWmD9ZMB3Yuz7zbcOdexmMRxKHljXRwn7OblMKF-4w80O5z8kdRthysBnz3zVn0cgrMpSpEf6-IsA28kk55iBwQZLBp_ioSALNMAu9B6xP3TCvnNFuZc9TraARFgFCByiMP2LNG9VaWVOwE9NjNQKWlKfzERfsr3l0bfe04pcWWkV0X64IcEqoHvnQIQPfpcTH1ifGhH6WuQrmg0ZXRkFCq7J4bqfGt3SgC8oiVbOmtYwJkpPtw";
const RSA_TOKENS: [&str; 3] = [
    "eyJhbGciOiJSUzI1NiIsImtpZCI6InJzYSJ9.eyJzdWIiOiJhbm4ifQ.oVYqmL2B2GhBsdmaHjyw-ms9z9Uz4mHSj_kHAAShItOF79eS8IQF-Knxk8oZJR2xR1rTGYJKDeOLR31NlYPH5CLGf5KY2V8QHCpIfd9ANVExMJ-tFAmWVne1xXXBCncfAuwAvmy6GHWGAAlWV8zsg_vSJt337uJy1QehYb28lWJgGmhhXWerMTKLEIUU6VYDxl9lw2IlAa_U94TVyC1vOMUf92mz3vNPCu7zb6_ACfr_7UTMEZThdGwHKNcfhd8cAgpWwfSoI3uCGtmlBtGZU6vH-tlUOkPAEhHglwMFcv2dnyjSPJmKEAWfATfUnJIxH_d6q465a6qzKXMeWWTbJQ",
    "eyJhbGciOiJSUzM4NCIsImtpZCI6InJzYSJ9.eyJzdWIiOiJhbm4ifQ.mkVXn6AmPBt1i0nAK5V3mN8sQKBcFU6m2BCcAGBHYddu8zBFMBTq4GC7ouRim-_k3AYNTXxYDwC9nzuBoV9WU-bu4pblM80CBGSOEemUAyKYbwvojWH0OZWBPPQ2vZdykRDczzRGkfTJmV_fIxUAfHA2NerTUtCBQFLlGQJdT9s7qmWEfotNrV51SSf1aleflNrPSVKd2JHTD6zKsmkpbnqTk6P7ku_y3rN6VnRukFmUN_yTk4xlTpl0-LY4LoVjf2GjOQh50toGcAj0mz9P-I5z1BnYTclD5R894N1YsJY7957yo6CvL_OLoziCO74l2kZ7dfJL7RUJwU4wKzaDfg",
    "eyJhbGciOiJSUzUxMiIsImtpZCI6InJzYSJ9.eyJzdWIiOiJhbm4ifQ.q-m9L1jVLeX1PzSmLjr5AX0qKBfJC27N7aReKTIPbti0Wb5dWRLBloIiQed09zWRULkgCatjqdEBaQubqpJQqv7h-lPc88m8KNA3hEbOpHgOu5HGSFIFICJ8rWGC0VUKDylj1HAO6NRrtHTk8OjgXHWPcCfS1DxdkgGle2y8SBpqs0OQozjSwm6vqiPqdiQ3qO3Peu3-rd5tQBUq5r_eIyKqwcbDWlrfhAmnVEkoafnVeK18ObipFdmUDI-gcMlUJeeDSQW7FJ_NauvuPXs2xDLZL7yEJAZ8UtJWZQYIirhdn_mHNYihOFP7H7QqYWkb9jCVy7RhbtJCQUdRhuFGTQ",
];
const SECRET: &str = "a secret of more than thirty-two bytes";

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

fn encoded(json: &Value) -> String {
    BASE64URL_NOPAD.encode(json.to_string().as_bytes())
}

fn signed(header: &Value, claims: &Value, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let message = format!("{}.{}", encoded(header), encoded(claims));
    let signature = BASE64URL_NOPAD.encode(&sign(message.as_bytes()));
    format!("{message}.{signature}")
}

fn with_secret(secret: &[u8], algorithm: hmac::Algorithm, name: &str, claims: &Value) -> String {
    let key = hmac::Key::new(algorithm, secret);
    signed(&json!({"alg": name}), claims, |message| {
        hmac::sign(&key, message).as_ref().to_vec()
    })
}

fn hs256(claims: &Value) -> String {
    with_secret(SECRET.as_bytes(), hmac::HMAC_SHA256, "HS256", claims)
}

fn secret() -> Keys {
    Keys::from_file(SECRET.as_bytes()).unwrap()
}

fn check_for(token: &str, keys: &Keys, expected: &Expected) -> Result<Identity, TokenError> {
    crypto::install();
    let claims = Unchecked::read(token)?.check::<ConnectionClaims>(keys, expected)?;
    Ok(claims.try_into()?)
}

fn check(token: &str, keys: &Keys) -> Result<Identity, TokenError> {
    check_for(token, keys, &Expected::default())
}

fn is_ann(token: &str, keys: &Keys) -> bool {
    check(token, keys).is_ok_and(|identity| identity.user == UserId::named("ann"))
}

fn is_invalid(token: &str, keys: &Keys) -> bool {
    matches!(check(token, keys), Err(TokenError::Invalid(_)))
}

fn rsa_jwk(alg: &str) -> Keys {
    let key = json!({"kty": "RSA", "kid": "rsa", "n": RSA_MODULUS, "e": "AQAB", "alg": alg});
    Keys::from_public_jwks(json!({"keys": [key]}).to_string().as_bytes()).unwrap()
}

#[test]
fn every_hmac_and_rsa_algorithm_is_believed_with_its_key() {
    for (name, algorithm) in [
        ("HS256", hmac::HMAC_SHA256),
        ("HS384", hmac::HMAC_SHA384),
        ("HS512", hmac::HMAC_SHA512),
    ] {
        let token = with_secret(SECRET.as_bytes(), algorithm, name, &json!({"sub": "ann"}));
        assert!(is_ann(&token, &secret()), "{name}");
        let other = Keys::from_file(b"another secret of more than thirty-two bytes").unwrap();
        assert!(is_invalid(&token, &other), "{name}");
    }
    let pem = Keys::from_file(RSA_PEM.as_bytes()).unwrap();
    for (token, name) in RSA_TOKENS.into_iter().zip(["RS256", "RS384", "RS512"]) {
        assert!(is_ann(token, &pem), "{name}");
        assert!(is_ann(token, &rsa_jwk(name)), "{name}");
        assert!(is_invalid(token, &secret()), "{name}");
    }
    assert!(
        is_invalid(RSA_TOKENS[0], &rsa_jwk("RS512")),
        "the key's own algorithm is the only one"
    );
}

#[test]
fn every_curve_is_believed_with_its_key() {
    let random = SystemRandom::new();
    let curve = |name, crv, algorithm: &'static EcdsaSigningAlgorithm| {
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).unwrap();
        let (x, y) = pair.public_key().as_ref()[1..].split_at(pair.public_key().as_ref().len() / 2);
        let jwk = json!({"kty": "EC", "crv": crv, "x": BASE64URL_NOPAD.encode(x), "y": BASE64URL_NOPAD.encode(y)});
        let token = signed(&json!({"alg": name}), &json!({"sub": "ann"}), |message| {
            pair.sign(&random, message).unwrap().as_ref().to_vec()
        });
        (token, Keys::from_file(jwk.to_string().as_bytes()).unwrap())
    };
    let (p256, p256_keys) = curve("ES256", "P-256", &ECDSA_P256_SHA256_FIXED_SIGNING);
    let (p384, p384_keys) = curve("ES384", "P-384", &ECDSA_P384_SHA384_FIXED_SIGNING);
    assert!(is_ann(&p256, &p256_keys) && is_ann(&p384, &p384_keys));
    assert!(is_invalid(&p256, &p384_keys) && is_invalid(&p384, &p256_keys));

    let pair = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
    let pair = Ed25519KeyPair::from_pkcs8(pair.as_ref()).unwrap();
    let x = BASE64URL_NOPAD.encode(pair.public_key().as_ref());
    let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": x, "alg": "EdDSA"});
    let token = signed(
        &json!({"alg": "EdDSA"}),
        &json!({"sub": "ann"}),
        |message| pair.sign(message).as_ref().to_vec(),
    );
    let keys = Keys::from_file(jwk.to_string().as_bytes()).unwrap();
    assert!(is_ann(&token, &keys) && is_invalid(&token, &p256_keys));
}

#[test]
fn a_public_key_is_never_taken_for_a_secret() {
    // The classic forgery: HS256 with the text of the public key as the secret.
    let keys = Keys::from_file(RSA_PEM.as_bytes()).unwrap();
    for secret in [RSA_PEM, RSA_PEM.trim()] {
        let forged = with_secret(
            secret.as_bytes(),
            hmac::HMAC_SHA256,
            "HS256",
            &json!({"sub": "ann"}),
        );
        assert!(is_invalid(&forged, &keys));
    }
}

#[test]
fn a_token_without_a_signature_is_none() {
    for algorithm in ["none", "None", "", "PS256"] {
        let unsigned = format!(
            "{}.{}.",
            encoded(&json!({"alg": algorithm})),
            encoded(&json!({"sub": "ann"}))
        );
        for keys in [secret(), Keys::from_file(RSA_PEM.as_bytes()).unwrap()] {
            assert!(is_invalid(&unsigned, &keys), "{algorithm}");
        }
    }
    let stripped = hs256(&json!({"sub": "ann"}));
    let stripped = &stripped[..=stripped.rfind('.').unwrap()];
    assert!(is_invalid(stripped, &secret()));
}

#[test]
fn what_is_critical_and_not_known_is_refused() {
    crypto::install();
    let by = |header: Value| {
        let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
        signed(&header, &json!({"sub": "ann"}), |message| {
            hmac::sign(&key, message).as_ref().to_vec()
        })
    };
    assert!(is_ann(&by(json!({"alg": "HS256"})), &secret()));
    let critical = json!({"alg": "HS256", "crit": ["b64"], "b64": false});
    assert!(is_invalid(&by(critical), &secret()));
}

#[test]
fn a_token_that_was_changed_is_refused() {
    let token = hs256(&json!({"sub": "bob", "exp": now() + 60}));
    let (message, signature) = token.rsplit_once('.').unwrap();
    let (header, _) = message.split_once('.').unwrap();
    let claims = encoded(&json!({"sub": "ann", "exp": now() + 60}));
    assert!(is_invalid(
        &format!("{header}.{claims}.{signature}"),
        &secret()
    ));
    for text in [
        "",
        ".",
        "..",
        "a.b.c",
        "ann",
        "\u{1f980}.\u{1f980}.\u{1f980}",
    ] {
        assert!(is_invalid(text, &secret()), "{text}");
    }
}

#[test]
fn a_token_is_good_in_its_time_give_or_take_the_clocks() {
    let at = |claims: Value| check(&hs256(&claims), &secret());
    let skew = CLOCK_SKEW_SECONDS;
    assert!(at(json!({"exp": now() + 2})).is_ok());
    assert!(at(json!({"exp": now() - skew + 2})).is_ok());
    assert!(matches!(
        at(json!({"exp": now() - skew - 2})),
        Err(TokenError::Expired(_))
    ));
    assert!(matches!(at(json!({"exp": 0})), Err(TokenError::Expired(_))));
    assert!(at(json!({"nbf": now() + skew - 2})).is_ok());
    assert!(matches!(
        at(json!({"nbf": now() + skew + 2})),
        Err(TokenError::Expired(_))
    ));
    for odd in [
        json!({"exp": "soon"}),
        json!({"nbf": []}),
        json!({"sub": 7}),
        json!({"channels": "news"}),
    ] {
        assert!(
            matches!(at(odd.clone()), Err(TokenError::Invalid(_))),
            "{odd}"
        );
    }
}

#[test]
fn issuer_and_audience_are_asked_for_where_they_are_configured() {
    let expected = Expected {
        issuer: Some("id".to_owned()),
        audience: Some("chat".to_owned()),
    };
    let read = |claims: Value| check_for(&hs256(&claims), &secret(), &expected);
    assert!(read(json!({"iss": "id", "aud": "chat"})).is_ok());
    assert!(read(json!({"iss": "id", "aud": ["mail", "chat"]})).is_ok());
    for claims in [
        json!({}),
        json!({"iss": "id"}),
        json!({"aud": "chat"}),
        json!({"iss": "other", "aud": "chat"}),
        json!({"iss": "id", "aud": "mail"}),
        json!({"iss": "id", "aud": []}),
    ] {
        assert!(
            matches!(read(claims.clone()), Err(TokenError::Invalid(_))),
            "{claims}"
        );
    }
    assert!(check(&hs256(&json!({"iss": "any", "aud": "any"})), &secret()).is_ok());
}

#[test]
fn while_keys_rotate_tokens_of_both_are_believed() {
    let old = "the old secret of more than thirty-two bytes";
    let keys = Keys::from_file(format!("{old}\n{SECRET}\n").as_bytes()).unwrap();
    let claims = json!({"sub": "ann"});
    assert!(is_ann(&hs256(&claims), &keys));
    assert!(is_ann(
        &with_secret(old.as_bytes(), hmac::HMAC_SHA256, "HS256", &claims),
        &keys
    ));
}
