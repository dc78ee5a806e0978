//! What an operator sees: clear refusals to start, warnings, precedence of settings, metrics, health.

use natter_tests::client::error_code;
use natter_tests::node::Start;
use natter_tests::{Client, Node, http};
use serde_json::json;

/// Starts what cannot be started, and returns the one line that says why.
async fn one_line(start: Start) -> String {
    let refusal = start.refused().await;
    assert_eq!(refusal.code, Some(2), "{refusal:?}");
    assert_eq!(refusal.stderr.lines().count(), 1, "{refusal:?}");
    refusal.stderr
}

#[tokio::test]
async fn a_port_in_use_ends_the_start_with_one_line() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("a bound listener").to_string();
    for flag in ["--listen", "--admin-listen"] {
        let line = one_line(Node::with(&[flag, &address, "--connections", "100"])).await;
        assert!(line.contains(&address) && line.contains(flag), "{line}");
    }
}

#[tokio::test]
async fn an_unknown_key_ends_the_start_and_the_nearest_name_is_told() {
    let line = one_line(Node::with(&[]).config("limits: {conections: 5}")).await;
    assert!(
        line.contains("limits.conections") && line.contains("'limits.connections'"),
        "{line}"
    );
    let line = one_line(Node::with(&["--conections", "5"])).await;
    assert!(line.contains("--connections"), "{line}");
}

#[tokio::test]
async fn a_bad_value_ends_the_start_and_its_place_is_told() {
    let line = one_line(Node::with(&["--ping-interval", "soon"])).await;
    assert!(
        line.contains("--ping-interval") && line.contains("soon"),
        "{line}"
    );
    let line = one_line(Node::with(&[]).env("NATTER_PING_INTERVAL", "soon")).await;
    assert!(
        line.contains("NATTER_PING_INTERVAL") && line.contains("soon"),
        "{line}"
    );
    let line = one_line(Node::with(&[]).config("limits: {pingInterval: soon}")).await;
    assert!(
        line.contains("limits.pingInterval") && line.contains("soon"),
        "{line}"
    );
}

#[tokio::test]
async fn nobody_is_let_in_from_outside_by_accident() {
    let line = one_line(Node::with(&["--listen", "0.0.0.0:0"])).await;
    assert!(line.contains("--allow-anonymous"), "{line}");
    let node = Node::start(&["--listen", "0.0.0.0:0", "--allow-anonymous"]).await;
    assert!(node.address.ip().is_unspecified());
}

#[tokio::test]
async fn too_few_file_descriptors_end_the_start() {
    let line = one_line(Node::with(&[]).under(&["prlimit", "--nofile=100:100"])).await;
    assert!(line.contains("ulimit -n"), "{line}");
}

#[tokio::test]
async fn fewer_file_descriptors_than_connections_are_warned_of() {
    let flags = ["--connections", "1000"];
    let node = Node::with(&flags)
        .under(&["prlimit", "--nofile=500:500"])
        .start()
        .await;
    node.logged("ulimit -n").await;
    let enough = Node::with(&flags)
        .under(&["prlimit", "--nofile=500:2000"])
        .start()
        .await;
    assert!(!enough.log().contains("ulimit"), "{}", enough.log());
}

#[tokio::test]
async fn unknown_variables_are_warned_of_and_do_no_harm() {
    let node = Node::with(&[])
        .env("NATTER_CONECTIONS", "5")
        .env("NATTER_PORT", "tcp://x")
        .start()
        .await;
    node.logged("NATTER_CONNECTIONS").await;
    assert!(!node.log().contains("NATTER_PORT"), "{}", node.log());
}

/// How many rooms a session of this node may join.
async fn rooms_per_session(start: Start) -> usize {
    let node = start.start().await;
    let mut client = Client::connect(&node).await;
    for joined in 0..10 {
        let reply = client
            .request("subscribe", json!({"channel": joined.to_string()}))
            .await;
        if reply.get("error").is_some() {
            assert_eq!(error_code(&reply), 106);
            return joined;
        }
    }
    panic!("there is no limit below 10");
}

#[tokio::test]
async fn a_flag_wins_over_a_variable_and_a_variable_over_the_file() {
    let file = "limits: {roomsPerSession: 1}";
    let variable = ("NATTER_ROOMS_PER_SESSION", "2");
    assert_eq!(rooms_per_session(Node::with(&[]).config(file)).await, 1);
    let both = Node::with(&[]).config(file).env(variable.0, variable.1);
    assert_eq!(rooms_per_session(both).await, 2);
    let all = Node::with(&["--rooms-per-session", "3"]).config(file);
    assert_eq!(rooms_per_session(all.env(variable.0, variable.1)).await, 3);
}

#[tokio::test]
async fn documented_metrics_are_there_from_the_start() {
    let node = Node::start(&["--connections", "123"]).await;
    let _client = Client::join(&node, "room").await;
    let metrics = node.metrics().await;
    for name in [
        r#"natter_connections{transport="websocket"}"#,
        "natter_connections_limit",
        "natter_sessions",
        "natter_rooms",
        "natter_members",
        "natter_connects_total",
        "natter_publications_total",
        "natter_deliveries_total",
        "natter_delivered_bytes_total",
        "natter_received_bytes_total",
        "natter_slow_clients_total",
        "natter_draining",
        "natter_history_rooms",
        "natter_history_publications",
        "natter_history_bytes",
        "natter_history_evicted_rooms_total",
        "natter_fan_out_seconds_count",
        "natter_publish_ack_seconds_count",
        r#"natter_commands_total{method="subscribe"}"#,
        "process_resident_memory_bytes",
    ] {
        assert!(
            metrics.get(name).is_some(),
            "{name} is missing in:\n{}",
            metrics.0
        );
    }
    assert!(
        metrics.0.contains("natter_build_info{version=\""),
        "{}",
        metrics.0
    );
    assert_eq!(metrics.get("natter_connections_limit"), Some(123.0));
}

