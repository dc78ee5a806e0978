use std::ffi::OsString;
use std::io::Write;
use std::net::IpAddr;

use super::environment::variable;
use super::load::settings;
use super::nats_command;
use super::*;

const DOCS: &str = include_str!("../../../docs/configuration.md");

type Variables<'a> = &'a [(&'a str, &'a str)];

fn load(args: &[&str], variables: Variables<'_>) -> Result<Invocation, ConfigError> {
    let args = ["chat-node"].iter().chain(args).map(OsString::from);
    let variables = variables
        .iter()
        .map(|(name, value)| (name.into(), value.into()));
    Config::load_from(args, variables)
}

fn config(args: &[&str], variables: Variables<'_>) -> Config {
    match load(args, variables) {
        Ok(Invocation::Serve(config)) => *config,
        other => panic!("expected a config: {other:?}"),
    }
}

fn error(args: &[&str], variables: Variables<'_>) -> String {
    let error = load(args, variables).unwrap_err().to_string();
    assert!(!error.contains('\n'), "more than one line: {error}");
    error
}

/// A file with `yaml`, and its path.
fn file(yaml: &str) -> (tempfile::NamedTempFile, String) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(yaml.as_bytes()).unwrap();
    let path = file.path().to_str().unwrap().to_owned();
    (file, path)
}

fn config_of(yaml: &str) -> Config {
    let (_file, path) = file(yaml);
    config(&["--config", &path], &[])
}

/// The error that a file causes, its path shortened to `x.yaml`.
fn error_of(yaml: &str) -> String {
    let (_file, path) = file(yaml);
    error(&["--config", &path], &[]).replace(&path, "x.yaml")
}

#[test]
fn without_configuration_the_node_listens_on_loopback_only_and_lets_anyone_in() {
    let config = config(&[], &[]);
    assert_eq!(config.listening.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.listening.admin_listen.to_string(), "127.0.0.1:9090");
    assert!(config.listening.workers >= 1);
    assert!(config.allows_anonymous());
    assert!(
        !config
            .access
            .allowed_origins
            .allows("https://example.com", None)
    );
    assert!(config.access.trusted_proxies.is_empty());
    assert_eq!(config.shutdown.drain_accept, None);
    assert_eq!(config.shutdown.drain_timeout, Duration::from_secs(30));
    assert_eq!(config.logging.log_format, LogFormat::Text);
    assert_eq!(config.logging.log_level, "info");
    assert!(config.warnings.is_empty());
    assert_eq!(config.room_classes.of("lobby"), Some(&RoomClass::default()));
}

#[test]
fn every_limit_has_its_documented_default() {
    let Limits {
        connections,
        connections_per_user,
        connects_per_second,
        message_bytes,
        rooms_per_session,
        publishes_per_second_per_session,
        publishes_per_second_per_room,
        presence_per_second_per_session,
        frame_bytes,
        room_name_bytes,
        handshake_timeout,
        ping_interval,
        pong_timeout,
        backlog_bytes,
        backlog_age,
        header_bytes,
    } = Config::default().limits;
    assert_eq!((connections, connects_per_second), (30_000, 1000));
    assert_eq!(connections_per_user, 128);
    assert_eq!((message_bytes, frame_bytes), (65_536, 1_048_576));
    assert_eq!((rooms_per_session, room_name_bytes), (128, 255));
    assert_eq!(publishes_per_second_per_session, 50);
    assert_eq!(publishes_per_second_per_room, 500);
    assert_eq!(presence_per_second_per_session, 10);
    assert_eq!(handshake_timeout, Duration::from_secs(10));
    assert_eq!(ping_interval, Duration::from_secs(25));
    assert_eq!(pong_timeout, Duration::from_secs(8));
    assert_eq!((backlog_bytes, header_bytes), (1_048_576, 16_384));
    assert_eq!(backlog_age, Duration::from_secs(20));

    let history = Config::default().history;
    assert_eq!(history.max_age, Duration::from_secs(720 * 3600));
    assert_eq!((history.max_messages, history.max_bytes), (1000, 4_194_304));
    assert_eq!(history.max_total_bytes, 268_435_456);

    let nats = Config::default().nats;
    assert_eq!(nats.publish_timeout, Duration::from_secs(4));
    assert_eq!(
        (nats.shard_log_messages, nats.shard_log_bytes),
        (20_000, 16 << 20)
    );
    assert_eq!(nats.shards, 8);
}

