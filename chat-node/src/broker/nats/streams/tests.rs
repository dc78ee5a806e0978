use super::*;

fn wanted() -> Desired {
    Desired {
        shards: 8,
        replicas: 3,
        max_bytes: 512 << 20,
        max_age: Duration::from_secs(720 * 3600),
        message_bytes: 65_536,
        placement_tags: Vec::new(),
    }
}

fn stream() -> StreamConfig {
    StreamConfig::desired(&wanted(), 3, "e1")
}

/// The stream as a server tells it: with fields of its own, and without those that are empty.
fn as_told() -> StreamConfig {
    let mut settings = settings(&stream());
    settings.retain(|_, value| !is_empty(value));
    for (key, value) in [
        ("compression", "none".into()),
        ("consumer_limits", Map::new().into()),
        ("mirror_direct", false.into()),
        ("sealed", false.into()),
    ] {
        settings.insert(key.to_owned(), value);
    }
    settings["metadata"]["_nats.ver"] = "2.15.1".into();
    serde_json::from_value(settings.into()).unwrap()
}

/// The stream with one setting changed.
fn with(field: &str, value: impl Into<Value>) -> StreamConfig {
    let mut settings = settings(&as_told());
    match field.split_once('.') {
        Some((object, key)) => settings[object][key] = value.into(),
        None => _ = settings.insert(field.to_owned(), value.into()),
    }
    serde_json::from_value(settings.into()).unwrap()
}

fn without_metadata(key: &str) -> StreamConfig {
    let mut stream = as_told();
    stream.metadata.remove(key).unwrap();
    stream
}

#[test]
fn the_settings_are_those_of_the_design() {
    let expected = serde_json::json!({
        "name": "C_3",
        "subjects": ["c.in.3.*.*"],
        "republish": {"src": "c.in.3.*.*", "dest": "c.live.3.{{wildcard(1)}}.{{wildcard(2)}}", "headers_only": false},
        "retention": "limits", "discard": "old", "storage": "file", "num_replicas": 3,
        "max_bytes": 536_870_912, "max_msgs": -1, "max_msgs_per_subject": -1,
        "max_age": 2_592_000_000_000_000_u64, "max_msg_size": 131_072, "max_consumers": 64,
        "duplicate_window": 300_000_000_000_u64, "allow_direct": true, "allow_msg_ttl": false,
        "allow_msg_schedules": false, "allow_msg_counter": false, "allow_rollup_hdrs": false,
        "allow_atomic": false, "allow_batched": false, "deny_delete": false, "deny_purge": false,
        "compression": "none",
        "metadata": {"natter.epoch": "e1", "natter.shards": "8", "natter.hash": "blake3-1", "natter.version": "1"},
    });
    assert_eq!(serde_json::to_value(stream()).unwrap(), expected);
}

#[test]
fn a_stream_as_the_server_tells_it_has_no_differences() {
    assert_eq!(differences(&as_told(), &stream()), []);
    assert_eq!(check_for_node(&as_told(), 3, 8, 65_536), Ok(()));
    assert_eq!(as_told().unknown_settings().count(), 0);
}

