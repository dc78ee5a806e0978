//! Where the settings came from: the file, read again while the node runs, under the flags and the environment of its start.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use super::load::load_again;
use super::{Config, ConfigError, FileError};

#[derive(Clone)]
pub struct Source {
    file: PathBuf,
    args: Vec<OsString>,
    variables: Vec<(OsString, OsString)>,
}

impl Source {
    pub(super) fn new(
        file: PathBuf,
        args: Vec<OsString>,
        variables: Vec<(OsString, OsString)>,
    ) -> Self {
        Self {
            file,
            args,
            variables,
        }
    }

    pub fn file(&self) -> &Path {
        &self.file
    }

    /// The file's text now.
    pub fn read(&self) -> Result<String, ConfigError> {
        std::fs::read_to_string(&self.file).map_err(|error| ConfigError::File {
            file: self.file.clone(),
            problem: FileError::Unreadable(error.to_string()),
        })
    }

    /// The settings with `text` for the file's.
    pub fn load(&self, text: &str) -> Result<Config, ConfigError> {
        load_again(&self.file, text, &self.args, &self.variables)
    }
}

/// The environment is nobody's business but the process's.
impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.file.fmt(f)
    }
}
