//! The harness of NATS servers itself: what it breaks is broken, what it mends comes back.

use natter_tests::links::Way;
use natter_tests::wait::until;
use natter_tests::{Nats, NatsServers};
use serde_json::json;

/// Three servers with a stream on each of them, and a client.
async fn cluster() -> (NatsServers, Nats) {
    let servers = NatsServers::start(3).await;
    let nats = Nats::connect(&servers).await;
    let config = json!({"name": "S", "subjects": ["s.>"], "num_replicas": 3, "storage": "file"});
    nats.create_stream(config).await;
    servers.leader("S").await;
    (servers, nats)
}

/// Does a server see the others?
async fn sees_others(servers: &NatsServers, server: usize) -> bool {
    let routes = servers[server].monitor("/routez").await;
    let routes = routes.expect("the server answers");
    let mut names: Vec<_> = routes["routes"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|route| route["remote_name"].as_str())
        .collect();
    names.sort_unstable();
    names.dedup();
    names.len() == servers.len() - 1
}

/// The numbers of all routes of a server: a route that was cut comes back with another one.
async fn route_ids(servers: &NatsServers, server: usize) -> Vec<u64> {
    let routes = servers[server].monitor("/routez").await;
    let routes = routes.expect("the server answers");
    let routes = routes["routes"].as_array().into_iter().flatten();
    let mut ids: Vec<_> = routes.filter_map(|route| route["rid"].as_u64()).collect();
    ids.sort_unstable();
    ids
}

#[tokio::test]
async fn one_server_keeps_what_it_stored_over_a_kill() {
    let mut servers = NatsServers::start(1).await;
    let nats = Nats::connect(&servers).await;
    nats.create_stream(json!({"name": "S", "subjects": ["s.>"]}))
        .await;
    assert_eq!(nats.store("s.a", &[], "one").await["seq"], 1);
    servers[0].kill();
    servers[0].restart().await;
    servers.healthy().await;
    assert_eq!(nats.store("s.a", &[], "two").await["seq"], 2);
    assert_eq!(
        nats.message("S", 1).await.expect("it is kept")["data"],
        "b25l"
    );
    nats.erase("S", 1).await;
    assert!(nats.message("S", 1).await.is_none());
    nats.purge("S", "s.a").await;
    assert_eq!(nats.stream("S").await["state"]["messages"], 0);
}

#[tokio::test]
async fn a_cluster_survives_kills_and_a_lost_disk() {
    let (mut servers, nats) = cluster().await;
    assert_eq!(nats.store("s.a", &[], "one").await["seq"], 1);
    let leader = servers.leader("S").await;
    servers[leader].kill();
    assert_eq!(nats.store("s.a", &[], "two").await["seq"], 2);
    servers.leads_no_more(leader, "S").await;
    servers[leader].wipe();
    servers[leader].restart().await;
    servers.healthy().await;
    for server in servers.iter_mut() {
        server.kill();
    }
    for server in servers.iter_mut() {
        server.restart().await;
    }
    servers.healthy().await;
    assert_eq!(nats.stream("S").await["state"]["messages"], 2);
    // One at a time, nobody notices.
    let status = servers[0].terminate().await;
    assert!(status.success(), "{status}");
    assert_eq!(nats.store("s.a", &[], "three").await["seq"], 3);
}

#[tokio::test]
async fn lame_ducks_hand_over_and_end() {
    let (mut servers, nats) = cluster().await;
    let leader = servers.leader("S").await;
    servers[leader].lame_duck();
    servers.leads_no_more(leader, "S").await;
    let status = servers[leader].exit().await;
    assert!(status.success(), "{status}");
    assert_eq!(nats.store("s.a", &[], "one").await["seq"], 1);
    servers[leader].restart().await;
    servers.healthy().await;
}

#[tokio::test]
async fn a_route_that_is_cut_comes_back_through_its_link() {
    let (servers, _nats) = cluster().await;
    let before = route_ids(&servers, 0).await;
    servers.cut(0, 1);
    until("new routes", async || {
        let now = route_ids(&servers, 0).await;
        now.len() == before.len() && now != before
    })
    .await;
    servers.healthy().await;
}

#[tokio::test]
async fn an_isolated_server_loses_its_leads_until_it_is_let_in_again() {
    let (servers, nats) = cluster().await;
    let isolated = servers.leader("S").await;
    servers.isolate(isolated, Way::Refused);
    until("the loss of all routes", async || {
        route_ids(&servers, isolated).await.is_empty()
    })
    .await;
    servers.leads_no_more(isolated, "S").await;
    // Its clients still reach it; what it can store, it can store only with the others.
    let alone = servers[isolated].url();
    let client = async_nats::connect(alone).await;
    client.expect("an isolated server takes clients");
    assert!(!sees_others(&servers, isolated).await);
    servers.isolate(isolated, Way::Open);
    servers.healthy().await;
    assert_eq!(nats.store("s.a", &[], "one").await["seq"], 1);
}

#[tokio::test]
async fn a_silent_route_passes_nothing_and_ends_nothing() {
    let (servers, _nats) = cluster().await;
    let before = route_ids(&servers, 0).await;
    let follower = servers.follower("S").await;
    let others: Vec<_> = (0..3).filter(|server| *server != follower).collect();
    servers.isolate(follower, Way::Silent);
    // The others go on, as they are the most.
    let client = async_nats::connect(servers[others[0]].url()).await;
    let client = client.expect("the server takes clients");
    let stored = client.request("s.a", "one".into()).await;
    stored.expect("two of three store");
    let state = servers[follower]
        .monitor("/jsz?accounts=true&streams=true")
        .await;
    let state = state.expect("the server answers").to_string();
    assert!(state.contains(r#""messages":0,"#), "{state}");
    servers.isolate(follower, Way::Open);
    until("what was on its way", async || {
        let state = servers[follower]
            .monitor("/jsz?accounts=true&streams=true")
            .await;
        state.is_some_and(|state| state.to_string().contains(r#""messages":1,"#))
    })
    .await;
    assert_eq!(route_ids(&servers, 0).await, before);
}

#[tokio::test]
async fn a_frozen_server_is_silent_and_comes_back() {
    let (servers, nats) = cluster().await;
    let leader = servers.leader("S").await;
    servers[leader].freeze().await;
    assert_eq!(nats.store("s.a", &[], "one").await["seq"], 1);
    assert_eq!(servers[leader].monitor("/healthz").await, None);
    servers[leader].thaw();
    servers.healthy().await;
}
