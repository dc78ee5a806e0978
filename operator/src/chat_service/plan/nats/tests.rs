use k8s_openapi::jiff::Timestamp;

use super::*;

const LONG: Duration = Duration::from_secs(3600);

fn peer(name: &str) -> Peer {
    Peer {
        name: name.to_owned(),
        current: true,
        ..Peer::default()
    }
}

/// Three servers as they are when all is well and all are due; number 0 leads the cluster, each leads a stream.
fn servers() -> Vec<Server> {
    let names = ["n-0", "n-1", "n-2"];
    let others = |name: &str| {
        let others = names.iter().filter(|&&other| other != name);
        others.map(|&other| peer(other)).collect::<Vec<_>>()
    };
    let server = |name: &str| {
        let assets = names.iter().map(|leader| Asset {
            name: format!("stream of {leader}"),
            is_led_here: name == *leader,
            peers: others(name),
            copies: Some(3),
        });
        Server {
            pod: Pod {
                name: name.to_owned(),
                restart_hash: "old".to_owned(),
                ready_since: Some(Timestamp::UNIX_EPOCH),
                ..Pod::default()
            },
            said: Ok(Said {
                name: name.to_owned(),
                leader: Some("n-0".to_owned()),
                cluster_size: 3,
                peers: others(name),
                assets: assets.collect(),
                ..Said::default()
            }),
        }
    };
    names.into_iter().map(server).collect()
}

const WANTED: Wanted<'_> = Wanted {
    servers: 3,
    hash: "new",
    routes_hash: "secret",
};

fn step(servers: &[Server]) -> Step {
    next(WANTED, servers, LONG)
}

fn restart(name: &str) -> Step {
    Step::Restart(vec![name.to_owned()])
}

fn waits(servers: &[Server]) -> String {
    match step(servers) {
        Step::Wait(why) => why,
        other => panic!("{other:?}"),
    }
}

fn said(server: &mut Server) -> &mut Said {
    server.said.as_mut().unwrap()
}

#[test]
fn servers_are_restarted_from_the_highest_number_down_and_the_leader_last() {
    let mut servers = servers();
    for expected in ["n-2", "n-1", "n-0"] {
        assert_eq!(step(&servers), restart(expected));
        let done = servers
            .iter_mut()
            .find(|server| server.name() == expected)
            .unwrap();
        done.pod.restart_hash = "new".to_owned();
    }
    assert_eq!(step(&servers), Step::Done);
}

#[test]
fn the_leader_is_last_whatever_its_number() {
    let mut servers = servers();
    for server in &mut servers {
        said(server).leader = Some("n-2".to_owned());
    }
    assert_eq!(step(&servers), restart("n-1"));
    servers[1].pod.restart_hash = "new".to_owned();
    assert_eq!(step(&servers), restart("n-0"));
    servers[0].pod.restart_hash = "new".to_owned();
    assert_eq!(step(&servers), restart("n-2"));
}

#[test]
fn nothing_is_asked_of_servers_that_are_as_they_should_be() {
    let mut servers = servers();
    for server in &mut servers {
        server.pod.restart_hash = "new".to_owned();
        server.said = Err("not asked".to_owned());
    }
    assert_eq!(step(&servers), Step::Done);
}

#[test]
fn everything_has_to_be_current_for_a_while() {
    let servers = servers();
    let short = SETTLED - Duration::from_secs(1);
    assert_eq!(next(WANTED, &servers, short), Step::Settle);
    assert_eq!(next(WANTED, &servers, SETTLED), restart("n-2"));
}

#[test]
fn one_at_a_time() {
    let mut ending = servers();
    ending[2].pod.is_terminating = true;
    ending[2].pod.restart_hash = "new".to_owned();
    assert_eq!(waits(&ending), "n-2 ends");
    let mut missing = servers();
    missing.pop();
    assert_eq!(waits(&missing), "2 of 3 servers are there");
    let mut starting = servers();
    starting[2].pod.restart_hash = "new".to_owned();
    starting[2].pod.ready_since = None;
    assert_eq!(waits(&starting), "n-2 is not ready yet");
}

