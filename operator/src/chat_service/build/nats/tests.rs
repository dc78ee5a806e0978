use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use serde_json::{Value, json};

use super::credentials::keys;
use crate::chat_service::build::{Kind, build};
use crate::chat_service::validate::{Given, NatsServers, validate};
use crate::fixtures::{SMALLEST, built, given, lobby, object, validated};

fn stateful_set(spec: &str) -> Value {
    object(&built(spec), Kind::StatefulSet, "lobby-nats")
}

fn nats_conf(spec: &str) -> String {
    let config = object(&built(spec), Kind::ConfigMap, "lobby-nats");
    config["data"]["nats.conf"].as_str().unwrap().to_owned()
}

fn secret(spec: &str) -> Secret {
    serde_json::from_value(object(&built(spec), Kind::Secret, "lobby-nats")).unwrap()
}

const ALONE: &str = "{auth: {allowAnonymous: true}, nats: {managed: {replicas: 1}}}";

#[test]
fn servers_start_together_and_are_replaced_by_the_operator_alone() {
    let set = stateful_set(SMALLEST);
    assert_eq!(set["spec"]["replicas"], 3);
    assert_eq!(set["spec"]["podManagementPolicy"], "Parallel");
    assert_eq!(set["spec"]["updateStrategy"]["type"], "OnDelete");
    let spec = &set["spec"]["template"]["spec"];
    assert_eq!(spec["terminationGracePeriodSeconds"], 60);
    let stop = &spec["containers"][0]["lifecycle"]["preStop"]["exec"]["command"];
    assert_eq!(
        *stop,
        json!(["/nats-server", "--signal", "ldm=/run/nats/nats.pid"])
    );
    assert_eq!(
        spec["topologySpreadConstraints"][0]["whenUnsatisfiable"],
        "DoNotSchedule"
    );
}

#[test]
fn acknowledged_messages_are_on_disk_and_a_fifth_of_the_volume_stays_free() {
    let text =
        nats_conf("{auth: {allowAnonymous: true}, nats: {managed: {storage: {size: 10Gi}}}}");
    assert!(text.contains("sync_interval: always"), "{text}");
    assert!(
        text.contains(&format!("max_file: {}", 8u64 << 30)),
        "{text}"
    );
    assert!(text.contains("ping_interval: \"10s\""), "{text}");
}

#[test]
fn a_server_alone_is_not_clustered() {
    assert!(!nats_conf(ALONE).contains("cluster {"));
    assert_eq!(
        stateful_set(ALONE)["spec"]["template"]["spec"]["topologySpreadConstraints"],
        Value::Null
    );
}

#[test]
fn every_server_has_a_route_to_every_server() {
    let secret = secret("{auth: {allowAnonymous: true}, nats: {managed: {replicas: 5}}}");
    let data = secret.data.unwrap();
    let routes = String::from_utf8(data["routes.conf"].0.clone()).unwrap();
    for ordinal in 0..5 {
        let host = format!("@lobby-nats-{ordinal}.lobby-nats.chat.svc:6222");
        assert!(routes.contains(&host), "{routes}");
    }
}

#[test]
fn the_configuration_holds_no_seed_and_no_password() {
    let objects = built(SMALLEST);
    let secret = object(&objects, Kind::Secret, "lobby-nats");
    let secret: Secret = serde_json::from_value(secret).unwrap();
    let secrets: Vec<_> = secret.data.unwrap().into_values().collect();
    assert_eq!(secrets.len(), 5);
    for object in objects.iter().filter(|object| object.kind != Kind::Secret) {
        let text = object.body.to_string();
        for ByteString(secret) in &secrets {
            let secret = String::from_utf8_lossy(secret);
            assert!(!text.contains(&*secret), "{}", object.name);
        }
    }
}

