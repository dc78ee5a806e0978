//! Reads the configuration file again, when it changes and on SIGHUP, and takes over what may change meanwhile.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::signal::unix::{SignalKind, signal};

use crate::config::{Config, ConfigError, Renewal, Source};
use crate::node::Shared;
use crate::watched_file::WatchedFile;

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
    shared.metrics.reload.took(&source.hash(), now());
    let mut file = WatchedFile::new(source.file().to_owned(), source.hash());
    let mut reload = Reload {
        config: shared.config.clone(),
        waiting: BTreeMap::new(),
        shared: shared.clone(),
        source,
    };
    loop {
        let changed = tokio::select! {
            text = file.changed() => Some(text),
            _ = hangup.recv() => None,
        };
        let text = match changed {
            Some(text) => text,
            None => file.read().await,
        };
        reload.look(text);
    }
}

struct Reload {
    shared: Arc<Shared>,
    source: Source,
    /// What the node runs with.
    config: Config,
    /// Settings that wait for a restart, by name: each value is warned of once.
    waiting: BTreeMap<String, String>,
}

impl Reload {
    fn look(&mut self, read: io::Result<Vec<u8>>) {
        match self.renewal(read) {
            Ok((renewal, hash)) => self.take(renewal, &hash),
            Err(error) => {
                self.shared.metrics.reload.failed();
                tracing::error!("{error}; the settings of before stay");
            }
        }
    }

    fn renewal(&self, read: io::Result<Vec<u8>>) -> Result<(Renewal, blake3::Hash), ConfigError> {
        let text = self.source.decode(read)?;
        let renewal = self.config.renewed(self.source.load(&text)?)?;
        Ok((renewal, blake3::hash(text.as_bytes())))
    }

    fn take(&mut self, renewal: Renewal, hash: &blake3::Hash) {
        let Renewal {
            config,
            changed,
            waiting,
        } = renewal;
        for (name, value) in &waiting {
            if self.waiting.get(name) != Some(value) {
                tracing::warn!(
                    "{name} has changed to '{value}', which has no effect before a restart"
                );
            }
        }
        self.waiting = waiting.into_iter().collect();
        if changed.is_empty() {
            tracing::info!("configuration read again: nothing changed that may without a restart");
        } else {
            tracing::info!("configuration read again, changed: {}", changed.join(", "));
            self.shared.renew(&config);
        }
        self.config = config;
        // Last: who sees that the file was taken over sees its settings, too.
        let metrics = &self.shared.metrics.reload;
        metrics.took(hash, now());
        metrics.reloaded(self.waiting.len());
    }
}

/// Time since 1970; nothing with a clock that is set before that.
fn now() -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap_or_default()
}