#[test]
fn flag_wins_over_environment_over_file_over_default() {
    let (_file, path) = file("limits: {connections: 1, roomsPerSession: 1, messageBytes: 1}");
    let variables = [
        ("NATTER_CONFIG", path.as_str()),
        ("NATTER_CONNECTIONS", "2"),
        ("NATTER_ROOMS_PER_SESSION", "2"),
    ];
    let limits = config(&["--connections", "3"], &variables).limits;
    assert_eq!(limits.connections, 3);
    assert_eq!(limits.rooms_per_session, 2);
    assert_eq!(limits.message_bytes, 1);
    assert_eq!(limits.header_bytes, 16_384);
}

#[test]
fn flag_false_wins_over_true() {
    let allow = [("NATTER_ALLOW_ANONYMOUS", "true")];
    assert!(config(&["--listen", ":0"], &allow).allows_anonymous());
    let refused = error(&["--listen", ":0", "--allow-anonymous=false"], &allow);
    assert!(refused.starts_with("nobody could connect"), "{refused}");
}

#[test]
fn an_empty_variable_is_the_same_as_none() {
    let limits = config(&[], &[("NATTER_CONNECTIONS", "")]).limits;
    assert_eq!(limits.connections, 30_000);
}

#[test]
fn lists_are_comma_separated_or_repeated_or_yaml_lists() {
    let origins = |config: &Config| {
        [
            "https://a.example",
            "https://b.example",
            "https://c.example",
        ]
        .map(|origin| config.access.allowed_origins.allows(origin, None))
    };
    let separated = config(
        &["--allowed-origins", "https://a.example,https://b.example"],
        &[],
    );
    assert_eq!(origins(&separated), [true, true, false]);
    let repeated = config(
        &[
            "--allowed-origins",
            "https://a.example",
            "--allowed-origins",
            "https://c.example",
        ],
        &[("NATTER_ALLOWED_ORIGINS", "https://b.example")],
    );
    assert_eq!(origins(&repeated), [true, false, true]);
    let variable = config(
        &[],
        &[(
            "NATTER_ALLOWED_ORIGINS",
            "https://b.example, https://c.example",
        )],
    );
    assert_eq!(origins(&variable), [false, true, true]);
    let yaml =
        config_of("auth:\n  allowedOrigins:\n  - https://a.example\n  - https://c.example\n");
    assert_eq!(origins(&yaml), [true, false, true]);
    assert_eq!(
        origins(&config_of("auth: {allowedOrigins: []}")),
        [false; 3]
    );
    assert_eq!(
        origins(&config_of("auth: {allowedOrigins: \"*\"}")),
        [true; 3]
    );

    let proxies = config(&["--trusted-proxies", "10.0.0.0/8,::1"], &[])
        .access
        .trusted_proxies;
    assert!(proxies.contains(IpAddr::from([10, 1, 2, 3])));
}

#[test]
fn only_loopback_is_anonymous_unasked() {
    for listen in [
        "127.0.0.1:8080",
        "127.8.8.8:0",
        "[::1]:8080",
        "localhost:8080",
        "[::ffff:127.0.0.1]:0",
    ] {
        assert!(
            config(&["--listen", listen], &[]).allows_anonymous(),
            "{listen}"
        );
    }
    for (listen, shown) in [
        ("0.0.0.0:8080", "0.0.0.0:8080"),
        (":8080", "0.0.0.0:8080"),
        ("[::]:8080", "[::]:8080"),
        ("192.0.2.1:0", "192.0.2.1:0"),
    ] {
        assert_eq!(
            error(&["--listen", listen], &[]),
            format!(
                "anonymous access on {shown} needs --allow-anonymous, \
                 NATTER_ALLOW_ANONYMOUS=true or auth.allowAnonymous: true; \
                 or give keys for tokens (--jwt-key-file, --jwt-jwks-url)"
            )
        );
        assert!(config(&["--listen", listen, "--allow-anonymous"], &[]).allows_anonymous());
    }
}

