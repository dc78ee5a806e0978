//! Configuration, logs, the port for metrics, the lease; then the controller until SIGTERM.

use anyhow::Context as _;
use clap::Parser as _;
use futures_util::FutureExt as _;
use kube::client::{Body, ClientBuilder};
use natter_operator::chat_service::{self, Context};
use natter_operator::config::Config;
use natter_operator::leader::Election;
use natter_operator::metrics::Metrics;
use natter_operator::telemetry;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tower::util::MapRequestLayer;
use tracing::info;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let config = Config::parse();
    telemetry::start(&config)?;
    let metrics = Metrics::new().context("metrics")?;
    let client = client(&metrics).await.context("no way to the API server")?;
    let listener = TcpListener::bind(config.listen).await;
    let listener =
        listener.with_context(|| format!("cannot listen on {} (--listen)", config.listen))?;
    let stop = stop()?.shared();
    tokio::spawn(natter_operator::http::serve(
        listener,
        metrics.clone(),
        stop.clone(),
    ));

    let Config {
        lease_namespace,
        lease_name,
        identity,
        ..
    } = &config;
    let election = Election::new(client.clone(), lease_namespace, lease_name, identity);
    info!(
        namespace = config.namespace,
        lease = lease_name,
        identity,
        "started"
    );
    tokio::select! {
        () = election.win() => {}
        () = stop.clone() => return Ok(()),
    }
    metrics.leader.set(1);
    let context = Context::new(client, config.images(), metrics, identity);
    tokio::select! {
        () = chat_service::run(context, config.namespace.as_deref(), config.concurrency, stop) => {}
        () = election.keep() => {}
    }
    election.release().await;
    Ok(())
}

/// A client that counts what it is asked for.
async fn client(metrics: &Metrics) -> anyhow::Result<kube::Client> {
    let config = kube::Config::infer().await?;
    let metrics = metrics.clone();
    let count = MapRequestLayer::new(move |request: http::Request<Body>| {
        metrics.asked(request.method(), request.uri());
        request
    });
    Ok(ClientBuilder::try_from(config)?.with_layer(&count).build())
}

/// Ends with the first SIGTERM or SIGINT.
fn stop() -> anyhow::Result<impl Future<Output = ()> + Send> {
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT")?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        info!("stopping");
    })
}
