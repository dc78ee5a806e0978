//! A room's byte log: the frames that some member has not been sent yet, back to back, ready to write.
//!
//! Positions count bytes since the room was made and never repeat. A log that every member has read holds no memory.

use std::collections::VecDeque;
use std::time::Instant;

#[derive(Debug, Default)]
pub struct RoomLog {
    /// Position of the first byte held.
    base: u64,
    buffer: Option<Box<Buffer>>,
}

#[derive(Debug, Default)]
struct Buffer {
    bytes: Vec<u8>,
    frames: VecDeque<Frame>,
    /// Length of the log when its members were last checked for falling behind.
    checked_bytes: usize,
}

/// Where a frame ends, and whose publication it carries.
#[derive(Debug)]
struct Frame {
    end: u64,
    /// That of the last kept publication before it, if its own is not kept.
    offset: u64,
    is_kept: bool,
    appended: Instant,
}

/// What became of positions when frames were dropped.
#[derive(Debug, Default)]
pub struct Moved {
    /// Where each dropped frame began, and how many bytes were dropped from there on.
    dropped: Vec<(u64, u64)>,
}

impl Moved {
    /// Where the frame boundary is now that was at `position`.
    pub fn place(&self, position: u64) -> u64 {
        let next = self.dropped.partition_point(|(start, _)| *start < position);
        let behind = self.dropped.get(next).map_or(0, |(_, behind)| *behind);
        position + behind
    }
}

/// Emptied buffers, for the next room that gets a message.
#[derive(Debug, Default)]
#[expect(clippy::vec_box, reason = "they go in and out of logs as they are")]
pub struct Spares(Vec<Box<Buffer>>);

impl Spares {
    const MOST: usize = 32;
    const MAX_BYTES: usize = 64 * 1024;

    fn take(&mut self) -> Box<Buffer> {
        self.0.pop().unwrap_or_default()
    }

    fn put(&mut self, mut buffer: Box<Buffer>) {
        if self.0.len() < Self::MOST && buffer.bytes.capacity() <= Self::MAX_BYTES {
            buffer.bytes.clear();
            buffer.frames.clear();
            buffer.checked_bytes = 0;
            self.0.push(buffer);
        }
    }
}

impl RoomLog {
    /// The position after the last byte.
    pub fn head(&self) -> u64 {
        self.base + self.bytes() as u64
    }

    /// How many bytes are held.
    pub fn bytes(&self) -> usize {
        self.buffer.as_ref().map_or(0, |buffer| buffer.bytes.len())
    }

    /// Appends the frame of the publication at `offset`; offsets ascend, but for those that are 0, of what is not kept.
    pub fn append(&mut self, offset: u64, frame: &[u8], now: Instant, spares: &mut Spares) {
        let buffer = self.buffer.get_or_insert_with(|| spares.take());
        buffer.bytes.extend_from_slice(frame);
        let is_kept = offset > 0;
        let last = buffer.frames.back().map_or(0, |frame| frame.offset);
        buffer.frames.push_back(Frame {
            end: self.base + buffer.bytes.len() as u64,
            offset: if is_kept { offset } else { last },
            is_kept,
            appended: now,
        });
    }

    /// The bytes from `position` on. A position below the base has been trimmed away and yields nothing.
    pub fn from(&self, position: u64) -> &[u8] {
        let Some(buffer) = &self.buffer else {
            return &[];
        };
        position
            .checked_sub(self.base)
            .and_then(|start| buffer.bytes.get(start as usize..))
            .unwrap_or_default()
    }

    /// The next frames from `position` on, a frame boundary, that are of kept publications, one after the other: where
    /// they begin and end. What is not kept before them is passed over.
    pub fn kept_part(&self, position: u64) -> (u64, u64) {
        let Some(buffer) = &self.buffer else {
            return (position, position);
        };
        let next = buffer.frames.partition_point(|frame| frame.end <= position);
        let mut frames = buffer.frames.range(next..).peekable();
        let mut from = position;
        while let Some(frame) = frames.next_if(|frame| !frame.is_kept) {
            from = frame.end;
        }
        let kept = frames.take_while(|frame| frame.is_kept);
        (from, kept.last().map_or(from, |frame| frame.end))
    }

