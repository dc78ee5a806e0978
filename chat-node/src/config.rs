//! Flags, environment and YAML file -> `Config`; flags win over environment over file over defaults.
//!
//! The structs below are the one table of settings. A field's `id` is its YAML path, its `long` the
//! flag, and `NATTER_` plus the flag in capitals its environment variable; add a setting here and in
//! docs/configuration.md, nowhere else (`long` before `id`, or the flag is named after the id).
//! Rules that bind two settings together are in `check`.

mod auth;
mod check;
mod duration;
mod environment;
mod error;
mod file;
mod live;
mod load;
mod nats;
mod nats_command;
mod nearest;
mod origins;
mod room_class;
mod source;
mod trusted_proxies;
mod value;

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use auth::{Auth, ConnectWebhook, Jwt};
pub use check::COMMAND_OVERHEAD_BYTES;
pub use error::{ConfigError, FileError, Place};
pub use live::{Live, Renewal};
pub use load::{Invocation, Probe};
pub(crate) use nats::is_node_name;
pub use nats::{BrokerKind, Nats, ServerUrl, Servers};
pub use nats_command::{Init, NatsCommand, Run, Streams, Users};
pub use origins::Origins;
pub use room_class::{PublishAccess, ReadAccess, RoomClass, RoomClasses, SubscribeAccess};
pub use source::Source;
pub use trusted_proxies::TrustedProxies;
pub use value::LogFormat;

use duration::{DAY, HOUR, MILLISECOND, MINUTE, SECOND, between};
use value::{MAX_COUNT, MAX_WORKERS, address, available_cores, log_filter, whole};

/// Where the server API is if nobody says otherwise: nobody but this machine reaches it.
const DEFAULT_API_LISTEN: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 8081));

/// Everything a node is told at start; each value is checked.
#[derive(Debug, Clone, clap::Args)]
pub struct Config {
    #[command(flatten, next_help_heading = "Listening")]
    pub listening: Listening,
    #[command(flatten, next_help_heading = "Access")]
    pub access: Access,
    #[command(flatten, next_help_heading = "Limits")]
    pub limits: Limits,
    #[command(flatten, next_help_heading = "History")]
    pub history: History,
    #[command(flatten, next_help_heading = "NATS")]
    pub nats: Nats,
    #[command(flatten, next_help_heading = "Shutdown")]
    pub shutdown: Shutdown,
    #[command(flatten, next_help_heading = "Logging")]
    pub logging: Logging,
    /// Who may do what in which rooms; YAML only.
    #[arg(skip)]
    pub room_classes: RoomClasses,
    /// What to tell the operator at start, one line each: nothing that stops the node.
    #[arg(skip)]
    pub warnings: Vec<String>,
    /// Every setting's value as it was given, by its path in the file: what changed is told by these names.
    #[arg(skip)]
    given: load::Given,
    /// Where all this came from, if a file is part of it.
    #[arg(skip)]
    pub source: Option<Source>,
}

#[derive(Debug, Clone, clap::Args)]
pub struct Listening {
    /// Address for clients; `:8080` means every address, port 0 any free port
    #[arg(long, id = "listen", value_name = "IP:PORT", default_value = "127.0.0.1:8080", value_parser = address)]
    pub listen: SocketAddr,
    /// Address for /metrics, /healthz and /readyz
    #[arg(long, id = "adminListen", value_name = "IP:PORT", default_value = "127.0.0.1:9090", value_parser = address)]
    pub admin_listen: SocketAddr,
    /// Address for the server API, which needs auth.apiKeyFile [default: 127.0.0.1:8081 if there is one, else off]
    #[arg(long, id = "apiListen", value_name = "IP:PORT", value_parser = address)]
    api_listen: Option<SocketAddr>,
    /// Threads that own connections, 1 to 1024 [default: available cores]
    #[arg(long, id = "workers", value_name = "COUNT", default_value_t = available_cores(), hide_default_value = true, value_parser = whole::<usize>(1..=MAX_WORKERS))]
    pub workers: usize,
}