#[test]
fn every_setting_that_differs_is_found_and_said() {
    use Repair::{DropsHistory, Safe, Unsafe};
    for (field, value, repair, said) in [
        (
            "max_bytes",
            1000.into(),
            Safe,
            "max_bytes is 1000, expected 536870912",
        ),
        (
            "max_bytes",
            (1_i64 << 40).into(),
            DropsHistory,
            "max_bytes is 1099511627776, expected 536870912",
        ),
        (
            "max_bytes",
            (-1).into(),
            DropsHistory,
            "max_bytes is unlimited, expected 536870912",
        ),
        (
            "max_age",
            3_600_000_000_000_u64.into(),
            Safe,
            "max_age is 1h, expected 720h",
        ),
        (
            "max_age",
            0.into(),
            DropsHistory,
            "max_age is unlimited, expected 720h",
        ),
        (
            "num_replicas",
            1.into(),
            Safe,
            "num_replicas is 1, expected 3",
        ),
        (
            "num_replicas",
            5.into(),
            Unsafe,
            "num_replicas is 5, expected 3",
        ),
        (
            "max_msgs",
            10.into(),
            Safe,
            "max_msgs is 10, expected unlimited",
        ),
        (
            "max_msgs_per_subject",
            10.into(),
            Safe,
            "max_msgs_per_subject is 10, expected unlimited",
        ),
        (
            "max_msg_size",
            1000.into(),
            Safe,
            "max_msg_size is 1000, expected 131072",
        ),
        (
            "duplicate_window",
            120_000_000_000_u64.into(),
            Safe,
            "duplicate_window is 2m, expected 5m",
        ),
        (
            "max_consumers",
            1000.into(),
            Safe,
            "max_consumers is 1000, expected 64",
        ),
        (
            "discard",
            "new".into(),
            Safe,
            "discard is new, expected old",
        ),
        (
            "allow_direct",
            false.into(),
            Safe,
            "allow_direct is false, expected true",
        ),
        (
            "compression",
            "s2".into(),
            Safe,
            "compression is s2, expected none",
        ),
        (
            "no_ack",
            true.into(),
            Safe,
            "no_ack is true, expected not set",
        ),
        (
            "allow_rollup_hdrs",
            true.into(),
            Safe,
            "allow_rollup_hdrs is true, expected false",
        ),
        (
            "allow_atomic",
            true.into(),
            Safe,
            "allow_atomic is true, expected false",
        ),
        (
            "allow_batched",
            true.into(),
            Safe,
            "allow_batched is true, expected false",
        ),
        (
            "subject_delete_marker_ttl",
            60_000_000_000_u64.into(),
            Safe,
            "subject_delete_marker_ttl is 1m, expected not set",
        ),
        (
            "discard_new_per_subject",
            true.into(),
            Safe,
            "discard_new_per_subject is true, expected not set",
        ),
        (
            "subjects",
            vec!["c.in.3.*"].into(),
            Unsafe,
            r#"subjects is ["c.in.3.*"], expected ["c.in.3.*.*"]"#,
        ),
        (
            "retention",
            "interest".into(),
            Unsafe,
            "retention is interest, expected limits",
        ),
        (
            "storage",
            "memory".into(),
            Unsafe,
            "storage is memory, expected file",
        ),
        (
            "persist_mode",
            "async".into(),
            Unsafe,
            "persist_mode is async, expected not set",
        ),
        (
            "sealed",
            true.into(),
            Unsafe,
            "sealed is true, expected not set",
        ),
        (
            "deny_delete",
            true.into(),
            Unsafe,
            "deny_delete is true, expected false",
        ),
        (
            "deny_purge",
            true.into(),
            Unsafe,
            "deny_purge is true, expected false",
        ),
        (
            "allow_msg_ttl",
            true.into(),
            Unsafe,
            "allow_msg_ttl is true, expected false",
        ),
        (
            "allow_msg_schedules",
            true.into(),
            Unsafe,
            "allow_msg_schedules is true, expected false",
        ),
        (
            "allow_msg_counter",
            true.into(),
            Unsafe,
            "allow_msg_counter is true, expected false",
        ),
        (
            "mirror",
            serde_json::json!({"name": "X"}),
            Unsafe,
            r#"mirror is {"name":"X"}, expected not set"#,
        ),
        (
            "sources",
            serde_json::json!([{"name": "X"}]),
            Unsafe,
            r#"sources is [{"name":"X"}], expected not set"#,
        ),
        (
            "metadata.natter.shards",
            "16".into(),
            Unsafe,
            "metadata.natter.shards is 16, expected 8",
        ),
        (
            "metadata.natter.hash",
            "x".into(),
            Unsafe,
            "metadata.natter.hash is x, expected blake3-1",
        ),
        (
            "metadata.natter.version",
            "0".into(),
            Safe,
            "metadata.natter.version is 0, expected 1",
        ),
        (
            "metadata.natter.version",
            "2".into(),
            Unsafe,
            "metadata.natter.version is 2, expected 1",
        ),
    ] {
        let changed = match field.strip_prefix("metadata.") {
            Some(key) => {
                let mut stream = as_told();
                let text = Value::as_str(&value).unwrap().to_owned();
                stream.metadata.insert(key.to_owned(), text);
                stream
            }
            None => with(field, value),
        };
        let found = differences(&changed, &stream());
        assert_eq!(found.len(), 1, "{field}: {found:?}");
        assert_eq!(
            (found[0].to_string().as_str(), found[0].repair),
            (said, repair)
        );
        assert_eq!(found[0].field, field);
    }
    let republish = with("republish.dest", "c.live.3.{{wildcard(1)}}");
    let found = differences(&republish, &stream());
    assert_eq!(
        (found[0].field.as_str(), found[0].repair),
        ("republish", Safe)
    );
}

#[test]
fn more_than_is_needed_is_no_difference() {
    for (field, value) in [
        ("max_msg_size", Value::from(1 << 20)),
        ("max_msg_size", (-1).into()),
        ("duplicate_window", 600_000_000_000_u64.into()),
        ("description", "ours".into()),
        ("metadata.owner", "us".into()),
        ("placement", serde_json::json!({"tags": ["ssd"]})),
    ] {
        assert_eq!(differences(&with(field, value), &stream()), [], "{field}");
    }
}

#[test]
fn a_stream_that_is_not_ours_differs_in_every_mark() {
    let mut stream = as_told();
    stream.metadata.clear();
    let found: Vec<_> = differences(&stream, &self::stream())
        .into_iter()
        .map(|difference| (difference.field, difference.found, difference.repair))
        .collect();
    let missing = |key: &str| {
        let field = format!("metadata.natter.{key}");
        (field, "missing".to_owned(), Repair::Unsafe)
    };
    assert_eq!(found, ["epoch", "hash", "shards", "version"].map(missing));
}

