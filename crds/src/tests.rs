//! Every rule of the resource, checked as the API server does: defaults first, then CEL.

use kube::core::cel::{Validator, apply_defaults};
use serde_json::{Value, json};
use std::collections::BTreeSet;

use crate::{ChatService, ChatServiceSpec, crd, yaml};

/// The schema that the API server has.
fn schema() -> Value {
    let version = crd().spec.versions.remove(0);
    let schema = version.schema.and_then(|schema| schema.open_api_v3_schema);
    serde_json::to_value(schema.unwrap()).unwrap()
}

/// A ChatService called `name` whose spec is written in YAML, with the API server's defaults.
fn named(name: &str, spec: &str) -> Value {
    let spec: Value = serde_saphyr::from_str(spec).unwrap();
    let resource = json!({
        "apiVersion": "natter.dev/v1alpha1", "kind": "ChatService", "metadata": {"name": name}, "spec": spec,
    });
    with_defaults(resource)
}

/// What a default brings may have defaults again; each pass reaches one level deeper.
fn with_defaults(mut resource: Value) -> Value {
    let schema = schema();
    loop {
        let defaulted = apply_defaults(&schema, &resource);
        if defaulted == resource {
            return resource;
        }
        resource = defaulted;
    }
}

fn lobby(spec: &str) -> Value {
    named("lobby", spec)
}

fn refusals(new: &Value, old: Option<&Value>) -> Vec<String> {
    let errors = Validator::new().validate(&schema(), new, old);
    let errors = errors.err().map(|errors| errors.into_vec());
    let errors = errors.into_iter().flatten();
    errors.map(|error| error.message).collect()
}

const SMALLEST: &str = "auth: {allowAnonymous: true}";

/// What is refused when it is created: spec, and the message.
const CREATED: [(&str, &str); 13] = [
    (
        "{}",
        "nobody could connect: set auth.jwt, auth.connectWebhook or auth.allowAnonymous: true",
    ),
    (
        "{auth: {allowAnonymous: true}, autoscaling: {maxReplicas: 4, targetConnections: 30001}}",
        "autoscaling.targetConnections must not exceed limits.connections",
    ),
    (
        "{auth: {allowAnonymous: true}, nats: {managed: {storage: {size: 6143Mi}}}}",
        "nats.managed.storage.size must be at least 1.5 x history.shards x history.maxBytesPerShard",
    ),
    (
        "{auth: {allowAnonymous: true}, autoscaling: {minReplicas: 5, maxReplicas: 4}}",
        "minReplicas must not exceed maxReplicas",
    ),
    (
        "{auth: {allowAnonymous: true}, autoscaling: {maxReplicas: 2, spareReplicas: 2}}",
        "spareReplicas must be below maxReplicas",
    ),
    (
        "{auth: {allowAnonymous: true}, history: {maxBytesPerShard: 512MB}}",
        "must be a quantity such as 512Mi",
    ),
    (
        "{auth: {allowAnonymous: true}, history: {maxBytesPerShard: '0'}}",
        "must be a quantity such as 512Mi",
    ),
    (
        "{auth: {jwt: {jwksURL: 'https://id.example.com/k', keySecretRef: {name: a, key: b}}}}",
        "set exactly one of jwksURL and keySecretRef",
    ),
    (
        "{auth: {jwt: {issuer: me}}}",
        "set exactly one of jwksURL and keySecretRef",
    ),
    (
        "{auth: {jwt: {jwksURL: 'ftp://id.example.com/k'}}}",
        "must be an http(s) URL",
    ),
    (
        "{auth: {connectWebhook: {url: 'not a url'}}}",
        "must be a URL",
    ),
    (
        "{auth: {allowAnonymous: true}, nats: {managed: {}, external: {urls: ['nats://a:4222']}}}",
        "set exactly one of managed and external; they cannot be exchanged later",
    ),
    (
        "{auth: {allowAnonymous: true}, nats: {managed: {storage: {size: much}}}}",
        "must be a quantity such as 20Gi",
    ),
];

