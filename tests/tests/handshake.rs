//! From TCP connection to WebSocket: who gets in, and what the others are told.

use std::time::{Duration, Instant};

use natter_tests::raw::{Raw, TEXT, frame, handshake};
use natter_tests::{Node, http};

/// The status of a handshake with these headers instead of the usual ones.
async fn status(node: &Node, instead: &[(&str, &str)]) -> u16 {
    http::request(node.address, &handshake(node, instead))
        .await
        .status
}

#[tokio::test]
async fn a_plain_request_is_told_what_this_endpoint_is() {
    let node = Node::start(&[]).await;
    for method in ["GET", "POST", "PUT"] {
        let request = format!(
            "{method} /connection/websocket HTTP/1.1\r\nHost: {}\r\nContent-Length: 0\r\n\r\n",
            node.address
        );
        let response = http::request(node.address, &request).await;
        assert_eq!(response.status, 426, "{method}");
        assert!(
            response.body.contains("WebSocket") && response.body.contains("SDK"),
            "{}",
            response.body
        );
        assert_eq!(response.header("upgrade"), Some("websocket"), "{method}");
    }
}

#[tokio::test]
async fn an_upgrade_by_post_is_refused() {
    let node = Node::start(&[]).await;
    let request = handshake(&node, &[]).replacen("GET", "POST", 1);
    assert_eq!(http::request(node.address, &request).await.status, 426);
}

#[tokio::test]
async fn a_bad_key_is_refused() {
    let node = Node::start(&[]).await;
    for key in [
        "",
        "x",
        "dGhlIHNhbXBsZSBub25jZQ",
        "c2hvcnQ=",
        "dGhlIHNhbXBsZSBub25jZSBpcyB0b28gbG9uZw==",
    ] {
        let answer = http::request(
            node.address,
            &handshake(&node, &[("Sec-WebSocket-Key", key)]),
        )
        .await;
        assert_eq!(answer.status, 400, "{key}");
        assert!(answer.body.contains("Sec-WebSocket-Key"), "{}", answer.body);
    }
}

#[tokio::test]
async fn another_version_is_told_the_right_one() {
    let node = Node::start(&[]).await;
    for version in ["8", "14", ""] {
        let request = handshake(&node, &[("Sec-WebSocket-Version", version)]);
        let answer = http::request(node.address, &request).await;
        assert_eq!(answer.status, 426, "{version}");
        assert_eq!(
            answer.header("sec-websocket-version"),
            Some("13"),
            "{version}"
        );
    }
}

#[tokio::test]
async fn header_names_and_tokens_are_read_as_http_has_them() {
    let node = Node::start(&[]).await;
    let instead = [
        ("Connection", "keep-alive, uPgRaDe"),
        ("Upgrade", "WebSocket"),
    ];
    assert_eq!(status(&node, &instead).await, 101);
}

#[tokio::test]
async fn foreign_pages_are_refused_and_the_own_page_and_programs_are_not() {
    let node = Node::start(&[]).await;
    let own = format!("http://{}", node.address);
    assert_eq!(status(&node, &[]).await, 101);
    assert_eq!(status(&node, &[("Origin", &own)]).await, 101);
    for foreign in ["https://evil.example", "http://127.0.0.1:1", "null"] {
        let answer = http::request(node.address, &handshake(&node, &[("Origin", foreign)])).await;
        assert_eq!(answer.status, 403, "{foreign}");
        assert!(answer.body.contains("--allowed-origins"), "{}", answer.body);
    }
}

#[tokio::test]
async fn listed_origins_are_allowed() {
    let allowed = "https://chat.example,https://*.example.org";
    let node = Node::start(&["--allowed-origins", allowed]).await;
    for origin in ["https://chat.example", "https://a.example.org"] {
        assert_eq!(status(&node, &[("Origin", origin)]).await, 101, "{origin}");
    }
    for origin in [
        "https://evil.example",
        "https://example.org",
        "http://chat.example",
    ] {
        assert_eq!(status(&node, &[("Origin", origin)]).await, 403, "{origin}");
    }
}

#[tokio::test]
async fn a_star_allows_every_origin() {
    let node = Node::start(&["--allowed-origins", "*"]).await;
    assert_eq!(
        status(&node, &[("Origin", "https://anything.example")]).await,
        101
    );
}

#[tokio::test]
async fn an_unknown_path_is_told_where_clients_connect() {
    let node = Node::start(&[]).await;
    let answer = http::get(node.address, "/socket").await;
    assert_eq!(answer.status, 404);
    assert!(
        answer.body.contains("/connection/websocket"),
        "{}",
        answer.body
    );
}