    /// The position after the last frame whose publication's offset is at most `offset`. What came after that one and
    /// is not kept was not in any answer, so it lies behind the position.
    pub fn start_after(&self, offset: u64) -> u64 {
        let Some(buffer) = &self.buffer else {
            return self.base;
        };
        let passed = buffer
            .frames
            .partition_point(|frame| frame.offset <= offset);
        let mut passed = buffer.frames.range(..passed).rev();
        let last_kept = passed.find(|frame| frame.is_kept);
        last_kept.map_or(self.base, |frame| frame.end)
    }

    /// The first frame boundary at or after `position`.
    pub fn boundary(&self, position: u64) -> u64 {
        let Some(buffer) = &self.buffer else {
            return self.base;
        };
        let head = self.head();
        if position <= self.base || position == head {
            return position.max(self.base);
        }
        let index = buffer.frames.partition_point(|frame| frame.end < position);
        buffer.frames.get(index).map_or(head, |frame| frame.end)
    }

    /// How many frames begin in `from..to`, both frame boundaries.
    pub fn frames(&self, from: u64, to: u64) -> usize {
        let Some(buffer) = &self.buffer else {
            return 0;
        };
        // Nearly always these are the newest few, however long the log is for the sake of one who is behind.
        let newest = buffer.frames.iter().rev();
        newest
            .skip_while(|frame| frame.end > to)
            .take_while(|frame| frame.end > from)
            .count()
    }

    /// When the frame at `position` was appended; `None` at the head.
    pub fn appended(&self, position: u64) -> Option<Instant> {
        let frames = &self.buffer.as_ref()?.frames;
        let index = frames.partition_point(|frame| frame.end <= position);
        frames.get(index).map(|frame| frame.appended)
    }

    /// Whether the log has grown so much since the last time this said yes that members should be checked.
    pub fn check_due(&mut self, backlog_bytes: usize) -> bool {
        let Some(buffer) = &mut self.buffer else {
            return false;
        };
        let due = buffer.bytes.len() > backlog_bytes.max(buffer.checked_bytes + backlog_bytes / 8);
        if due {
            buffer.checked_bytes = buffer.bytes.len();
        }
        due
    }

    /// Drops the frames up to `position` that are not kept. The head stays where it is: what lay before a dropped frame
    /// moves up by its length, which [`Moved`] tells of.
    pub fn drop_unkept(&mut self, position: u64) -> Moved {
        let mut moved = Moved::default();
        let Some(buffer) = &mut self.buffer else {
            return moved;
        };
        let stays = |frame: &Frame| frame.is_kept || frame.end > position;
        // As it is nearly always.
        if buffer.frames.iter().all(stays) {
            return moved;
        }
        let mut start = self.base;
        let mut held = Vec::with_capacity(buffer.bytes.len());
        for frame in &buffer.frames {
            let bytes = (start - self.base) as usize..(frame.end - self.base) as usize;
            if stays(frame) {
                held.extend_from_slice(&buffer.bytes[bytes]);
            } else {
                moved.dropped.push((start, bytes.len() as u64));
            }
            start = frame.end;
        }
        // From how much was dropped there to how much from there on.
        let mut behind = 0;
        for (_, dropped) in moved.dropped.iter_mut().rev() {
            behind += *dropped;
            *dropped = behind;
        }
        buffer.frames.retain(stays);
        for frame in &mut buffer.frames {
            frame.end = moved.place(frame.end);
        }
        buffer.bytes = held;
        buffer.checked_bytes = buffer.bytes.len();
        self.base = moved.place(self.base);
        moved
    }

    /// Drops what lies before `position`, a frame boundary.
    pub fn trim(&mut self, position: u64) {
        let Some(buffer) = &mut self.buffer else {
            return;
        };
        let drop = (position.saturating_sub(self.base) as usize).min(buffer.bytes.len());
        buffer.bytes.drain(..drop);
        self.base += drop as u64;
        let passed = buffer
            .frames
            .partition_point(|frame| frame.end <= self.base);
        buffer.frames.drain(..passed);
        buffer.checked_bytes = buffer.bytes.len();
    }

