//! `chat-node nats init`: streams are made once, checked, repaired where that is safe, and never silently lost.

use natter_tests::command::{Ended, make_users, run, run_with};
use natter_tests::{Nats, NatsServers};
use serde_json::{Value, json};
use tempfile::TempDir;

/// One server without users, and a client.
async fn one_server() -> (NatsServers, Nats) {
    let servers = NatsServers::start(1).await;
    let nats = Nats::connect(&servers).await;
    (servers, nats)
}

/// Runs init for one copy of two streams, with more flags.
async fn init(servers: &NatsServers, flags: &[&str]) -> Ended {
    let urls = servers.urls();
    let has = |flag: &str| flags.iter().any(|given| given.starts_with(flag));
    let mut words = vec!["nats", "init", "--nats-url", &urls];
    for (flag, value) in [("--shards", "2"), ("--replicas", "1"), ("--timeout", "10s")] {
        if !has(flag) {
            words.extend([flag, value]);
        }
    }
    words.extend(flags);
    run(&words).await
}

async fn update(nats: &Nats, stream: &str, change: impl FnOnce(&mut Value)) {
    let mut config = nats.stream(stream).await["config"].take();
    change(&mut config);
    nats.api(&format!("STREAM.UPDATE.{stream}"), config).await;
}

/// Puts another stream in the place of one.
async fn replace(nats: &Nats, stream: &str, change: impl FnOnce(&mut Value)) {
    let mut config = nats.stream(stream).await["config"].take();
    change(&mut config);
    nats.delete_stream(stream).await;
    nats.create_stream(config).await;
}

fn epochs(said: &str) -> Vec<&str> {
    let epoch =
        |line| -> Option<&str> { Some(str::split_once(line, "epoch ")?.1.split_once(',')?.0) };
    said.lines().filter_map(epoch).collect()
}

#[tokio::test]
async fn streams_are_made_once_and_kept_ever_after() {
    let (servers, nats) = one_server().await;
    let made = init(&servers, &[]).await.succeeded();
    assert_eq!(made.lines().count(), 3, "{made}");
    assert!(
        made.contains("C_0: created") && made.contains("C_1: created"),
        "{made}"
    );
    assert!(
        made.ends_with("streams ready: 2 created, 0 updated, 0 kept\n"),
        "{made}"
    );
    let config = nats.stream("C_1").await["config"].take();
    nats.store("c.in.1.ROOM.m", &[], "hello").await;

    let kept = init(&servers, &[]).await.succeeded();
    assert!(
        kept.ends_with("streams ready: 0 created, 0 updated, 2 kept\n"),
        "{kept}"
    );
    assert!(
        kept.contains("C_1: as it should be; epoch") && kept.contains(", 1 messages"),
        "{kept}"
    );
    assert_eq!(epochs(&kept), epochs(&made));
    assert_eq!(nats.stream("C_1").await["config"], config);
}

#[tokio::test]
async fn a_stream_has_the_settings_that_nodes_need() {
    let (servers, nats) = one_server().await;
    let flags = [
        "--history-max-age",
        "48h",
        "--max-bytes-per-shard",
        "64Mi",
        "--message-bytes",
        "1000",
    ];
    init(&servers, &flags).await.succeeded();
    let config = nats.stream("C_1").await["config"].take();
    for (field, value) in [
        ("subjects", json!(["c.in.1.*.*"])),
        (
            "republish",
            json!({"src": "c.in.1.*.*", "dest": "c.live.1.{{wildcard(1)}}.{{wildcard(2)}}"}),
        ),
        ("retention", json!("limits")),
        ("discard", json!("old")),
        ("storage", json!("file")),
        ("num_replicas", json!(1)),
        ("max_bytes", json!(64 << 20)),
        ("max_age", json!(48 * 3600 * 1_000_000_000_u64)),
        ("max_msgs", json!(-1)),
        ("max_msgs_per_subject", json!(-1)),
        ("max_msg_size", json!(66_536)),
        ("max_consumers", json!(64)),
        ("duplicate_window", json!(300_000_000_000_u64)),
        ("allow_direct", json!(true)),
        ("compression", json!("none")),
        ("deny_delete", json!(false)),
        ("deny_purge", json!(false)),
        ("allow_msg_ttl", json!(false)),
        ("allow_rollup_hdrs", json!(false)),
    ] {
        assert_eq!(config[field], value, "{field}");
    }
    let metadata = &config["metadata"];
    assert_eq!(metadata["natter.shards"], "2");
    assert_eq!(metadata["natter.hash"], "blake3-1");
    assert_eq!(metadata["natter.version"], "1");
    assert_eq!(metadata["natter.epoch"].as_str().map(str::len), Some(32));
    let other = nats.stream("C_0").await["config"]["metadata"].take();
    assert_ne!(other["natter.epoch"], metadata["natter.epoch"]);
}