/// Half-open handshakes end about when the timeout says: not at once, and not much later.
async fn ends_in_time(raw: &mut Raw, begun: Instant) {
    raw.ended().await;
    let took = begun.elapsed();
    assert!(
        (Duration::from_millis(700)..Duration::from_secs(5)).contains(&took),
        "{took:?}"
    );
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_closed_in_time() {
    let node = Node::start(&["--handshake-timeout", "1s"]).await;
    let begun = Instant::now();
    let mut raw = Raw::open(&node).await;
    ends_in_time(&mut raw, begun).await;
}

#[tokio::test]
async fn a_handshake_that_stops_in_the_middle_is_closed_in_time() {
    let node = Node::start(&["--handshake-timeout", "1s"]).await;
    let begun = Instant::now();
    let mut raw = Raw::open(&node).await;
    raw.send(&handshake(&node, &[]).as_bytes()[..60]).await;
    ends_in_time(&mut raw, begun).await;
}

#[tokio::test]
async fn a_handshake_byte_by_byte_is_closed_in_time() {
    let node = Node::start(&["--handshake-timeout", "1s"]).await;
    let begun = Instant::now();
    let Raw { stream, .. } = Raw::open(&node).await;
    let (mut reading, mut writing) = stream.into_split();
    let request = handshake(&node, &[("X-Padding", &"x".repeat(500))]);
    let dripping = tokio::spawn(async move {
        use tokio::io::AsyncWriteExt;
        for byte in request.bytes() {
            if writing.write_all(&[byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let ended = async {
        use tokio::io::AsyncReadExt;
        let mut bytes = [0; 4096];
        while reading.read(&mut bytes).await.is_ok_and(|read| read > 0) {}
    };
    natter_tests::wait::within("the end of the connection", ended).await;
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}");
    dripping.abort();
}

#[tokio::test]
async fn a_connection_that_idles_after_a_request_is_closed_in_time() {
    let node = Node::start(&["--handshake-timeout", "1s"]).await;
    let mut raw = Raw::open(&node).await;
    let request = format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", node.address);
    let begun = Instant::now();
    assert_eq!(raw.http(&request).await.status, 200);
    ends_in_time(&mut raw, begun).await;
}

#[tokio::test]
async fn a_request_may_come_in_pieces() {
    let node = Node::start(&[]).await;
    let upgrade = handshake(&node, &[]);
    let page = format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", node.address);
    let refused = handshake(&node, &[("Sec-WebSocket-Version", "8")]);
    for (request, status) in [(upgrade, "101"), (page, "200"), (refused, "426")] {
        for cut in [1, 30, request.len() - 3, request.len() - 1] {
            let mut raw = Raw::open(&node).await;
            let (first, last) = request.as_bytes().split_at(cut);
            raw.send(first).await;
            // The node reads the first piece before the last is there; if not, less is tested and nothing fails.
            tokio::time::sleep(Duration::from_millis(20)).await;
            raw.send(last).await;
            let head = raw.upgrade_answer().await;
            assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
        }
    }
}

#[tokio::test]
async fn what_comes_right_behind_the_handshake_is_not_lost() {
    let node = Node::start(&[]).await;
    let ping = frame(TEXT, br#"{"id":2,"ping":{}}"#);
    let connect = frame(TEXT, natter_tests::raw::CONNECT);
    let request = handshake(&node, &[]).into_bytes();
    let all = [request, connect, ping].concat();
    for cut in [0, 60, all.len() - 40, all.len() - 5] {
        let mut raw = Raw::open(&node).await;
        raw.send(&all[..cut]).await;
        raw.send(&all[cut..]).await;
        let head = raw.upgrade_answer().await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        assert!(raw.text().await.starts_with(r#"{"id":1,"connect":{"#));
        assert_eq!(raw.text().await, r#"{"id":2,"ping":{}}"#);
    }
}

#[tokio::test]
async fn who_speaks_no_http_is_told_at_once() {
    let node = Node::start(&["--handshake-timeout", "60s"]).await;
    let mut raw = Raw::open(&node).await;
    raw.send(b"\x16\x03\x01\x02\x00\x01\x00").await;
    let head = raw.upgrade_answer().await;
    assert!(head.starts_with("HTTP/1.1 400 "), "{head}");
}

#[tokio::test]
async fn endless_headers_are_cut_off() {
    let node = Node::start(&["--handshake-timeout", "5s"]).await;
    let mut raw = Raw::open(&node).await;
    let mut sent = 0;
    raw.send(b"GET /connection/websocket HTTP/1.1\r\n").await;
    while raw
        .try_send(format!("X-{sent}: {}\r\n", "x".repeat(100)).as_bytes())
        .await
    {
        sent += 1;
        assert!(sent < 100_000, "10 MB of headers were taken");
    }
    // Whatever was answered is lost if the node has reset the connection.
    let mut raw = Raw::open(&node).await;
    let head = format!("GET / HTTP/1.1\r\nX-Long: {}", "x".repeat(32 * 1024));
    assert_eq!(raw.http(&head).await.status, 431);
}

#[tokio::test]
async fn half_open_handshakes_keep_nobody_out() {
    let node = Node::start(&[]).await;
    let mut idle = Vec::new();
    for _ in 0..100 {
        idle.push(Raw::open(&node).await);
    }
    Raw::connected(&node).await;
}

#[tokio::test]
async fn a_connection_that_was_used_for_longer_than_the_timeout_may_still_upgrade() {
    let timeout = Duration::from_secs(1);
    let node = Node::start(&["--handshake-timeout", "1s"]).await;
    let mut raw = Raw::open(&node).await;
    let request = format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", node.address);
    let begun = Instant::now();
    while begun.elapsed() < timeout * 3 / 2 {
        assert_eq!(raw.http(&request).await.status, 200);
        tokio::time::sleep(timeout * 3 / 10).await;
    }
    raw.send(handshake(&node, &[]).as_bytes()).await;
    let head = raw.upgrade_answer().await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    // Its time to connect begins with the upgrade.
    let heard = tokio::time::timeout(timeout / 2, raw.frame()).await;
    assert!(heard.is_err(), "heard {heard:?}");
    raw.connect().await;
    let heard = tokio::time::timeout(timeout, raw.frame()).await;
    assert!(heard.is_err(), "heard {heard:?}");
    raw.send(&frame(TEXT, br#"{"id":2,"ping":{}}"#)).await;
    assert_eq!(raw.text().await, r#"{"id":2,"ping":{}}"#);
}
