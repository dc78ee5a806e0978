//! The ConfigMap that the operator writes is a file that nodes, `nats init` and nats-server take.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use chat_node::config::{BrokerKind, Config, Invocation, NatsCommand, ReadAccess};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use natter_crds::ChatService;
use natter_operator::chat_service::build::chat_node::config_map;
use natter_operator::chat_service::build::{Kind, Object, build};
use natter_operator::chat_service::validate::{Given, Images, ValidatedService, validate};
use serde_json::{Value, json};

/// ChatService `lobby` in namespace `chat`, where a Secret `keys` has a key `key`.
fn validated(spec: &str) -> ValidatedService {
    let spec: Value = serde_saphyr::from_str(spec).expect("the spec is YAML");
    let service: ChatService = serde_json::from_value(json!({
        "apiVersion": "natter.dev/v1alpha1", "kind": "ChatService", "spec": spec,
        "metadata": {"name": "lobby", "namespace": "chat", "uid": "1"},
    }))
    .expect("the spec is that of a ChatService");
    let secret = Secret {
        data: Some([("key".to_owned(), ByteString(b"secret".to_vec()))].into()),
        ..Secret::default()
    };
    let given = Given {
        secrets: [("keys".to_owned(), secret)].into(),
        images: Images {
            chat_node: "chat-node:1".to_owned(),
            nats: "nats:2.15.2".to_owned(),
        },
        ..Given::default()
    };
    validate(&service, given).expect("the service is valid")
}

fn built(spec: &str) -> Vec<Object> {
    build(&validated(spec)).expect("the service can be built")
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
roomClasses: [{prefix: chat, publish: Token, history: None}, {prefix: news, subscribe: Server, presence: Anyone, joinLeave: true, historyMaxMessages: 5, historyMaxAge: 1h}]
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
    assert_eq!(config.api(), None);
    let news = config.room_classes.of("news:today").unwrap();
    assert!(news.join_leave);
    assert_eq!(news.presence, ReadAccess::Anyone);
}

#[test]
fn backends_are_asked_and_may_call_as_the_service_says() {
    let spec = "auth: {apiKeySecretRef: {name: keys, key: key}, connectWebhook:
        {url: 'https://shop.example/chat/connect', timeoutSeconds: 7, tokenSecretRef: {name: keys, key: key}}}";
    let directory = tempfile::tempdir().unwrap();
    let file = natter_yaml(directory.path(), spec);
    let Invocation::Serve(config) = read(&file, &[], &[]) else {
        panic!("no node");
    };
    assert_eq!(config.warnings, [""; 0]);
    let (address, keys) = config.api().unwrap();
    assert_eq!(address.to_string(), "0.0.0.0:8081");
    assert_eq!(keys, Path::new("/etc/natter-api/keys"));
    let webhook = &config.access.auth.connect_webhook;
    assert_eq!(
        webhook.url.as_ref().unwrap(),
        "https://shop.example/chat/connect"
    );
    assert_eq!(webhook.timeout_seconds, 7);
    let token = Path::new("/etc/natter-webhook/token");
    assert_eq!(webhook.token_file.as_deref(), Some(token));
    let moderator = Path::new("/etc/natter-nats/moderator.nk");
    assert_eq!(
        config.nats.moderator_credentials.as_deref(),
        Some(moderator)
    );
}

/// Every file that the pod of the biggest service reads is mounted into it.
#[test]
fn every_file_that_is_named_is_mounted() {
    let spec = "{auth: {apiKeySecretRef: {name: keys, key: key}, jwt: {keySecretRef: {name: keys, key: key}},
        connectWebhook: {url: 'https://a.example', tokenSecretRef: {name: keys, key: key}}},
        nats: {external: {urls: ['tls://a'], caSecretRef: {name: keys, key: key}}}}";
    let objects = built(spec);
    let pod = &object(&objects, Kind::Deployment, "lobby-nodes")["spec"]["template"]["spec"];
    let volumes = pod["volumes"].as_array().unwrap();
    let mounts = pod["containers"][0]["volumeMounts"].as_array().unwrap();
    let mounted = mounts.iter().flat_map(|mount| {
        let volume = volumes.iter().find(|it| it["name"] == mount["name"]);
        let items = volume.unwrap()["secret"]["items"].as_array().cloned();
        let path = |item: Value| format!("{}/{}", text(&mount["mountPath"]), text(&item["path"]));
        items.unwrap_or_default().into_iter().map(path)
    });
    let mounted: Vec<_> = mounted.collect();
    let config = object(&objects, Kind::ConfigMap, "lobby-nodes")["data"]["natter.yaml"].clone();
    let words = text(&config)
        .split_whitespace()
        .map(|word| word.trim_matches('"').to_owned());
    let named: Vec<_> = words.filter(|word| word.starts_with("/etc/")).collect();
    assert_eq!(named.len(), 4, "{named:?}");
    for file in named {
        assert!(mounted.contains(&file), "{file} is not in {mounted:?}");
    }
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

#[test]
fn pods_are_replaced_when_a_node_would_wait_for_a_restart_and_told_when_it_would_not() {
    let base = "auth: {allowAnonymous: true}";
    let changes = [
        "{auth: {allowAnonymous: true, allowedOrigins: ['https://a.example']}}",
        "{auth: {allowAnonymous: true, jwt: {jwksURL: 'https://a.example'}}}",
        "{auth: {allowAnonymous: true, apiKeySecretRef: {name: keys, key: key}}}",
        "{auth: {allowAnonymous: true, connectWebhook: {url: 'https://a.example'}}}",
        "{auth: {allowAnonymous: true}, limits: {connections: 5}}",
        "{auth: {allowAnonymous: true}, limits: {connectsPerSecond: 5}}",
        "{auth: {allowAnonymous: true}, limits: {messageBytes: 5}}",
        "{auth: {allowAnonymous: true}, limits: {roomsPerSession: 5}}",
        "{auth: {allowAnonymous: true}, limits: {publishesPerSecondPerSession: 5}}",
        "{auth: {allowAnonymous: true}, limits: {publishesPerSecondPerRoom: 5}}",
        "{auth: {allowAnonymous: true}, roomClasses: [{prefix: a, joinLeave: true}]}",
        "{auth: {allowAnonymous: true}, history: {maxAge: 24h}}",
        "{auth: {allowAnonymous: true}, history: {maxBytesPerShard: 64Mi}}",
        "{auth: {allowAnonymous: true}, history: {shards: 3}}",
        "{auth: {allowAnonymous: true}, disruption: {drainSeconds: 60}}",
        "{auth: {allowAnonymous: true}, nats: {managed: {replicas: 5}}}",
        "{auth: {allowAnonymous: true}, replicas: 7}",
    ];
    let service = validated(base);
    let config =
        |service: &ValidatedService| Config::from_text(&config_map::text(service)).unwrap();
    for change in changes {
        let changed = validated(change);
        let renewal = config(&service).renewed(config(&changed)).unwrap();
        let restarts = config_map::restart_hash(&service) != config_map::restart_hash(&changed);
        let tells = config_map::live_hash(&service) != config_map::live_hash(&changed);
        assert_eq!(restarts, !renewal.waiting.is_empty(), "{change}");
        assert_eq!(tells, !renewal.changed.is_empty(), "{change}");
    }
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
    let secret: Secret = serde_json::from_value(secret).unwrap();
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
