//! What the configuration file has come to: was it taken over, and which one.

use std::sync::Mutex;
use std::time::Duration;

use prometheus::{Gauge, IntCounterVec, IntGauge, IntGaugeVec};

use super::Register;

pub struct ReloadMetrics {
    reloads: IntCounterVec,
    succeeded_at: Gauge,
    waiting: IntGauge,
    hash: IntGaugeVec,
    shown: Mutex<Option<String>>,
}

impl ReloadMetrics {
    pub(super) fn new(register: &Register<'_>) -> Result<Self, prometheus::Error> {
        Ok(Self {
            reloads: register.counter_vec(
                "config_reloads_total",
                "Times that the configuration file was read again.",
                &["result"],
            )?,
            succeeded_at: register.float_gauge(
                "config_last_success_timestamp_seconds",
                "When the configuration file was last read without an error.",
            )?,
            waiting: register.gauge(
                "config_restart_settings",
                "Settings of the file that a restart would change.",
            )?,
            hash: register.gauge_vec(
                "config_hash",
                "Always 1; the label is that of the configuration file that was last taken over.",
                &["hash"],
            )?,
            shown: Mutex::default(),
        })
    }

    /// The file was bad.
    pub fn failed(&self) {
        self.reloads.with_label_values(&["failed"]).inc();
    }

    /// The file was taken over again, and so many of its settings wait for a restart.
    pub fn reloaded(&self, waiting: usize) {
        self.waiting.set(waiting as i64);
        self.reloads.with_label_values(&["ok"]).inc();
    }

    /// The node runs with the file of this hash, read `at` (since 1970).
    pub fn took(&self, hash: &blake3::Hash, at: Duration) {
        self.succeeded_at.set(at.as_secs_f64());
        let hash = hash.to_hex()[..16].to_owned();
        let mut shown = self.shown.lock().expect("no panic holds this lock");
        if let Some(before) = shown.replace(hash.clone()).filter(|before| *before != hash) {
            // Gone already is as good.
            let _ = self.hash.remove_label_values(&[before.as_str()]);
        }
        self.hash.with_label_values(&[hash.as_str()]).set(1);
    }
}
