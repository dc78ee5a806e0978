//! Web pages that may connect: the browser's `Origin` header -> yes or no.
//!
//! A request without `Origin` comes from no browser and is not decided here.

use std::str::FromStr;

const EXPECTED: &str = "expected an origin scheme://host[:port] without a path, such as \
     https://example.com, https://*.example.com or *";

#[derive(Debug, Clone, Default, clap::Args)]
pub struct Origins {
    /// Web origins that may connect, comma separated: https://example.com, https://*.example.com or `*` for any; the node's own page always may
    #[arg(
        long = "allowed-origins",
        id = "auth.allowedOrigins",
        value_name = "ORIGINS",
        value_delimiter = ','
    )]
    allowed: Vec<AllowedOrigin>,
}

/// One entry of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
enum AllowedOrigin {
    Any,
    One(Origin),
    /// Every name below the origin's host, at any depth, and not the host itself.
    Subdomains(Origin),
}

/// Scheme, host and port in lower case, as browsers compare them.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Origin {
    scheme: String,
    host: String,
    /// `None` where the scheme has no default port, such as a desktop application's own scheme.
    port: Option<u16>,
}

impl Origins {
    /// Whether a page of `origin` may connect to a node addressed as `host` (the `Host` header).
    ///
    /// A page of the same host may always: it came from this node.
    pub fn allows(&self, origin: &str, host: Option<&str>) -> bool {
        if self.allowed.contains(&AllowedOrigin::Any) {
            return true;
        }
        let Some(origin) = Origin::parse(origin) else {
            return false;
        };
        let own = host.and_then(|host| Origin::of(&origin.scheme, host));
        own.is_some_and(|own| own == origin)
            || self.allowed.iter().any(|allowed| allowed.matches(&origin))
    }
}

impl AllowedOrigin {
    fn matches(&self, origin: &Origin) -> bool {
        match self {
            Self::Any => true,
            Self::One(allowed) => allowed == origin,
            Self::Subdomains(parent) => {
                let below = origin.host.strip_suffix(&parent.host);
                (&parent.scheme, parent.port) == (&origin.scheme, origin.port)
                    && below.is_some_and(|name| name.len() > 1 && name.ends_with('.'))
            }
        }
    }
}

impl FromStr for AllowedOrigin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text == "*" {
            return Ok(Self::Any);
        }
        let allowed = match text.split_once("://*.") {
            Some((scheme, parent)) => Origin::of(scheme, parent).map(Self::Subdomains),
            None => Origin::parse(text).map(Self::One),
        };
        allowed.ok_or_else(|| EXPECTED.to_owned())
    }
}

impl Origin {
    fn parse(text: &str) -> Option<Self> {
        let (scheme, authority) = text.split_once("://")?;
        Self::of(scheme, authority)
    }

    fn of(scheme: &str, authority: &str) -> Option<Self> {
        let scheme = scheme.to_ascii_lowercase();
        // The colons of an IPv6 address stand inside its brackets.
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(port.parse().ok()?)),
            _ => (authority, None),
        };
        let default_port = match scheme.as_str() {
            "http" => Some(80),
            "https" => Some(443),
            _ => None,
        };
        (is_scheme(&scheme) && is_host(host)).then(|| Self {
            scheme,
            host: host.to_ascii_lowercase(),
            port: port.or(default_port),
        })
    }
}

fn is_scheme(scheme: &str) -> bool {
    scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
}

fn is_host(host: &str) -> bool {
    if let Some(address) = host.strip_prefix('[') {
        let address = address.strip_suffix(']');
        return address.is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok());
    }
    !host.is_empty()
        && !host.starts_with('.')
        && host
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-._".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origins(entries: &[&str]) -> Origins {
        let allowed = entries.iter().map(|entry| entry.parse().unwrap()).collect();
        Origins { allowed }
    }

    #[test]
    fn listed_origins_and_their_subdomains_are_allowed_and_others_refused() {
        let origins = origins(&[
            "https://example.com",
            "https://*.example.org",
            "http://localhost:3000",
            "tauri://localhost",
        ]);
        let allows = |origin| origins.allows(origin, Some("chat.internal"));
        for origin in [
            "https://example.com",
            "https://EXAMPLE.com:443",
            "https://a.example.org",
            "https://a.b.example.org",
            "http://localhost:3000",
            "tauri://localhost",
        ] {
            assert!(allows(origin), "{origin}");
        }
        for origin in [
            "http://example.com",
            "https://example.com:8443",
            "https://a.example.com",
            "https://example.org",
            "https://evilexample.org",
            "https://.example.org",
            "https://example.com.evil.net",
            "https://example.com@evil.net",
            "http://localhost",
            "null",
            "",
        ] {
            assert!(!allows(origin), "{origin}");
        }
    }

    #[test]
    fn the_nodes_own_page_is_always_allowed() {
        let none = origins(&[]);
        assert!(none.allows("http://127.0.0.1:8080", Some("127.0.0.1:8080")));
        assert!(none.allows("https://chat.example.com", Some("Chat.example.com")));
        assert!(none.allows("http://[::1]:8080", Some("[::1]:8080")));
        assert!(!none.allows("https://evil.net", Some("chat.example.com")));
        assert!(!none.allows("http://127.0.0.1:3000", Some("127.0.0.1:8080")));
        assert!(!none.allows("https://chat.example.com", None));
    }

    #[test]
    fn a_star_allows_any_page() {
        let any = origins(&["*"]);
        assert!(any.allows("https://evil.net", None));
        assert!(any.allows("null", None));
    }

    #[test]
    fn what_is_no_origin_is_refused() {
        for text in [
            "example.com",
            "https://",
            "https://example.com/",
            "https://example.com/chat",
            "https://example.com:port",
            "https://*",
            "https://*.",
            "https://a.*.example.com",
            "https://user@example.com",
            "://example.com",
            "https://[::1",
            "",
        ] {
            assert_eq!(
                text.parse::<AllowedOrigin>(),
                Err(EXPECTED.to_owned()),
                "{text}"
            );
        }
    }
}