#[tokio::test]
async fn what_can_be_repaired_is() {
    let (servers, nats) = one_server().await;
    init(&servers, &[]).await.succeeded();
    nats.store("c.in.0.ROOM.m", &[], "hello").await;
    let before = nats.stream("C_0").await;
    let repairs: [(&str, Value); 13] = [
        ("max_bytes", json!(1 << 20)),
        ("max_age", json!(600_000_000_000_u64)),
        ("max_msgs", json!(1000)),
        ("max_msgs_per_subject", json!(10)),
        ("max_msg_size", json!(70_000)),
        ("duplicate_window", json!(120_000_000_000_u64)),
        ("discard", json!("new")),
        (
            "republish",
            json!({"src": "c.in.0.*.*", "dest": "c.live.0.{{wildcard(1)}}.x"}),
        ),
        ("allow_direct", json!(false)),
        ("max_consumers", json!(10)),
        ("compression", json!("s2")),
        ("no_ack", json!(true)),
        ("allow_atomic", json!(true)),
    ];
    for (field, value) in repairs {
        update(&nats, "C_0", |config| config[field] = value).await;
        let dry = init(&servers, &["--dry-run"]).await.succeeded();
        assert!(
            dry.contains(&format!("C_0: would be updated: {field} from ")),
            "{dry}"
        );
        let said = init(&servers, &[]).await.succeeded();
        assert!(
            said.contains(&format!("C_0: updated: {field} from ")),
            "{said}"
        );
        assert!(said.contains("0 created, 1 updated, 1 kept"), "{said}");
    }
    let after = nats.stream("C_0").await;
    assert_eq!(after["config"], before["config"]);
    assert_eq!(after["created"], before["created"]);
    assert_eq!(after["state"]["messages"], 1);
}

#[tokio::test]
async fn what_cannot_be_repaired_is_refused_and_nothing_is_touched() {
    let (servers, nats) = one_server().await;
    for (field, value) in [
        ("storage", json!("memory")),
        ("retention", json!("workqueue")),
        ("subjects", json!(["c.in.0.*.*", "more"])),
        ("deny_purge", json!(true)),
        ("deny_delete", json!(true)),
        ("allow_msg_ttl", json!(true)),
        ("allow_msg_schedules", json!(true)),
        ("allow_msg_counter", json!(true)),
        ("persist_mode", json!("async")),
    ] {
        init(&servers, &[]).await.succeeded();
        replace(&nats, "C_0", |config| {
            config[field] = value;
            // So that there is something to repair too.
            config["max_bytes"] = json!(1 << 20);
        })
        .await;
        let config = nats.stream("C_0").await["config"].take();
        let said = init(&servers, &[]).await.refused();
        assert!(
            said.contains("nothing was changed") && said.contains(&format!("C_0: {field} is ")),
            "{said}"
        );
        assert_eq!(nats.stream("C_0").await["config"], config);
        nats.delete_stream("C_0").await;
        nats.delete_stream("C_1").await;
    }
}

#[tokio::test]
async fn history_is_shrunk_only_if_that_is_asked_for() {
    let (servers, nats) = one_server().await;
    init(&servers, &[]).await.succeeded();
    let less = ["--max-bytes-per-shard", "64Mi", "--history-max-age", "24h"];
    let said = init(&servers, &less).await.refused();
    for field in [
        "max_bytes is 536870912, expected 67108864",
        "max_age is 720h, expected 24h",
        "--shrink-history",
    ] {
        assert!(said.contains(field), "{field}: {said}");
    }
    let said = init(&servers, &[&less[..], &["--shrink-history"]].concat())
        .await
        .succeeded();
    assert!(said.contains("0 created, 2 updated"), "{said}");
    assert_eq!(nats.stream("C_1").await["config"]["max_bytes"], 64 << 20);
}

#[tokio::test]
async fn the_number_of_shards_cannot_change() {
    let (servers, nats) = one_server().await;
    init(&servers, &[]).await.succeeded();
    for shards in ["1", "4"] {
        let said = init(&servers, &["--shards", shards]).await.refused();
        let text = format!("history.shards (--shards) is {shards}, but C_0 is one of 2 streams");
        assert!(
            said.contains(&text) && said.contains("--shards 2"),
            "{said}"
        );
    }
    let names = nats.api("STREAM.NAMES", json!({})).await;
    assert_eq!(names["streams"], json!(["C_0", "C_1"]));
    // Even if only a stream is left that is beyond the number.
    nats.delete_stream("C_0").await;
    let said = init(&servers, &["--shards", "1"]).await.refused();
    assert!(said.contains("C_1 is one of 2 streams"), "{said}");
}

