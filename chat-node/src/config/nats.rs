//! How a node reaches NATS, and what it is called there.
//!
//! Files are only named here: whoever connects reads them, at start.

use std::fmt;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use http::Uri;

use super::duration::{MILLISECOND, MINUTE, between};
use super::value::{MAX_COUNT, whole};

/// The port of a server whose URL names none.
const DEFAULT_PORT: u16 = 4222;

/// Where publications are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum BrokerKind {
    Memory,
    Nats,
}

#[derive(Debug, Clone, clap::Args)]
pub struct Nats {
    /// Where publications are kept: memory (in this process) or nats [default: nats if nats.url is given, else memory]
    #[arg(
        long,
        id = "broker",
        value_name = "BROKER",
        hide_possible_values = true
    )]
    broker: Option<BrokerKind>,
    #[command(flatten)]
    pub servers: Servers,
    /// File with the nkey seed of the moderator (SU…), with which history_remove erases and nothing else is done
    #[arg(
        long = "nats-moderator-credentials",
        id = "nats.moderatorCredentials",
        value_name = "FILE"
    )]
    pub moderator_credentials: Option<PathBuf>,
    /// After how long a publish without an answer is told to its client as a temporary error, 100ms to 1m; SDKs give up at 5s
    #[arg(long = "nats-publish-timeout", id = "nats.publishTimeout", value_name = "DURATION", default_value = "4s", value_parser = between(100 * MILLISECOND..=MINUTE))]
    pub publish_timeout: Duration,
    /// Newest publications of a shard that the node holds, for joins and recoveries
    #[arg(long = "nats-shard-log-messages", id = "nats.shardLogMessages", value_name = "COUNT", default_value = "20000", value_parser = whole::<usize>(1..=MAX_COUNT))]
    pub shard_log_messages: usize,
    /// Size of what the node holds of a shard; at least limits.messageBytes
    #[arg(long = "nats-shard-log-bytes", id = "nats.shardLogBytes", value_name = "BYTES", default_value = "16777216", value_parser = whole::<usize>(1..=1 << 40))]
    pub shard_log_bytes: usize,
    /// Streams over which rooms are spread, 1 to 64: as many as `chat-node nats init` made, for good
    #[arg(long = "shards", id = "history.shards", value_name = "COUNT", default_value = "8", value_parser = whole::<u16>(1..=64))]
    pub shards: u16,
    /// This node's name among the others: 1 to 128 letters, digits, `-` and `_`, not `all` [default: the host's name and a random suffix]
    #[arg(long, id = "nodeName", value_name = "NAME", default_value = default_node_name(), hide_default_value = true, value_parser = node_name)]
    pub node_name: String,
}

/// The servers and how to be let in: the same for a node and for whoever sets the streams up.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Servers {
    /// NATS servers, comma separated: nats://host:4222, or tls://host:4222 for TLS
    #[arg(long = "nats-url", id = "nats.url", value_name = "URLS", value_delimiter = ',', value_parser = server_url)]
    pub urls: Vec<ServerUrl>,
    /// File with the nkey seed of a user (SU…); blank lines and lines that begin with # are skipped
    #[arg(
        long = "nats-credentials",
        id = "nats.credentials",
        value_name = "FILE"
    )]
    pub credentials: Option<PathBuf>,
    /// File with PEM certificates of the authorities that signed the servers' ones; implies TLS
    #[arg(long = "nats-ca", id = "nats.ca", value_name = "FILE")]
    pub ca: Option<PathBuf>,
}

impl Nats {
    /// The broker that was asked for, or the one that the servers imply.
    pub fn broker(&self) -> BrokerKind {
        let implied = match self.servers.urls.is_empty() {
            true => BrokerKind::Memory,
            false => BrokerKind::Nats,
        };
        self.broker.unwrap_or(implied)
    }
}

/// A server, without anything secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerUrl {
    pub tls: bool,
    /// A name or an address, IPv6 in brackets.
    pub host: String,
    pub port: u16,
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tls, host, port } = self;
        let scheme = if *tls { "tls" } else { "nats" };
        write!(f, "{scheme}://{host}:{port}")
    }
}