#[derive(Debug, Clone, clap::Args)]
pub struct Access {
    /// Let clients in without a token; needed as soon as `listen` is not loopback and nobody could get in otherwise [default: true on loopback, if there is no other way in]
    #[arg(long, id = "auth.allowAnonymous", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    allow_anonymous: Option<bool>,
    #[command(flatten)]
    pub auth: Auth,
    /// File with keys of the server API, one a line, read again when it changes; blank lines and lines that begin with # are skipped
    #[arg(long = "api-key-file", id = "auth.apiKeyFile", value_name = "FILE")]
    pub api_key_file: Option<PathBuf>,
    #[command(flatten)]
    pub allowed_origins: Origins,
    #[command(flatten)]
    pub trusted_proxies: TrustedProxies,
}

#[derive(Debug, Clone, clap::Args)]
pub struct Limits {
    /// Sessions of this node: connections that sent their connect command
    #[arg(long, id = "limits.connections", value_name = "COUNT", default_value = "30000", value_parser = whole::<usize>(1..=MAX_COUNT))]
    pub connections: usize,
    /// Sessions of one user on this node; sessions without a user do not count
    #[arg(long, id = "limits.connectionsPerUser", value_name = "COUNT", default_value = "128", value_parser = whole::<usize>(1..=MAX_COUNT))]
    pub connections_per_user: usize,
    /// New connections of this node
    #[arg(long, id = "limits.connectsPerSecond", value_name = "PER_SECOND", default_value = "1000", value_parser = whole::<u32>(1..=MAX_COUNT))]
    pub connects_per_second: u32,
    /// Largest message, 1 to 524288; the command around it may have 16 KiB more
    #[arg(long, id = "limits.messageBytes", value_name = "BYTES", default_value = "65536", value_parser = whole::<usize>(1..=524_288))]
    pub message_bytes: usize,
    /// Rooms one session may have joined, 1 to 10000
    #[arg(long, id = "limits.roomsPerSession", value_name = "COUNT", default_value = "128", value_parser = whole::<usize>(1..=10_000))]
    pub rooms_per_session: usize,
    /// Messages one session may publish
    #[arg(long, id = "limits.publishesPerSecondPerSession", value_name = "PER_SECOND", default_value = "50", value_parser = whole::<u32>(1..=MAX_COUNT))]
    pub publishes_per_second_per_session: u32,
    /// Messages all sessions of this node together may publish to one room
    #[arg(long, id = "limits.publishesPerSecondPerRoom", value_name = "PER_SECOND", default_value = "500", value_parser = whole::<u32>(1..=MAX_COUNT))]
    pub publishes_per_second_per_room: u32,
    /// Times a second that one session may ask who is present
    #[arg(long, id = "limits.presencePerSecondPerSession", value_name = "PER_SECOND", default_value = "10", value_parser = whole::<u32>(1..=MAX_COUNT))]
    pub presence_per_second_per_session: u32,
    /// Largest frame from a client; at least messageBytes + 16384, at most 16777216
    #[arg(long, id = "limits.frameBytes", value_name = "BYTES", default_value = "1048576", value_parser = whole::<usize>(1..=16 << 20))]
    pub frame_bytes: usize,
    /// Longest room name in UTF-8, 1 to 255
    #[arg(long, id = "limits.roomNameBytes", value_name = "BYTES", default_value = "255", value_parser = whole::<usize>(1..=255))]
    pub room_name_bytes: usize,
    /// Time from accepting a connection to its connect command, at most 10m
    #[arg(long, id = "limits.handshakeTimeout", value_name = "DURATION", default_value = "10s", value_parser = between(MILLISECOND..=10 * MINUTE))]
    pub handshake_timeout: Duration,
    /// Time between two pings to a client, 1s to 1h
    #[arg(long, id = "limits.pingInterval", value_name = "DURATION", default_value = "25s", value_parser = between(SECOND..=HOUR))]
    pub ping_interval: Duration,
    /// How long a client may take to answer a ping; below pingInterval
    #[arg(long, id = "limits.pongTimeout", value_name = "DURATION", default_value = "8s", value_parser = between(MILLISECOND..=HOUR))]
    pub pong_timeout: Duration,
    /// What may wait to be sent to one member before it counts as a slow client
    #[arg(long, id = "limits.backlogBytes", value_name = "BYTES", default_value = "1048576", value_parser = whole::<usize>(1..=MAX_COUNT))]
    pub backlog_bytes: usize,
    /// How long something may wait to be sent to one member, at most 1h
    #[arg(long, id = "limits.backlogAge", value_name = "DURATION", default_value = "20s", value_parser = between(MILLISECOND..=HOUR))]
    pub backlog_age: Duration,
    /// Largest head of an HTTP request, 8192 to 1048576
    #[arg(long, id = "limits.headerBytes", value_name = "BYTES", default_value = "16384", value_parser = whole::<usize>(8192..=1 << 20))]
    pub header_bytes: usize,
}

