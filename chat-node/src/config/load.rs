//! Command line, environment and file -> `Invocation`.
//!
//! The sources are layered inside clap: a value from the file, or over it from the environment,
//! becomes the default of its flag. So one parser checks a value wherever it comes from, and a flag
//! wins by being given.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::parser::ValueSource;
use clap::{
    Arg, ArgMatches, Args as _, Command, CommandFactory as _, FromArgMatches as _, Parser as _,
};
use http::Uri;

use super::duration::{HOUR, MILLISECOND, between};
use super::environment::{Environment, variable};
use super::file::{self, Known};
use super::nats_command::{self, Init, NatsCommand};
use super::{Config, ConfigError, Place, RoomClasses, Source, check};

/// What the process was asked to do.
#[derive(Debug)]
pub enum Invocation {
    Serve(Box<Config>),
    Probe(Probe),
    Nats(NatsCommand),
}

/// A health check: ask `url`, or chat there in `room`; wait at most `timeout`.
#[derive(Debug, PartialEq, Eq)]
pub struct Probe {
    pub url: Uri,
    pub room: String,
    pub timeout: Duration,
}

/// Chat node: sockets, sessions, rooms and an embedded broker
#[derive(clap::Parser)]
#[command(name = "chat-node", version, disable_help_subcommand = true)]
struct Cli {
    /// YAML file with settings
    #[arg(long = "config", value_name = "FILE", global = true)]
    file: Option<PathBuf>,
    #[command(flatten)]
    config: Config,
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(clap::Subcommand)]
enum Action {
    /// Ask a running node whether it is ready, or chat with it: exit code 0 if so, for images without a shell
    Probe {
        /// What to ask, or with ws:// where to publish and read a message [default: /readyz on the admin address]
        #[arg(long, value_name = "URL", value_parser = probe_url)]
        url: Option<Uri>,
        /// The room for the message
        #[arg(long, value_name = "ROOM", default_value = "natter-probe")]
        room: String,
        /// How long to wait for the answer
        #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = between(MILLISECOND..=HOUR))]
        timeout: Duration,
    },
    /// Prepare NATS for the nodes: users, streams
    #[command(subcommand)]
    Nats(NatsCommand),
}

/// Values by setting (YAML path), each with the place it comes from.
type Layers = BTreeMap<String, (Place, Vec<String>)>;

/// The values that count by setting (YAML path), as text.
pub(super) type Given = BTreeMap<String, Vec<OsString>>;

