//! So many messages per second, whatever the servers do.

use std::time::Duration;

use anyhow::Result;
use tokio::time::{Instant, sleep_until};

/// Calls `send` `count` times, `rate` times a second. The timer is good to a millisecond: what is due within one goes
/// together.
pub(crate) async fn pace(
    count: u64,
    rate: f64,
    mut send: impl AsyncFnMut() -> Result<()>,
) -> Result<()> {
    let start = Instant::now();
    for n in 0..count {
        sleep_until(start + Duration::from_secs_f64(n as f64 / rate)).await;
        send().await?;
    }
    Ok(())
}
