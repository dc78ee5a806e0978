//! Prometheus metrics. Their names are an interface: documented in docs/operations.md, never renamed.

mod api;
mod auth;
mod nats;
mod presence;
mod reload;

use std::collections::BTreeMap;
use std::time::Duration;

pub use api::ApiMetrics;
pub use auth::AuthMetrics;
pub use nats::NatsMetrics;
pub use presence::PresenceMetrics;
use prometheus::{
    Encoder, Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, TextEncoder,
};
pub use reload::ReloadMetrics;

use crate::protocol::Wire;

pub struct Metrics {
    registry: Registry,
    connections: IntGaugeVec,
    pub connections_limit: IntGauge,
    pub sessions: IntGauge,
    pub rooms: IntGauge,
    pub members: IntGauge,
    pub connects: IntCounter,
    disconnects: IntCounterVec,
    commands: IntCounterVec,
    command_errors: IntCounterVec,
    publications: IntCounter,
    pub deliveries: IntCounter,
    pub delivered_bytes: IntCounter,
    pub received_bytes: IntCounter,
    fan_out_seconds: Histogram,
    publish_ack_seconds: Histogram,
    recoveries: IntCounterVec,
    pub slow_clients: IntCounter,
    pub draining: IntGauge,
    pub cluster_nodes: IntGauge,
    pub cluster_connections: IntGauge,
    pub history_rooms: IntGauge,
    pub history_publications: IntGauge,
    pub history_bytes: IntGauge,
    pub history_evicted_rooms: IntCounter,
    pub presence: PresenceMetrics,
    pub auth: AuthMetrics,
    pub reload: ReloadMetrics,
    pub api: ApiMetrics,
}

/// From a tenth of a millisecond to half a minute.
const SECONDS: &[f64] = &[
    0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0,
];

