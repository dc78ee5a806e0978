//! How a process is let into the account of its ChatService: servers, key, certificates.
//!
//! The files that the settings name are read once, here; what is in the credentials goes nowhere but into signatures.

use std::error::Error as _;
use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use async_nats::rustls::pki_types::CertificateDer;
use async_nats::rustls::pki_types::pem::PemObject;
use async_nats::rustls::{self, RootCertStore};
use async_nats::{Auth, AuthError, ConnectError, ConnectErrorKind, ConnectOptions, ServerAddr};
use nkeys::KeyPair;

use super::credentials::{self, Credentials};
use crate::config::Servers;

/// For one answer, if whoever asks does not set a time of their own.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);
/// For a connection until the server has let it in: a frozen server still accepts.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(3);
/// A server that has not answered three of these is given up.
const PING_INTERVAL: Duration = Duration::from_secs(5);

/// Whom a connection speaks for; each has rights, and a space for answers, of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Sets streams up.
    Operator,
    /// Publishes and reads.
    Node,
    /// Erases.
    Moderator,
}

impl Role {
    pub const ALL: [Self; 3] = [Self::Operator, Self::Node, Self::Moderator];

    pub fn name(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Node => "node",
            Self::Moderator => "moderator",
        }
    }

    /// The setting that names its credentials, for a person.
    fn setting(self) -> &'static str {
        match self {
            Self::Operator | Self::Node => "nats.credentials (--nats-credentials)",
            Self::Moderator => "nats.moderatorCredentials (--nats-moderator-credentials)",
        }
    }

    /// Where answers to this role's requests arrive.
    pub fn inbox_prefix(self) -> String {
        format!("_INBOX_{}", self.name())
    }
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{setting}: {} {problem}", file.display())]
    Credentials {
        setting: &'static str,
        file: PathBuf,
        problem: credentials::Problem,
    },
    #[error("nats.ca (--nats-ca): {} {problem}", file.display())]
    Certificates { file: PathBuf, problem: String },
    #[error("nats.url (--nats-url): {url} is no address of a server")]
    Url { url: String, source: io::Error },
}

/// Why a connection did not come about, and what to change.
#[derive(Debug, thiserror::Error)]
pub enum Obstacle {
    #[error("the NATS servers let nobody in without nats.credentials (--nats-credentials)")]
    NoCredentials,
    #[error(
        "the NATS servers do not know the user {public_key}: have they read the accounts.conf that was made with its key?"
    )]
    NotLetIn { public_key: String },
    #[error(
        "TLS with the NATS servers failed: {0}; nats.ca (--nats-ca) must be the authority of their certificates, and they must have some"
    )]
    Tls(String),
    #[error("no NATS server could be reached: {0}")]
    Unreachable(String),
}

impl Obstacle {
    /// Whether the same servers will say the same again until somebody changes something.
    pub fn is_lasting(&self) -> bool {
        !matches!(self, Self::Unreachable(_))
    }
}

/// What it takes to connect.
#[derive(Clone, Debug)]
pub struct Account {
    role: Role,
    urls: Vec<ServerAddr>,
    credentials: Option<Credentials>,
    ca: Option<PathBuf>,
}

impl Account {
    /// Reads the files that `servers` names, and checks them.
    pub fn new(servers: &Servers, role: Role) -> Result<Self, Error> {
        let Servers {
            urls,
            credentials,
            ca,
        } = servers;
        let address = |url: String| match url.parse() {
            Ok(address) => Ok(address),
            Err(source) => Err(Error::Url { url, source }),
        };
        if let Some(file) = ca {
            check_certificates(file).map_err(|problem| Error::Certificates {
                file: file.clone(),
                problem,
            })?;
        }
        let read = |file: &PathBuf| {
            Credentials::read(file).map_err(|problem| Error::Credentials {
                setting: role.setting(),
                file: file.clone(),
                problem,
            })
        };
        Ok(Self {
            role,
            urls: urls
                .iter()
                .map(|url| address(url.to_string()))
                .collect::<Result<_, _>>()?,
            credentials: credentials.as_ref().map(read).transpose()?,
            ca: ca.clone(),
        })
    }