    /// Drops everything: all members have it.
    pub fn clear(&mut self, spares: &mut Spares) {
        self.base = self.head();
        if let Some(buffer) = self.buffer.take() {
            spares.put(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(frames: &[(u64, &str)]) -> RoomLog {
        let mut log = RoomLog::default();
        for (offset, frame) in frames {
            log.append(
                *offset,
                frame.as_bytes(),
                Instant::now(),
                &mut Spares::default(),
            );
        }
        log
    }

    #[test]
    fn a_start_lies_after_every_frame_up_to_the_offset() {
        let log = log(&[(5, "aa"), (17, "bbb"), (903, "c")]);
        assert_eq!(log.start_after(0), 0);
        assert_eq!(log.start_after(5), 2);
        assert_eq!(log.start_after(16), 2);
        assert_eq!(log.start_after(17), 5);
        assert_eq!(log.start_after(u64::MAX - 1), 6);
    }

    #[test]
    fn what_is_not_kept_can_be_passed_over() {
        let log = log(&[
            (0, "e"),
            (5, "aa"),
            (6, "b"),
            (0, "ff"),
            (0, "g"),
            (17, "c"),
            (0, "h"),
        ]);
        assert_eq!(log.kept_part(0), (1, 4));
        assert_eq!(log.kept_part(3), (3, 4));
        assert_eq!(log.kept_part(4), (7, 8));
        assert_eq!([log.kept_part(8), log.kept_part(9)], [(9, 9); 2]);
        assert_eq!(RoomLog::default().kept_part(0), (0, 0));
    }

    #[test]
    fn what_is_not_kept_can_be_dropped_and_positions_follow() {
        let frames = [
            (5, "aa"),
            (0, "e"),
            (0, "ff"),
            (6, "b"),
            (0, "g"),
            (17, "cc"),
            (0, "h"),
        ];
        let mut log = log(&frames);
        let head = log.head();
        let moved = log.drop_unkept(9);
        // Up to the position, the last one stays.
        assert_eq!((log.head(), log.from(log.base)), (head, &b"aabcch"[..]));
        let places = [0, 2, 3, 5, 6, 7, 9, 10].map(|position| moved.place(position));
        assert_eq!(places, [4, 6, 6, 6, 7, 7, 9, 10]);
        assert_eq!(log.from(places[1]), b"bcch");
        assert_eq!([log.boundary(5), log.boundary(8)], [6, 9]);
        assert_eq!((log.start_after(5), log.start_after(6)), (6, 7));
        log.append(18, b"d", Instant::now(), &mut Spares::default());
        assert_eq!(log.from(places[6]), b"hd");
        let moved = log.drop_unkept(0);
        assert_eq!(moved.place(4), 4, "nothing was dropped");
    }

    #[test]
    fn what_is_not_kept_lies_behind_the_offset_before_it() {
        let quiet = log(&[(0, "e")]);
        assert_eq!((quiet.start_after(0), quiet.start_after(17)), (0, 0));
        let mut log = log(&[(5, "aa"), (0, "e"), (0, "f"), (17, "bbb"), (0, "g")]);
        assert_eq!(log.start_after(4), 0);
        assert_eq!(log.start_after(5), 2);
        assert_eq!(log.start_after(16), 2);
        assert_eq!((log.start_after(17), log.start_after(99)), (7, 7));
        log.trim(7);
        assert_eq!(log.start_after(17), 7);
    }

    #[test]
    fn boundaries_and_counts_follow_frames() {
        let log = log(&[(1, "aa"), (2, "bbb"), (3, "c")]);
        assert_eq!(
            [0, 1, 2, 3, 5, 6].map(|position| log.boundary(position)),
            [0, 2, 2, 5, 5, 6]
        );
        assert_eq!(log.frames(0, 6), 3);
        assert_eq!(log.frames(2, 5), 1);
        assert_eq!(log.frames(6, 6), 0);
    }

    #[test]
    fn trimming_keeps_positions() {
        let mut log = log(&[(1, "aa"), (2, "bbb"), (3, "c")]);
        log.trim(2);
        assert_eq!((log.bytes(), log.head()), (4, 6));
        assert_eq!(log.from(2), b"bbbc");
        assert_eq!(log.from(1), b"");
        log.clear(&mut Spares::default());
        assert_eq!((log.bytes(), log.head(), log.start_after(9)), (0, 6, 6));
        log.append(4, b"dd", Instant::now(), &mut Spares::default());
        assert_eq!(
            (log.from(6), log.start_after(3), log.start_after(4)),
            (&b"dd"[..], 6, 8)
        );
    }
}
