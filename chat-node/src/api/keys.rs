//! The server API's keys: from a file, one a line, several while one replaces another.
//!
//! The file is looked at every second. One that cannot be read or holds no key changes nothing and is told once.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use subtle::{Choice, ConstantTimeEq};
use tokio::time::MissedTickBehavior;

const INTERVAL: Duration = Duration::from_secs(1);
const MAX_FILE_BYTES: usize = 64 * 1024;

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Problem {
    #[error("cannot be read: {0}")]
    Unreadable(String),
    #[error("is larger than {MAX_FILE_BYTES} bytes")]
    TooLarge,
    #[error("has no key: expected one a line")]
    NoKey,
    #[error(
        "has a key on line {line} that no HTTP header can carry: expected printable ASCII without spaces"
    )]
    Unfit { line: usize },
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("auth.apiKeyFile (--api-key-file): {} {problem}", file.display())]
pub struct Error {
    file: PathBuf,
    problem: Problem,
}

/// What keys are compared by: all have one length, so that comparing tells nothing of a key.
type Digest = [u8; 32];

pub struct Keys {
    file: PathBuf,
    digests: ArcSwap<Vec<Digest>>,
}

impl Keys {
    /// Reads the keys in `file`.
    pub fn open(file: &Path) -> Result<Arc<Self>, Error> {
        let digests = read(file).map_err(|problem| Error {
            file: file.to_owned(),
            problem,
        })?;
        Ok(Arc::new(Self {
            file: file.to_owned(),
            digests: ArcSwap::from_pointee(digests),
        }))
    }

    /// Whether `key` is one of them, in a time that does not depend on which, or on how much of it is right.
    pub fn accepts(&self, key: &[u8]) -> bool {
        let digest = *blake3::hash(key).as_bytes();
        let digests = self.digests.load();
        let found = digests
            .iter()
            .fold(Choice::from(0), |found, key| found | key.ct_eq(&digest));
        found.into()
    }

    /// Keeps the keys as the file has them, for ever.
    pub async fn keep(self: Arc<Self>) {
        let mut interval = tokio::time::interval(INTERVAL);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut told = None;
        loop {
            interval.tick().await;
            let file = self.file.clone();
            let Ok(found) = tokio::task::spawn_blocking(move || read(&file)).await else {
                return;
            };
            told = self.take(found, told);
        }
    }

    /// Takes over what was read. Returns the problem that has been told, if there is one.
    fn take(&self, found: Result<Vec<Digest>, Problem>, told: Option<Problem>) -> Option<Problem> {
        match found {
            Ok(digests) => {
                if **self.digests.load() != digests {
                    tracing::info!("the server API has {} keys now", digests.len());
                    self.digests.store(Arc::new(digests));
                }
                None
            }
            Err(problem) => {
                if told.as_ref() != Some(&problem) {
                    let file = self.file.display();
                    tracing::warn!("the server API's keys stay as they are: {file} {problem}");
                }
                Some(problem)
            }
        }
    }
}

fn read(file: &Path) -> Result<Vec<Digest>, Problem> {
    let text = std::fs::read(file).map_err(|error| Problem::Unreadable(error.to_string()))?;
    if text.len() > MAX_FILE_BYTES {
        return Err(Problem::TooLarge);
    }
    parse(&text)
}

fn parse(text: &[u8]) -> Result<Vec<Digest>, Problem> {
    let mut digests = Vec::new();
    for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
        let key = line.trim_ascii();
        if key.is_empty() || key.starts_with(b"#") {
            continue;
        }
        if !key.iter().all(u8::is_ascii_graphic) {
            return Err(Problem::Unfit { line: index + 1 });
        }
        digests.push(*blake3::hash(key).as_bytes());
    }
    match digests.is_empty() {
        true => Err(Problem::NoKey),
        false => Ok(digests),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn keys_stand_one_a_line_beside_comments() {
        let keys = parse(b"# of the shop\r\nfirst\r\n\n  second  \n").unwrap();
        assert_eq!(
            keys,
            ["first", "second"].map(|key| *blake3::hash(key.as_bytes()).as_bytes())
        );
        for (text, problem) in [
            ("", Problem::NoKey),
            ("\n# none\n", Problem::NoKey),
            ("good\nnot good\n", Problem::Unfit { line: 2 }),
            ("schlüssel", Problem::Unfit { line: 1 }),
        ] {
            assert_eq!(parse(text.as_bytes()), Err(problem), "{text}");
        }
    }

    #[test]
    fn keys_rotate_and_a_bad_file_changes_nothing() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"old\n").unwrap();
        let keys = Keys::open(file.path()).unwrap();
        assert!(keys.accepts(b"old"));
        for wrong in [b"new".as_slice(), b"", b"ol", b"old ", b"OLD", b"# old"] {
            assert!(!keys.accepts(wrong), "{wrong:?}");
        }
        file.write_all(b"new\n").unwrap();
        assert_eq!(keys.take(read(file.path()), None), None);
        assert!(keys.accepts(b"old") && keys.accepts(b"new"));
        file.as_file().set_len(0).unwrap();
        assert_eq!(keys.take(read(file.path()), None), Some(Problem::NoKey));
        assert!(keys.accepts(b"old") && keys.accepts(b"new"));
    }

    #[test]
    fn a_file_that_cannot_be_used_is_named() {
        let error = Keys::open(Path::new("/nowhere/keys")).err().unwrap();
        assert_eq!(
            error.to_string(),
            "auth.apiKeyFile (--api-key-file): /nowhere/keys cannot be read: No such file or directory (os error 2)"
        );
    }
}
