//! Files that are read again while the node runs.
//!
//! A file is read every second and its text compared: a ConfigMap's or Secret's file changes by a link that is
//! exchanged somewhere above it, which watching the file would miss.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

const INTERVAL: Duration = Duration::from_secs(1);

pub struct WatchedFile {
    path: PathBuf,
    /// The text that was read last, or why there was none.
    seen: Result<blake3::Hash, String>,
}

impl WatchedFile {
    /// A file whose text with this hash has been taken over.
    pub fn new(path: PathBuf, seen: blake3::Hash) -> Self {
        Self {
            path,
            seen: Ok(seen),
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Waits until the file is not as it was last seen. A file that cannot be read is told of once. Nothing is lost
    /// when the wait is given up.
    pub async fn changed(&mut self) -> io::Result<Vec<u8>> {
        loop {
            tokio::time::sleep(INTERVAL).await;
            let before = self.seen.clone();
            let text = self.read().await;
            if self.seen != before {
                return text;
            }
        }
    }

    /// The file as it is now.
    pub async fn read(&mut self) -> io::Result<Vec<u8>> {
        // A file system may take its time: that is no reason to hold up requests.
        let path = self.path.clone();
        let read = tokio::task::spawn_blocking(move || std::fs::read(path)).await;
        let text = read.map_err(io::Error::other).flatten();
        self.seen = match &text {
            Ok(text) => Ok(blake3::hash(text)),
            Err(error) => Err(error.to_string()),
        };
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_change_is_told_of_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let mut file = WatchedFile::new(path.clone(), blake3::hash(b"one"));
        std::fs::write(&path, "two").unwrap();
        assert_eq!(file.changed().await.unwrap(), b"two");
        std::fs::remove_file(&path).unwrap();
        assert_eq!(
            file.changed().await.unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
        let again = tokio::time::timeout(INTERVAL * 5, file.changed());
        assert!(again.await.is_err());
        std::fs::write(&path, "two").unwrap();
        assert_eq!(file.changed().await.unwrap(), b"two");
    }
}
