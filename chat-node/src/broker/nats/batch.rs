//! The reply to a batch read, checked as it comes in.
//!
//! A reply can lose its first messages and still end properly, and a replica that lags ends early. So each message
//! must name the one before it, and what the reply proves is said apart from what it brought.

use std::time::SystemTime;

use bytes::Bytes;

use super::subject::{Kind, RoomToken};

/// One stored event as a stream hands it out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    pub sequence: u64,
    pub room: RoomToken,
    pub kind: Kind,
    pub time: SystemTime,
    pub payload: Bytes,
}

/// What one message of a reply says.
#[derive(Clone, Debug)]
pub enum Part {
    /// A stored message and the sequence of the one before it in this reply, 0 for the first.
    Message {
        sequence: u64,
        previous: Option<u64>,
        /// `None` for a subject that no node writes.
        event: Option<Stored>,
    },
    /// The end: the sequence of the last message, and up to which sequence the answering server had looked.
    End {
        last: Option<u64>,
        up_to: Option<u64>,
        /// How many more match, beyond those of this reply.
        pending: Option<u64>,
    },
    /// There is nothing that matches, as far as the answering server knows.
    Nothing,
    Refused,
}

/// The part of a reply that can be relied on.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Ascending; between two of them nothing that matches exists.
    pub events: Vec<Stored>,
    /// The last sequence that was read, events of unknown subjects included.
    pub read: Option<u64>,
    /// Set only if the reply came to its proper end.
    pub up_to: Option<u64>,
    /// How many more match, as far as the answering server knows; set only if the reply came to its proper end.
    pub pending: Option<u64>,
    /// The server says that nothing matches; a lagging one may be wrong.
    pub nothing: bool,
    /// Something of the reply was lost: ask again from where it stopped.
    pub broken: bool,
}

impl Batch {
    /// Takes the next message of the reply. True if more is to come.
    pub fn take(&mut self, part: Part) -> bool {
        match part {
            Part::Message {
                sequence,
                previous,
                event,
            } => {
                let follows =
                    previous == Some(self.read.unwrap_or(0)) && Some(sequence) > self.read;
                if self.broken || !follows {
                    // What comes behind a break proves nothing, but the end is still to come.
                    self.broken = true;
                } else {
                    self.read = Some(sequence);
                    self.events.extend(event);
                }
                true
            }
            Part::End {
                last,
                up_to,
                pending,
            } => {
                self.broken |= last.unwrap_or(0) != self.read.unwrap_or(0);
                self.up_to = up_to.filter(|_| !self.broken);
                self.pending = pending.filter(|_| !self.broken);
                false
            }
            Part::Nothing => {
                self.nothing = self.read.is_none() && !self.broken;
                self.broken |= !self.nothing;
                false
            }
            Part::Refused => {
                self.broken = true;
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(sequence: u64, previous: u64) -> Part {
        let event = Stored {
            sequence,
            room: RoomToken::of("room"),
            kind: Kind::Message,
            time: SystemTime::UNIX_EPOCH,
            payload: Bytes::new(),
        };
        Part::Message {
            sequence,
            previous: Some(previous),
            event: Some(event),
        }
    }

    fn end(last: u64, up_to: Option<u64>) -> Part {
        let last = Some(last);
        Part::End {
            last,
            up_to,
            pending: None,
        }
    }

    fn batch(parts: impl IntoIterator<Item = Part>) -> (Vec<u64>, Batch) {
        let mut batch = Batch::default();
        let mut parts = parts.into_iter();
        while batch.take(parts.next().expect("a reply has an end")) {}
        let sequences = batch.events.iter().map(|event| event.sequence).collect();
        (sequences, batch)
    }

    #[test]
    fn a_whole_reply_proves_what_its_end_says() {
        let (read, batch) = batch([message(3, 0), message(9, 3), end(9, Some(12))]);
        assert_eq!(read, [3, 9]);
        assert_eq!(
            (batch.read, batch.up_to, batch.broken),
            (Some(9), Some(12), false)
        );
    }

    #[test]
    fn a_reply_without_its_head_brings_nothing() {
        let (read, batch) = batch([message(98, 97), message(99, 98), end(99, Some(99))]);
        assert!(read.is_empty());
        assert_eq!((batch.up_to, batch.broken), (None, true));
    }

    #[test]
    fn a_reply_is_cut_where_a_message_is_missing() {
        let (read, batch) = batch([message(1, 0), message(2, 1), message(4, 3), end(4, Some(4))]);
        assert_eq!(read, [1, 2]);
        assert_eq!((batch.up_to, batch.broken), (None, true));
    }

    #[test]
    fn a_reply_that_lost_its_tail_proves_no_end() {
        let (read, batch) = batch([message(1, 0), end(2, Some(5))]);
        assert_eq!(read, [1]);
        assert_eq!((batch.up_to, batch.broken), (None, true));
    }

    #[test]
    fn nothing_is_told_from_a_lost_reply() {
        assert!(batch([Part::Nothing]).1.nothing);
        let (read, batch) = batch([message(1, 0), Part::Nothing]);
        assert_eq!(read, [1]);
        assert!(batch.broken && !batch.nothing);
    }

    #[test]
    fn a_refusal_and_a_missing_link_are_breaks() {
        assert!(batch([Part::Refused]).1.broken);
        let unlinked = Part::Message {
            sequence: 1,
            previous: None,
            event: None,
        };
        assert!(batch([unlinked, end(1, None)]).1.broken);
    }

    #[test]
    fn a_message_of_an_unknown_subject_is_a_link_of_the_chain() {
        let foreign = Part::Message {
            sequence: 2,
            previous: Some(1),
            event: None,
        };
        let (read, batch) = batch([message(1, 0), foreign, message(3, 2), end(3, None)]);
        assert_eq!(read, [1, 3]);
        assert!(!batch.broken);
    }
}
