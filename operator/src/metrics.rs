//! What the operator counts. Names are documented and stable.

use http::{Method, Uri};
use prometheus::{
    Encoder, Histogram, HistogramOpts, IntCounterVec, IntGauge, Opts, Registry, TextEncoder,
};

use crate::requests::verb_and_resource;

#[derive(Clone)]
pub struct Metrics {
    registry: Registry,
    reconciles: IntCounterVec,
    errors: IntCounterVec,
    pub seconds: Histogram,
    pub running: IntGauge,
    pub leader: IntGauge,
    writes: IntCounterVec,
    requests: IntCounterVec,
}

impl Metrics {
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let counter = |name: &str, help: &str, labels: &[&str]| {
            let counter = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        let seconds = Histogram::with_opts(
            HistogramOpts::new("natter_operator_reconcile_seconds", "Time of one reconcile")
                .buckets(vec![0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0]),
        )?;
        registry.register(Box::new(seconds.clone()))?;
        #[cfg(target_os = "linux")]
        registry.register(Box::new(
            prometheus::process_collector::ProcessCollector::for_self(),
        ))?;
        Ok(Self {
            reconciles: counter(
                "natter_operator_reconciles_total",
                "Reconciles by result",
                &["result"],
            )?,
            errors: counter(
                "natter_operator_reconcile_errors_total",
                "Failed reconciles by reason",
                &["reason"],
            )?,
            writes: counter(
                "natter_operator_writes_total",
                "Objects that were written, by kind",
                &["kind"],
            )?,
            requests: counter(
                "natter_operator_api_requests_total",
                "Requests to the API server",
                &["verb", "resource"],
            )?,
            running: gauge("natter_operator_reconciles_running", "Reconciles under way")?,
            leader: gauge(
                "natter_operator_leader",
                "1 while this process is the one that works",
            )?,
            seconds,
            registry,
        })
    }

    pub fn succeeded(&self) {
        self.reconciles.with_label_values(&["ok"]).inc();
    }

    pub fn failed(&self, reason: &str) {
        self.reconciles.with_label_values(&["error"]).inc();
        self.errors.with_label_values(&[reason]).inc();
    }

    pub fn wrote(&self, kind: &str) {
        self.writes.with_label_values(&[kind]).inc();
    }

    /// Counts a request to the API server.
    pub fn asked(&self, method: &Method, uri: &Uri) {
        let (verb, resource) = verb_and_resource(method, uri);
        self.requests.with_label_values(&[verb, &resource]).inc();
    }

    /// Everything, as Prometheus reads it.
    pub fn text(&self) -> String {
        let mut text = Vec::new();
        let encoded = TextEncoder::new().encode(&self.registry.gather(), &mut text);
        match encoded {
            Ok(()) => String::from_utf8(text).unwrap_or_default(),
            Err(error) => format!("# {error}\n"),
        }
    }
}
