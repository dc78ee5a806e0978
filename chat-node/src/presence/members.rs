//! Members of a room, counted and listed: by a worker, by a node, by all.

use crate::broker::Author;
use crate::broker::peers;
use crate::ids::{self, SessionId, UserId};

/// Members that an answer lists, and about their bytes on the wire: whatever a frame and a client take. All are counted.
pub const MOST_LISTED: usize = 4000;
pub const MOST_BYTES: usize = 512 * 1024;

/// What is asked of a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Wanted {
    List,
    Numbers,
}

/// Users by hash, so that the same user on several nodes counts once.
pub type UserHash = u64;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Members {
    pub count: u64,
    /// Of each user once, after [`Members::settle`]; empty where a list was wanted.
    pub users: Vec<UserHash>,
    /// The first of them; empty where numbers were wanted.
    pub listed: Vec<Author>,
    pub(super) listed_bytes: usize,
}

impl Members {
    pub fn add(&mut self, member: Author, wanted: Wanted) {
        self.count += 1;
        match wanted {
            Wanted::Numbers => self.users.push(hash(&member.user)),
            Wanted::List => self.list(member),
        }
    }

    fn list(&mut self, member: Author) {
        let bytes = wire_bytes(&member);
        if self.listed.len() < MOST_LISTED && self.listed_bytes + bytes <= MOST_BYTES {
            self.listed_bytes += bytes;
            self.listed.push(member);
        }
    }

    /// Adds what another worker or node has.
    pub fn merge(&mut self, other: Self) {
        self.count += other.count;
        self.users.extend(other.users);
        for member in other.listed {
            self.list(member);
        }
    }

    /// Counts each user once. Call when all are merged.
    pub fn settle(&mut self) {
        self.users.sort_unstable();
        self.users.dedup();
    }

    pub fn into_answer(self) -> peers::Members {
        peers::Members {
            count: self.count,
            users: self.users,
            members: self.listed.iter().map(to_wire).collect(),
            ..peers::Members::default()
        }
    }

    pub fn of_answer(answer: peers::Members) -> Self {
        let mut members = Self {
            count: answer.count,
            users: answer.users,
            ..Self::default()
        };
        for member in answer.members.into_iter().filter_map(of_wire) {
            members.list(member);
        }
        members
    }
}

fn hash(user: &UserId) -> UserHash {
    if *user == UserId::ANONYMOUS {
        return 0;
    }
    ids::hash(user.as_str())
}

/// About what a member takes in an answer.
pub fn wire_bytes(member: &Author) -> usize {
    120 + member.user.as_str().len() + member.info_bytes()
}

pub fn to_wire(member: &Author) -> peers::Member {
    peers::Member {
        user: member.user.as_str().to_owned(),
        client: member.client.to_string(),
        conn_info: member.conn_info.clone().unwrap_or_default(),
        chan_info: member.chan_info.clone().unwrap_or_default(),
    }
}

/// `None` if it is no session.
pub fn of_wire(member: peers::Member) -> Option<Author> {
    let info = |info: bytes::Bytes| (!info.is_empty()).then_some(info);
    Some(Author {
        user: UserId::named(&member.user),
        client: SessionId::parse(&member.client)?,
        conn_info: info(member.conn_info),
        chan_info: info(member.chan_info),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(user: &str, info_bytes: usize) -> Author {
        Author {
            conn_info: (info_bytes > 0).then(|| vec![b'1'; info_bytes].into()),
            ..Author::plain(UserId::named(user), SessionId::random())
        }
    }

    fn members(wanted: Wanted, of: impl IntoIterator<Item = Author>) -> Members {
        let mut members = Members::default();
        for one in of {
            members.add(one, wanted);
        }
        members
    }

    #[test]
    fn each_user_counts_once_over_all_nodes() {
        let here = members(
            Wanted::Numbers,
            ["ann", "ann", "bob", "", ""].map(|user| member(user, 0)),
        );
        let there = members(
            Wanted::Numbers,
            ["bob", "cy", ""].map(|user| member(user, 0)),
        );
        let mut all = here;
        all.merge(Members::of_answer(there.into_answer()));
        all.settle();
        assert_eq!((all.count, all.users.len()), (8, 4));
        assert!(all.listed.is_empty());
    }

    #[test]
    fn all_are_counted_and_as_many_listed_as_fit() {
        let many = |count, bytes| members(Wanted::List, (0..count).map(|_| member("ann", bytes)));
        let mut small = many(3000, 0);
        small.merge(many(3000, 0));
        assert_eq!((small.count, small.listed.len()), (6000, MOST_LISTED));
        let big = many(100, 8192);
        assert_eq!((big.count, big.listed.len()), (100, 63));
    }

    #[test]
    fn a_member_arrives_as_it_was() {
        let ann = Author {
            chan_info: Some(r#"{"role":"host"}"#.into()),
            ..member("ann", 5)
        };
        assert_eq!(of_wire(to_wire(&ann)), Some(ann));
        let nobody = member("", 0);
        assert_eq!(of_wire(to_wire(&nobody)), Some(nobody));
        assert_eq!(of_wire(peers::Member::default()), None);
    }
}
