//! What `chat-node nats …` is told: the servers and shards of the nodes, and settings of its own.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Arg, Args as _, Command};

use super::duration::{DAY, HOUR, MINUTE, SECOND, between};
use super::nats::{Servers, is_name_byte};
use super::value::{size, whole};

#[derive(Debug, Clone, clap::Subcommand)]
pub enum NatsCommand {
    /// Create, check and repair the streams: exit code 0 if they are as they should be, 1 if they cannot be
    Init(Box<Init>),
    /// Make the keys of an operator, the nodes and a moderator, and the part of the servers' configuration that knows them
    Users(Users),
}

#[derive(Debug, Clone, clap::Args)]
pub struct Init {
    #[command(flatten)]
    pub servers: Servers,
    #[command(flatten)]
    pub streams: Streams,
    #[command(flatten)]
    pub run: Run,
}

/// The streams' settings. Nodes read the first three too, so they must be the same.
#[derive(Debug, Clone, clap::Args)]
pub struct Streams {
    /// Streams over which rooms are spread, 1 to 64; cannot change later
    #[arg(long = "shards", id = "history.shards", value_name = "COUNT", default_value = "8", value_parser = whole::<u16>(1..=64))]
    pub shards: u16,
    /// How long publications are kept, 5m to 36525 days
    #[arg(long = "history-max-age", id = "history.maxAge", value_name = "DURATION", default_value = "720h", value_parser = between(5 * MINUTE..=36_525 * DAY))]
    pub max_age: Duration,
    /// Largest message of the nodes, 1 to 524288
    #[arg(long = "message-bytes", id = "limits.messageBytes", value_name = "BYTES", default_value = "65536", value_parser = whole::<usize>(1..=524_288))]
    pub message_bytes: usize,
    /// Size of each stream, such as 512Mi; then its oldest publications go, of whatever room
    #[arg(long, id = "history.maxBytesPerShard", value_name = "SIZE", default_value = "512Mi", value_parser = size(1 << 20..=1 << 44))]
    pub max_bytes_per_shard: u64,
    /// Servers that hold each stream: 3 or 5, or 1 where losing everything is no harm
    #[arg(long = "replicas", id = "nats.replicas", value_name = "COUNT", default_value = "3", value_parser = replicas)]
    pub replicas: u32,
    /// Tags that servers must have to hold the streams, comma separated
    #[arg(
        long,
        id = "nats.placementTags",
        value_name = "TAGS",
        value_delimiter = ','
    )]
    pub placement_tags: Vec<String>,
}

/// How one run goes; these stand in no file.
#[derive(Debug, Clone, clap::Args)]
pub struct Run {
    /// Say what would be done, and do nothing
    #[arg(long, id = "dryRun", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", hide_default_value = true, hide_possible_values = true)]
    pub dry_run: bool,
    /// Begin a new epoch in every stream: after a backup or a volume was restored
    #[arg(long, id = "renewEpochs", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", hide_default_value = true, hide_possible_values = true)]
    pub renew_epochs: bool,
    /// Let a smaller size or age delete publications that are stored
    #[arg(long, id = "shrinkHistory", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", hide_default_value = true, hide_possible_values = true)]
    pub shrink_history: bool,
    /// Create a stream that is missing though others have been used: what it held is lost
    #[arg(long, id = "recreateMissing", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", hide_default_value = true, hide_possible_values = true)]
    pub recreate_missing: bool,
    /// How long to try, 1s to 1h
    #[arg(long, id = "timeout", value_name = "DURATION", default_value = "2m", value_parser = between(SECOND..=HOUR))]
    pub timeout: Duration,
}

#[derive(Debug, Clone, clap::Args)]
pub struct Users {
    /// Streams that the users may use, 1 to 64; as many as `nats init` is told
    #[arg(long = "shards", id = "history.shards", value_name = "COUNT", default_value = "8", value_parser = whole::<u16>(1..=64))]
    pub shards: u16,
    /// Where operator.nk, node.nk, moderator.nk and accounts.conf are written
    #[arg(long, id = "directory", value_name = "DIR", default_value = ".")]
    pub directory: PathBuf,
    /// Name of the account: letters, digits, `-` and `_`
    #[arg(long, id = "account", value_name = "NAME", default_value = "natter", value_parser = account_name)]
    pub account: String,
    /// Keep the keys that are there and write accounts.conf anew
    #[arg(long, id = "update", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", hide_default_value = true, hide_possible_values = true)]
    pub update: bool,
}

/// The streams' settings, as they may stand in a file.
pub(super) fn settings() -> Vec<Arg> {
    arguments(Streams::augment_args(Command::new("streams")))
}

/// Every flag of these commands.
pub(super) fn flags() -> Vec<Arg> {
    let init = arguments(Init::augment_args(Command::new("init")));
    let users = arguments(Users::augment_args(Command::new("users")));
    [init, users].concat()
}

fn arguments(command: Command) -> Vec<Arg> {
    command.get_arguments().cloned().collect()
}

fn replicas(text: &str) -> Result<u32, String> {
    let expected = "expected 1, 3 or 5: an even number survives no more than the odd one below it";
    match text.parse() {
        Ok(replicas @ (1 | 3 | 5)) => Ok(replicas),
        _ => Err(expected.to_owned()),
    }
}

fn account_name(text: &str) -> Result<String, String> {
    match (1..=64).contains(&text.len()) && text.bytes().all(is_name_byte) {
        true => Ok(text.to_owned()),
        false => Err("expected 1 to 64 letters, digits, - and _".to_owned()),
    }
}