#[test]
fn placement_counts_only_when_tags_are_asked_for() {
    let desired = Desired {
        placement_tags: vec!["sync:always".to_owned()],
        ..wanted()
    };
    let desired = StreamConfig::desired(&desired, 3, "e2");
    let found = differences(&as_told(), &desired);
    assert_eq!(found.len(), 1);
    assert_eq!(
        found[0].to_string(),
        "placement.tags is [], expected [sync:always]"
    );
    let repaired =
        with("placement", serde_json::json!({"cluster": "east"})).repaired(&desired, &found);
    let placement = repaired.placement.unwrap();
    assert_eq!(
        (placement.cluster.as_str(), placement.tags),
        ("east", vec!["sync:always".to_owned()])
    );
}

#[test]
fn a_repair_changes_what_it_names_and_nothing_else() {
    let mut actual = with("max_bytes", 1000);
    actual.num_replicas = 1;
    actual.metadata.insert("owner".to_owned(), "us".to_owned());
    actual.other.insert("no_ack".to_owned(), true.into());
    actual.other.insert("later_setting".to_owned(), 7.into());
    let desired = StreamConfig::desired(&wanted(), 3, "another epoch");
    let found = differences(&actual, &desired);
    let repaired = actual.repaired(&desired, &found);
    assert_eq!(differences(&repaired, &desired), []);
    assert_eq!(repaired.metadata["natter.epoch"], "e1");
    assert_eq!(repaired.metadata["owner"], "us");
    assert_eq!(repaired.metadata["_nats.ver"], "2.15.1");
    assert_eq!(repaired.other["later_setting"], 7);
    assert_eq!(
        actual.unknown_settings().collect::<Vec<_>>(),
        ["later_setting"]
    );
    let only_replicas: Vec<_> = found
        .into_iter()
        .filter(|difference| difference.field == "num_replicas")
        .collect();
    let repaired = actual.repaired(&desired, &only_replicas);
    assert_eq!((repaired.num_replicas, repaired.max_bytes), (3, 1000));
}

#[test]
fn a_node_says_which_setting_to_change_and_to_what() {
    for (stream, message) in [
        (
            with("republish", Value::Null),
            r#"stream C_3: republish is not set, expected {"dest":"c.live.3.{{wildcard(1)}}.{{wildcard(2)}}","headers_only":false,"src":"c.in.3.*.*"}; run `chat-node nats init`, which repairs it"#,
        ),
        (
            with("max_msg_size", 65_536),
            "stream C_3: max_msg_size is 65536, expected 131072; run `chat-node nats init`, which repairs it",
        ),
        (
            with("storage", "memory"),
            "stream C_3: storage is memory, expected file; it cannot be repaired in place: `chat-node nats init` says more",
        ),
        (
            without_metadata("natter.epoch"),
            "stream C_3: metadata.natter.epoch is missing, expected a random value; it cannot be repaired in place: `chat-node nats init` says more",
        ),
        (
            without_metadata("natter.shards"),
            "stream C_3 was not set up for Natter: its metadata lacks natter.shards; remove it if nothing else needs it and run `chat-node nats init`",
        ),
    ] {
        assert_eq!(
            check_for_node(&stream, 3, 8, 65_536),
            Err(message.to_owned())
        );
    }
    assert_eq!(
        check_for_node(&as_told(), 3, 16, 65_536),
        Err("stream C_3 is one of 8 shards, but history.shards (--shards) of this node is 16; start the node with --shards 8".to_owned())
    );
    let mut other_hash = as_told();
    other_hash
        .metadata
        .insert(HASH.to_owned(), "blake3-2".to_owned());
    let message = check_for_node(&other_hash, 3, 8, 65_536).unwrap_err();
    assert!(
        message.contains("'blake3-2'") && message.contains("'blake3-1'"),
        "{message}"
    );
}

#[test]
fn a_node_leaves_to_the_operator_what_it_does_not_rely_on() {
    for (field, value) in [
        ("max_bytes", Value::from(1)),
        ("max_age", 0.into()),
        ("num_replicas", 1.into()),
        ("max_consumers", 1000.into()),
        ("compression", "s2".into()),
        ("allow_msg_ttl", true.into()),
        ("deny_purge", true.into()),
    ] {
        assert_eq!(
            check_for_node(&with(field, value), 3, 8, 65_536),
            Ok(()),
            "{field}"
        );
    }
}

#[test]
fn the_epoch_follows_creation_and_metadata() {
    let metadata = |epoch: &str| BTreeMap::from([(EPOCH.to_owned(), epoch.to_owned())]);
    let created = "2026-11-21T10:00:00.123456789Z";
    let first = epoch(created, &metadata("e1"));
    assert_eq!(first, "epejsly55sq2gxhl");
    assert_eq!(first, epoch(created, &metadata("e1")));
    let others = [
        epoch(created, &metadata("e2")),
        epoch("2026-11-21T10:00:00.123456788Z", &metadata("e1")),
        epoch(created, &BTreeMap::new()),
    ];
    assert!(
        others
            .iter()
            .all(|other| *other != first && other.len() == 16)
    );
    assert_ne!(random_epoch(), random_epoch());
}