#[tokio::test]
async fn metrics_follow_what_happens() {
    let node = Node::start(&[]).await;
    let mut clients = Vec::new();
    for _ in 0..3 {
        clients.push(Client::join(&node, "room").await);
    }
    clients[0].subscribe("other room").await;
    clients[0].publish("room", json!("hi")).await;
    for client in &mut clients {
        client.publication().await;
    }
    assert_eq!(clients[1].refused("dance", json!({})).await, 104);
    for (series, value) in [
        (r#"natter_connections{transport="websocket"}"#, 3.0),
        ("natter_sessions", 3.0),
        ("natter_members", 4.0),
        ("natter_rooms", 2.0),
        ("natter_connects_total", 3.0),
        ("natter_publications_total", 1.0),
        ("natter_deliveries_total", 3.0),
        (r#"natter_commands_total{method="subscribe"}"#, 4.0),
        (r#"natter_command_errors_total{code="104"}"#, 1.0),
        ("natter_history_publications", 1.0),
        ("natter_publish_ack_seconds_count", 1.0),
    ] {
        node.metric_becomes(series, value).await;
    }
    clients[1].send("nonsense").await;
    assert_eq!(clients[1].closed().await.code, 3501);
    drop(clients);
    for (series, value) in [
        (r#"natter_disconnects_total{code="3501"}"#, 1.0),
        (r#"natter_disconnects_total{code="1006"}"#, 2.0),
        (r#"natter_connections{transport="websocket"}"#, 0.0),
        ("natter_sessions", 0.0),
        ("natter_members", 0.0),
        ("natter_rooms", 0.0),
        ("natter_connects_total", 3.0),
    ] {
        node.metric_becomes(series, value).await;
    }
}

#[tokio::test]
async fn a_node_that_serves_is_healthy_and_ready() {
    let node = Node::start(&[]).await;
    for path in ["/healthz", "/readyz"] {
        assert_eq!(http::get(node.admin, path).await.status, 200, "{path}");
    }
    assert_eq!(http::get(node.admin, "/other").await.status, 404);
    for path in ["/metrics", "/healthz", "/readyz"] {
        assert_eq!(
            http::get(node.address, path).await.status,
            404,
            "{path} on the clients' port"
        );
    }
}

#[tokio::test]
async fn probe_chats_through_the_clients_port() {
    let node = Node::start(&[]).await;
    let url = format!("ws://{}/connection/websocket", node.address);
    let probe = ["probe", "--url", &url];
    let chatted = Node::with(&probe).refused().await;
    assert_eq!(chatted.code, Some(0), "{chatted:?}");
    assert_eq!(node.metric("natter_publications_total").await, 1.0);

    let nowhere = [&probe[..], &["--room", "unknown:room"]].concat();
    let nowhere = Node::with(&nowhere).refused().await;
    assert_eq!(nowhere.code, Some(1));
    assert!(nowhere.stderr.contains("unknown channel"), "{nowhere:?}");

    let page = format!("ws://{}/", node.address);
    let page = Node::with(&["probe", "--url", &page]).refused().await;
    assert_eq!(page.code, Some(1));
    assert!(page.stderr.contains("nobody can chat at"), "{page:?}");
}

#[tokio::test]
async fn probe_tells_a_ready_node_from_a_dead_one() {
    let mut node = Node::start(&[]).await;
    let url = format!("http://{}/readyz", node.admin);
    let by_url = || Node::with(&["probe", "--url", &url]).refused();
    let by_setting = || {
        Node::with(&["probe"])
            .env("NATTER_ADMIN_LISTEN", &node.admin.to_string())
            .refused()
    };
    let ready = [by_url().await, by_setting().await];
    let missing = format!("http://{}/nothing", node.admin);
    let missing = Node::with(&["probe", "--url", &missing]).refused().await;
    assert_eq!(ready.map(|probe| probe.code), [Some(0), Some(0)]);
    assert_eq!(missing.code, Some(1), "{missing:?}");
    node.kill();
    let dead = Node::with(&["probe", "--url", &url]).refused().await;
    assert_eq!(
        (dead.code, dead.stderr.lines().count()),
        (Some(1), 1),
        "{dead:?}"
    );
}

#[tokio::test]
async fn a_killed_node_starts_again_on_its_port_at_once() {
    let mut node = Node::start(&[]).await;
    let address = node.address;
    let _client = Client::join(&node, "room").await;
    node.restart().await;
    assert_eq!(node.address, address);
    Client::join(&node, "room").await;
}

#[tokio::test]
async fn the_page_is_served_where_clients_connect() {
    let node = Node::start(&[]).await;
    let page = http::get(node.address, "/").await;
    assert_eq!(page.status, 200);
    assert!(
        page.header("content-type")
            .is_some_and(|kind| kind.starts_with("text/html")),
        "{}",
        page.head
    );
    assert!(
        page.header("content-security-policy").is_some(),
        "{}",
        page.head
    );
}

#[tokio::test]
async fn logs_are_one_json_object_a_line() {
    let node = Node::start(&["--log-format", "json", "--log-level", "debug"]).await;
    let mut client = Client::connect(&node).await;
    client.send("nonsense").await;
    client.closed().await;
    for line in node.log().lines() {
        let event: serde_json::Value = serde_json::from_str(line).expect(line);
        assert!(
            event["level"].is_string() && event["message"].is_string(),
            "{line}"
        );
    }
}
