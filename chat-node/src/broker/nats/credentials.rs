//! The key of an nkey user: a file with its seed <-> the key. Whatever is shown of it is public.

use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nkeys::{KeyPair, KeyPairType};

/// A user's seed and public key.
#[derive(Clone)]
pub struct Credentials {
    seed: String,
    public_key: String,
}

/// What is wrong with a file of credentials. None of these shows any of the file's text.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    #[error("cannot be read: {0}")]
    Unreadable(io::Error),
    #[error("has no line with the nkey seed of a user (SU…)")]
    Empty,
    #[error("has more than one line that is no comment (#), and one nkey seed is expected")]
    ManyLines,
    #[error("has a JWT of a user; the nkey seed alone of a user is expected (SU…)")]
    Jwt,
    #[error("has a line that is no valid nkey seed (SU…)")]
    Invalid,
    #[error("has an nkey seed of type {}, and that of a user is expected (SU…)", format!("{_0:?}").to_lowercase())]
    NotOfUser(KeyPairType),
    #[error("could not be made")]
    NotMade,
}

impl Credentials {
    /// Makes a new user.
    pub fn generate() -> Result<Self, Problem> {
        Self::from_key(&KeyPair::new_user())
    }

    pub fn read(file: &Path) -> Result<Self, Problem> {
        Self::parse(&std::fs::read_to_string(file).map_err(Problem::Unreadable)?)
    }

    /// Reads the text of a file: one seed, blank lines, and comments.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        if text.contains("-----BEGIN NATS USER JWT") {
            return Err(Problem::Jwt);
        }
        let mut lines = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'));
        let seed = lines.next().ok_or(Problem::Empty)?;
        if lines.next().is_some() {
            return Err(Problem::ManyLines);
        }
        Self::from_key(&KeyPair::from_seed(seed).map_err(|_| Problem::Invalid)?)
    }

    fn from_key(key: &KeyPair) -> Result<Self, Problem> {
        match key.key_pair_type() {
            KeyPairType::User => Ok(Self {
                seed: key.seed().map_err(|_| Problem::NotMade)?,
                public_key: key.public_key(),
            }),
            other => Err(Problem::NotOfUser(other)),
        }
    }

    /// Writes the seed to a new file that only its owner can read. Errors: also if there is such a file.
    pub fn write_new(&self, file: &Path) -> io::Result<()> {
        let mut options = OpenOptions::new();
        let mut open = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(file)?;
        writeln!(open, "{}", self.seed)?;
        open.sync_all()
    }

    pub(super) fn seed(&self) -> &str {
        &self.seed
    }

    pub fn public_key(&self) -> &str {
        &self.public_key
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Credentials")
            .field(&self.public_key)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_is_written_is_read_and_only_by_its_owner() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("node.nk");
        let made = Credentials::generate().unwrap();
        assert!(made.seed().starts_with("SU") && made.public_key().starts_with('U'));
        made.write_new(&file).unwrap();
        let mode = file.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let read = Credentials::read(&file).unwrap();
        assert_eq!(
            (read.seed(), read.public_key()),
            (made.seed(), made.public_key())
        );
        let again = made.write_new(&file).unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
        assert_ne!(Credentials::generate().unwrap().seed(), made.seed());
    }

    #[test]
    fn comments_and_blank_lines_are_skipped() {
        let made = Credentials::generate().unwrap();
        let text = format!("# the node's\r\n\n  {}  \n\n# end", made.seed());
        let read = Credentials::parse(&text).unwrap();
        assert_eq!(read.public_key(), made.public_key());
    }

    #[test]
    fn the_seed_is_never_shown() {
        let made = Credentials::generate().unwrap();
        let shown = format!("{made:?}");
        assert!(shown.contains(made.public_key()) && !shown.contains(made.seed()));
        let broken = made.seed().replace("SU", "SX");
        let error = Credentials::parse(&broken).unwrap_err();
        assert!(!format!("{error} {error:?}").contains(&broken[2..]));
    }

    #[test]
    fn anything_but_the_seed_of_one_user_is_refused() {
        let user = Credentials::generate().unwrap();
        let account = KeyPair::new_account().seed().unwrap();
        let two = format!("{0}\n{0}", user.seed());
        let jwt = "-----BEGIN NATS USER JWT-----\neyJ\n------END NATS USER JWT------\n";
        let cut = &user.seed()[..57];
        for (text, problem) in [
            ("", "has no line with the nkey seed of a user (SU…)"),
            ("# SUAB\n", "has no line with the nkey seed of a user (SU…)"),
            (
                &two,
                "has more than one line that is no comment (#), and one nkey seed is expected",
            ),
            (
                user.public_key(),
                "has a line that is no valid nkey seed (SU…)",
            ),
            (cut, "has a line that is no valid nkey seed (SU…)"),
            (
                &account,
                "has an nkey seed of type account, and that of a user is expected (SU…)",
            ),
            (
                jwt,
                "has a JWT of a user; the nkey seed alone of a user is expected (SU…)",
            ),
        ] {
            assert_eq!(Credentials::parse(text).unwrap_err().to_string(), problem);
        }
    }
}
