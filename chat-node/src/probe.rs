//! `chat-node probe`: asks a node's admin port how it is, for images without a shell.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("expected a URL like http://127.0.0.1:9090/readyz, got {0}")]
    BadUrl(String),
    #[error("no answer from {url}")]
    NoAnswer {
        url: String,
        #[source]
        source: io::Error,
    },
    #[error("{url} answered {status}")]
    Unhealthy { url: String, status: String },
}

/// Succeeds if `url` answers 200 within `timeout`.
pub fn probe(url: &str, timeout: Duration) -> Result<(), Error> {
    let bad_url = || Error::BadUrl(url.to_owned());
    let rest = url.strip_prefix("http://").ok_or_else(bad_url)?;
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let address = authority
        .to_socket_addrs()
        .ok()
        .and_then(|mut addresses| addresses.next())
        .ok_or_else(bad_url)?;
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
