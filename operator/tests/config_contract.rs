//! The ConfigMap that the operator writes is a file that nodes, `nats init` and nats-server take.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use chat_node::config::{BrokerKind, Config, Invocation, NatsCommand};
use natter_crds::ChatService;
use natter_operator::chat_service::build::{Kind, Object, build};
use natter_operator::chat_service::validate::{Given, Images, validate};
use serde_json::{Value, json};

/// What is built from `spec`, for ChatService `lobby` in namespace `chat`.
fn built(spec: &str) -> Vec<Object> {
    let spec: Value = serde_saphyr::from_str(spec).expect("the spec is YAML");
    let service: ChatService = serde_json::from_value(json!({
        "apiVersion": "natter.dev/v1alpha1", "kind": "ChatService", "spec": spec,
        "metadata": {"name": "lobby", "namespace": "chat", "uid": "1"},
    }))
    .expect("the spec is that of a ChatService");
    let given = Given {
        images: Images {
            chat_node: "chat-node:1".to_owned(),
            nats: "nats:2.15.2".to_owned(),
        },
        ..Given::default()
    };
    let service = validate(&service, given).expect("the service is valid");
    build(&service).expect("the service can be built")
}

fn object<'a>(objects: &'a [Object], kind: Kind, name: &str) -> &'a Value {
    let found = objects
        .iter()
        .find(|object| object.kind == kind && object.name == name);
    &found.expect("the object is built").body
}

/// Runs the node's own reading of its arguments and file.
fn read(file: &Path, command: &[&str], flags: &[&str]) -> Invocation {
    let file = format!("--config={}", file.display());
    let arguments = [&["chat-node"], command, &[file.as_str()], flags].concat();
    let arguments = arguments.iter().map(OsString::from);
    Config::load_from(arguments, []).unwrap_or_else(|error| panic!("{error}"))
}

fn natter_yaml(directory: &Path, spec: &str) -> std::path::PathBuf {
    let objects = built(spec);
    let config = object(&objects, Kind::ConfigMap, "lobby-nodes");
    let file = directory.join("natter.yaml");
    let text = config["data"]["natter.yaml"].as_str();
    std::fs::write(&file, text.expect("a file")).expect("the folder can be written");
    file
}

const EVERYTHING: &str = "
disruption: {drainSeconds: 300}
history: {maxAge: 24h, maxBytesPerShard: 1Gi, shards: 4}
roomClasses: [{prefix: chat, publish: Token, history: None}, {prefix: news, subscribe: Server, historyMaxMessages: 5, historyMaxAge: 1h}]
limits: {connections: 50000, connectsPerSecond: 10, messageBytes: 524288, roomsPerSession: 5, publishesPerSecondPerSession: 1, publishesPerSecondPerRoom: 9}
auth: {allowAnonymous: true, allowedOrigins: ['https://*.example.com']}
nats: {managed: {replicas: 5, storage: {size: 6Gi}}}
";

#[test]
fn a_node_takes_the_operators_file_and_every_field_arrives() {
    let directory = tempfile::tempdir().unwrap();
    let file = natter_yaml(directory.path(), EVERYTHING);
    let Invocation::Serve(config) = read(&file, &[], &[]) else {
        panic!("no node");
    };
    assert_eq!(config.warnings, [""; 0]);
    assert!(config.allows_anonymous());
    assert_eq!(config.listening.listen.port(), 8080);
    assert_eq!(config.listening.admin_listen.port(), 9090);
    assert_eq!(config.limits.connections, 50_000);
    assert_eq!(config.limits.connects_per_second, 10);
    assert_eq!(config.limits.message_bytes, 524_288);
    assert_eq!(config.limits.rooms_per_session, 5);
    assert_eq!(config.limits.publishes_per_second_per_session, 1);
    assert_eq!(config.limits.publishes_per_second_per_room, 9);
    assert_eq!(config.history.max_age.as_secs(), 24 * 3600);
    assert_eq!(config.shutdown.drain_timeout.as_secs(), 300);
    assert_eq!(config.shutdown.drain_accept.unwrap().as_secs(), 5);
    assert!(matches!(config.nats.broker(), BrokerKind::Nats));
}

#[test]
fn the_smallest_service_is_a_file_that_a_node_takes() {
    let directory = tempfile::tempdir().unwrap();
    let file = natter_yaml(directory.path(), "auth: {allowAnonymous: true}");
    let Invocation::Serve(config) = read(&file, &[], &[]) else {
        panic!("no node");
    };
    assert_eq!(config.warnings, [""; 0]);
}

#[test]
fn tokens_are_checked_as_the_service_asks() {
    let directory = tempfile::tempdir().unwrap();
    let spec = "auth: {jwt: {jwksURL: 'https://id.example.com/keys', issuer: me, audience: chat}}";
    let file = natter_yaml(directory.path(), spec);
    let Invocation::Serve(config) = read(&file, &[], &[]) else {
        panic!("no node");
    };
    assert_eq!(config.warnings, [""; 0]);
    assert!(!config.allows_anonymous());
}

#[test]
fn the_same_file_sets_the_streams_up() {
    let directory = tempfile::tempdir().unwrap();
    let file = natter_yaml(directory.path(), EVERYTHING);
    let read = read(&file, &["nats", "init"], &[]);
    let Invocation::Nats(NatsCommand::Init(init)) = read else {
        panic!("no nats init");
    };
    assert_eq!(init.streams.shards, 4);
    assert_eq!(init.streams.replicas, 3);
    assert_eq!(init.streams.max_bytes_per_shard, 1 << 30);
    assert_eq!(init.streams.message_bytes, 524_288);
    assert_eq!(init.streams.placement_tags, ["sync:always"]);
}

/// nats-server itself reads what it would read in a pod.
#[test]
fn nats_server_takes_its_configuration() {
    let objects = built(EVERYTHING);
    let directory = tempfile::tempdir().unwrap();
    let folder = |name: &str| {
        let folder = directory.path().join(name);
        std::fs::create_dir(&folder).unwrap();
        folder
    };
    let (config, routes) = (folder("nats"), folder("nats-routes"));
    let files = object(&objects, Kind::ConfigMap, "lobby-nats")["data"]
        .as_object()
        .unwrap();
    for (name, text) in files {
        std::fs::write(config.join(name), text.as_str().unwrap()).unwrap();
    }
    let secret = object(&objects, Kind::Secret, "lobby-nats").clone();
    let secret: k8s_openapi::api::core::v1::Secret = serde_json::from_value(secret).unwrap();
    std::fs::write(
        routes.join("routes.conf"),
        &secret.data.unwrap()["routes.conf"].0,
    )
    .unwrap();

    let server = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools/nats-server");
    let mut command = Command::new(&server);
    let command = command
        .arg("-t")
        .arg("-c")
        .arg(config.join("nats.conf"))
        .env("POD_NAME", "lobby-nats-0");
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{}: {error}; make nats-tools", server.display()));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("is valid"), "{said}");
}
