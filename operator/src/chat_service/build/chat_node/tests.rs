use std::sync::LazyLock;

use k8s_openapi::api::core::v1::Secret;
use serde_json::{Value, json};

use crate::chat_service::build::{Kind, Object, build};
use crate::chat_service::validate::{Given, validate};
use crate::fixtures::{SMALLEST, built, given, lobby, object, validated, with_secret};

fn deployment(spec: &str) -> Value {
    object(&built(spec), Kind::Deployment, "lobby-nodes")
}

/// The keys of one and the same service.
static KEYS: LazyLock<Secret> = LazyLock::new(|| {
    let secret = object(&built(SMALLEST), Kind::Secret, "lobby-nats");
    serde_json::from_value(secret).unwrap()
});

fn restart_hash(spec: &str) -> Value {
    let given = Given {
        secrets: [("lobby-nats".to_owned(), KEYS.clone())].into(),
        ..given()
    };
    let objects = build(&validate(&lobby(spec), given).unwrap()).unwrap();
    object(&objects, Kind::Deployment, "lobby-nodes")["spec"]["template"]["metadata"]["annotations"]
        ["natter.dev/restart-hash"]
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
    let given = with_secret("keys", &[("public.pem", "")]);
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

/// What is built from a spec that names Secret `keys`, which has this key.
fn built_with_key(spec: &str, key: &str) -> Vec<Object> {
    let service = validate(&lobby(spec), with_secret("keys", &[(key, "x")])).unwrap();
    build(&service).unwrap()
}

#[test]
fn backends_with_a_key_have_a_service_of_their_own() {
    let spec = "auth: {allowAnonymous: true, apiKeySecretRef: {name: keys, key: api}}";
    let objects = built_with_key(spec, "api");
    let service = object(&objects, Kind::Service, "lobby-api");
    assert_eq!(
        service["spec"]["ports"],
        json!([{"name": "api", "port": 8081, "targetPort": "api"}])
    );
    assert_eq!(service["spec"]["type"], Value::Null, "never from outside");
    let clients = object(&objects, Kind::Service, "lobby");
    assert_eq!(clients["spec"]["ports"].as_array().unwrap().len(), 1);

    let deployment = object(&objects, Kind::Deployment, "lobby-nodes");
    let pod = &deployment["spec"]["template"]["spec"];
    assert_eq!(pod["containers"][0]["ports"][2]["containerPort"], 8081);
    let mounts = pod["containers"][0]["volumeMounts"].to_string();
    assert!(mounts.contains("/etc/natter-api"), "{mounts}");
    let policy = object(&objects, Kind::NetworkPolicy, "lobby-nodes");
    assert_eq!(policy["spec"]["ingress"][1]["ports"][1]["port"], "api");

    let names: Vec<_> = built(SMALLEST).into_iter().map(|it| it.name).collect();
    assert!(!names.contains(&"lobby-api".to_owned()), "{names:?}");
}

#[test]
fn only_nodes_with_a_server_api_can_erase() {
    let seeds = |objects: &[Object]| {
        let deployment = object(objects, Kind::Deployment, "lobby-nodes");
        let volumes = deployment["spec"]["template"]["spec"]["volumes"].clone();
        let volumes = volumes.as_array().unwrap();
        let nats = volumes.iter().find(|volume| volume["name"] == "nats");
        nats.unwrap()["secret"]["items"].clone()
    };
    let node = json!({"key": "node.nk", "path": "node.nk"});
    assert_eq!(seeds(&built(SMALLEST)), json!([node]));
    let spec = "auth: {allowAnonymous: true, apiKeySecretRef: {name: keys, key: api}}";
    let moderator = json!({"key": "moderator.nk", "path": "moderator.nk"});
    assert_eq!(
        seeds(&built_with_key(spec, "api")),
        json!([node, moderator])
    );
}

#[test]
fn the_backends_token_is_a_file_in_the_pod() {
    let spec = "auth: {connectWebhook: {url: 'https://a.example/connect', tokenSecretRef: {name: keys, key: token}}}";
    let objects = built_with_key(spec, "token");
    let config = object(&objects, Kind::ConfigMap, "lobby-nodes");
    let text = config["data"]["natter.yaml"].as_str().unwrap();
    assert!(text.contains("/etc/natter-webhook/token"), "{text}");
    let deployment = object(&objects, Kind::Deployment, "lobby-nodes");
    let volumes = deployment["spec"]["template"]["spec"]["volumes"].to_string();
    assert!(
        volumes.contains(r#"{"key":"token","path":"token"}"#),
        "{volumes}"
    );
}

#[test]
fn what_no_node_would_start_with_is_refused_by_its_field() {
    let refused = |spec: &str| build(&validated(spec)).unwrap_err().to_string();
    let cases = [
        (
            "auth: {connectWebhook: {url: 'ftp://a'}}",
            "auth.connectWebhook.url: expected a URL such as",
        ),
        (
            "auth: {allowAnonymous: true, allowedOrigins: ['https://']}",
            "auth.allowedOrigins: expected",
        ),
        (
            "auth: {jwt: {jwksURL: 'https://a', issuer: ''}}",
            "auth.jwt.issuer: expected a text",
        ),
        ("{auth: {}}", "nobody could connect"),
    ];
    for (spec, expected) in cases {
        let text = refused(spec);
        assert!(text.starts_with(expected), "{text}");
    }
}

#[test]
fn what_only_streams_are_made_by_restarts_no_node() {
    let before = restart_hash(SMALLEST);
    let spec = "{auth: {allowAnonymous: true}, history: {maxBytesPerShard: 256Mi}}";
    assert_eq!(restart_hash(spec), before);
}

#[test]
fn another_image_or_template_needs_other_pods() {
    let before = restart_hash(SMALLEST);
    for spec in [
        "{auth: {allowAnonymous: true}, image: 'chat-node:2'}",
        "{auth: {allowAnonymous: true}, podTemplate: {spec: {nodeSelector: {a: b}}}}",
    ] {
        assert_ne!(restart_hash(spec), before, "{spec}");
    }
    let user = "{auth: {allowAnonymous: true}, podTemplate: {metadata: {annotations: {natter.dev/restart-hash: mine}}}}";
    assert_ne!(restart_hash(user), "mine", "it is the operator's");
}

#[test]
fn nodes_start_anew_with_another_key() {
    let hash = || {
        let template = &deployment(SMALLEST)["spec"]["template"];
        template["metadata"]["annotations"]["natter.dev/restart-hash"].clone()
    };
    assert_ne!(hash(), hash(), "each time another service with other keys");
    assert_eq!(restart_hash(SMALLEST), restart_hash(SMALLEST));
}
