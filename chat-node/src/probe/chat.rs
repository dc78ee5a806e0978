//! `chat-node probe --url ws://…`: does what a client does, to see whether people can chat through whatever stands in between.
//!
//! upgrade -> connect -> subscribe -> publish -> its own message. The few frames are written and read here, as `frame` is the
//! server's side only.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Error, resolve};

/// The most that an answer may be before it counts as nonsense.
const MAX_BYTES: usize = 1024 * 1024;

const TEXT: u8 = 1;
const CLOSE: u8 = 8;

/// Succeeds if a message published to `room` comes back within `timeout`. It stays in the room's history.
pub fn chat(url: &str, room: &str, timeout: Duration) -> Result<(), Error> {
    let (address, authority, path) = resolve(url, "ws://")?;
    let no_answer = |source| Error::NoAnswer {
        url: url.to_owned(),
        source,
    };
    let stream = TcpStream::connect_timeout(&address, timeout).map_err(no_answer)?;
    let mut line = Line {
        stream,
        unread: Vec::new(),
        deadline: Instant::now() + timeout,
    };
    let refused = |said: String| Error::Refused {
        url: url.to_owned(),
        said,
    };
    let talk = |line: &mut Line| -> io::Result<Result<(), String>> {
        let status = line.upgrade(authority, path)?;
        if !status.contains(" 101 ") {
            return Ok(Err(status));
        }
        let text = format!("probe {:016x}", fastrand::u64(..));
        let commands = [
            json!({"id": 1, "connect": {"name": "chat-node probe"}}),
            json!({"id": 2, "subscribe": {"channel": room}}),
            json!({"id": 3, "publish": {"channel": room, "data": {"text": text}}}),
        ];
        for command in commands {
            let id = command["id"].clone();
            line.send(&command.to_string())?;
            let own = |object: &Value| object["push"]["pub"]["data"]["text"] == text.as_str();
            let mut kept = id != 3;
            let mut answered = false;
            // The message may come before the answer to the publish.
            while !(kept && answered) {
                for object in line.objects()? {
                    let object = match object {
                        Ok(object) => object,
                        Err(close) => return Ok(Err(close)),
                    };
                    kept |= own(&object);
                    if object["id"] == id {
                        if object.get("error").is_some() {
                            return Ok(Err(object.to_string()));
                        }
                        answered = true;
                    }
                }
            }
        }
        Ok(Ok(()))
    };
    talk(&mut line).map_err(no_answer)?.map_err(refused)
}

/// A connection whose every wait ends at one deadline.
struct Line {
    stream: TcpStream,
    unread: Vec<u8>,
    deadline: Instant,
}

impl Line {
    /// Asks for a WebSocket, and returns the status line.
    fn upgrade(&mut self, authority: &str, path: &str) -> io::Result<String> {
        write!(
            self.stream,
            "GET /{path} HTTP/1.1\r\nHost: {authority}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: bmF0dGVyLXByb2JlLWtleQ==\r\n\r\n"
        )?;
        loop {
            let end = self.unread.windows(4).position(|it| it == b"\r\n\r\n");
            if let Some(end) = end {
                let head = String::from_utf8_lossy(&self.unread[..end]).into_owned();
                self.unread.drain(..end + 4);
                return Ok(head.lines().next().unwrap_or_default().to_owned());
            }
            self.read_more()?;
        }
    }

    /// Sends a text frame, masked as a client's must be.
    fn send(&mut self, text: &str) -> io::Result<()> {
        let mask = fastrand::u32(..).to_ne_bytes();
        let length = u16::try_from(text.len()).map_err(io::Error::other)?;
        let mut frame = vec![0x80 | TEXT];
        match length {
            0..126 => frame.push(0x80 | length as u8),
            _ => {
                frame.push(0x80 | 126);
                frame.extend(length.to_be_bytes());
            }
        }
        frame.extend(mask);
        let masked = text.bytes().zip(mask.into_iter().cycle());
        frame.extend(masked.map(|(byte, key)| byte ^ key));
        self.stream.write_all(&frame)
    }

    /// The objects of the next text frame, or why the other side closes.
    fn objects(&mut self) -> io::Result<Vec<Result<Value, String>>> {
        loop {
            let (kind, payload) = self.frame()?;
            if kind == CLOSE {
                let (code, reason) = payload.split_at(payload.len().min(2));
                let code = code
                    .iter()
                    .fold(0, |code, byte| code << 8 | u16::from(*byte));
                let reason = String::from_utf8_lossy(reason);
                return Ok(vec![Err(format!("close {code} {reason}"))]);
            }
            if kind == TEXT {
                let text = String::from_utf8_lossy(&payload);
                let objects = text.lines().map(serde_json::from_str);
                let objects: Result<Vec<_>, _> = objects.map(|object| object.map(Ok)).collect();
                return Ok(objects?);
            }
        }
    }

    /// The next frame's kind and payload. A node neither masks nor cuts up what it sends.
    fn frame(&mut self) -> io::Result<(u8, Vec<u8>)> {
        loop {
            if let Some((head, length)) = measure(&self.unread)
                && self.unread.len() >= head + length
            {
                let frame: Vec<u8> = self.unread.drain(..head + length).collect();
                return Ok((frame[0] & 0x0f, frame[head..].to_vec()));
            }
            self.read_more()?;
        }
    }

    fn read_more(&mut self) -> io::Result<()> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() || self.unread.len() > MAX_BYTES {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.stream.set_read_timeout(Some(left))?;
        let mut buffer = [0; 4096];
        match self.stream.read(&mut buffer)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            read => {
                self.unread.extend(&buffer[..read]);
                Ok(())
            }
        }
    }
}

/// How long a frame's head and its payload are; `None` if the head is not whole yet.
fn measure(bytes: &[u8]) -> Option<(usize, usize)> {
    let big_endian = |bytes: &[u8]| {
        bytes
            .iter()
            .fold(0, |sum, byte| sum << 8 | usize::from(*byte))
    };
    match bytes.get(1)? & 0x7f {
        126 => Some((4, big_endian(bytes.get(2..4)?))),
        127 => Some((10, big_endian(bytes.get(2..10)?))),
        length => Some((2, length.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_measured_only_when_its_head_is_whole() {
        assert_eq!(measure(&[0x81]), None);
        assert_eq!(measure(&[0x81, 5]), Some((2, 5)));
        assert_eq!(measure(&[0x81, 126, 1]), None);
        assert_eq!(measure(&[0x81, 126, 1, 2]), Some((4, 258)));
        assert_eq!(
            measure(&[0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
            Some((10, 65536))
        );
    }
}