#[test]
fn keys_are_made_once() {
    let first = validated(SMALLEST);
    let objects = build(&first).unwrap();
    let secret: Secret =
        serde_json::from_value(object(&objects, Kind::Secret, "lobby-nats")).unwrap();
    let given = Given {
        nats_secret: Some(secret),
        ..given()
    };
    let again = build(&validate(&lobby(SMALLEST), given).unwrap()).unwrap();
    assert_eq!(again, objects);
    let other = build(&validated(SMALLEST)).unwrap();
    assert_ne!(other, objects, "another service has other keys");
}

#[test]
fn a_key_that_was_removed_is_made_anew_and_the_others_stay() {
    let mut secret = secret(SMALLEST);
    let before = secret.data.clone().unwrap();
    secret.data.as_mut().unwrap().remove("moderator.nk");
    let given = Given {
        nats_secret: Some(secret),
        ..given()
    };
    let service = validate(&lobby(SMALLEST), given).unwrap();
    let objects = build(&service).unwrap();
    let secret: Secret =
        serde_json::from_value(object(&objects, Kind::Secret, "lobby-nats")).unwrap();
    let after = secret.data.unwrap();
    assert_eq!(after["node.nk"], before["node.nk"]);
    assert_eq!(after["route-password"], before["route-password"]);
    assert_ne!(after["moderator.nk"], before["moderator.nk"]);
}

#[test]
fn a_seed_that_is_none_is_named() {
    let mut secret = secret(SMALLEST);
    secret
        .data
        .as_mut()
        .unwrap()
        .insert("node.nk".to_owned(), ByteString(b"nonsense".to_vec()));
    let problem = keys(Some(&secret)).unwrap_err();
    assert!(
        problem.starts_with("Secret lobby-nats: node.nk is no nkey seed"),
        "{problem}"
    );
    assert!(!problem.contains("nonsense"));
}

#[test]
fn servers_know_the_users_by_the_keys_in_the_secret() {
    let service = validated(SMALLEST);
    let NatsServers::Managed(managed) = &service.nats else {
        panic!("not managed");
    };
    let objects = build(&service).unwrap();
    let config = object(&objects, Kind::ConfigMap, "lobby-nats");
    let accounts = config["data"]["accounts.conf"].as_str().unwrap();
    for role in chat_node::broker::nats::account::Role::ALL {
        assert!(
            accounts.contains(&managed.keys.public_key(role)),
            "{accounts}"
        );
    }
}

#[test]
fn nodes_and_servers_and_nobody_else_reach_the_servers() {
    let policy = object(&built(SMALLEST), Kind::NetworkPolicy, "lobby-nats");
    let ingress = &policy["spec"]["ingress"];
    let label = "app.kubernetes.io/component";
    assert_eq!(
        ingress[0]["from"][0]["podSelector"]["matchLabels"][label],
        "nodes"
    );
    assert_eq!(ingress[0]["ports"][0]["port"], "client");
    assert_eq!(
        ingress[1]["from"][0]["podSelector"]["matchLabels"][label],
        "nats"
    );
    assert_eq!(ingress[1]["ports"][0]["port"], "route");
    assert_eq!(ingress.as_array().unwrap().len(), 3);
}

#[test]
fn volumes_stay_unless_told_otherwise() {
    let policy =
        |set: Value| set["spec"]["persistentVolumeClaimRetentionPolicy"]["whenDeleted"].clone();
    assert_eq!(policy(stateful_set(SMALLEST)), "Retain");
    let deleted =
        "{auth: {allowAnonymous: true}, nats: {managed: {storage: {reclaimPolicy: Delete}}}}";
    assert_eq!(policy(stateful_set(deleted)), "Delete");
}

#[test]
fn a_memory_limit_is_told_to_the_server() {
    let spec =
        "{auth: {allowAnonymous: true}, nats: {managed: {resources: {limits: {memory: 1000M}}}}}";
    let env = &stateful_set(spec)["spec"]["template"]["spec"]["containers"][0]["env"];
    assert_eq!(env[1], json!({"name": "GOMEMLIMIT", "value": "800000000"}));
}
