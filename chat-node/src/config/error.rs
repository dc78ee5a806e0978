//! Why a node cannot start with its settings: one clear line each.

use std::fmt;
use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue};

use super::nearest::hint;

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Not a failure: the text of `--help` or `--version`.
    #[error("{0}")]
    Help(clap::Error),
    #[error("{0}")]
    Usage(String),
    #[error("{place}: {expected}, found '{found}'")]
    Value {
        place: Place,
        expected: String,
        found: String,
    },
    #[error("{variable} is not valid UTF-8")]
    NotText { variable: String },
    #[error("config file {}: {problem}", file.display())]
    File { file: PathBuf, problem: FileError },
    /// Settings that are each fine but not together.
    #[error("{0}")]
    Rule(String),
}

/// What is wrong in a file.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("cannot be read: {0}")]
    Unreadable(String),
    #[error("{0}")]
    Yaml(String),
    #[error("unknown key '{path}'{}", hint(nearest.as_deref()))]
    UnknownKey {
        path: String,
        nearest: Option<String>,
    },
    #[error("{path}: {problem}")]
    Value { path: String, problem: String },
}

impl FileError {
    pub(super) fn value(path: &str, problem: impl Into<String>) -> Self {
        Self::Value {
            path: path.to_owned(),
            problem: problem.into(),
        }
    }
}

/// Where a value was set.
#[derive(Debug, Clone)]
pub enum Place {
    Flag(String),
    Variable(String),
    File { file: PathBuf, path: String },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(long) => write!(f, "--{long}"),
            Self::Variable(name) => f.write_str(name),
            Self::File { file, path } => write!(f, "config file {}: {path}", file.display()),
        }
    }
}

impl ConfigError {
    /// Tells clap's error on one line; `place` knows where the value of a flag was set.
    pub(super) fn from_clap(error: clap::Error, place: impl FnOnce(&str) -> Place) -> Self {
        if !error.use_stderr() {
            return Self::Help(error);
        }
        let text = |kind| match error.get(kind) {
            Some(ContextValue::String(text)) => Some(text.as_str()),
            _ => None,
        };
        let argument = text(ContextKind::InvalidArg).and_then(long_of);
        let found = text(ContextKind::InvalidValue);
        let (Some(long), Some(found), Some(expected)) = (argument, found, expected(&error)) else {
            return Self::Usage(first_lines(&error));
        };
        match place(long) {
            // A flag without its value: clap says so better.
            Place::Flag(_) if found.is_empty() => Self::Usage(first_lines(&error)),
            place => Self::Value {
                place,
                expected,
                found: without_secret(found),
            },
        }
    }
}

/// A value as an error may show it: without what stands before the host of a URL.
fn without_secret(value: &str) -> String {
    match (value.split_once("://"), value.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://…@{host}"),
        _ => value.to_owned(),
    }
}

/// `--connections <COUNT>` -> `connections`.
fn long_of(argument: &str) -> Option<&str> {
    argument.strip_prefix("--")?.split([' ', '=', '[']).next()
}

fn expected(error: &clap::Error) -> Option<String> {
    let own = std::error::Error::source(error).map(ToString::to_string);
    own.or_else(|| match error.get(ContextKind::ValidValue)? {
        ContextValue::Strings(values) => Some(format!("expected one of {}", values.join(", "))),
        _ => None,
    })
}

/// What clap says before its advice on usage, and its tip.
fn first_lines(error: &clap::Error) -> String {
    let text = error.to_string();
    let paragraphs = text.split("\n\n").map(str::trim).take_while(|paragraph| {
        !paragraph.starts_with("Usage:") && !paragraph.starts_with("For more information")
    });
    let lines: Vec<_> = paragraphs
        .map(|paragraph| {
            let start = paragraph
                .trim_start_matches("error: ")
                .trim_start_matches("tip: ");
            start.split_whitespace().collect::<Vec<_>>().join(" ")
        })
        .collect();
    lines.join("; ")
}
