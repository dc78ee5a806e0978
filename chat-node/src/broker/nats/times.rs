//! How long things may take before a rule of delivery says what follows. Only tests have less time.

use std::time::Duration;

#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// Between two looks at the leader's last sequence.
    pub audit: Duration,
    /// The same before the stream could be read for the first time: the node's clients wait for it.
    pub join: Duration,
    /// Replicas may lag; the leader is asked for what is missing after so long.
    pub ask_leader: Duration,
    /// A stream that is so long behind what this node has seen of it is another one.
    pub backwards: Duration,
    /// A shard without members is followed so long after its last use.
    pub linger: Duration,
    /// One attempt to publish, until its acknowledgement.
    pub attempt: Duration,
    /// A connection so young is not replaced on suspicion: its server has just answered.
    pub young: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            audit: Duration::from_secs(2),
            join: Duration::from_secs(1),
            ask_leader: Duration::from_secs(2),
            backwards: Duration::from_secs(15),
            linger: Duration::from_secs(60),
            attempt: Duration::from_secs(2),
            young: Duration::from_secs(2),
        }
    }
}