pub(super) fn load(
    args: Vec<OsString>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Invocation, ConfigError> {
    let variables = environment.into_iter().collect::<Vec<_>>();
    let environment = Environment::new(variables.clone());

    // The flags alone first: they name the file, and help must not depend on it.
    let (flags, _) = parse(Cli::command(), &args, &Layers::new())?;
    if let Some(Action::Probe {
        url: Some(url),
        room,
        timeout,
    }) = flags.action
    {
        return Ok(Invocation::Probe(Probe { url, room, timeout }));
    }
    let from_environment = || environment.get(&variable("config"));
    let file = match flags.file {
        Some(file) => Some(file),
        None => from_environment()?.map(PathBuf::from),
    };

    let opened = file.map(|file| Source::open(file, args.clone(), variables));
    let opened = opened.transpose()?;
    let (mut layers, room_classes) = match &opened {
        Some((source, text)) => read_file(source.file(), text)?,
        None => Default::default(),
    };
    layers.append(&mut read_environment(&environment)?);
    let (Cli { config, action, .. }, given) = parse(Cli::command(), &args, &layers)?;

    match action {
        Some(Action::Probe { url, room, timeout }) => {
            let url = url.unwrap_or_else(|| readiness_url(config.listening.admin_listen));
            return Ok(Invocation::Probe(Probe { url, room, timeout }));
        }
        Some(Action::Nats(command)) => {
            if let NatsCommand::Init(init) = &command {
                check_init(init)?;
            }
            return Ok(Invocation::Nats(command));
        }
        None => {}
    }
    let known: Vec<_> = every_flag()
        .iter()
        .filter_map(Arg::get_long)
        .chain(["config"])
        .map(variable)
        .collect();
    let config = Config {
        warnings: environment.warnings(&known),
        room_classes,
        given,
        source: opened.map(|(source, _)| source),
        ..config
    };
    check::check(&config)?;
    Ok(Invocation::Serve(Box::new(config)))
}

pub(super) fn defaults() -> Config {
    let cli = Cli::try_parse_from(["chat-node"]);
    cli.expect("every default is a valid value").config
}

/// The table of settings: one argument each, its id the YAML path.
pub(super) fn settings() -> Vec<Arg> {
    let command = Config::augment_args(Command::new("settings"));
    command.get_arguments().cloned().collect()
}

/// The table of settings, and the flags of `chat-node nats …`, some of which are the same.
fn every_flag() -> Vec<Arg> {
    [settings(), nats_command::flags()].concat()
}

/// Every setting that a file may have: nodes and whoever sets the streams up share one.
fn settings_of_file() -> Vec<Arg> {
    [settings(), nats_command::settings()].concat()
}

/// Reads the settings once more, with another text of the file. Flags and environment are those of the start.
pub(super) fn load_again(
    file: &Path,
    text: &str,
    args: &[OsString],
    variables: &[(OsString, OsString)],
) -> Result<Config, ConfigError> {
    let (mut layers, room_classes) = read_file(file, text)?;
    layers.append(&mut read_environment(&Environment::new(
        variables.iter().cloned(),
    ))?);
    let (Cli { config, .. }, given) = parse(Cli::command(), args, &layers)?;
    let config = Config {
        room_classes,
        given,
        ..config
    };
    check::check(&config)?;
    Ok(config)
}

fn parse(
    command: Command,
    args: &[OsString],
    layers: &Layers,
) -> Result<(Cli, Given), ConfigError> {
    let place = |long: &str| {
        let in_layers = |setting: Arg| Some(layers.get(setting.get_id().as_str())?.0.clone());
        let setting = every_flag()
            .into_iter()
            .find(|setting| setting.get_long() == Some(long));
        setting
            .and_then(in_layers)
            .unwrap_or_else(|| Place::Flag(long.to_owned()))
    };
    let nats = |nats: Command| {
        nats.mut_subcommand("init", |init| layered(init, layers))
            .mut_subcommand("users", |users| layered(users, layers))
    };
    let command = layered(command, layers).mut_subcommand("nats", nats);
    let matches = command
        .try_get_matches_from(args)
        .map_err(|error| ConfigError::from_clap(error, place))?;
    check_order(&matches)?;
    let cli = Cli::from_arg_matches(&matches);
    let cli = cli.map_err(|error| ConfigError::from_clap(error, place))?;
    Ok((cli, given(&matches)))
}

/// The node's settings as they were given, or their defaults.
fn given(matches: &ArgMatches) -> Given {
    let settings = settings().into_iter().map(|setting| {
        let values = matches.get_raw(setting.get_id().as_str());
        let values = values.into_iter().flatten().map(ToOwned::to_owned);
        (setting.get_id().to_string(), values.collect())
    });
    settings.collect()
}

/// Makes the values of `layers` the defaults of a command's arguments, and names their variables.
fn layered(command: Command, layers: &Layers) -> Command {
    command.mut_args(|argument| {
        let layer = layers.get(argument.get_id().as_str());
        let argument = name_variable(argument);
        match layer {
            Some((_, values)) => argument.default_values(values),
            None => argument,
        }
    })
}

/// Refuses flags of the node before `nats`, where they would be taken and have no effect.
fn check_order(matches: &ArgMatches) -> Result<(), ConfigError> {
    let is_nats = matches.subcommand_name() == Some("nats");
    let given = |setting: &Arg| {
        matches.value_source(setting.get_id().as_str()) == Some(ValueSource::CommandLine)
    };
    match settings().iter().find(|setting| is_nats && given(setting)) {
        None => Ok(()),
        Some(setting) => Err(ConfigError::Usage(format!(
            "--{} is given to the node; what is meant for a command of `nats` stands behind it",
            setting.get_long().unwrap_or_default()
        ))),
    }
}

fn check_init(init: &Init) -> Result<(), ConfigError> {
    match init.servers.urls.is_empty() {
        false => Ok(()),
        true => Err(ConfigError::Rule(
            "nats.url (--nats-url) names no server".to_owned(),
        )),
    }
}

/// Adds the environment variable to an argument's help, as clap would if it read it.
fn name_variable(argument: Arg) -> Arg {
    match (argument.get_long().map(variable), argument.get_help()) {
        (Some(variable), Some(help)) => {
            let help = format!("{help} [env: {variable}]");
            argument.help(help)
        }
        _ => argument,
    }
}

fn read_file(file: &Path, text: &str) -> Result<(Layers, RoomClasses), ConfigError> {
    let known: Vec<_> = settings_of_file()
        .iter()
        .map(|setting| Known {
            path: setting.get_id().to_string(),
            is_list: is_list(setting),
        })
        .collect();
    let (values, room_classes) = file::read(text, &known).map_err(|problem| ConfigError::File {
        file: file.to_owned(),
        problem,
    })?;
    let layers = values.into_iter().map(|(path, values)| {
        let place = Place::File {
            file: file.to_owned(),
            path: path.clone(),
        };
        (path, (place, values))
    });
    Ok((layers.collect(), room_classes))
}

fn read_environment(environment: &Environment) -> Result<Layers, ConfigError> {
    let mut layers = Layers::new();
    for setting in every_flag() {
        let Some(name) = setting.get_long().map(variable) else {
            continue;
        };
        if let Some(value) = environment.get(&name)? {
            let path = setting.get_id().to_string();
            layers.insert(path, (Place::Variable(name), vec![value]));
        }
    }
    Ok(layers)
}

fn is_list(setting: &Arg) -> bool {
    matches!(setting.get_action(), clap::ArgAction::Append)
}

/// A node that listens on every address is asked on loopback.
fn readiness_url(mut admin: SocketAddr) -> Uri {
    if admin.ip().is_unspecified() {
        admin.set_ip(match admin.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    let url = format!("http://{admin}/readyz");
    url.parse().expect("an address and a path make a URL")
}

fn probe_url(text: &str) -> Result<Uri, String> {
    let url: Option<Uri> = text.parse().ok();
    url.filter(|url| {
        matches!(url.scheme_str(), Some("http" | "ws"))
            && url.host().is_some_and(|host| !host.is_empty())
    })
    .ok_or_else(|| {
        "expected a URL such as http://127.0.0.1:9090/readyz or ws://lobby/connection/websocket"
            .to_owned()
    })
}