    /// The servers that were configured; a server may tell of others.
    pub fn urls(&self) -> &[ServerAddr] {
        &self.urls
    }

    /// The public key of the user, if there is one.
    pub fn public_key(&self) -> Option<&str> {
        self.credentials.as_ref().map(Credentials::public_key)
    }

    /// What a failure to connect means for this account.
    pub fn obstacle(&self, error: &ConnectError) -> Obstacle {
        use ConnectErrorKind::{Authentication, AuthorizationViolation, Tls};
        match (error.kind(), &self.credentials) {
            (AuthorizationViolation | Authentication, None) => Obstacle::NoCredentials,
            (AuthorizationViolation | Authentication, Some(credentials)) => Obstacle::NotLetIn {
                public_key: credentials.public_key().to_owned(),
            },
            (Tls, _) => Obstacle::Tls(error.to_string()),
            _ => match handshake_error(error) {
                Some(error) => Obstacle::Tls(error.to_string()),
                None => Obstacle::Unreachable(error.to_string()),
            },
        }
    }

    /// Options of a connection called `name`, which is tried until it succeeds, and again whenever it breaks.
    pub fn options(&self, name: &str) -> ConnectOptions {
        self.options_for_one_try(name).retry_on_initial_connect()
    }

    /// Options of a connection whose first try may fail.
    pub fn options_for_one_try(&self, name: &str) -> ConnectOptions {
        let options = self.common(ConnectOptions::new(), name);
        match &self.credentials {
            Some(credentials) => options.nkey(credentials.seed().to_owned()),
            None => options,
        }
    }

    /// Options of a connection that is not opened again after it breaks: the library would send what it has queued,
    /// long after whoever published it was told that it failed.
    pub fn options_for_one_life(&self, name: &str) -> ConnectOptions {
        let credentials = self.credentials.clone();
        let used = AtomicBool::new(false);
        let authenticate = move |nonce: Vec<u8>| {
            let auth = match used.swap(true, Relaxed) {
                true => Err(AuthError::new("a connection lives once")),
                false => sign(credentials.as_ref(), &nonce),
            };
            async move { auth }
        };
        let options = self.common(ConnectOptions::with_auth_callback(authenticate), name);
        options.max_reconnects(1).ignore_discovered_servers()
    }

    fn common(&self, options: ConnectOptions, name: &str) -> ConnectOptions {
        let options = options
            .name(name)
            .custom_inbox_prefix(self.role.inbox_prefix())
            .request_timeout(Some(REQUEST_TIMEOUT))
            .connection_timeout(CONNECTION_TIMEOUT)
            .ping_interval(PING_INTERVAL);
        match &self.ca {
            // Then these authorities alone count, not the system's.
            Some(ca) => options.add_root_certificates(ca.clone()).require_tls(true),
            None => options,
        }
    }
}

/// Answers the server's challenge, if there is a key to do it with.
fn sign(credentials: Option<&Credentials>, nonce: &[u8]) -> Result<Auth, AuthError> {
    let mut auth = Auth::new();
    if let Some(credentials) = credentials {
        let key = KeyPair::from_seed(credentials.seed()).map_err(AuthError::new)?;
        auth.signature = Some(key.sign(nonce).map_err(AuthError::new)?);
        auth.nkey = Some(key.public_key());
    }
    Ok(auth)
}

/// The library takes a handshake that failed for one more broken connection.
fn handshake_error(error: &ConnectError) -> Option<&rustls::Error> {
    let source = error.source()?.downcast_ref::<io::Error>()?;
    source.get_ref()?.downcast_ref()
}

