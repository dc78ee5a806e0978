//! What the broker over NATS counts.

use prometheus::{Gauge, IntCounter, IntGauge, IntGaugeVec};

use super::Register;

/// Handles: clones count together.
#[derive(Clone)]
pub struct NatsMetrics {
    connected: IntGaugeVec,
    troubles: IntGaugeVec,
    log_bytes: IntGaugeVec,
    pub followed: IntGauge,
    pub audits: IntCounter,
    pub gap_fills: IntCounter,
    pub filled: IntCounter,
    pub reads: IntCounter,
    pub stale_reads: IntCounter,
    pub broken_batches: IntCounter,
    pub dropped: IntCounter,
    pub undeliverable: IntCounter,
    pub publish_retries: IntCounter,
    pub clock_skew: Gauge,
}

impl NatsMetrics {
    pub(super) fn new(register: &Register<'_>) -> Result<Self, prometheus::Error> {
        Ok(Self {
            connected: register.gauge_vec(
                "nats_connected",
                "1 while this connection to NATS is open.",
                &["connection"],
            )?,
            troubles: register.gauge_vec(
                "nats_troubles",
                "What is wrong between the node and NATS now; the log says what to do.",
                &["kind"],
            )?,
            log_bytes: register.gauge_vec(
                "nats_shard_log_bytes",
                "Memory of the shard's newest publications.",
                &["shard"],
            )?,
            followed: register.gauge("nats_shards_followed", "Shards this node follows.")?,
            audits: register.counter(
                "nats_audits_total",
                "Comparisons of a shard's log with the leader's last sequence.",
            )?,
            gap_fills: register.counter(
                "nats_gap_fills_total",
                "Times that something was missing in a shard's log and was read.",
            )?,
            filled: register
                .counter("nats_filled_messages_total", "Messages read to fill gaps.")?,
            reads: register.counter("nats_reads_total", "Reads of stored messages.")?,
            stale_reads: register.counter(
                "nats_silent_reads_total",
                "Reads that were not answered in time.",
            )?,
            broken_batches: register.counter(
                "nats_broken_batches_total",
                "Answers of batch reads that had lost messages.",
            )?,
            dropped: register.counter(
                "nats_dropped_total",
                "Times that the client library dropped messages the node was too slow to take.",
            )?,
            undeliverable: register.counter(
                "nats_undeliverable_total",
                "Stored messages that can be given to no client.",
            )?,
            publish_retries: register.counter(
                "nats_publish_retries_total",
                "Attempts to publish that were not acknowledged and were made again.",
            )?,
            clock_skew: register.float_gauge(
                "nats_clock_skew_seconds",
                "Difference between the clocks of this node and of NATS.",
            )?,
        })
    }

    pub fn connected(&self, connection: &'static str, is_open: bool) {
        let gauge = self.connected.with_label_values(&[connection]);
        gauge.set(is_open.into());
    }

    pub fn troubles(&self, kind: &'static str, count: usize) {
        self.troubles.with_label_values(&[kind]).set(count as i64);
    }

    pub fn log_bytes(&self, shard: u16, bytes: usize) {
        let shard = itoa::Buffer::new().format(shard).to_owned();
        let gauge = self.log_bytes.with_label_values(&[shard.as_str()]);
        gauge.set(bytes as i64);
    }
}
