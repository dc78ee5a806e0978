//! Where a request really came from, if proxies that we trust say so.

use std::net::IpAddr;

use axum::http::HeaderMap;

use crate::config::TrustedProxies;

/// The nearest address that is not a trusted proxy, read from the right of `X-Forwarded-For` or `Forwarded`.
///
/// Only what a trusted proxy wrote counts: a header from anyone else is the client's own invention.
pub fn client_address(peer: IpAddr, headers: &HeaderMap, trusted: &TrustedProxies) -> IpAddr {
    let mut address = peer.to_canonical();
    for hop in hops(headers).into_iter().rev() {
        if !trusted.contains(address) {
            break;
        }
        match hop {
            Some(hop) => address = hop,
            None => break,
        }
    }
    address
}

/// The addresses a request passed, in order; `None` where a hop is unreadable or hidden.
fn hops(headers: &HeaderMap) -> Vec<Option<IpAddr>> {
    let list = |name: &str| -> Vec<String> {
        headers
            .get_all(name)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map(|hop| hop.trim().to_owned())
            .collect()
    };
    let forwarded = list("forwarded");
    if forwarded.is_empty() {
        return list("x-forwarded-for")
            .iter()
            .map(|hop| parse(hop))
            .collect();
    }
    forwarded
        .iter()
        .map(|element| {
            element.split(';').find_map(|pair| {
                let (key, value) = pair.trim().split_once('=')?;
                key.eq_ignore_ascii_case("for")
                    .then(|| parse(value.trim_matches('"')))?
            })
        })
        .collect()
}

/// An address with or without a port: `192.0.2.1`, `192.0.2.1:80`, `[2001:db8::1]:80`, `2001:db8::1`.
fn parse(hop: &str) -> Option<IpAddr> {
    if let Ok(address) = hop.parse::<IpAddr>() {
        return Some(address.to_canonical());
    }
    if let Ok(address) = hop.parse::<std::net::SocketAddr>() {
        return Some(address.ip().to_canonical());
    }
    let inner = hop.strip_prefix('[')?.strip_suffix(']')?;
    inner.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Args as _, FromArgMatches as _};

    fn trusting(networks: &str) -> TrustedProxies {
        let command = TrustedProxies::augment_args(clap::Command::new("test").no_binary_name(true));
        let matches = command.get_matches_from(["--trusted-proxies", networks]);
        TrustedProxies::from_arg_matches(&matches).unwrap()
    }

    fn seen(peer: &str, header: (&'static str, &str)) -> String {
        let mut headers = HeaderMap::new();
        headers.insert(header.0, header.1.parse().unwrap());
        client_address(peer.parse().unwrap(), &headers, &trusting("10.0.0.0/8")).to_string()
    }

    #[test]
    fn a_stranger_cannot_invent_an_address() {
        assert_eq!(
            seen("192.0.2.9", ("x-forwarded-for", "1.1.1.1")),
            "192.0.2.9"
        );
    }

    #[test]
    fn the_nearest_untrusted_hop_counts() {
        assert_eq!(
            seen(
                "10.0.0.1",
                ("x-forwarded-for", "6.6.6.6, 192.0.2.7, 10.0.0.2")
            ),
            "192.0.2.7"
        );
        assert_eq!(seen("10.0.0.1", ("x-forwarded-for", "junk")), "10.0.0.1");
        assert_eq!(
            seen("10.0.0.1", ("x-forwarded-for", "192.0.2.7:1234")),
            "192.0.2.7"
        );
    }

    #[test]
    fn forwarded_is_read_as_rfc_7239_writes_it() {
        let value = r#"for=192.0.2.60;proto=http, For="[2001:db8::7]:4711""#;
        assert_eq!(seen("10.0.0.1", ("forwarded", value)), "2001:db8::7");
        assert_eq!(seen("10.0.0.1", ("forwarded", "for=_hidden")), "10.0.0.1");
    }
}