/// Says what is wrong with a file of certificates: the library would find out at the first connection only.
fn check_certificates(file: &Path) -> Result<(), String> {
    let open = File::open(file).map_err(|error| format!("cannot be read: {error}"))?;
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_reader_iter(BufReader::new(open)) {
        let certificate = certificate.map_err(|error| format!("is no valid PEM: {error}"))?;
        store
            .add(certificate)
            .map_err(|error| format!("has a certificate that is none: {error}"))?;
    }
    match store.is_empty() {
        true => Err("has no certificate (-----BEGIN CERTIFICATE-----)".to_owned()),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// An authority made for this test, valid until 2126.
    const CERTIFICATE: &str = "\
-----BEGIN CERTIFICATE-----
MIIBijCCAS+gAwIBAgIUViO8P1N0ph2EKHMH5/7QE+0lKSswCgYIKoZIzj0EAwIw
GTEXMBUGA1UEAwwOdGVzdCBhdXRob3JpdHkwIBcNMjYxMTIxMTUwODU4WhgPMjEy
NjEwMjgxNTA4NThaMBkxFzAVBgNVBAMMDnRlc3QgYXV0aG9yaXR5MFkwEwYHKoZI
zj0CAQYIKoZIzj0DAQcDQgAEWhBMt6BABL5qZsQ7hEDQfAHFL4BWRMP223PgYOwt
yPE2wnVAWkehJsDzOTnMzEhRMcVSKZGv+N/lNqWgvW6KfaNTMFEwHQYDVR0OBBYE
FN6SxmpN38o2zf52ADtjEkvFIZtfMB8GA1UdIwQYMBaAFN6SxmpN38o2zf52ADtj
EkvFIZtfMA8GA1UdEwEB/wQFMAMBAf8wCgYIKoZIzj0EAwIDSQAwRgIhAKO8x/ar
YWIn4ynZcgS/2JTFY3MromSwE45fX+6OaxDfAiEAsdFHy6CE40S9iiJRl4mtHvv6
HDahbYHf6+mZnEqeCbo=
-----END CERTIFICATE-----
";

    fn file(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    fn with_ca(file: &Path) -> Result<Account, Error> {
        let servers = Servers {
            ca: Some(file.to_owned()),
            ..Servers::default()
        };
        Account::new(&servers, Role::Node)
    }

    #[test]
    fn roles_do_not_share_an_inbox() {
        let prefixes = Role::ALL.map(Role::inbox_prefix);
        assert_eq!(
            prefixes,
            ["_INBOX_operator", "_INBOX_node", "_INBOX_moderator"]
        );
    }

    #[test]
    fn authorities_are_certificates() {
        assert!(with_ca(file(CERTIFICATE).path()).is_ok());
        assert!(with_ca(file(&format!("# ours\n{CERTIFICATE}{CERTIFICATE}")).path()).is_ok());
    }

    #[test]
    fn a_file_without_certificates_is_named_with_what_is_wrong() {
        let broken = CERTIFICATE.replacen("MII", "!!!", 1);
        let cut = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
        for (text, problem) in [
            ("", "has no certificate (-----BEGIN CERTIFICATE-----)"),
            ("ca", "has no certificate (-----BEGIN CERTIFICATE-----)"),
            (&broken, "is no valid PEM: "),
            (cut, "has a certificate that is none: "),
        ] {
            let file = file(text);
            let error = with_ca(file.path()).unwrap_err().to_string();
            let start = format!("nats.ca (--nats-ca): {} {problem}", file.path().display());
            assert!(error.starts_with(&start), "{error}");
        }
        let error = with_ca(Path::new("/nowhere/ca.pem")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "nats.ca (--nats-ca): /nowhere/ca.pem cannot be read: No such file or directory (os error 2)"
        );
    }

    #[test]
    fn credentials_that_cannot_be_used_are_named_with_what_is_wrong() {
        let file = file("# nothing yet\n");
        let servers = Servers {
            credentials: Some(file.path().to_owned()),
            ..Servers::default()
        };
        let error = Account::new(&servers, Role::Node).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "nats.credentials (--nats-credentials): {} has no line with the nkey seed of a user (SU…)",
                file.path().display()
            )
        );
    }
}
