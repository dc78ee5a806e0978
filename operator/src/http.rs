//! The operator's own port: metrics and health. Nothing here says what is in Secrets.

use std::future::Future;

use anyhow::Context as _;
use axum::Router;
use axum::extract::State;
use axum::routing::get;
use tokio::net::TcpListener;

use crate::metrics::Metrics;

/// Serves until `stop`. A process that waits for its turn is ready too: it can take over.
pub async fn serve(
    listener: TcpListener,
    metrics: Metrics,
    stop: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<()> {
    let router = Router::new()
        .route(
            "/metrics",
            get(|State(metrics): State<Metrics>| async move { metrics.text() }),
        )
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(|| async { "ready\n" }))
        .with_state(metrics);
    let served = axum::serve(listener, router)
        .with_graceful_shutdown(stop)
        .await;
    served.context("failed to serve metrics")
}
