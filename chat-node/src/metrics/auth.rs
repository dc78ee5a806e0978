//! Tokens, where their keys come from, and what the backend is asked.

use std::time::Duration;

use prometheus::{Histogram, IntCounterVec};

use super::Register;

#[derive(Clone)]
pub struct AuthMetrics {
    tokens: IntCounterVec,
    key_fetches: IntCounterVec,
    backend_answers: IntCounterVec,
    backend_seconds: Histogram,
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
            backend_answers: register.counter_vec(
                "connect_webhook_total",
                "Connects that the backend was asked about, by what came of it.",
                &["result"],
            )?,
            backend_seconds: register.histogram(
                "connect_webhook_seconds",
                "From asking the backend about a connect until it was decided.",
            )?,
        })
    }

    pub fn asked_backend(&self, took: Duration, result: &'static str) {
        self.backend_answers.with_label_values(&[result]).inc();
        self.backend_seconds.observe(took.as_secs_f64());
    }

    pub fn token(&self, result: &'static str) {
        self.tokens.with_label_values(&[result]).inc();
    }

    pub fn fetched_keys(&self, good: bool) {
        let result = if good { "ok" } else { "failed" };
        self.key_fetches.with_label_values(&[result]).inc();
    }
}
