//! Proxies whose word on a client's address is believed.

use std::net::IpAddr;

use ipnet::IpNet;

#[derive(Debug, Clone, Default, clap::Args)]
pub struct TrustedProxies {
    /// Addresses and networks (10.0.0.0/8) of proxies whose Forwarded and X-Forwarded-For count, comma separated
    #[arg(long = "trusted-proxies", id = "trustedProxies", value_name = "NETWORKS", value_delimiter = ',', value_parser = network)]
    networks: Vec<IpNet>,
}

impl TrustedProxies {
    pub fn is_empty(&self) -> bool {
        self.networks.is_empty()
    }

    /// Whether `address` is a trusted proxy; `::ffff:10.0.0.1` is the same as `10.0.0.1`.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.networks
            .iter()
            .any(|network| network.contains(&address))
    }
}

fn network(text: &str) -> Result<IpNet, String> {
    let text = text.trim();
    let network = text.parse().ok();
    let address = || text.parse::<IpAddr>().ok().map(IpNet::from);
    network.or_else(address).ok_or_else(|| {
        "expected an IP address or network, such as 10.0.0.0/8, 192.0.2.1 or fd00::/8".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_networks_contain_what_they_say() {
        let proxies = TrustedProxies {
            networks: ["10.0.0.1/8", "192.0.2.1", "fd00::/8"]
                .map(|text| network(text).unwrap())
                .into(),
        };
        let contains = |text: &str| proxies.contains(text.parse().unwrap());
        assert!(contains("10.200.0.3"));
        assert!(contains("::ffff:10.1.2.3"));
        assert!(contains("192.0.2.1"));
        assert!(contains("fd12::1"));
        assert!(!contains("192.0.2.2"));
        assert!(!contains("11.0.0.1"));
        assert!(!contains("::1"));
        assert!(!TrustedProxies::default().contains("127.0.0.1".parse().unwrap()));
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["10.0.0.0/33", "example.com", "10.0.0", ""] {
            assert!(
                network(text)
                    .unwrap_err()
                    .starts_with("expected an IP address"),
                "{text}"
            );
        }
    }
}
