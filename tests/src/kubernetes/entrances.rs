//! A Service as clients of many addresses come to it: it chooses their nodes by them.

use std::net::{Ipv4Addr, SocketAddr};

use super::Namespace;
use crate::Entrance;

/// A network all of whose addresses this machine has, such as `198.18.2.0/24`, and from which Services can be reached.
const ADDRESSES: &str = "NATTER_CLIENT_ADDRESSES";

impl Namespace {
    /// A Service's own address, for so many clients with an address each.
    pub async fn entrances(&self, service: &str, clients: u8) -> Vec<Entrance> {
        let of_clients = std::env::var(ADDRESSES).unwrap_or_else(|_| {
            panic!(
                "{ADDRESSES} is not set: this test needs many addresses of its own and a way to Services, \
                 as in `tests/cluster/cluster.sh exec`"
            )
        });
        let first: Option<Ipv4Addr> = of_clients
            .split_once('/')
            .and_then(|(first, _)| first.parse().ok());
        let first = first.unwrap_or_else(|| panic!("{ADDRESSES} is no network: {of_clients}"));
        let object = self.get("service", service).await;
        let spec = &object.unwrap_or_else(|| panic!("there is no Service {service}"))["spec"];
        let ip = spec["clusterIP"].as_str().and_then(|ip| ip.parse().ok());
        let port = spec["ports"][0]["port"].as_u64();
        let address = ip.zip(port.and_then(|port| u16::try_from(port).ok()));
        let (ip, port) = address.unwrap_or_else(|| panic!("no address of a Service: {spec}"));
        (1..=clients)
            .map(|number| Entrance {
                address: SocketAddr::new(ip, port),
                from: Some(Ipv4Addr::from_bits(first.to_bits() + u32::from(number)).into()),
            })
            .collect()
    }
}
