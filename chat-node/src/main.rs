//! Starts a chat node: configuration, logs, node, signals.

use std::net::IpAddr;
use std::process::ExitCode;

use chat_node::broker::nats::{init, users};
use chat_node::config::{Config, Invocation, NatsCommand};
use chat_node::node::Node;
use chat_node::{probe, telemetry};
use tokio::signal::unix::{Signal, SignalKind, signal};

#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// The exit code of a command that did not succeed: not ready, or not done.
const FAILED: u8 = 1;
/// The exit code of a node that cannot start as it was told to, and of a command with wrong settings.
const CANNOT_START: u8 = 2;

fn main() -> ExitCode {
    let result = match Config::load(std::env::args_os()) {
        Ok(Invocation::Serve(config)) => serve(*config),
        Ok(Invocation::Probe(asked)) => {
            let url = asked.url.to_string();
            let result = match asked.url.scheme_str() {
                Some("ws") => probe::chat(&url, &asked.room, asked.timeout),
                _ => probe::probe(&url, asked.timeout),
            };
            return match result {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => failed(error, FAILED),
            };
        }
        Ok(Invocation::Nats(command)) => return prepare_nats(command),
        Err(error) => Err(error.into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(error, CANNOT_START),
    }
}

fn failed(error: impl Into<anyhow::Error>, code: u8) -> ExitCode {
    eprintln!("chat-node: {:#}", error.into());
    ExitCode::from(code)
}

/// Results go to stdout, one line for each; the rest goes to stderr.
fn print(line: init::Line) {
    match line {
        init::Line::Result(text) => println!("{text}"),
        init::Line::Progress(text) => eprintln!("{text}"),
        init::Line::Warning(text) => eprintln!("warning: {text}"),
    }
}

fn prepare_nats(command: NatsCommand) -> ExitCode {
    let result = match command {
        NatsCommand::Users(users) => match users::write(&users) {
            Ok(lines) => {
                println!("{}", lines.join("\n"));
                return ExitCode::SUCCESS;
            }
            Err(error) => Err(error.into()),
        },
        NatsCommand::Init(init) => {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            match runtime.map(|runtime| runtime.block_on(init::run(&init, print))) {
                Ok(Err(error)) if error.is_of_settings() => return failed(error, CANNOT_START),
                Ok(result) => result.map_err(anyhow::Error::from),
                Err(error) => Err(error.into()),
            }
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(error, FAILED),
    }
}

fn serve(config: Config) -> anyhow::Result<()> {
    die_of_panics();
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
    let entered = runtime.enter();
    let node = Node::start(config)?;
    let (address, admin) = (node.address()?, node.admin_address()?);
    let shutdown = shutdown(
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    drop(entered);
    let api = node.api_address().transpose()?;
    let api = api.map(tracing::field::display);
    tracing::info!(%address, %admin, api, "listening; metrics and health are at http://{admin}/metrics, /healthz, /readyz");
    let (host, port) = (browsable(address.ip()), address.port());
    let ready = node.ready();
    runtime.spawn(async move {
        ready.await;
        println!(
            "Natter is ready: open http://{host}:{port} in a browser to chat (Ctrl-C stops it)"
        );
    });
    runtime.block_on(node.run(shutdown))?;
    runtime.shutdown_background();
    Ok(())
}

/// Ends the process when any thread panics: a node that lost a worker would go on giving it connections.
fn die_of_panics() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        std::process::abort();
    }));
}

/// How a browser on this machine names the address.
fn browsable(ip: IpAddr) -> String {
    match ip {
        ip if ip.is_loopback() || ip.is_unspecified() => "localhost".to_owned(),
        IpAddr::V6(ip) => format!("[{ip}]"),
        IpAddr::V4(ip) => ip.to_string(),
    }
}

/// Waits for the signal to stop. The one after it ends the process at once.
async fn shutdown(mut terminate: Signal, mut interrupt: Signal) {
    either(&mut terminate, &mut interrupt).await;
    tokio::spawn(async move {
        let signal = either(&mut terminate, &mut interrupt).await;
        tracing::warn!("stopped by a second signal: clients were not all told");
        std::process::exit(128 + signal.as_raw_value());
    });
}

async fn either(terminate: &mut Signal, interrupt: &mut Signal) -> SignalKind {
    tokio::select! {
        _ = terminate.recv() => SignalKind::terminate(),
        _ = interrupt.recv() => SignalKind::interrupt(),
    }
}