#[derive(Debug, Clone, clap::Args)]
pub struct History {
    /// How long publications are kept, 1s to 36525 days
    #[arg(
        long = "history-max-age",
        id = "history.maxAge",
        value_name = "DURATION",
        default_value = "720h",
        value_parser = between(SECOND..=36_525 * DAY)
    )]
    pub max_age: Duration,
    /// Publications the embedded broker keeps of one room
    #[arg(long = "history-max-messages", id = "history.maxMessages", value_name = "COUNT", default_value = "1000", value_parser = whole::<usize>(1..=MAX_COUNT))]
    pub max_messages: usize,
    /// Size of what the embedded broker keeps of one room
    #[arg(long = "history-max-bytes", id = "history.maxBytes", value_name = "BYTES", default_value = "4194304", value_parser = whole::<usize>(1..=1 << 40))]
    pub max_bytes: usize,
    /// Size of what the embedded broker keeps of all rooms; at least history.maxBytes
    #[arg(long = "history-max-total-bytes", id = "history.maxTotalBytes", value_name = "BYTES", default_value = "268435456", value_parser = whole::<usize>(1..=1 << 40))]
    pub max_total_bytes: usize,
}

#[derive(Debug, Clone, clap::Args)]
pub struct Shutdown {
    /// How long new connections are still accepted after SIGTERM, at most 10m [default: 5s, on a terminal 0s]
    #[arg(long, id = "drainAccept", value_name = "DURATION", value_parser = between(Duration::ZERO..=10 * MINUTE))]
    pub drain_accept: Option<Duration>,
    /// How long closing the sessions may take after that, at most 1h
    #[arg(long, id = "drainTimeout", value_name = "DURATION", default_value = "30s", value_parser = between(Duration::ZERO..=HOUR))]
    pub drain_timeout: Duration,
}

#[derive(Debug, Clone, clap::Args)]
pub struct Logging {
    /// One line of text or one JSON object per event
    #[arg(long, id = "logFormat", value_name = "FORMAT", default_value = "text")]
    pub log_format: LogFormat,
    /// A level (error, warn, info, debug, trace, off) or directives such as info,chat_node=debug
    #[arg(long, id = "logLevel", value_name = "FILTER", default_value = "info", value_parser = log_filter)]
    pub log_level: String,
}

impl Config {
    /// Reads `args` (the program's name first), the process's environment and the file they name.
    ///
    /// `--help` and `--version` print and exit with code 0.
    /// Errors: one line each; the process should print it and exit with code 2.
    pub fn load(args: impl IntoIterator<Item = OsString>) -> Result<Invocation, ConfigError> {
        match Self::load_from(args, std::env::vars_os()) {
            Err(ConfigError::Help(help)) => help.exit(),
            result => result,
        }
    }

    /// Like `load` with the environment given; `--help` and `--version` return `ConfigError::Help`.
    pub fn load_from(
        args: impl IntoIterator<Item = OsString>,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Invocation, ConfigError> {
        load::load(args.into_iter().collect(), environment)
    }

    /// Where the server API is and which file its keys are in, unless it is off.
    pub fn api(&self) -> Option<(SocketAddr, &Path)> {
        let file = self.access.api_key_file.as_deref()?;
        let address = self.listening.api_listen.unwrap_or(DEFAULT_API_LISTEN);
        Some((address, file))
    }

    /// Whether clients without a token are let in.
    pub fn allows_anonymous(&self) -> bool {
        self.access
            .allow_anonymous
            .unwrap_or_else(|| self.listening.is_loopback() && !self.access.auth.can_tell_users())
    }
}

impl Default for Config {
    fn default() -> Self {
        load::defaults()
    }
}

impl Listening {
    /// Whether only this machine can reach the clients' port.
    fn is_loopback(&self) -> bool {
        self.listen.ip().to_canonical().is_loopback()
    }
}

#[cfg(test)]
mod tests;
