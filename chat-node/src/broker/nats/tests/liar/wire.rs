//! The protocol between a client and a server, as far as a node speaks it. No state.

use std::io;

use bytes::Bytes;
use serde_json::Value;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt};

/// What a client sends.
#[derive(Debug)]
pub enum Op {
    Connect(Value),
    Ping,
    Pong,
    Subscribe { subject: String, sid: String },
    Unsubscribe { sid: String },
    Publish(Publish),
}

#[derive(Clone, Debug)]
pub struct Publish {
    pub subject: String,
    pub reply: Option<String>,
    pub headers: Headers,
    pub payload: Bytes,
}

/// A block of headers as it stands on the wire; empty if there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(String);

impl Headers {
    pub fn status(line: &str) -> Self {
        Self(format!("NATS/1.0 {line}\r\n\r\n"))
    }

    /// Appends a header, as a server does with those that a message came with.
    pub fn with(self, name: &str, value: impl std::fmt::Display) -> Self {
        let block = match self.0.is_empty() {
            true => "NATS/1.0\r\n",
            false => self.0.strip_suffix("\r\n").unwrap(),
        };
        Self(format!("{block}{name}: {value}\r\n\r\n"))
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        let value = |line: &str| line.strip_prefix(name)?.strip_prefix(':').map(str::len);
        let line = self.0.lines().find(|line| value(line).is_some())?;
        Some(line[name.len() + 1..].trim())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }
}

/// One message of an answer.
#[derive(Clone, Debug)]
pub struct Reply {
    pub headers: Headers,
    pub payload: Bytes,
}

impl Reply {
    pub fn json(value: &Value) -> Self {
        Self {
            headers: Headers::default(),
            payload: value.to_string().into(),
        }
    }

    pub fn status(line: &str) -> Self {
        Self {
            headers: Headers::status(line),
            payload: Bytes::new(),
        }
    }
}

/// Reads the next operation; `None` at the end of the stream.
pub async fn read(from: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Option<Op>> {
    let mut line = String::new();
    if from.read_line(&mut line).await? == 0 {
        return Ok(None);
    }
    let line = line.trim_end();
    let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
    let words: Vec<&str> = rest.split_whitespace().collect();
    let op = match (verb, words.as_slice()) {
        ("CONNECT", _) => Op::Connect(serde_json::from_str(rest)?),
        ("PING", _) => Op::Ping,
        ("PONG", _) => Op::Pong,
        ("SUB", [subject, .., sid]) => Op::Subscribe {
            subject: (*subject).to_owned(),
            sid: (*sid).to_owned(),
        },
        ("UNSUB", [sid, ..]) => Op::Unsubscribe {
            sid: (*sid).to_owned(),
        },
        ("PUB", [subject, reply @ .., size]) => {
            let (headers, payload) = body(from, "0", size).await?;
            Op::Publish(publish(subject, reply, headers, payload))
        }
        ("HPUB", [subject, reply @ .., head, size]) => {
            let (headers, payload) = body(from, head, size).await?;
            Op::Publish(publish(subject, reply, headers, payload))
        }
        _ => return Err(io::Error::other(format!("a client said {line}"))),
    };
    Ok(Some(op))
}

async fn body(
    from: &mut (impl AsyncBufRead + Unpin),
    head: &str,
    size: &str,
) -> io::Result<(Headers, Bytes)> {
    let number = |text: &str| text.parse::<usize>().map_err(io::Error::other);
    let (head, size) = (number(head)?, number(size)?);
    let mut body = vec![0; size + 2];
    from.read_exact(&mut body).await?;
    body.truncate(size);
    let payload = body.split_off(head);
    let headers = String::from_utf8(body).map_err(io::Error::other)?;
    Ok((Headers(headers), payload.into()))
}

fn publish(subject: &str, reply: &[&str], headers: Headers, payload: Bytes) -> Publish {
    Publish {
        subject: subject.to_owned(),
        reply: reply.first().map(|reply| (*reply).to_owned()),
        headers,
        payload,
    }
}

/// A message to a subscription.
pub fn message(subject: &str, sid: &str, headers: &Headers, payload: &[u8]) -> Bytes {
    let (head, size) = (headers.len(), headers.len() + payload.len());
    let line = match head {
        0 => format!("MSG {subject} {sid} {size}\r\n"),
        _ => format!("HMSG {subject} {sid} {head} {size}\r\n"),
    };
    let parts = [line.as_bytes(), headers.as_str().as_bytes(), payload];
    let mut bytes = parts.concat();
    bytes.extend_from_slice(b"\r\n");
    bytes.into()
}

/// Whether a subject is one of those that a pattern with `*` and `>` means.
pub fn matches(pattern: &str, subject: &str) -> bool {
    let (mut pattern, mut subject) = (pattern.split('.'), subject.split('.'));
    loop {
        match (pattern.next(), subject.next()) {
            (Some(">"), Some(_)) | (None, None) => return true,
            (Some("*"), Some(_)) => {}
            (Some(a), Some(b)) if a == b => {}
            _ => return false,
        }
    }
}