#[test]
fn whatever_is_not_current_is_waited_for_and_named() {
    type Change = fn(&mut [Server]);
    let cases: [(Change, &str); 9] = [
        (
            |it| it[1].said = Err("timed out".to_owned()),
            "n-1 does not answer the operator: timed out",
        ),
        (
            |it| said(&mut it[1]).problem = Some("no disk".to_owned()),
            "n-1 says: no disk",
        ),
        (
            |it| said(&mut it[1]).name = "x-1".to_owned(),
            "x-1 answers in place of n-1",
        ),
        (
            |it| said(&mut it[1]).leader = None,
            "the servers do not agree on a leader",
        ),
        (
            |it| said(&mut it[0]).cluster_size = 4,
            "the cluster has 4 members, not 3",
        ),
        (
            |it| said(&mut it[0]).peers[1].current = false,
            "n-2 is behind in the cluster's state",
        ),
        (
            |it| said(&mut it[1]).assets[1].peers[0].offline = true,
            "the copy of stream of n-1 on n-0 is behind",
        ),
        (
            |it| said(&mut it[1]).assets[1].is_led_here = false,
            "stream of n-1 has no leader",
        ),
        (
            |it| said(&mut it[1]).assets[1].peers.push(peer("n-3")),
            "stream of n-1 has 4 copies, not 3: it moves",
        ),
    ];
    for (change, expected) in cases {
        let mut servers = servers();
        change(&mut servers);
        assert_eq!(waits(&servers), expected);
    }
}

#[test]
fn what_followers_say_of_each_other_counts_for_nothing() {
    let mut servers = servers();
    said(&mut servers[1]).peers[1].current = false;
    said(&mut servers[1]).assets[0].peers[1].current = false;
    assert_eq!(step(&servers), restart("n-2"));
}

#[test]
fn a_server_that_is_down_is_replaced_at_once_and_first() {
    let mut servers = servers();
    servers[1].pod.ready_since = None;
    servers[1].said = Err("refused".to_owned());
    said(&mut servers[0]).problem = Some("not current".to_owned());
    assert_eq!(next(WANTED, &servers, Duration::ZERO), restart("n-1"));
}

#[test]
fn a_server_that_answers_but_is_not_ready_goes_before_others_if_they_need_it_not() {
    let mut servers = servers();
    servers[0].pod.ready_since = None;
    said(&mut servers[0]).problem = Some("JetStream is off".to_owned());
    for server in &mut servers {
        said(server).leader = Some("n-1".to_owned());
        for asset in &mut said(server).assets {
            asset.is_led_here = false;
            for peer in &mut asset.peers {
                peer.current = peer.name != "n-0";
            }
        }
        for peer in &mut said(server).peers {
            peer.current = peer.name != "n-0";
        }
    }
    for asset in &mut said(&mut servers[1]).assets {
        asset.is_led_here = true;
    }
    assert_eq!(next(WANTED, &servers, Duration::ZERO), restart("n-0"));
    said(&mut servers[1]).assets[0].peers[1].current = false;
    assert_eq!(
        waits(&servers),
        "the copy of stream of n-0 on n-2 is behind"
    );
}

#[test]
fn a_broken_start_is_cured_by_the_next_change() {
    let mut servers = servers();
    servers[2].pod.restart_hash = "broken".to_owned();
    servers[2].pod.ready_since = None;
    servers[2].said = Err("refused".to_owned());
    assert_eq!(step(&servers), restart("n-2"), "the cure");
    let broken = Wanted {
        hash: "broken",
        ..WANTED
    };
    let text = match next(broken, &servers, LONG) {
        Step::Wait(text) => text,
        other => panic!("{other:?}"),
    };
    assert_eq!(text, "n-2 is not ready yet", "no other server meanwhile");
}

#[test]
fn a_server_alone_is_restarted_when_it_is_well() {
    let mut servers = servers();
    servers.truncate(1);
    let alone = said(&mut servers[0]);
    alone.leader = None;
    alone.cluster_size = 0;
    alone.peers.clear();
    alone.assets.truncate(1);
    alone.assets[0].peers.clear();
    alone.assets[0].copies = Some(1);
    let one = Wanted {
        servers: 1,
        ..WANTED
    };
    assert_eq!(next(one, &servers, LONG), restart("n-0"));
}

#[test]
fn servers_that_could_never_meet_again_are_restarted_together() {
    let mut servers = servers();
    assert_eq!(
        step(&servers),
        restart("n-2"),
        "nothing is known of a password"
    );
    for server in &mut servers {
        server.pod.routes_hash = "lost".to_owned();
    }
    servers[1].pod.is_terminating = true;
    let others = ["n-0", "n-2"].map(str::to_owned);
    assert_eq!(step(&servers), Step::Restart(others.into()));
    for server in &mut servers {
        server.pod.routes_hash = "secret".to_owned();
    }
    assert_eq!(waits(&servers), "n-1 ends");
}
