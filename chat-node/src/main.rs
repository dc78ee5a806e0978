//! Starts a chat node: configuration, logs, node, signals.

use std::process::ExitCode;

use chat_node::config::{Config, Invocation};
use chat_node::node::Node;
use chat_node::{probe, telemetry};
use tokio::signal::unix::{Signal, SignalKind, signal};

#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// The exit code of a node that cannot start as it was told to.
const CANNOT_START: u8 = 2;

fn main() -> ExitCode {
    let result = match Config::load(std::env::args_os()) {
        Ok(Invocation::Serve(config)) => serve(*config),
        Ok(Invocation::Probe(asked)) => {
            return match probe::probe(&asked.url.to_string(), asked.timeout) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => {
                    eprintln!("chat-node: {:#}", anyhow::Error::from(error));
                    ExitCode::FAILURE
                }
            };
        }
        Err(error) => Err(error.into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("chat-node: {error:#}");
            ExitCode::from(CANNOT_START)
        }
    }
}

fn serve(config: Config) -> anyhow::Result<()> {
    telemetry::start(config.logging.log_format, &config.logging.log_level)?;
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let threads = std::thread::available_parallelism().map_or(1, |cores| cores.get().min(2));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .thread_name("http")
        .enable_all()
        .build()?;
    let node = Node::start(config)?;
    let mut signals = {
        let _entered = runtime.enter();
        [
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
        ]
    };
    let (address, admin) = (node.address()?, node.admin_address()?);
    tracing::info!(%address, %admin, "listening; metrics and health are at http://{admin}/metrics, /healthz, /readyz");
    let host = match address.ip() {
        ip if ip.is_loopback() || ip.is_unspecified() => "localhost".to_owned(),
        std::net::IpAddr::V6(ip) => format!("[{ip}]"),
        ip => ip.to_string(),
    };
    println!(
        "Natter is ready: open http://{host}:{} in a browser to chat (Ctrl-C stops it)",
        address.port()
    );
    runtime.block_on(async {
        let run = node.run(next(&mut signals));
        run.await
    })?;
    runtime.shutdown_background();
    Ok(())
}

/// Waits for a signal to stop. The one after it stops the process at once.
async fn next([terminate, interrupt]: &mut [Signal; 2]) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