#[tokio::test]
async fn a_lost_stream_is_not_silently_made_again() {
    let (servers, nats) = one_server().await;
    let made = init(&servers, &[]).await.succeeded();
    // Nothing was stored yet: an earlier run may have been interrupted.
    nats.delete_stream("C_1").await;
    init(&servers, &[]).await.succeeded();
    nats.store("c.in.0.ROOM.m", &[], "hello").await;
    nats.delete_stream("C_1").await;
    let said = init(&servers, &[]).await.refused();
    assert!(
        said.contains("C_1: is missing") && said.contains("--recreate-missing"),
        "{said}"
    );
    let again = init(&servers, &["--recreate-missing"]).await.succeeded();
    assert!(again.contains("1 created, 0 updated, 1 kept"), "{again}");
    let (made, again) = (epochs(&made), epochs(&again));
    assert_eq!(made[0], again[0]);
    assert_ne!(made[1], again[1]);
}

#[tokio::test]
async fn epochs_are_renewed_when_that_is_asked_for() {
    let (servers, nats) = one_server().await;
    let made = init(&servers, &[]).await.succeeded();
    nats.store("c.in.0.ROOM.m", &[], "hello").await;
    let renewed = init(&servers, &["--renew-epochs"]).await.succeeded();
    assert!(renewed.contains("C_0: updated: a new epoch"), "{renewed}");
    for (made, renewed) in epochs(&made).iter().zip(epochs(&renewed)) {
        assert_ne!(*made, renewed);
    }
    let kept = init(&servers, &[]).await.succeeded();
    assert_eq!(epochs(&kept), epochs(&renewed));
    assert_eq!(nats.stream("C_0").await["state"]["messages"], 1);
}

#[tokio::test]
async fn streams_of_others_are_left_alone() {
    let (servers, nats) = one_server().await;
    let other = json!({"name": "AUDIT", "subjects": ["c.in.7.>"]});
    nats.create_stream(other).await;
    nats.create_stream(json!({"name": "C_0", "subjects": ["x"]}))
        .await;
    nats.create_stream(json!({"name": "ORDERS", "subjects": ["orders.>"]}))
        .await;
    let said = init(&servers, &[]).await.refused();
    assert!(said.contains("AUDIT: is no stream of the nodes"), "{said}");
    assert!(said.contains("C_0: was made by something else"), "{said}");
    assert!(!said.contains("ORDERS"), "{said}");
    nats.delete_stream("AUDIT").await;
    nats.delete_stream("C_0").await;
    init(&servers, &[]).await.succeeded();
}

#[tokio::test]
async fn settings_come_from_the_nodes_file_and_the_environment() {
    let (servers, nats) = one_server().await;
    let folder = TempDir::new().expect("there is a place for temporary files");
    let file = folder.path().join("natter.yaml");
    let urls = servers.urls();
    let yaml = format!(
        "listen: 0.0.0.0:8080\nnats: {{url: ['{urls}'], replicas: 3}}\nlimits: {{messageBytes: 5000}}\n\
         history: {{shards: 3, maxAge: 24h, maxBytesPerShard: 16Mi}}\n"
    );
    std::fs::write(&file, yaml).expect("the temporary folder can be written to");
    let file = file.display().to_string();
    let variables = [("NATTER_REPLICAS", "1"), ("NATTER_CONFIG", &file)];
    let said = run_with(&["nats", "init", "--history-max-age", "25h"], &variables).await;
    let said = said.succeeded();
    assert!(said.contains("streams ready: 3 created"), "{said}");
    let config = nats.stream("C_2").await["config"].take();
    assert_eq!(config["max_age"], 25 * 3600 * 1_000_000_000_u64);
    assert_eq!(config["max_bytes"], 16 << 20);
    assert_eq!(config["max_msg_size"], 5000 + 65_536);
}

#[tokio::test]
async fn wrong_settings_end_with_exit_code_2_and_one_line() {
    for (words, text) in [
        (
            &["nats", "init"][..],
            "nats.url (--nats-url) names no server",
        ),
        (
            &["nats", "init", "--nats-url", "nats://n", "--replicas", "2"],
            "--replicas: expected 1, 3 or 5",
        ),
        (
            &[
                "nats",
                "init",
                "--nats-url",
                "nats://n",
                "--nats-credentials",
                "/nowhere/x.nk",
            ],
            "/nowhere/x.nk cannot be read",
        ),
        (
            &[
                "nats",
                "init",
                "--nats-url",
                "nats://n",
                "--nats-ca",
                "/dev/null",
            ],
            "/dev/null has no certificate",
        ),
        (
            &["--shards", "3", "nats", "init", "--nats-url", "nats://n"],
            "--shards is given to the node",
        ),
        (
            &["nats", "init", "--history-max-age", "1m"],
            "--history-max-age: expected a duration from 5m",
        ),
    ] {
        let ended = run(words).await;
        assert_eq!(ended.code, Some(2), "{words:?}: {ended:?}");
        assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
        assert!(ended.stderr.contains(text), "{text}: {ended:?}");
    }
}

