//! One member of one room: it checks the sequence of what comes, and resumes elsewhere when its node has gone.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use tokio::time::sleep;

use super::crowd::Seen;
use super::socket;
use crate::dialect::channel;
use crate::message::{self, MARK, Message};
use crate::stopwatch::Stopwatch;

pub(crate) struct Member {
    pub(crate) clock: Stopwatch,
    pub(crate) node: SocketAddr,
    /// Where it goes when its node has gone.
    pub(crate) refuge: SocketAddr,
    /// How long it stays away before that.
    pub(crate) away: Duration,
    pub(crate) room: u32,
    /// The sequence that must come next.
    pub(crate) next: u64,
    /// From where it resumes; none before the first join.
    pub(crate) position: Option<Position>,
    pub(crate) seen: Rc<RefCell<Seen>>,
}

pub(crate) struct Position {
    offset: u64,
    epoch: String,
}

/// The answer to a subscribe.
#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    subscribe: Subscribed<'a>,
}

#[derive(Deserialize)]
struct Subscribed<'a> {
    #[serde(default)]
    epoch: &'a str,
    #[serde(default)]
    offset: u64,
    #[serde(default)]
    recovered: bool,
}

const OFFSET: &[u8] = b"\"offset\":";

impl Member {
    /// Lives on its node, then on the other one.
    pub(crate) async fn live(mut self) -> Result<()> {
        self.attend(None).await?;
        if self.node == self.refuge {
            bail!("its node has gone");
        }
        sleep(self.away).await;
        self.node = self.refuge;
        let back_ns = self.clock.elapsed_ns();
        self.seen
            .borrow_mut()
            .first_return_ns
            .get_or_insert(back_ns);
        self.attend(Some(back_ns)).await?;
        bail!("its second node has gone")
    }

    /// Joins the room and takes what comes, until the node has gone.
    async fn attend(&mut self, back_ns: Option<u64>) -> Result<()> {
        let (socket, mut incoming) = socket::open(self.node).await?;
        let room = channel(self.room);
        let recover = self.position.as_ref().map_or(String::new(), |position| {
            let Position { offset, epoch } = position;
            format!(",\"recover\":true,\"epoch\":\"{epoch}\",\"offset\":{offset}")
        });
        let join = format!(
            "{{\"id\":1,\"connect\":{{}}}}\n{{\"id\":2,\"subscribe\":{{\"channel\":\"{room}\"{recover}}}}}"
        );
        socket.say(join.as_bytes()).await?;
        while incoming.lines(|line| self.take(line, back_ns)).await? {}
        Ok(())
    }

    fn take(&mut self, line: &[u8], back_ns: Option<u64>) -> Result<()> {
        if line.starts_with(b"{\"push\"") {
            let after = self.advance(line)?;
            let position = self.position.as_mut().context("a push before the join")?;
            position.offset = offset(after).context("a push without an offset")?;
            return Ok(());
        }
        let text = || String::from_utf8_lossy(line);
        ensure!(
            !line.starts_with(b"{\"error\"") && !line.starts_with(b"{\"id\":2,\"error\""),
            "{}",
            text()
        );
        if !line.starts_with(b"{\"id\":2") {
            return Ok(());
        }
        let answer: Answer<'_> =
            serde_json::from_slice(line).with_context(|| text().into_owned())?;
        let Subscribed {
            epoch,
            offset,
            recovered,
        } = answer.subscribe;
        let mut rest = line;
        let mut publications = 0;
        while rest.windows(MARK.len()).any(|window| window == MARK) {
            rest = self.advance(rest)?;
            publications += 1;
        }
        self.position = Some(Position {
            offset,
            epoch: epoch.to_owned(),
        });
        let mut seen = self.seen.borrow_mut();
        seen.joined += 1;
        if let Some(back_ns) = back_ns {
            let now = self.clock.elapsed_ns();
            seen.resumed += 1;
            seen.recovered += publications;
            seen.unrecovered += u64::from(!recovered);
            seen.last_resumed_ns = now;
            seen.each_ns.add(now - back_ns);
        }
        Ok(())
    }

    /// Checks the first message in `line` and returns what follows it.
    fn advance<'a>(&mut self, line: &'a [u8]) -> Result<&'a [u8]> {
        let at = message::find(line, &mut 0).context("a line without a message")?;
        let message = Message::read(&line[at..]).context("a damaged message came")?;
        ensure!(message.room == self.room, "a message of another room came");
        let mut seen = self.seen.borrow_mut();
        if message.sequence < self.next {
            seen.repeated += 1;
        } else {
            seen.lost += message.sequence - self.next;
            seen.deliveries += 1;
            self.next = message.sequence + 1;
        }
        Ok(&line[at + message::MIN_BYTES..])
    }
}

fn offset(after: &[u8]) -> Option<u64> {
    let at = after.windows(OFFSET.len()).position(|it| it == OFFSET)?;
    let digits = after[at + OFFSET.len()..].iter();
    let digits: Vec<u8> = digits
        .take_while(|it| it.is_ascii_digit())
        .copied()
        .collect();
    std::str::from_utf8(&digits).ok()?.parse().ok()
}