/// What is refused when it is changed: spec before, spec after, and the message.
const CHANGED: [(&str, &str, &str); 7] = [
    (
        SMALLEST,
        "{auth: {allowAnonymous: true}, nats: {external: {urls: ['nats://a:4222']}}}",
        "managed and external cannot be exchanged: history would stay behind",
    ),
    (
        SMALLEST,
        "{auth: {allowAnonymous: true}, history: {shards: 4}}",
        "shards cannot change: it decides where every room is stored",
    ),
    (
        SMALLEST,
        "{auth: {allowAnonymous: true}, nats: {managed: {replicas: 1}}}",
        "cannot change between 1 and more servers: create a new ChatService",
    ),
    (
        "{auth: {allowAnonymous: true}, nats: {managed: {replicas: 1}}}",
        SMALLEST,
        "cannot change between 1 and more servers: create a new ChatService",
    ),
    (
        SMALLEST,
        "{auth: {allowAnonymous: true}, nats: {managed: {storage: {size: 19Gi}}}}",
        "volumes cannot shrink",
    ),
    (
        SMALLEST,
        "{auth: {allowAnonymous: true}, nats: {managed: {storage: {storageClassName: fast}}}}",
        "storageClassName cannot change",
    ),
    (
        "{auth: {allowAnonymous: true}, nats: {managed: {storage: {storageClassName: fast}}}}",
        "{auth: {allowAnonymous: true}, nats: {managed: {storage: {storageClassName: slow}}}}",
        "storageClassName cannot change",
    ),
];

#[test]
fn the_smallest_resource_is_taken() {
    assert_eq!(refusals(&lobby(SMALLEST), None), [""; 0]);
}

#[test]
fn what_cannot_work_is_refused_and_says_why() {
    for (spec, message) in CREATED {
        assert_eq!(refusals(&lobby(spec), None), [message], "{spec}");
    }
}

#[test]
fn what_cannot_be_changed_is_refused_and_says_why() {
    for (before, after, message) in CHANGED {
        let (before, after) = (lobby(before), lobby(after));
        assert_eq!(refusals(&before, None), [""; 0], "{before}");
        assert_eq!(refusals(&after, Some(&before)), [message], "{after}");
    }
}

#[test]
fn a_name_that_objects_cannot_be_named_after_is_refused() {
    let taken = ["a", "lobby", "lobby-1", "nats", "api", &"a".repeat(40)];
    for name in taken {
        assert_eq!(refusals(&named(name, SMALLEST), None), [""; 0], "{name}");
    }
    let refused = [
        "lobby-nats",
        "lobby-nodes",
        "lobby-api",
        "1lobby",
        "lobby-",
        "Lobby",
        "a.b",
        &"a".repeat(41),
    ];
    for name in refused {
        let refusals = refusals(&named(name, SMALLEST), None);
        assert!(
            refusals[0].starts_with("metadata.name must be at most 40 characters"),
            "{name}: {refusals:?}"
        );
    }
}

/// The largest sensible resource: every rule passes with every field set, and again when nothing changes.
#[test]
fn a_resource_with_every_field_is_taken() {
    let everything = lobby(
        "
        image: registry.example.com/chat-node:1
        replicas: 4
        autoscaling: {minReplicas: 2, maxReplicas: 20, targetConnections: 20000, spareReplicas: 1, scaleDown: {stabilizationWindowSeconds: 60}}
        disruption: {maxReconnectsPerSecond: 500, drainSeconds: 300, rebalanceThresholdPercent: 0}
        service: {type: LoadBalancer, annotations: {a: b}, loadBalancerClass: c, externalTrafficPolicy: Local, sessionAffinity: None}
        history: {maxAge: 24h, maxBytesPerShard: 1Gi, shards: 4}
        roomClasses: [{prefix: chat, subscribe: Token, publish: Server, history: None, presence: Anyone, joinLeave: true, historyMaxMessages: 5, historyMaxAge: 1h}]
        limits: {connections: 50000, connectsPerSecond: 10, messageBytes: 1024, roomsPerSession: 5, publishesPerSecondPerSession: 1, publishesPerSecondPerRoom: 9}
        auth: {allowAnonymous: false, allowedOrigins: ['*'], apiKeySecretRef: {name: a, key: b}, jwt: {keySecretRef: {name: a, key: b}, issuer: i, audience: u}, connectWebhook: {url: 'http://a/b', timeoutSeconds: 3}}
        nats: {managed: {image: 'nats:2.15', replicas: 5, storage: {size: 6Gi, storageClassName: fast, reclaimPolicy: Delete}, resources: {requests: {cpu: 1, memory: 1Gi}}, podTemplate: {spec: {nodeSelector: {a: b}}}}}
        resources: {limits: {memory: 2Gi}}
        podTemplate: {metadata: {labels: {a: b}}}
        paused: true
        ",
    );
    assert_eq!(refusals(&everything, Some(&everything)), [""; 0]);
    let typed: ChatService = serde_json::from_value(everything.clone()).unwrap();
    let spec = serde_json::to_value(&typed.spec).unwrap();
    assert_eq!(spec, everything["spec"], "every field is read and written");
}