#[tokio::test]
async fn servers_that_are_not_there_or_will_not_do_are_named() {
    // Nobody listens on a port that was just given back.
    let port =
        std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let url = format!("nats://{}", port.expect("a free port"));
    let said = run(&["nats", "init", "--nats-url", &url, "--timeout", "1s"])
        .await
        .refused();
    assert!(
        said.contains("no NATS server could be reached") && said.contains("refused"),
        "{said}"
    );

    let (servers, _nats) = one_server().await;
    let said = init(&servers, &["--replicas", "3"]).await.refused();
    assert!(
        said.contains("a single server can only have --replicas 1"),
        "{said}"
    );
    let servers = NatsServers::with(1)
        .config("max_payload: 100KB")
        .start()
        .await;
    let said = init(&servers, &[]).await.refused();
    assert!(said.contains("max_payload of the server is"), "{said}");
}

#[tokio::test]
async fn only_the_operator_may_set_up() {
    let users = TempDir::new().expect("there is a place for temporary files");
    make_users(users.path(), 2).await;
    let servers = NatsServers::with(1).users(users.path()).start().await;
    let key = |name: &str| users.path().join(name).display().to_string();
    for name in ["node.nk", "moderator.nk"] {
        let said = init(&servers, &["--nats-credentials", &key(name)])
            .await
            .refused();
        assert!(
            said.contains("the credentials must be the operator's"),
            "{name}: {said}"
        );
    }
    let said = init(&servers, &[]).await.refused();
    assert!(
        said.contains("let nobody in without nats.credentials"),
        "{said}"
    );
    let strangers = TempDir::new().expect("there is a place for temporary files");
    make_users(strangers.path(), 2).await;
    let stranger = strangers.path().join("operator.nk").display().to_string();
    let said = init(&servers, &["--nats-credentials", &stranger])
        .await
        .refused();
    assert!(
        said.contains("the NATS servers do not know the user U"),
        "{said}"
    );
    let flags = ["--nats-credentials", &key("operator.nk")];
    init(&servers, &flags).await.succeeded();
}

#[tokio::test]
async fn in_a_cluster_streams_have_copies_and_more_are_added() {
    let servers = NatsServers::start(3).await;
    let nats = Nats::connect(&servers).await;
    let ended = init(&servers, &[]).await;
    assert!(ended.stderr.contains("replicas is 1"), "{ended:?}");
    let made = ended.succeeded();
    nats.store("c.in.1.ROOM.m", &[], "hello").await;
    let ended = init(&servers, &["--replicas", "3"]).await;
    assert!(!ended.stderr.contains("warning"), "{ended:?}");
    let said = ended.succeeded();
    assert!(
        said.contains("C_1: updated: num_replicas from 1 to 3"),
        "{said}"
    );
    // Whoever leads tells the same epoch.
    assert_eq!(epochs(&said), epochs(&made));
    let leader = servers.leader("C_1").await;
    nats.api("STREAM.LEADER.STEPDOWN.C_1", json!({})).await;
    servers.leads_no_more(leader, "C_1").await;
    let said = init(&servers, &["--replicas", "3"]).await.succeeded();
    assert_eq!(epochs(&said), epochs(&made));
    let said = init(&servers, &["--replicas", "1"]).await.refused();
    assert!(
        said.contains("C_0: num_replicas is 3, expected 1; copies are not taken away"),
        "{said}"
    );
    assert_eq!(nats.stream("C_1").await["state"]["messages"], 1);
}

#[tokio::test]
async fn a_cluster_that_comes_late_is_waited_for() {
    let mut servers = NatsServers::start(3).await;
    servers[1].kill();
    servers[2].kill();
    let urls = servers.urls();
    let words = [
        "nats",
        "init",
        "--nats-url",
        &urls,
        "--shards",
        "1",
        "--timeout",
        "1m",
    ];
    let setting_up = run(&words);
    let starting = async {
        servers[1].restart().await;
        servers[2].restart().await;
        servers
    };
    let (ended, _servers) = tokio::join!(setting_up, starting);
    let said = ended.succeeded();
    assert!(said.contains("streams ready: 1 created"), "{said}");
}