#[test]
fn where_users_can_tell_who_they_are_nobody_is_anonymous_unasked() {
    let keys = ["--jwt-key-file", "/keys"];
    assert!(!config(&keys, &[]).allows_anonymous());
    let with = |more: &[&'static str]| config(&[&keys[..], more].concat(), &[]);
    assert!(!with(&["--listen", ":0"]).allows_anonymous());
    assert!(with(&["--allow-anonymous"]).allows_anonymous());
}

#[test]
fn settings_of_tokens_must_go_together() {
    let both = [
        "--jwt-key-file",
        "/keys",
        "--jwt-jwks-url",
        "https://id/keys",
    ];
    assert!(error(&both, &[]).contains("are both given"));
    assert!(error(&["--jwt-issuer", "id"], &[]).contains("need keys"));
    for url in [
        "id.example.com",
        "ftp://id/keys",
        "https://",
        "https://user:pass@id/keys",
    ] {
        assert!(
            error(&["--jwt-jwks-url", url], &[]).contains("expected a URL"),
            "{url}"
        );
    }
    assert!(
        error(&["--jwt-key-file", "/keys", "--jwt-audience="], &[]).contains("expected a text")
    );
}

#[test]
fn a_bad_value_is_blamed_on_where_it_was_set() {
    let expected = "expected a whole number from 1 to 10000, found";
    assert_eq!(
        error(&["--rooms-per-session", "0"], &[]),
        format!("--rooms-per-session: {expected} '0'")
    );
    assert_eq!(
        error(&[], &[("NATTER_ROOMS_PER_SESSION", "many")]),
        format!("NATTER_ROOMS_PER_SESSION: {expected} 'many'")
    );
    assert_eq!(
        error_of("limits: {roomsPerSession: true}"),
        format!("config file x.yaml: limits.roomsPerSession: {expected} 'true'")
    );
    for (yaml, text) in [
        (
            "listen: 8080",
            "listen: expected ip:port, such as 127.0.0.1:8080, [::1]:8080 or :8080, found '8080'",
        ),
        (
            "auth: {allowAnonymous: yes}",
            "auth.allowAnonymous: expected one of true, false, found 'yes'",
        ),
        (
            "listen: ''",
            "listen: expected ip:port, such as 127.0.0.1:8080, [::1]:8080 or :8080, found ''",
        ),
        (
            "logFormat: ''",
            "logFormat: expected one of text, json, found ''",
        ),
        (
            "logFormat: xml",
            "logFormat: expected one of text, json, found 'xml'",
        ),
        (
            "logLevel: inof",
            "logLevel: expected error, warn, info, debug, trace, off or directives such as info,chat_node=debug, found 'inof'",
        ),
        (
            "limits: {pingInterval: 25}",
            "limits.pingInterval: expected a duration from 1s to 1h, such as 5s or 1h30m, found '25'",
        ),
        (
            "trustedProxies: [10.0.0.0/8, proxy]",
            "trustedProxies: expected an IP address or network, such as 10.0.0.0/8, 192.0.2.1 or fd00::/8, found 'proxy'",
        ),
        (
            "auth: {allowedOrigins: [https://example.com/chat]}",
            "auth.allowedOrigins: expected an origin scheme://host[:port] without a path, such as https://example.com, https://*.example.com or *, found 'https://example.com/chat'",
        ),
    ] {
        assert_eq!(error_of(yaml), format!("config file x.yaml: {text}"));
    }
}

#[test]
fn a_file_of_the_wrong_shape_says_where() {
    for (yaml, text) in [
        (
            "limits: {roomPerSession: 1}",
            "unknown key 'limits.roomPerSession', did you mean 'limits.roomsPerSession'?",
        ),
        (
            "connections: 1",
            "unknown key 'connections', did you mean 'limits.connections'?",
        ),
        (
            "limit: {connections: 1}",
            "unknown key 'limit', did you mean 'limits'?",
        ),
        (
            "roomClass: []",
            "unknown key 'roomClass', did you mean 'roomClasses'?",
        ),
        (
            "roomClasses: [{prefix: a, presense: Anyone}]",
            "unknown key 'roomClasses[0].presense', did you mean 'roomClasses[0].presence'?",
        ),
        ("kubernetes: {}", "unknown key 'kubernetes'"),
        ("limits: 5", "limits: expected a mapping of settings"),
        (
            "limits: {connections: [1]}",
            "limits.connections: expected a single value",
        ),
        ("listen: {port: 1}", "listen: expected a single value"),
        (
            "trustedProxies: [{a: b}]",
            "trustedProxies: expected a list of texts",
        ),
        ("- listen", "expected a mapping of settings"),
    ] {
        assert_eq!(error_of(yaml), format!("config file x.yaml: {text}"));
    }
}

#[test]
fn unreadable_files_are_one_clear_line() {
    assert_eq!(
        error(&["--config", "/nowhere/x.yaml"], &[]),
        "config file /nowhere/x.yaml: cannot be read: No such file or directory (os error 2)"
    );
    assert_eq!(
        error_of("listen: :0\nlisten: :1\n"),
        "config file x.yaml: duplicate mapping key `listen` is not allowed here at line 2, column 1"
    );
    let broken = error_of("limits:\n  connections: 1\n listen: [\n");
    assert!(broken.contains("line 3"), "{broken}");
}

#[test]
fn empty_files_sections_and_values_change_nothing() {
    for yaml in [
        "",
        "# nothing\n",
        "limits:\n",
        "limits:\n  connections:\n",
        "{}",
    ] {
        assert_eq!(config_of(yaml).limits.connections, 30_000, "{yaml}");
    }
}

#[test]
fn yaml_words_and_zero_mean_what_they_say() {
    assert_eq!(config_of("logLevel: off").logging.log_level, "off");
    let shutdown = config_of("drainAccept: 0").shutdown;
    assert_eq!(shutdown.drain_accept, Some(Duration::ZERO));
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    for (args, text) in [
        (
            ["--frame-bytes", "81919"],
            "limits.frameBytes (--frame-bytes) must be at least 81920, limits.messageBytes + 16384, but is 81919",
        ),
        (
            ["--pong-timeout", "25s"],
            "limits.pongTimeout (--pong-timeout) must be below limits.pingInterval, 25s, but is 25s",
        ),
        (
            ["--history-max-total-bytes", "4194303"],
            "history.maxTotalBytes (--history-max-total-bytes) must be at least 4194304, history.maxBytes, but is 4194303",
        ),
    ] {
        assert_eq!(error(&args, &[]), text);
    }
    assert_eq!(
        config(&["--frame-bytes", "81920"], &[]).limits.frame_bytes,
        81_920
    );
}

#[test]
fn the_broker_is_nats_as_soon_as_a_server_is_named() {
    let broker = |args: &[&str]| config(args, &[]).nats.broker();
    assert_eq!(broker(&[]), BrokerKind::Memory);
    assert_eq!(broker(&["--broker", "memory"]), BrokerKind::Memory);
    assert_eq!(broker(&["--nats-url", "nats://n"]), BrokerKind::Nats);
    let both = ["--nats-url", "nats://n", "--broker", "nats"];
    assert_eq!(broker(&both), BrokerKind::Nats);

    let texts = |urls: &[ServerUrl]| urls.iter().map(ServerUrl::to_string).collect::<Vec<_>>();
    let urls = |config: Config| texts(&config.nats.servers.urls);
    let expected = ["nats://a:4222", "tls://b:1"];
    let separated = config(&["--nats-url", "nats://a, tls://b:1"], &[]);
    assert_eq!(urls(separated), expected);
    let variable = config(&[], &[("NATTER_NATS_URL", "nats://a,tls://b:1")]);
    assert_eq!(urls(variable), expected);
    assert_eq!(
        urls(config_of("nats: {url: ['nats://a', 'tls://b:1']}")),
        expected
    );
}

#[test]
fn a_broker_that_contradicts_its_servers_is_refused() {
    for (args, text) in [
        (
            &["--broker", "nats"][..],
            "broker (--broker) is nats, but nats.url (--nats-url) names no server",
        ),
        (
            &["--broker", "memory", "--nats-url", "nats://n"],
            "broker (--broker) is memory, but nats.url (--nats-url) names a server",
        ),
        (
            &["--nats-moderator-credentials", "/x"],
            "nats.moderatorCredentials (--nats-moderator-credentials) is given, but nats.url (--nats-url) names no server",
        ),
        (
            &["--nats-credentials", "/x"],
            "nats.credentials (--nats-credentials) is given, but nats.url (--nats-url) names no server",
        ),
        (
            &["--nats-ca", "/x"],
            "nats.ca (--nats-ca) is given, but nats.url (--nats-url) names no server",
        ),
        (
            &["--nats-shard-log-bytes", "65535"],
            "nats.shardLogBytes (--nats-shard-log-bytes) must be at least 65536, limits.messageBytes, but is 65535",
        ),
        (
            &["--shards", "65"],
            "--shards: expected a whole number from 1 to 64, found '65'",
        ),
        (
            &["--nats-publish-timeout", "50ms"],
            "--nats-publish-timeout: expected a duration from 100ms to 1m, such as 5s or 1h30m, found '50ms'",
        ),
        (
            &["--node-name", "a.b"],
            "--node-name: expected 1 to 128 letters, digits, - and _, and not `all`, found 'a.b'",
        ),
    ] {
        assert_eq!(error(args, &[]), text);
    }
}

fn init(args: &[&str], variables: Variables<'_>) -> Init {
    let args = [&["nats", "init"], args].concat();
    match load(&args, variables) {
        Ok(Invocation::Nats(NatsCommand::Init(init))) => *init,
        other => panic!("expected what init is told: {other:?}"),
    }
}

#[test]
fn init_has_the_defaults_of_nodes_and_its_own() {
    let url = ["--nats-url", "nats://n"];
    let Init {
        servers,
        streams,
        run,
    } = init(&url, &[]);
    let node = Config::default();
    assert_eq!(servers.urls.len(), 1);
    assert_eq!(streams.shards, node.nats.shards);
    assert_eq!(streams.max_age, node.history.max_age);
    assert_eq!(streams.message_bytes, node.limits.message_bytes);
    assert_eq!(
        (streams.replicas, streams.max_bytes_per_shard),
        (3, 512 << 20)
    );
    assert!(streams.placement_tags.is_empty());
    assert!(!run.dry_run && !run.renew_epochs && !run.shrink_history && !run.recreate_missing);
    assert_eq!(run.timeout, Duration::from_secs(120));
}

#[test]
fn init_takes_flags_over_environment_over_the_nodes_file() {
    let (_file, path) = file(
        "{listen: ':8080', history: {shards: 3, maxAge: 5h, maxBytesPerShard: 1Gi}, \
         nats: {url: 'nats://a', placementTags: [x, y], replicas: 5}}",
    );
    let variables = [
        ("NATTER_CONFIG", path.as_str()),
        ("NATTER_SHARDS", "4"),
        ("NATTER_HISTORY_MAX_AGE", "6h"),
        ("NATTER_DRY_RUN", "true"),
        ("NATTER_RENEW_EPOCHS", "true"),
    ];
    let Init { streams, run, .. } = init(&["--shards", "5", "--renew-epochs=false"], &variables);
    assert_eq!(streams.shards, 5);
    assert_eq!(streams.max_age, Duration::from_secs(6 * 3600));
    assert_eq!(streams.max_bytes_per_shard, 1 << 30);
    assert_eq!(streams.placement_tags, ["x", "y"]);
    assert_eq!(streams.replicas, 5);
    assert!(run.dry_run && !run.renew_epochs);
    // And a node reads the same file.
    let node = config(&["--config", &path, "--allow-anonymous"], &[]);
    assert_eq!(node.nats.shards, 3);
    assert!(node.warnings.is_empty());
}

#[test]
fn what_is_wrong_with_init_is_blamed_on_where_it_was_set() {
    for (args, variables, text) in [
        (
            &["--max-bytes-per-shard", "1MB"][..],
            &[][..],
            "--max-bytes-per-shard: expected a size such as 512Mi or 1G, from 1048576 to 17592186044416 bytes, found '1MB'",
        ),
        (
            &[],
            &[("NATTER_REPLICAS", "2")],
            "NATTER_REPLICAS: expected 1, 3 or 5: an even number survives no more than the odd one below it, found '2'",
        ),
        (&[], &[], "nats.url (--nats-url) names no server"),
    ] {
        let args = [&["nats", "init"], args].concat();
        assert_eq!(error(&args, variables), text);
    }
    let before = error(&["--nats-url", "nats://n", "nats", "init"], &[]);
    assert!(
        before.starts_with("--nats-url is given to the node"),
        "{before}"
    );
    let (_file, path) = file("dryRun: true");
    let in_file = error(&["nats", "init", "--config", &path], &[]);
    assert!(in_file.contains("unknown key 'dryRun'"), "{in_file}");
}

#[test]
fn users_are_told_where_and_for_how_many_shards() {
    let args = ["nats", "users", "--directory", "/keys", "--update"];
    let users = match load(&args, &[("NATTER_SHARDS", "16")]) {
        Ok(Invocation::Nats(NatsCommand::Users(users))) => users,
        other => panic!("expected what users is told: {other:?}"),
    };
    assert_eq!((users.shards, users.update), (16, true));
    assert_eq!(users.directory.to_str(), Some("/keys"));
    assert_eq!(users.account, "natter");
    let bad = error(&["nats", "users", "--account", "a b"], &[]);
    assert!(
        bad.starts_with("--account: expected 1 to 64 letters"),
        "{bad}"
    );
}

#[test]
fn a_setting_that_commands_share_with_nodes_is_the_same() {
    let mut shared = 0;
    for flag in nats_command::flags() {
        let settings = settings();
        let Some(setting) = settings
            .iter()
            .find(|setting| setting.get_id() == flag.get_id())
        else {
            continue;
        };
        shared += 1;
        assert_eq!(flag.get_long(), setting.get_long());
        assert_eq!(flag.get_default_values(), setting.get_default_values());
        assert_eq!(flag.get_value_names(), setting.get_value_names());
    }
    assert_eq!(shared, 7);
}

#[test]
fn a_secret_in_a_server_url_is_not_repeated() {
    let expected = "expected a URL without a user; nats.credentials is the place of its key";
    assert_eq!(
        error(&["--nats-url", "nats://user:hunter2@n"], &[]),
        format!("--nats-url: {expected}, found 'nats://…@n'")
    );
}

#[test]
fn unknown_flags_and_missing_values_are_one_line() {
    assert_eq!(
        error(&["--conections", "1"], &[]),
        "unexpected argument '--conections' found; a similar argument exists: '--connections'"
    );
    assert_eq!(
        error(&["--connections"], &[]),
        "a value is required for '--connections <COUNT>' but none was supplied"
    );
    let unknown = error(&["serve"], &[]);
    assert!(unknown.contains("'serve'"), "{unknown}");
}

#[test]
fn unknown_variables_are_warnings() {
    let variables = [
        ("NATTER_CONFIGG", "x"),
        ("NATTER_PORT", "tcp://10.0.0.1:80"),
    ];
    assert_eq!(
        config(&[], &variables).warnings,
        ["unknown environment variable 'NATTER_CONFIGG', did you mean 'NATTER_CONFIG'?"]
    );
}

#[test]
fn help_names_every_setting_its_variable_and_its_group_even_if_the_file_is_broken() {
    let Err(ConfigError::Help(help)) = load(&["--help", "--config", "/nowhere"], &[]) else {
        panic!("expected help");
    };
    let help = help.to_string();
    for heading in [
        "Listening:",
        "Access:",
        "Limits:",
        "History:",
        "NATS:",
        "Shutdown:",
        "Logging:",
    ] {
        assert!(help.contains(heading), "{heading} in {help}");
    }
    for setting in settings() {
        let long = setting.get_long().unwrap();
        assert!(help.contains(&format!("--{long}")), "{long}");
        assert!(help.contains(&variable(long)), "{long}");
    }
    assert!(help.starts_with("Chat node:"), "{help}");
    let Err(ConfigError::Help(version)) = load(&["--version"], &[]) else {
        panic!("expected the version");
    };
    assert_eq!(
        version.to_string(),
        format!("chat-node {}\n", env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn a_probe_asks_the_admin_address_of_the_same_configuration() {
    let probe = |args: &[&str], variables: Variables<'_>| match load(args, variables) {
        Ok(Invocation::Probe(probe)) => (probe.url.to_string(), probe.timeout),
        other => panic!("expected a probe: {other:?}"),
    };
    let two_seconds = Duration::from_secs(2);
    assert_eq!(
        probe(&["probe"], &[]),
        ("http://127.0.0.1:9090/readyz".to_owned(), two_seconds)
    );
    // The rest of the configuration may be the serving process's flags: it is not judged here.
    let variables = [
        ("NATTER_ADMIN_LISTEN", "[::]:9091"),
        ("NATTER_LISTEN", ":8080"),
    ];
    assert_eq!(probe(&["probe"], &variables).0, "http://[::1]:9091/readyz");
    assert_eq!(
        probe(
            &[
                "probe",
                "--url",
                "http://node/healthz",
                "--timeout",
                "500ms"
            ],
            &[("NATTER_CONFIG", "/nowhere")]
        ),
        ("http://node/healthz".to_owned(), Duration::from_millis(500))
    );
    let (_file, path) = file("adminListen: 0.0.0.0:9092");
    assert_eq!(
        probe(&["--config", &path, "probe"], &[]).0,
        "http://127.0.0.1:9092/readyz"
    );
    assert_eq!(
        error(&["probe", "--url", "ftp://node"], &[]),
        "--url: expected a URL such as http://127.0.0.1:9090/readyz or ws://lobby/connection/websocket, found 'ftp://node'"
    );
}

/// One row of the table in docs/configuration.md.
fn docs_row(setting: &clap::Arg) -> String {
    let path = setting.get_id();
    let long = setting.get_long().unwrap();
    let help = setting.get_help().unwrap().to_string();
    let (meaning, default) = match help.split_once(" [default: ") {
        Some((meaning, default)) => (meaning.to_owned(), default.trim_end_matches(']').to_owned()),
        None => {
            let values = setting.get_default_values();
            let default = values.first().map_or("none".to_owned(), |value| {
                format!("`{}`", value.to_str().unwrap())
            });
            (help, default)
        }
    };
    let unit = setting.get_value_names().unwrap()[0]
        .to_lowercase()
        .replace('_', " ");
    let variable = variable(long);
    format!("| `{path}` | `--{long}` | `{variable}` | {default} | {unit} | {meaning} |")
}

#[test]
fn the_documented_table_is_the_table_of_settings() {
    let of_nodes = settings();
    let of_streams = nats_command::settings().into_iter().filter(|setting| {
        let is_the_same = |other: &clap::Arg| other.get_id() == setting.get_id();
        !of_nodes.iter().any(is_the_same)
    });
    let every: Vec<_> = of_nodes.iter().cloned().chain(of_streams).collect();
    let rows: Vec<_> = every.iter().map(docs_row).collect();
    let documented: Vec<_> = DOCS.lines().filter(|line| line.contains("| `--")).collect();
    let expected = rows.join("\n");
    assert!(
        documented == rows,
        "docs/configuration.md should have:\n{expected}"
    );
}

#[test]
fn every_setting_has_a_path_a_flag_and_a_variable_of_its_own() {
    let mut names = Vec::new();
    for setting in settings() {
        let (path, long) = (setting.get_id().to_string(), setting.get_long().unwrap());
        let last = path.rsplit('.').next().unwrap().replace("URL", "Url");
        let kebab: String = last
            .chars()
            .flat_map(|c| {
                c.is_uppercase()
                    .then_some('-')
                    .into_iter()
                    .chain(c.to_lowercase())
            })
            .collect();
        assert!(
            long.ends_with(&kebab),
            "--{long} should be the flag of {path}"
        );
        names.extend([path.clone(), format!("--{long}"), variable(long)]);
    }
    let count = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), count);
}

#[test]
fn the_documented_example_is_a_valid_file() {
    let (_, rest) = DOCS.split_once("```yaml\n").unwrap();
    let (yaml, _) = rest.split_once("```").unwrap();
    let config = config_of(yaml);
    assert!(config.allows_anonymous());
    assert!(config.room_classes.of("news:today").is_some());
}

#[test]
fn every_field_of_a_room_class_is_documented() {
    let field = |name: &str| {
        DOCS.lines()
            .any(|line| line.starts_with(&format!("| `{name}` | ")))
    };
    for name in [
        "prefix",
        "subscribe",
        "publish",
        "history",
        "presence",
        "joinLeave",
        "historyMaxMessages",
        "historyMaxAge",
    ] {
        assert!(field(name), "{name}");
    }
}
