//! The keys of a file, taken over again when it changes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;

use super::keys::{Keys, KeysError};
use crate::watched_file::WatchedFile;

#[derive(Debug, thiserror::Error)]
pub enum FileProblem {
    #[error("cannot be read: {0}")]
    Unreadable(#[from] std::io::Error),
    #[error("cannot be used: {0}")]
    Unusable(#[from] KeysError),
}

pub type Current = Arc<ArcSwap<Keys>>;

/// Reads the file, and keeps reading it on the runtime that this is called in.
pub fn open(path: PathBuf) -> Result<Current, FileProblem> {
    let text = std::fs::read(&path)?;
    let keys = Keys::from_file(&text)?;
    warn_of_weakness(&path, &keys);
    let current: Current = Arc::new(ArcSwap::from_pointee(keys));
    let file = WatchedFile::new(path, blake3::hash(&text));
    tokio::spawn(keep(file, current.clone()));
    Ok(current)
}

async fn keep(mut file: WatchedFile, current: Current) {
    loop {
        match file.changed().await {
            Ok(text) => renew(file.path(), &text, &current),
            Err(error) => {
                let file = file.path().display();
                tracing::warn!(%error, %file, "cannot read the keys for tokens again: the old ones stay");
            }
        }
    }
}

fn renew(path: &Path, text: &[u8], current: &Current) {
    let file = path.display();
    match Keys::from_file(text) {
        Ok(keys) => {
            tracing::info!(%file, keys = keys.count(), "the keys for tokens have changed");
            warn_of_weakness(path, &keys);
            current.store(Arc::new(keys));
        }
        Err(error) => {
            tracing::warn!(%file, %error, "cannot use the changed keys for tokens: the old ones stay");
        }
    }
}

fn warn_of_weakness(path: &Path, keys: &Keys) {
    if keys.has_weak_secret() {
        let file = path.display();
        tracing::warn!(%file, "a secret for tokens is so short that it can be guessed: use 32 random bytes");
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use jsonwebtoken::Algorithm;

    fn secrets(current: &Current) -> Vec<Vec<u8>> {
        let keys = current.load();
        let fitting = keys.fitting(Algorithm::HS256, None);
        fitting
            .map(|key| key.material.as_bytes().to_vec())
            .collect()
    }

    #[tokio::test]
    async fn a_changed_file_is_read_again() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let write = |text: &str| std::fs::write(file.path(), text).unwrap();
        write("the first secret");
        let current = open(file.path().to_owned()).unwrap();
        assert_eq!(secrets(&current), [b"the first secret".to_vec()]);
        write("the second secret");
        let second = async {
            while secrets(&current) != [b"the second secret".to_vec()] {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let taken = tokio::time::timeout(Duration::from_secs(10), second).await;
        taken.expect("the file's new text counts");
    }

    #[test]
    fn a_bad_file_changes_nothing() {
        let keys = Keys::from_file(b"the first secret").unwrap();
        let current: Current = Arc::new(ArcSwap::from_pointee(keys));
        renew(Path::new("keys"), b"-----BEGIN X", &current);
        assert_eq!(secrets(&current), [b"the first secret".to_vec()]);
    }
}
