//! Reads the configuration file again, when it changes and on SIGHUP, and takes over what may change meanwhile.
//!
//! The file is read every second and its text compared: a ConfigMap's file changes by a link that is exchanged
//! somewhere above it, which watching the file would miss.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::signal::unix::{SignalKind, signal};
use tokio::time::MissedTickBehavior;

use crate::config::{Config, Renewal, Source};
use crate::node::Shared;

const INTERVAL: Duration = Duration::from_secs(1);

/// Keeps the live settings as the file has them, for as long as the node runs. Without a file there is nothing to do,
/// and SIGHUP ends the process as it always did.
pub async fn keep(shared: Arc<Shared>) {
    let Some(source) = shared.config.source.clone() else {
        return;
    };
    let mut hangup = match signal(SignalKind::hangup()) {
        Ok(hangup) => hangup,
        Err(error) => {
            tracing::error!(%error, "failed to listen for SIGHUP: the configuration is not read again");
            return;
        }
    };
    let mut reload = Reload::new(shared, source);
    let mut interval = tokio::time::interval(INTERVAL);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let is_asked = tokio::select! {
            _ = interval.tick() => false,
            _ = hangup.recv() => true,
        };
        // A file system may take its time: that is no reason to hold up requests.
        let work = tokio::task::spawn_blocking(move || {
            reload.look(is_asked);
            reload
        });
        match work.await {
            Ok(back) => reload = back,
            Err(_) => return,
        }
    }
}

struct Reload {
    shared: Arc<Shared>,
    source: Source,
    /// What the node runs with.
    config: Config,
    /// The text that was looked at last, or why there was none.
    seen: Option<Result<blake3::Hash, String>>,
    /// Settings that wait for a restart, by name: each value is warned of once.
    waiting: BTreeMap<String, String>,
}

impl Reload {
    fn new(shared: Arc<Shared>, source: Source) -> Self {
        Self {
            config: shared.config.clone(),
            seen: None,
            waiting: BTreeMap::new(),
            shared,
            source,
        }
    }

    /// Takes the file over if it is not as it was, or if `is_asked`.
    fn look(&mut self, is_asked: bool) {
        let text = self.source.read();
        let seen = match &text {
            Ok(text) => Ok(blake3::hash(text.as_bytes())),
            Err(error) => Err(error.to_string()),
        };
        let is_first = self.seen.is_none();
        if self.seen.as_ref() == Some(&seen) && !is_asked {
            return;
        }
        self.seen = Some(seen);
        let renewal = text
            .and_then(|text| Ok((self.source.load(&text)?, blake3::hash(text.as_bytes()))))
            .and_then(|(new, hash)| Ok((self.config.renewed(new)?, hash)));
        match renewal {
            Ok((renewal, hash)) => self.take(renewal, &hash, is_first && !is_asked),
            Err(error) => {
                self.shared.metrics.reload.failed();
                tracing::error!("{error}; the settings of before stay");
            }
        }
    }

    fn take(&mut self, renewal: Renewal, hash: &blake3::Hash, is_start: bool) {
        let Renewal {
            config,
            changed,
            waiting,
        } = renewal;
        let metrics = &self.shared.metrics;
        metrics.reload.took(
            hash,
            SystemTime::now().duration_since(UNIX_EPOCH).ok(),
            waiting.len(),
            !is_start,
        );
        for (name, value) in &waiting {
            if self.waiting.get(name) != Some(value) {
                tracing::warn!(
                    "{name} has changed to '{value}', which has no effect before a restart"
                );
            }
        }
        self.waiting = waiting.into_iter().collect();
        if !changed.is_empty() {
            tracing::info!("configuration read again, changed: {}", changed.join(", "));
            self.shared.renew(&config);
        } else if !is_start {
            tracing::info!("configuration read again: nothing changed that may without a restart");
        }
        self.config = config;
    }
}
