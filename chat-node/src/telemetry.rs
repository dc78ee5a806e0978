//! Logs: to stderr, as text or JSON.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::config::LogFormat;

/// Starts logging. `filter` is a level or a tracing filter.
pub fn start(
    format: LogFormat,
    filter: &str,
) -> Result<(), tracing_subscriber::filter::ParseError> {
    // What the NATS library has to say, the broker says better: once each way, and with what to do.
    let quiet = format!("async_nats=off,{filter}");
    let log = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::builder().parse(quiet)?)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    match format {
        LogFormat::Text => log.with_target(false).init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
    Ok(())
}
