//! Where the settings came from: the file, read again while the node runs, under the flags and the environment of its start.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::load::load_again;
use super::{Config, ConfigError, FileError};

#[derive(Clone)]
pub struct Source {
    file: PathBuf,
    /// Of the file's text at the start.
    hash: blake3::Hash,
    args: Vec<OsString>,
    variables: Vec<(OsString, OsString)>,
}

impl Source {
    /// Reads the file. Returns its text, too.
    pub(super) fn open(
        file: PathBuf,
        args: Vec<OsString>,
        variables: Vec<(OsString, OsString)>,
    ) -> Result<(Self, String), ConfigError> {
        let text = decode(&file, std::fs::read(&file))?;
        let hash = blake3::hash(text.as_bytes());
        let source = Self {
            file,
            hash,
            args,
            variables,
        };
        Ok((source, text))
    }

    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Tells this text of the file from others.
    pub fn hash(&self) -> blake3::Hash {
        self.hash
    }

    /// What was read of the file, as text.
    pub fn decode(&self, read: io::Result<Vec<u8>>) -> Result<String, ConfigError> {
        decode(&self.file, read)
    }

    /// The settings with `text` for the file's.
    pub fn load(&self, text: &str) -> Result<Config, ConfigError> {
        load_again(&self.file, text, &self.args, &self.variables)
    }
}

fn decode(file: &Path, read: io::Result<Vec<u8>>) -> Result<String, ConfigError> {
    let text = read.and_then(|text| String::from_utf8(text).map_err(io::Error::other));
    text.map_err(|error| ConfigError::File {
        file: file.to_owned(),
        problem: FileError::Unreadable(error.to_string()),
    })
}

/// The environment is nobody's business but the process's.
impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.file.fmt(f)
    }
}
