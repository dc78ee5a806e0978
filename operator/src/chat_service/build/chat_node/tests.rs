use serde_json::{Value, json};

use crate::chat_service::build::{Kind, build};
use crate::chat_service::validate::{Given, validate};
use crate::fixtures::{SMALLEST, built, given, lobby, object};

fn deployment(spec: &str) -> Value {
    object(&built(spec), Kind::Deployment, "lobby-nodes")
}

fn restart_hash(spec: &str) -> Value {
    deployment(spec)["spec"]["template"]["metadata"]["annotations"]["natter.dev/restart-hash"]
        .clone()
}

#[test]
fn all_new_pods_are_there_before_an_old_one_stops() {
    let deployment = deployment(SMALLEST);
    assert_eq!(deployment["spec"]["replicas"], 2);
    let update = &deployment["spec"]["strategy"]["rollingUpdate"];
    assert_eq!(*update, json!({"maxSurge": "100%", "maxUnavailable": 0}));
}

#[test]
fn a_pod_has_the_time_to_drain() {
    let deployment = deployment("{auth: {allowAnonymous: true}, disruption: {drainSeconds: 100}}");
    let spec = &deployment["spec"]["template"]["spec"];
    assert_eq!(spec["terminationGracePeriodSeconds"], 120);
    assert_eq!(
        spec["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"],
        3
    );
}

#[test]
fn every_pod_is_of_the_restricted_profile() {
    let sets = [
        deployment(SMALLEST),
        object(&built(SMALLEST), Kind::StatefulSet, "lobby-nats"),
    ];
    for set in sets {
        let spec = &set["spec"]["template"]["spec"];
        assert_eq!(spec["securityContext"]["runAsNonRoot"], true);
        assert_eq!(
            spec["securityContext"]["seccompProfile"]["type"],
            "RuntimeDefault"
        );
        assert_eq!(spec["automountServiceAccountToken"], false);
        let container = &spec["containers"][0]["securityContext"];
        let expected = json!({
            "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]},
        });
        assert_eq!(*container, expected);
    }
}

#[test]
fn what_nodes_take_over_while_they_run_restarts_nothing() {
    let before = restart_hash(SMALLEST);
    let hot = "{auth: {allowAnonymous: true, allowedOrigins: ['https://a']}, limits: {connections: 5, roomsPerSession: 9},
                roomClasses: [{prefix: chat}]}";
    assert_eq!(restart_hash(hot), before);
    let cold = [
        "{auth: {allowAnonymous: true}, limits: {messageBytes: 1024}}",
        "{auth: {allowAnonymous: true}, disruption: {drainSeconds: 60}}",
        "{auth: {allowAnonymous: true}, history: {maxAge: 24h}}",
        "{auth: {allowAnonymous: true}, nats: {managed: {replicas: 5}}}",
    ];
    for spec in cold {
        assert_ne!(restart_hash(spec), before, "{spec}");
    }
}

#[test]
fn clients_come_back_to_the_same_pod_for_a_minute() {
    let service = object(&built(SMALLEST), Kind::Service, "lobby");
    assert_eq!(service["spec"]["type"], "ClusterIP");
    assert_eq!(service["spec"]["sessionAffinity"], "ClientIP");
    assert_eq!(
        service["spec"]["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"],
        60
    );
    assert_eq!(service["spec"]["ports"][0]["port"], 8080);
}

#[test]
fn the_clients_service_is_what_the_user_asks_for() {
    let spec = "{auth: {allowAnonymous: true}, service: {type: LoadBalancer, annotations: {lb: x}, loadBalancerClass: c,
                 externalTrafficPolicy: Local, sessionAffinity: None}}";
    let service = object(&built(spec), Kind::Service, "lobby");
    assert_eq!(service["metadata"]["annotations"]["lb"], "x");
    assert_eq!(service["spec"]["type"], "LoadBalancer");
    assert_eq!(service["spec"]["loadBalancerClass"], "c");
    assert_eq!(service["spec"]["externalTrafficPolicy"], "Local");
    assert_eq!(service["spec"]["sessionAffinity"], "None");
    assert_eq!(service["spec"]["sessionAffinityConfig"], Value::Null);
}

