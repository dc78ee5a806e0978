//! Tokens, where their keys come from, and what the backend is asked.

use prometheus::IntCounterVec;

use super::Register;

#[derive(Clone)]
pub struct AuthMetrics {
    tokens: IntCounterVec,
    key_fetches: IntCounterVec,
}

impl AuthMetrics {
    pub(super) fn new(register: &Register<'_>) -> Result<Self, prometheus::Error> {
        Ok(Self {
            tokens: register.counter_vec(
                "tokens_total",
                "Tokens of connects, subscribes and refreshes, by what became of them.",
                &["result"],
            )?,
            key_fetches: register.counter_vec(
                "jwks_fetches_total",
                "Requests for the keys that sign tokens (auth.jwt.jwksURL).",
                &["result"],
            )?,
        })
    }

    pub fn token(&self, result: &'static str) {
        self.tokens.with_label_values(&[result]).inc();
    }

    pub fn fetched_keys(&self, good: bool) {
        let result = if good { "ok" } else { "failed" };
        self.key_fetches.with_label_values(&[result]).inc();
    }
}
