//! What a server says of itself on its monitoring port: `/varz`, `/healthz` and `/jsz`, as far as it matters.

use std::time::Duration;

use serde_json::Value;

/// A server that is alive is heard of every second.
const HEARD: Duration = Duration::from_secs(5);

/// Under load the slowest copy is always a few entries behind: that is current enough.
const SMALL_LAG: u64 = 100;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    pub name: String,
    /// What `/healthz` complains about.
    pub problem: Option<String>,
    /// Who leads the cluster, as this server knows it; `None` also for a server alone.
    pub leader: Option<String>,
    pub cluster_size: u32,
    /// The others, as this server knows them: right in the leader's answer only.
    pub peers: Vec<Peer>,
    /// Streams and consumers that have a copy here.
    pub assets: Vec<Asset>,
}

/// A stream or consumer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asset {
    /// With what it is: `stream C_0`.
    pub name: String,
    pub is_led_here: bool,
    /// The servers with the other copies: right in the leader's answer only.
    pub peers: Vec<Peer>,
    /// How many copies there should be, if that is known.
    pub copies: Option<usize>,
}

/// Another server, as one server knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    pub name: String,
    pub current: bool,
    pub offline: bool,
    /// How long ago it was heard of.
    pub heard: Duration,
    pub lag: u64,
}

impl Peer {
    pub fn is_current(&self) -> bool {
        !self.offline
            && self.heard <= HEARD
            && (self.current || (1..=SMALL_LAG).contains(&self.lag))
    }
}

impl Said {
    /// Reads the answers; all of them are JSON, `/healthz` also where it complains.
    pub fn read(varz: &Value, healthz: &Value, jsz: &Value) -> Self {
        let name = text(&varz["server_name"]).unwrap_or_default();
        let problem = match healthz["status"].as_str() {
            Some("ok") => None,
            _ => text(&healthz["error"]).or(Some("it is not healthy".to_owned())),
        };
        let cluster = &jsz["meta_cluster"];
        let mut assets = Vec::new();
        for stream in list(&jsz["account_details"]).flat_map(|it| list(&it["stream_detail"])) {
            let what = format!("stream {}", text(&stream["name"]).unwrap_or_default());
            let copies = stream["config"]["num_replicas"].as_u64();
            assets.push(Asset {
                copies: copies.and_then(|copies| copies.try_into().ok()),
                ..asset(&what, stream, &name)
            });
            for consumer in list(&stream["consumer_detail"]) {
                let consumer_name = text(&consumer["name"]).unwrap_or_default();
                let what = format!("consumer {consumer_name} of {what}");
                assets.push(asset(&what, consumer, &name));
            }
        }
        Self {
            problem,
            leader: text(&cluster["leader"]),
            cluster_size: number(&cluster["cluster_size"]).try_into().unwrap_or(0),
            peers: peers(cluster),
            assets,
            name,
        }
    }
}

fn asset(name: &str, detail: &Value, server: &str) -> Asset {
    let cluster = &detail["cluster"];
    Asset {
        name: name.to_owned(),
        // A server alone leads what it has, and does not say so.
        is_led_here: cluster.is_null() || cluster["leader"] == server,
        peers: peers(cluster),
        copies: None,
    }
}

fn peers(cluster: &Value) -> Vec<Peer> {
    let peer = |peer: &Value| Peer {
        name: text(&peer["name"]).unwrap_or_default(),
        current: peer["current"] == true,
        offline: peer["offline"] == true,
        heard: Duration::from_nanos(number(&peer["active"])),
        lag: number(&peer["lag"]),
    };
    list(&cluster["replicas"]).map(peer).collect()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> Option<String> {
    let text = value.as_str().filter(|text| !text.is_empty());
    text.map(str::to_owned)
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// What a nats-server 2.15.1 answered, shortened.
    fn jsz() -> Value {
        let cluster = json!({
            "name": "lobby-nats", "raft_group": "S-R3F-xFaEYN8t", "leader": "lobby-nats-1", "system_account": true,
            "replicas": [
                {"name": "lobby-nats-0", "current": true, "active": 223315821, "peer": "x1W8pR70"},
                {"name": "lobby-nats-2", "current": false, "offline": true, "active": 9170151169u64, "lag": 7, "peer": "tn1OO1ar"},
            ],
        });
        let followed = json!({"name": "lobby-nats", "leader": "lobby-nats-2", "replicas": [
            {"name": "lobby-nats-0", "current": false, "active": 0},
        ]});
        json!({
            "meta_cluster": {"name": "lobby-nats", "leader": "lobby-nats-0", "cluster_size": 3, "replicas": [
                {"name": "lobby-nats-0", "current": true, "active": 179558360},
                {"name": "lobby-nats-2", "current": false, "active": 0},
            ]},
            "account_details": [{"name": "natter", "stream_detail": [
                {"name": "C_1", "cluster": cluster, "config": {"num_replicas": 3},
                 "consumer_detail": [{"stream_name": "C_1", "name": "tail", "cluster": followed}]},
            ]}],
        })
    }

    fn said() -> Said {
        let varz = json!({"server_name": "lobby-nats-1"});
        Said::read(&varz, &json!({"status": "ok"}), &jsz())
    }

    #[test]
    fn what_a_server_answers_is_read() {
        let said = said();
        assert_eq!(said.name, "lobby-nats-1");
        assert_eq!((said.problem, said.cluster_size), (None, 3));
        assert_eq!(said.leader.as_deref(), Some("lobby-nats-0"));
        let [stream, consumer] = &said.assets[..] else {
            panic!("{:?}", said.assets);
        };
        assert_eq!(stream.name, "stream C_1");
        assert_eq!((stream.is_led_here, stream.copies), (true, Some(3)));
        let current: Vec<_> = stream.peers.iter().map(Peer::is_current).collect();
        assert_eq!(current, [true, false]);
        assert_eq!(consumer.name, "consumer tail of stream C_1");
        assert!(!consumer.is_led_here);
    }

    #[test]
    fn a_complaint_is_kept() {
        let healthz =
            json!({"status": "unavailable", "error": "JetStream stream '$G > C_0' is not current"});
        let said = Said::read(&json!({}), &healthz, &json!({}));
        assert_eq!(
            said.problem.unwrap(),
            "JetStream stream '$G > C_0' is not current"
        );
        assert!(
            Said::read(&json!({}), &json!({}), &json!({}))
                .problem
                .is_some()
        );
    }

    #[test]
    fn a_server_alone_leads_what_it_has() {
        let jsz = json!({"account_details": [{"stream_detail": [{"name": "C_0", "config": {"num_replicas": 1}}]}]});
        let said = Said::read(&json!({}), &json!({"status": "ok"}), &jsz);
        assert!(said.assets[0].is_led_here && said.assets[0].peers.is_empty());
    }

    #[test]
    fn a_copy_that_is_hardly_behind_is_current_and_one_that_is_silent_is_not() {
        let peer = |current, heard, lag| Peer {
            current,
            heard: Duration::from_secs(heard),
            lag,
            ..Peer::default()
        };
        assert!(peer(true, 1, 0).is_current());
        assert!(peer(false, 1, SMALL_LAG).is_current());
        assert!(!peer(false, 1, SMALL_LAG + 1).is_current());
        assert!(!peer(false, 1, 0).is_current(), "nothing is known of it");
        assert!(
            !peer(true, 6, 0).is_current(),
            "it was alive six seconds ago"
        );
    }
}