impl Metrics {
    pub fn new(connections_limit: usize) -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let process = prometheus::process_collector::ProcessCollector::for_self();
        registry.register(Box::new(process))?;
        let register = Register(&registry);
        let metrics = Self {
            connections: register.gauge_vec("connections", "Open client connections.", &["transport"])?,
            connections_limit: register
                .gauge("connections_limit", "Most sessions this node takes (limits.connections).")?,
            sessions: register.gauge("sessions", "Sessions: connections whose connect command was accepted.")?,
            rooms: register.gauge("rooms", "Rooms with members on this node.")?,
            members: register.gauge("members", "Members: sessions in rooms, counted once per room.")?,
            connects: register.counter("connects_total", "Sessions begun.")?,
            disconnects: register.counter_vec(
                "disconnects_total",
                "Connections ended, by close code; 1006 where the client vanished without one.",
                &["code"],
            )?,
            commands: register.counter_vec("commands_total", "Commands received.", &["method"])?,
            command_errors: register.counter_vec(
                "command_errors_total",
                "Commands answered with an error, by the protocol's error code.",
                &["code"],
            )?,
            publications: register.counter("publications_total", "Publications accepted from clients.")?,
            deliveries: register.counter("deliveries_total", "Publications written to members.")?,
            delivered_bytes: register.counter("delivered_bytes_total", "Bytes of publications written to members.")?,
            received_bytes: register.counter("received_bytes_total", "Bytes read from client sockets.")?,
            fan_out_seconds: register.histogram(
                "fan_out_seconds",
                "From the broker's hand-over of a publication until every member of a worker that keeps up has it.",
            )?,
            publish_ack_seconds: register.histogram(
                "publish_ack_seconds",
                "From a publish command until the broker acknowledged it.",
            )?,
            recoveries: register.counter_vec(
                "recoveries_total",
                "Subscribes that asked for what they missed, by outcome.",
                &["outcome"],
            )?,
            slow_clients: register.counter("slow_clients_total", "Sessions closed because they read too slowly.")?,
            draining: register.gauge("draining", "1 while the node shuts down.")?,
            cluster_nodes: register.gauge(
                "cluster_nodes",
                "Nodes that serve the same rooms, as this one knows of them.",
            )?,
            cluster_connections: register.gauge(
                "cluster_connections",
                "Connections of all these nodes together.",
            )?,
            history_rooms: register.gauge("history_rooms", "Rooms the embedded broker knows.")?,
            history_publications: register.gauge("history_publications", "Publications the embedded broker keeps.")?,
            history_bytes: register.gauge("history_bytes", "Memory the embedded broker's history takes.")?,
            history_evicted_rooms: register.counter(
                "history_evicted_rooms_total",
                "Rooms whose history the embedded broker dropped to stay below history.maxTotalBytes.",
            )?,
            presence: PresenceMetrics::new(&register)?,
            reload: ReloadMetrics::new(&register)?,
            api: ApiMetrics::new(&register)?,
            auth: AuthMetrics::new(&register)?,
            registry: registry.clone(),
        };
        let build = register.gauge_vec(
            "build_info",
            "Always 1; the labels say what runs.",
            &["version"],
        )?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        for wire in Wire::ALL {
            metrics.connections(wire).set(0);
        }
        metrics.connections_limit.set(connections_limit as i64);
        Ok(metrics)
    }

    /// Registers what a broker over NATS counts. Call once.
    pub fn nats(&self) -> Result<NatsMetrics, prometheus::Error> {
        NatsMetrics::new(&Register(&self.registry))
    }

    /// The connections of one transport.
    pub fn connections(&self, wire: Wire) -> IntGauge {
        self.connections.with_label_values(&[wire.transport()])
    }

    pub fn disconnect(&self, code: u16) {
        let code = itoa::Buffer::new().format(code).to_owned();
        self.disconnects.with_label_values(&[code.as_str()]).inc();
    }

    pub fn command(&self, method: &'static str) {
        self.commands.with_label_values(&[method]).inc();
    }

    pub fn refused(&self, code: u32) {
        let code = itoa::Buffer::new().format(code).to_owned();
        self.command_errors
            .with_label_values(&[code.as_str()])
            .inc();
    }

    pub fn published(&self, took: Duration) {
        self.publications.inc();
        self.publish_ack_seconds.observe(took.as_secs_f64());
    }

    pub fn fanned_out(&self, took: Duration) {
        self.fan_out_seconds.observe(took.as_secs_f64());
    }

    pub fn recovery(&self, recovered: bool) {
        let outcome = if recovered {
            "recovered"
        } else {
            "unrecovered"
        };
        self.recoveries.with_label_values(&[outcome]).inc();
    }

    /// Counts since the start that are worth showing to a person, by their names.
    pub fn totals(&self) -> BTreeMap<String, f64> {
        let totals = [
            ("connects_total", self.connects.get()),
            ("publications_total", self.publications.get()),
            ("deliveries_total", self.deliveries.get()),
            ("slow_clients_total", self.slow_clients.get()),
        ];
        let totals = totals.map(|(name, count)| (format!("natter_{name}"), count as f64));
        totals.into()
    }

    /// All metrics in Prometheus' text format.
    pub fn render(&self) -> Result<String, prometheus::Error> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        String::from_utf8(text).map_err(|error| prometheus::Error::Msg(error.to_string()))
    }
}

/// Creates and registers in one step, under the common prefix.
struct Register<'a>(&'a Registry);

impl Register<'_> {
    fn keep<C: prometheus::core::Collector + Clone + 'static>(
        &self,
        metric: C,
    ) -> Result<C, prometheus::Error> {
        self.0.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    fn counter(&self, name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
        self.keep(IntCounter::with_opts(opts(name, help))?)
    }

    fn counter_vec(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<IntCounterVec, prometheus::Error> {
        self.keep(IntCounterVec::new(opts(name, help), labels)?)
    }

    fn gauge(&self, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
        self.keep(IntGauge::with_opts(opts(name, help))?)
    }

    fn float_gauge(&self, name: &str, help: &str) -> Result<Gauge, prometheus::Error> {
        self.keep(Gauge::with_opts(opts(name, help))?)
    }

    fn gauge_vec(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<IntGaugeVec, prometheus::Error> {
        self.keep(IntGaugeVec::new(opts(name, help), labels)?)
    }

    fn histogram(&self, name: &str, help: &str) -> Result<Histogram, prometheus::Error> {
        let opts = HistogramOpts::from(opts(name, help)).buckets(SECONDS.to_vec());
        self.keep(Histogram::with_opts(opts)?)
    }
}

impl Register<'_> {
    fn histogram_vec(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<HistogramVec, prometheus::Error> {
        let opts = HistogramOpts::from(opts(name, help)).buckets(SECONDS.to_vec());
        self.keep(HistogramVec::new(opts, labels)?)
    }
}

fn opts(name: &str, help: &str) -> Opts {
    Opts::new(name, help).namespace("natter")
}