#[test]
fn a_field_for_what_comes_from_outside_is_left_out_inside() {
    let spec = "{auth: {allowAnonymous: true}, service: {loadBalancerClass: c, externalTrafficPolicy: Local}}";
    let service = object(&built(spec), Kind::Service, "lobby");
    assert_eq!(service["spec"]["loadBalancerClass"], Value::Null);
    assert_eq!(service["spec"]["externalTrafficPolicy"], Value::Null);
}

#[test]
fn nodes_see_their_own_key_only() {
    let spec = &deployment(SMALLEST)["spec"]["template"]["spec"];
    let volumes = spec["volumes"].as_array().unwrap();
    let secrets: Vec<_> = volumes
        .iter()
        .filter(|volume| volume.get("secret").is_some())
        .collect();
    assert_eq!(secrets.len(), 1);
    assert_eq!(
        secrets[0]["secret"]["items"],
        json!([{"key": "node.nk", "path": "node.nk"}])
    );
}

#[test]
fn servers_of_the_users_own_are_mounted_and_named() {
    let objects = built(
        "{auth: {allowAnonymous: true}, nats: {external: {urls: ['tls://a:4222', 'tls://b:4222']}}}",
    );
    let config = object(&objects, Kind::ConfigMap, "lobby-nodes");
    let text = config["data"]["natter.yaml"].as_str().unwrap();
    assert!(
        text.contains("tls://a:4222") && text.contains("tls://b:4222"),
        "{text}"
    );
    assert!(!text.contains("credentials"), "{text}");
}

#[test]
fn the_users_template_lies_over_the_operators() {
    let spec = "{auth: {allowAnonymous: true}, podTemplate: {metadata: {annotations: {a: b}},
                 spec: {nodeSelector: {disk: ssd}, containers: [{name: chat-node, env: [{name: NATTER_LOG_LEVEL, value: debug}]}]}}}";
    let template = &deployment(spec)["spec"]["template"];
    assert_eq!(template["metadata"]["annotations"]["a"], "b");
    assert_eq!(template["spec"]["nodeSelector"]["disk"], "ssd");
    let container = &template["spec"]["containers"][0];
    assert_eq!(container["image"], "chat-node:1");
    assert_eq!(container["env"][1]["name"], "NATTER_LOG_LEVEL");
}

#[test]
fn a_typo_in_a_template_reaches_the_api_server_which_names_it() {
    let spec = "{auth: {allowAnonymous: true}, podTemplate: {spec: {nodeSelektor: {a: b}}}}";
    assert_eq!(
        deployment(spec)["spec"]["template"]["spec"]["nodeSelektor"]["a"],
        "b"
    );
}

#[test]
fn resources_may_be_numbers() {
    let spec = "{auth: {allowAnonymous: true}, resources: {requests: {cpu: 2, memory: 1Gi}}}";
    let container = &deployment(spec)["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(
        container["resources"],
        json!({"requests": {"cpu": "2", "memory": "1Gi"}})
    );
}

#[test]
fn the_key_for_tokens_is_a_file_in_the_pod() {
    let spec = "auth: {jwt: {keySecretRef: {name: keys, key: public.pem}}}";
    let secret = k8s_openapi::api::core::v1::Secret {
        data: Some([("public.pem".to_owned(), k8s_openapi::ByteString(Vec::new()))].into()),
        ..Default::default()
    };
    let given = Given {
        jwt_secret: Some(secret),
        ..given()
    };
    let objects = build(&validate(&lobby(spec), given).unwrap()).unwrap();
    let deployment = object(&objects, Kind::Deployment, "lobby-nodes");
    let volumes = deployment["spec"]["template"]["spec"]["volumes"]
        .as_array()
        .unwrap();
    let volume = volumes
        .iter()
        .find(|volume| volume["name"] == "jwt")
        .unwrap();
    assert_eq!(
        volume["secret"]["items"],
        json!([{"key": "public.pem", "path": "keys"}])
    );
    let config = object(&objects, Kind::ConfigMap, "lobby-nodes");
    let text = config["data"]["natter.yaml"].as_str().unwrap();
    assert!(text.contains("/etc/natter-jwt/keys"), "{text}");
}
