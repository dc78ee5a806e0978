//! The server API's keys: from a file, one a line, several while one replaces another.
//!
//! The file is taken over again when it changes. One that cannot be read or holds no key changes nothing.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use subtle::{Choice, ConstantTimeEq};

use crate::watched_file::WatchedFile;

const MAX_FILE_BYTES: usize = 64 * 1024;

#[derive(Debug, thiserror::Error)]
pub enum Problem {
    #[error("cannot be read: {0}")]
    Unreadable(#[from] std::io::Error),
    #[error("is larger than {MAX_FILE_BYTES} bytes")]
    TooLarge,
    #[error("has no key: expected one a line")]
    NoKey,
    #[error(
        "has a key on line {line} that no HTTP header can carry: expected printable ASCII without spaces"
    )]
    Unfit { line: usize },
}

#[derive(Debug, thiserror::Error)]
#[error("auth.apiKeyFile (--api-key-file): {} {problem}", file.display())]
pub struct Error {
    file: PathBuf,
    problem: Problem,
}

/// What keys are compared by: all have one length, so that comparing tells nothing of a key.
type Digest = [u8; 32];

pub struct Keys(ArcSwap<Vec<Digest>>);

impl Keys {
    /// Reads the keys in `file`, and keeps them as the file has them on the runtime that this is called in.
    pub fn open(file: &Path) -> Result<Arc<Self>, Error> {
        let (keys, hash) = Self::read(file).map_err(|problem| Error {
            file: file.to_owned(),
            problem,
        })?;
        let keys = Arc::new(keys);
        let file = WatchedFile::new(file.to_owned(), hash);
        tokio::spawn(keys.clone().keep(file));
        Ok(keys)
    }

    fn read(file: &Path) -> Result<(Self, blake3::Hash), Problem> {
        let text = std::fs::read(file)?;
        let digests = ArcSwap::from_pointee(parse(&text)?);
        Ok((Self(digests), blake3::hash(&text)))
    }

    /// Whether `key` is one of them, in a time that does not depend on which, or on how much of it is right.
    pub fn accepts(&self, key: &[u8]) -> bool {
        let digest = *blake3::hash(key).as_bytes();
        let digests = self.0.load();
        let found = digests
            .iter()
            .fold(Choice::from(0), |found, key| found | key.ct_eq(&digest));
        found.into()
    }

    async fn keep(self: Arc<Self>, mut file: WatchedFile) {
        loop {
            let text = file.changed().await;
            let taken = text
                .map_err(Problem::from)
                .and_then(|text| self.take(&text));
            match taken {
                Ok(count) => tracing::info!("the server API has {count} keys now"),
                Err(problem) => {
                    let file = file.path().display();
                    tracing::warn!("the server API's keys stay as they are: {file} {problem}");
                }
            }
        }
    }

    /// Takes over the text of a file. Returns how many keys it has.
    fn take(&self, text: &[u8]) -> Result<usize, Problem> {
        let digests = parse(text)?;
        let count = digests.len();
        self.0.store(Arc::new(digests));
        Ok(count)
    }
}

fn parse(text: &[u8]) -> Result<Vec<Digest>, Problem> {
    if text.len() > MAX_FILE_BYTES {
        return Err(Problem::TooLarge);
    }
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
    use super::*;

    #[test]
    fn keys_stand_one_a_line_beside_comments() {
        let keys = parse(b"# of the shop\r\nfirst\r\n\n  second  \n").unwrap();
        assert_eq!(
            keys,
            ["first", "second"].map(|key| *blake3::hash(key.as_bytes()).as_bytes())
        );
        let large = "k".repeat(MAX_FILE_BYTES + 1);
        for (text, problem) in [
            ("", "has no key: expected one a line"),
            ("\n# none\n", "has no key: expected one a line"),
            (&large, "is larger than 65536 bytes"),
            (
                "good\nnot good\n",
                "has a key on line 2 that no HTTP header can carry: expected printable ASCII without spaces",
            ),
            (
                "schlüssel",
                "has a key on line 1 that no HTTP header can carry: expected printable ASCII without spaces",
            ),
        ] {
            let found = parse(text.as_bytes()).unwrap_err();
            assert_eq!(found.to_string(), problem, "{text}");
        }
    }

    #[test]
    fn keys_rotate_and_a_bad_file_changes_nothing() {
        let keys = Keys(ArcSwap::from_pointee(parse(b"old\n").unwrap()));
        assert!(keys.accepts(b"old"));
        for wrong in [b"new".as_slice(), b"", b"ol", b"old ", b"OLD", b"# old"] {
            assert!(!keys.accepts(wrong), "{wrong:?}");
        }
        assert_eq!(keys.take(b"old\nnew\n").unwrap(), 2);
        assert!(keys.accepts(b"old") && keys.accepts(b"new"));
        assert!(matches!(keys.take(b""), Err(Problem::NoKey)));
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
