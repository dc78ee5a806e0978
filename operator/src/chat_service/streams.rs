//! The streams in NATS, by the same code as `chat-node nats init`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Write as _;

use chat_node::broker::nats::account::Role;
use chat_node::broker::nats::init;
use chat_node::config::{Config, Invocation, NatsCommand};
use k8s_openapi::api::core::v1::Secret;
use natter_crds::{SecretKey, SecretName};
use tracing::{info, warn};

use super::build::chat_node::config_map;
use super::build::nats::credentials::seed_name;
use super::validate::{NatsServers, ValidatedService};

/// How long one try takes; the next reconcile tries again.
const TIMEOUT: &str = "15s";

/// What a run depends on; while it is the same, streams need not be looked at again.
pub fn hash(service: &ValidatedService) -> String {
    let keys = match &service.nats {
        NatsServers::Managed(managed) => managed.keys.public_key(Role::Operator),
        NatsServers::External(_) => String::new(),
    };
    let text = config_map::text(service);
    blake3::hash(format!("{keys}{text}").as_bytes()).to_hex()[..16].to_owned()
}

/// Creates, checks and repairs the streams. Errors: text for the user.
pub async fn set_up(
    service: &ValidatedService,
    secrets: &BTreeMap<String, Secret>,
) -> Result<(), String> {
    // The run reads them too.
    let files =
        Files::write(service, secrets).map_err(|error| format!("temporary files: {error}"))?;
    let read = Config::load_from(files.arguments.clone(), []).map_err(|error| error.to_string())?;
    let Invocation::Nats(NatsCommand::Init(init)) = read else {
        return Err("the arguments are not those of nats init".to_owned());
    };
    init::run(&init, log).await.map_err(|error| text_of(&error))
}

/// Within the reconcile's span, so the lines have the ChatService's name.
fn log(line: init::Line) {
    match line {
        init::Line::Result(text) | init::Line::Progress(text) => info!("{text}"),
        init::Line::Warning(text) => warn!("{text}"),
    }
}

fn text_of(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let causes: Vec<_> = causes.map(ToString::to_string).collect();
    causes.join(": ")
}

/// Files that are gone when this is dropped; only this process's user can read them.
struct Files {
    _directory: tempfile::TempDir,
    arguments: Vec<OsString>,
}

impl Files {
    fn write(
        service: &ValidatedService,
        secrets: &BTreeMap<String, Secret>,
    ) -> std::io::Result<Self> {
        let directory = tempfile::tempdir()?;
        let write = |name: &str, bytes: &[u8]| -> std::io::Result<OsString> {
            let path = directory.path().join(name);
            std::fs::File::create_new(&path)?.write_all(bytes)?;
            Ok(path.into_os_string())
        };
        let mut arguments: Vec<OsString> = ["chat-node", "nats", "init", "--timeout", TIMEOUT]
            .map(OsString::from)
            .into();
        let mut add = |flag: &str, file: OsString| arguments.extend([OsString::from(flag), file]);
        add(
            "--config",
            write("natter.yaml", config_map::text(service).as_bytes())?,
        );
        match &service.nats {
            NatsServers::Managed(managed) => {
                add(
                    "--nats-credentials",
                    write("operator.nk", managed.keys.seed(Role::Operator).as_bytes())?,
                );
            }
            NatsServers::External(spec) => {
                let data = |secret: &str, key: &str| {
                    let data = secrets.get(secret).and_then(|secret| secret.data.as_ref());
                    data.and_then(|data| data.get(key))
                        .map(|bytes| bytes.0.clone())
                        .unwrap_or_default()
                };
                if let Some(SecretName { name }) = &spec.credentials_secret_ref {
                    let seed = data(name, seed_name(Role::Operator));
                    add("--nats-credentials", write("operator.nk", &seed)?);
                }
                if let Some(SecretKey { name, key }) = &spec.ca_secret_ref {
                    add("--nats-ca", write("ca.pem", &data(name, key))?);
                }
            }
        }
        Ok(Self {
            _directory: directory,
            arguments,
        })
    }
}
