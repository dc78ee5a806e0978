//! What a run has left behind: all that publishers tried, and all that readers saw.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

/// The name of a room, a session or an epoch; many records share it.
pub type Name = Arc<str>;

/// A message's name for all time: `p3-17` is the 17th of publisher 3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id {
    pub publisher: u32,
    pub number: u32,
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p{}-{}", self.publisher, self.number)
    }
}

impl FromStr for Id {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (publisher, number) = text
            .strip_prefix('p')
            .and_then(|rest| rest.split_once('-'))
            .ok_or(())?;
        Ok(Self {
            publisher: publisher.parse().map_err(|_| ())?,
            number: number.parse().map_err(|_| ())?,
        })
    }
}

/// All of a run. Times count from its beginning.
#[derive(Clone, Debug, Default)]
pub struct Log {
    /// Those of one publisher in one room stand in the order in which they were sent.
    pub attempts: Vec<Attempt>,
    pub views: Vec<View>,
}

/// One message that somebody tried to publish, once.
#[derive(Clone, Debug)]
pub struct Attempt {
    pub id: Id,
    pub room: Name,
    /// Which of the publisher's connections it went through.
    pub connection: usize,
    pub sent: Duration,
    pub outcome: Outcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The reply says: kept, with its place in the room.
    Acked,
    /// No reply came, or one that leaves it open. The message is there once or not at all.
    Unknown,
    /// The reply says that the message was not kept, for good.
    Refused,
}

/// What one session saw of one room.
#[derive(Clone, Debug)]
pub struct View {
    pub session: Name,
    pub room: Name,
    /// One for each subscribe that succeeded.
    pub segments: Vec<Segment>,
    /// The session stayed until all that was acknowledged had to be with it.
    pub to_the_end: bool,
}

/// From one subscribe to the end of that connection.
#[derive(Clone, Debug)]
pub struct Segment {
    /// Which of the run's entrances it was: a node, or a client's address at a Service.
    pub entrance: usize,
    /// When the reply came.
    pub at: Duration,
    /// From where the session wanted to go on. None: from now on.
    pub asked: Option<Position>,
    pub recovered: bool,
    /// The reply's.
    pub position: Position,
    /// In the reply.
    pub missed: Vec<Publication>,
    /// Pushed after it.
    pub live: Vec<Publication>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    pub offset: u64,
    pub epoch: Name,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Publication {
    pub offset: u64,
    pub id: Id,
}

/// What a run may do beyond what is always allowed.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// When history was destroyed on purpose, for every room.
    ///
    /// Such a loss excuses one new epoch, `recovered: false` from the old one, and the absence of what was sent before
    /// the loss was over.
    pub losses: Vec<Range<Duration>>,
    /// A message of unknown outcome may be stored after later ones of its publisher even if they went through the same
    /// connection: a server that was frozen or cut off may hold it for long. After those of later connections it may
    /// always be stored: nobody knows of both.
    pub late_unknowns: bool,
}