#[test]
fn changes_that_lose_nothing_are_taken() {
    let before = lobby(SMALLEST);
    let after = [
        "{auth: {allowAnonymous: true}, nats: {managed: {replicas: 5, storage: {size: 21Gi, reclaimPolicy: Delete}}}}",
        "{auth: {connectWebhook: {url: 'https://a'}}, history: {maxAge: 1h, maxBytesPerShard: 600Mi}, replicas: 0}",
    ];
    for after in after {
        assert_eq!(refusals(&lobby(after), Some(&before)), [""; 0], "{after}");
    }
}

/// A rule without a case here could say anything.
#[test]
fn every_rule_has_a_case_above() {
    let mut messages = BTreeSet::new();
    collect(&schema(), &mut messages);
    let tried = CREATED.iter().map(|case| case.1);
    let tried: BTreeSet<_> = tried.chain(CHANGED.iter().map(|case| case.2)).collect();
    let untried: Vec<_> = messages
        .iter()
        .filter(|message| !tried.contains(message.as_str()))
        .collect();
    assert!(
        matches!(untried[..], [name] if name.starts_with("metadata.name ")),
        "{untried:?}"
    );
    assert_eq!(messages.len(), 17, "{messages:?}");
}

fn collect(schema: &Value, messages: &mut BTreeSet<String>) {
    match schema {
        Value::Object(fields) => {
            let rules = fields
                .get("x-kubernetes-validations")
                .and_then(Value::as_array);
            for rule in rules.into_iter().flatten() {
                messages.insert(rule["message"].as_str().unwrap().to_owned());
            }
            fields.values().for_each(|field| collect(field, messages));
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, messages)),
        _ => {}
    }
}

/// The API server's defaults and those of a reader that was given nothing are the same.
#[test]
fn defaults_are_the_same_in_the_schema_and_in_the_types() {
    let by_server = lobby("{}")["spec"].clone();
    let by_types: ChatServiceSpec = serde_json::from_value(json!({})).unwrap();
    assert_eq!(serde_json::to_value(by_types).unwrap(), by_server);
    assert_eq!(by_server["nats"]["managed"]["storage"]["size"], "20Gi");
    assert_eq!(
        by_server["service"]["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"],
        60
    );
}

#[test]
fn null_is_no_value() {
    let text = schema().to_string();
    assert!(
        !text.contains("nullable") && !text.contains("null]"),
        "{text}"
    );
}

#[test]
fn every_field_is_explained() {
    fn unexplained(path: &str, schema: &Value, found: &mut Vec<String>) {
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            let path = format!("{path}.{name}");
            if field["description"].as_str().is_none_or(str::is_empty) {
                found.push(path.clone());
            }
            unexplained(&path, field, found);
            unexplained(&path, &field["items"], found);
        }
    }
    let mut found = Vec::new();
    unexplained("", &schema()["properties"]["spec"], &mut found);
    unexplained("", &schema()["properties"]["status"], &mut found);
    assert_eq!(found, [""; 0]);
}

#[test]
fn the_resource_is_small_enough_for_every_tool() {
    let yaml = serde_saphyr::to_string(&crd()).unwrap();
    assert!(yaml.len() < 60_000, "{} bytes", yaml.len());
}

#[test]
fn kubectl_shows_scales_and_abbreviates() {
    let crd = crd();
    assert_eq!(crd.spec.names.short_names, Some(vec!["chat".to_owned()]));
    let version = &crd.spec.versions[0];
    let columns = version.additional_printer_columns.iter().flatten();
    let columns: Vec<_> = columns.map(|column| column.name.as_str()).collect();
    let wanted = [
        "Ready",
        "Reason",
        "Replicas",
        "Desired",
        "Connections",
        "NATS",
        "Age",
        "Image",
    ];
    assert_eq!(columns, wanted);
    let subresources = version.subresources.as_ref().unwrap();
    let scale = subresources.scale.as_ref().unwrap();
    assert_eq!(scale.spec_replicas_path, ".spec.replicas");
    assert_eq!(scale.status_replicas_path, ".status.replicas");
    assert_eq!(
        scale.label_selector_path.as_deref(),
        Some(".status.selector")
    );
    assert!(subresources.status.is_some());
}

#[test]
fn the_chart_installs_what_the_sources_say() {
    let installed = include_str!("../../charts/natter/files/crds/chatservices.yaml");
    let wanted = yaml().unwrap();
    let different = std::iter::zip(installed.lines(), wanted.lines())
        .find(|(installed, wanted)| installed != wanted);
    assert_eq!(different, None, "`make generate` writes it anew");
    assert_eq!(
        installed.len(),
        wanted.len(),
        "`make generate` writes it anew"
    );
}
