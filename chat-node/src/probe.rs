//! `chat-node probe`: asks a node's admin port how it is, or chats with it, for images without a shell.

mod chat;

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

pub use chat::chat;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("expected a URL like http://127.0.0.1:9090/readyz, got {0}")]
    BadUrl(String),
    #[error("no address of {url} can be found")]
    NoAddress {
        url: String,
        #[source]
        source: io::Error,
    },
    #[error("no answer from {url}")]
    NoAnswer {
        url: String,
        #[source]
        source: io::Error,
    },
    #[error("{url} answered {status}")]
    Unhealthy { url: String, status: String },
    #[error("nobody can chat at {url}: {said}")]
    Refused { url: String, said: String },
}

/// Succeeds if `url` answers 200 within `timeout`.
pub fn probe(url: &str, timeout: Duration) -> Result<(), Error> {
    let (address, authority, path) = resolve(url, "http://")?;
    let ask = || -> io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&address, timeout)?;
        stream.set_read_timeout(Some(timeout))?;
        stream.set_write_timeout(Some(timeout))?;
        write!(
            stream,
            "GET /{path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n"
        )?;
        let mut answer = String::new();
        stream.take(64 * 1024).read_to_string(&mut answer)?;
        Ok(answer)
    };
    let answer = ask().map_err(|source| Error::NoAnswer {
        url: url.to_owned(),
        source,
    })?;
    let status = answer
        .split_once(' ')
        .and_then(|(_, rest)| rest.lines().next())
        .unwrap_or_default()
        .trim();
    if status.starts_with("200") {
        return Ok(());
    }
    Err(Error::Unhealthy {
        url: url.to_owned(),
        status: if status.is_empty() {
            "nothing".to_owned()
        } else {
            status.to_owned()
        },
    })
}

/// Address, authority and path of a URL with this scheme. Without a port it is 80.
fn resolve<'a>(url: &'a str, scheme: &str) -> Result<(SocketAddr, &'a str, &'a str), Error> {
    let bad_url = || Error::BadUrl(url.to_owned());
    let rest = url.strip_prefix(scheme).ok_or_else(bad_url)?;
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let no_address = |source| Error::NoAddress {
        url: url.to_owned(),
        source,
    };
    // Port 80 is not for a name that has one already.
    let addresses = match authority.contains(':') {
        true => authority.to_socket_addrs(),
        false => (authority, 80).to_socket_addrs(),
    };
    let address = addresses.map_err(no_address)?.next();
    Ok((address.ok_or_else(bad_url)?, authority, path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_found_is_no_mistake_in_the_url() {
        assert_eq!(resolve("ws://127.0.0.1/a/b", "ws://").unwrap().2, "a/b");
        assert_eq!(resolve("ws://127.0.0.1", "ws://").unwrap().0.port(), 80);
        let error = resolve("ws://node:nonsense/", "ws://").unwrap_err();
        let text = "no address of ws://node:nonsense/ can be found";
        assert_eq!(error.to_string(), text);
        let error = resolve("http://node/", "ws://").unwrap_err();
        assert!(matches!(error, Error::BadUrl(_)), "{error}");
    }
}
