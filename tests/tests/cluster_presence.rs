//! Who is in a room, on every node of a cluster, whatever happens to a node.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use natter_tests::links::{Links, Way};
use natter_tests::node::Signal;
use natter_tests::wait::{until, until_some_within};
use natter_tests::{Client, Cluster, NO_RATES, Node, cluster};
use serde_json::json;
use tempfile::TempDir;

/// Within this time the members of a node that is gone have left for everybody.
const GONE: Duration = Duration::from_secs(20);

/// Three nodes whose rooms `live:…` tell of joins and leaves.
async fn three() -> (Cluster, TempDir) {
    let folder = TempDir::new().expect("a place for temporary files");
    let file = folder.path().join("natter.yaml");
    std::fs::write(&file, "roomClasses: [{prefix: live, joinLeave: true}]").expect("a file");
    let file = file.display().to_string();
    let cluster = Cluster::with(1, 3).shards(2).env("NATTER_CONFIG", &file);
    (cluster.start().await, folder)
}

/// A member of a room and its session's id.
struct Member {
    client: Client,
    id: String,
    room: String,
}

impl Member {
    async fn join(node: &Node, room: &str) -> Self {
        let mut client = Client::open(node).await;
        let id = client.ask("connect", json!({})).await["client"].clone();
        let wish = json!({"channel": room, "join_leave": true});
        client.ask("subscribe", wish).await;
        Self {
            client,
            id: id.as_str().expect("an id").to_owned(),
            room: room.to_owned(),
        }
    }

    async fn present(&mut self) -> BTreeSet<String> {
        let reply = self
            .client
            .ask("presence", json!({"channel": self.room}))
            .await;
        let members = reply["presence"].as_object().expect("a map of members");
        members.keys().cloned().collect()
    }

    async fn stats(&mut self) -> (u64, u64) {
        let reply = self
            .client
            .ask("presence_stats", json!({"channel": self.room}))
            .await;
        let number = |name: &str| reply[name].as_u64().expect("a number");
        (number("num_clients"), number("num_users"))
    }

    /// The next join or leave.
    async fn change(&mut self) -> (&'static str, String) {
        let push = self.client.push().await;
        for what in ["join", "leave"] {
            if let Some(id) = push[what]["info"]["client"].as_str() {
                return (what, id.to_owned());
            }
        }
        panic!("neither a join nor a leave: {push}");
    }