fn server_url(text: &str) -> Result<ServerUrl, String> {
    let expected =
        || "expected a URL such as nats://nats:4222 or tls://nats.example.com".to_owned();
    let uri: Uri = text.trim().parse().map_err(|_| expected())?;
    let authority = uri.authority().ok_or_else(expected)?;
    if authority.as_str().contains('@') {
        return Err(
            "expected a URL without a user; nats.credentials is the place of its key".to_owned(),
        );
    }
    let tls = match uri.scheme_str() {
        Some("nats") => false,
        Some("tls") => true,
        _ => return Err(expected()),
    };
    let host = authority.host();
    let port = match authority.as_str().strip_prefix(host) {
        Some("") => Some(DEFAULT_PORT),
        _ => authority.port_u16().filter(|port| *port != 0),
    };
    let has_path = uri.path_and_query().is_some_and(|path| path != "/");
    match port {
        Some(port) if !host.is_empty() && !has_path => Ok(ServerUrl {
            tls,
            host: host.to_owned(),
            port,
        }),
        _ => Err(expected()),
    }
}

/// Checks a name that becomes a token of NATS subjects.
fn node_name(text: &str) -> Result<String, String> {
    match is_node_name(text) {
        true => Ok(text.to_owned()),
        false => Err("expected 1 to 128 letters, digits, - and _, and not `all`".to_owned()),
    }
}

/// Whether a node may be called so. `all` stands for every node.
pub(crate) fn is_node_name(text: &str) -> bool {
    (1..=128).contains(&text.len()) && text.bytes().all(is_name_byte) && text != "all"
}

pub(super) fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_".contains(&byte)
}

/// One name for the life of the process, another one after a restart.
fn default_node_name() -> &'static str {
    static NAME: OnceLock<String> = OnceLock::new();
    NAME.get_or_init(|| {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let host: String = host
            .trim()
            .bytes()
            .take(64)
            .map(|byte| {
                if is_name_byte(byte) {
                    byte as char
                } else {
                    '-'
                }
            })
            .collect();
        let suffix: String = std::iter::repeat_with(fastrand::alphanumeric)
            .take(6)
            .collect();
        let host = if host.is_empty() { "node" } else { &host };
        format!("{host}-{}", suffix.to_ascii_lowercase())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_urls_with_a_scheme_and_perhaps_a_port() {
        for (text, shown) in [
            ("nats://nats", "nats://nats:4222"),
            (" nats://nats:4223/ ", "nats://nats:4223"),
            ("tls://nats.example.com", "tls://nats.example.com:4222"),
            ("nats://[::1]:4222", "nats://[::1]:4222"),
            ("nats://[::1]", "nats://[::1]:4222"),
        ] {
            let url = server_url(text).map(|url| url.to_string());
            assert_eq!(url.as_deref(), Ok(shown), "{text}");
        }
        for text in [
            "",
            "nats",
            "nats:4222",
            "nats://",
            "nats://:4222",
            "nats://n:0",
            "nats://n:70000",
            "nats://n:x",
            "nats://n:",
            "http://n:4222",
            "ws://n:4222",
            "nats://n/x",
            "nats://n?x",
            "nats://n m",
        ] {
            let error = server_url(text).unwrap_err();
            assert!(
                error.starts_with("expected a URL such as"),
                "{text}: {error}"
            );
        }
    }

    #[test]
    fn a_url_must_not_hold_a_secret() {
        for text in ["nats://user:secret@nats:4222", "tls://token@nats"] {
            let error = server_url(text).unwrap_err();
            assert!(error.contains("nats.credentials") && !error.contains("secret"));
        }
    }

    #[test]
    fn node_names_are_tokens_of_subjects() {
        let longest = "n".repeat(128);
        for text in [
            "lobby-nodes-7f9c-x2x4z",
            "A_1",
            &longest,
            default_node_name(),
        ] {
            assert_eq!(node_name(text).as_deref(), Ok(text));
        }
        let too_long = "n".repeat(129);
        for text in ["", "a.b", "*", ">", "a b", "nöde", "all", &too_long] {
            assert!(node_name(text).is_err(), "{text}");
        }
    }
}