    /// Waits until every one of `ids` has left, and returns how often anybody came or left meanwhile.
    async fn sees_leave(&mut self, ids: &[&str], within: Duration) -> usize {
        let begun = Instant::now();
        let mut left: BTreeSet<String> = ids.iter().map(ToString::to_string).collect();
        let mut changes = 0;
        while !left.is_empty() {
            assert!(
                begun.elapsed() < within,
                "not within {within:?}: {left:?} to leave"
            );
            // Whatever has come stands before the answer.
            self.client.is_alive().await;
            for push in self.client.take_unread() {
                let id = push["push"]["leave"]["info"]["client"].as_str();
                if let Some(id) = id {
                    changes += 1;
                    assert!(
                        left.remove(id),
                        "{id} was not expected to leave, or had left: {push}"
                    );
                }
                changes += usize::from(push["push"]["join"].is_object());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        changes
    }
}

#[tokio::test]
async fn every_node_knows_the_members_of_all() {
    let (cluster, _folder) = three().await;
    for room in ["room", "live:a"] {
        let mut members = Vec::new();
        for n in 0..9 {
            members.push(Member::join(&cluster.nodes[n % 3], room).await);
        }
        let expected: BTreeSet<_> = members.iter().map(|member| member.id.clone()).collect();
        for number in [0, 1, 2] {
            let member = &mut members[number];
            until("all nodes to answer", async || {
                member.present().await == expected
            })
            .await;
            until("all nodes to count", async || {
                member.stats().await == (9, 1)
            })
            .await;
        }
    }
}

#[tokio::test]
async fn joins_and_leaves_reach_every_node_once_and_in_order() {
    let (cluster, _folder) = three().await;
    let mut ann = Member::join(&cluster.nodes[0], "live:a").await;
    assert_eq!(ann.change().await, ("join", ann.id.clone()));
    let mut ben = Member::join(&cluster.nodes[1], "live:a").await;
    assert_eq!(ben.change().await, ("join", ben.id.clone()));
    assert_eq!(ann.change().await, ("join", ben.id.clone()));
    // Whoever comes and goes is seen to come and go, and then whoever stays.
    for _ in 0..20 {
        let cy = Member::join(&cluster.nodes[2], "live:a").await;
        let id = cy.id.clone();
        cy.client.leave().await;
        for member in [&mut ann, &mut ben] {
            assert_eq!(member.change().await, ("join", id.clone()));
            assert_eq!(member.change().await, ("leave", id.clone()));
        }
    }
    let id = ben.id.clone();
    ben.client.leave().await;
    assert_eq!(ann.change().await, ("leave", id));
    // A digest later nothing else has been said.
    ann.client.hears_nothing_for(Duration::from_secs(6)).await;
}

#[tokio::test]
async fn members_of_a_killed_node_leave_once_within_20_seconds() {
    let (mut cluster, _folder) = three().await;
    let mut ann = Member::join(&cluster.nodes[0], "live:a").await;
    let mut ben = Member::join(&cluster.nodes[1], "live:a").await;
    let lost = [
        Member::join(&cluster.nodes[2], "live:a").await,
        Member::join(&cluster.nodes[2], "live:a").await,
    ];
    for member in [&mut ann, &mut ben] {
        until("all to be seen", async || member.present().await.len() == 4).await;
    }
    ann.client.take_unread();
    ben.client.take_unread();
    cluster.nodes[2].kill();
    // Whoever asks is answered at once by those who are left.
    until("the dead to be gone", async || {
        ann.present().await.len() == 2
    })
    .await;
    let ids = lost.each_ref().map(|member| member.id.as_str());
    let (anns, bens) = tokio::join!(ann.sees_leave(&ids, GONE), ben.sees_leave(&ids, GONE));
    assert_eq!((anns, bens), (2, 2));
    ann.client.hears_nothing_for(Duration::from_secs(6)).await;
}

#[tokio::test]
async fn members_of_a_node_that_was_restarted_under_its_name_leave_once() {
    let (mut cluster, _folder) = three().await;
    let mut ann = Member::join(&cluster.nodes[0], "live:a").await;
    let lost = Member::join(&cluster.nodes[2], "live:a").await;
    until("both to be seen", async || ann.present().await.len() == 2).await;
    ann.client.take_unread();
    cluster.nodes[2].restart().await;
    assert_eq!(ann.sees_leave(&[&lost.id], GONE).await, 1);
    let back = Member::join(&cluster.nodes[2], "live:a").await;
    assert_eq!(ann.change().await, ("join", back.id.clone()));
}

#[tokio::test]
async fn members_of_a_frozen_node_leave_and_are_back_when_it_goes_on() {
    let (cluster, _folder) = three().await;
    let mut ann = Member::join(&cluster.nodes[0], "live:a").await;
    let mut cy = Member::join(&cluster.nodes[2], "live:a").await;
    until("both to be seen", async || ann.present().await.len() == 2).await;
    ann.client.take_unread();
    cluster.nodes[2].freeze().await;
    assert_eq!(ann.sees_leave(&[&cy.id], GONE).await, 1);
    cluster.nodes[2].signal(Signal::Continue);
    until("the node to be back", async || {
        ann.present().await.len() == 2
    })
    .await;
    assert_eq!(ann.change().await, ("join", cy.id.clone()));
    until("both to know each other", async || {
        cy.present().await.len() == 2
    })
    .await;
}

#[tokio::test]
async fn members_of_a_node_cut_off_from_nats_leave_and_are_back_afterwards() {
    let (cluster, folder) = three().await;
    let server = cluster.nats.iter().next().expect("a server");
    let (links, file) = (Links::new(), folder.path().join("natter.yaml"));
    let link = links.add();
    let target = server.url().rsplit_once('/').expect("a URL").1.parse();
    link.lead_to(target.expect("an address"));
    let node = cluster
        .node(3, &NO_RATES)
        .env("NATTER_NATS_URL", &format!("nats://{}", link.address))
        .env("NATTER_CONFIG", &file.display().to_string())
        .start()
        .await;
    cluster::ready(&node).await;
    let mut ann = Member::join(&cluster.nodes[0], "live:a").await;
    let mut cy = Member::join(&node, "live:a").await;
    until("both to be seen", async || ann.present().await.len() == 2).await;
    until("both to be seen", async || cy.present().await.len() == 2).await;
    ann.client.take_unread();
    cy.client.take_unread();
    link.set(Way::Silent);
    let ids = (ann.id.clone(), cy.id.clone());
    let (of_ann, of_cy) = ([ids.0.as_str()], [ids.1.as_str()]);
    // Neither side knows which of them is cut off.
    let (anns, cys) = tokio::join!(
        ann.sees_leave(&of_cy, 2 * GONE),
        cy.sees_leave(&of_ann, 2 * GONE)
    );
    assert_eq!((anns, cys), (1, 1));
    link.set(Way::Open);
    let patience = 2 * GONE;
    until_some_within(
        patience,
        Duration::from_millis(50),
        "both to be back",
        async || (ann.present().await.len() == 2 && cy.present().await.len() == 2).then_some(()),
    )
    .await;
    assert_eq!(ann.change().await, ("join", ids.1));
    assert_eq!(cy.change().await, ("join", ids.0));
}

#[tokio::test]
async fn a_room_of_ten_thousand_on_three_nodes_is_counted_exactly() {
    const MEMBERS: usize = 10_000;
    let cluster = Cluster::with(1, 3).shards(1);
    let flags = ["--connects-per-second", "1000000", "--workers", "2"];
    let cluster = cluster.flags(&flags).start().await;
    let mut asking = Member::join(&cluster.nodes[0], "crowd").await;
    let mut crowd = Vec::with_capacity(MEMBERS);
    for n in 1..MEMBERS {
        let mut client = Client::open(&cluster.nodes[n % 3]).await;
        let (connect, room) = (json!({"id": 1, "connect": {}}), json!({"channel": "crowd"}));
        let subscribe = json!({"id": 2, "subscribe": room});
        client.send(format!("{connect}\n{subscribe}")).await;
        crowd.push(client);
    }
    until("everybody to be there", async || {
        asking.stats().await == (MEMBERS as u64, 1)
    })
    .await;
    let begun = Instant::now();
    assert_eq!(asking.present().await.len(), 4000);
    // SDKs give up after 5 seconds.
    assert!(
        begun.elapsed() < Duration::from_secs(4),
        "{:?}",
        begun.elapsed()
    );
    assert!(asking.client.last_text().len() < 1 << 20);
}
