//! Which connections of a worker belong to which named user.
//!
//! An entry is a hash and a key: who the user is, the session knows.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use crate::ids::UserId;
use crate::socket::ConnectionKey;

#[derive(Default)]
pub struct Users {
    entries: HashTable<(u64, ConnectionKey)>,
    state: RandomState,
}

impl Users {
    /// Adds a connection; anonymous users are not listed.
    pub fn insert(&mut self, user: &UserId, connection: ConnectionKey) {
        if *user != UserId::ANONYMOUS {
            let hash = self.hash(user);
            self.entries
                .insert_unique(hash, (hash, connection), |(hash, _)| *hash);
        }
    }

    pub fn remove(&mut self, user: &UserId, connection: ConnectionKey) {
        let hash = self.hash(user);
        let entry = self.entries.find_entry(hash, |(_, key)| *key == connection);
        if let Ok(entry) = entry {
            entry.remove();
        }
        // A table that was full once must not stay as large for ever.
        if self.entries.len() < self.entries.capacity() / 8 {
            let twice = self.entries.len() * 2;
            self.entries.shrink_to(twice, |(hash, _)| *hash);
        }
    }

    /// The connections of `user`, and perhaps of others whose hash is the same.
    pub fn of(&self, user: &UserId) -> impl Iterator<Item = ConnectionKey> {
        let hash = self.hash(user);
        let entries = self.entries.iter_hash(hash);
        entries
            .filter(move |(of, _)| *of == hash)
            .map(|(_, key)| *key)
    }

    /// All connections of named users.
    pub fn all(&self) -> impl Iterator<Item = ConnectionKey> {
        self.entries.iter().map(|(_, key)| *key)
    }

    fn hash(&self, user: &UserId) -> u64 {
        self.state.hash_one(user.as_str())
    }
}

#[cfg(test)]
mod tests {
    use slotmap::SlotMap;

    use super::*;

    #[test]
    fn users_have_their_connections_until_these_end() {
        let mut connections = SlotMap::<ConnectionKey, ()>::with_key();
        let mut users = Users::default();
        let keys: Vec<_> = (0..3000).map(|_| connections.insert(())).collect();
        let user = |n: usize| UserId::named(&format!("user {}", n % 1000));
        for (n, key) in keys.iter().enumerate() {
            users.insert(&user(n), *key);
        }
        users.insert(&UserId::ANONYMOUS, keys[0]);
        assert_eq!(users.all().count(), 3000);
        assert_eq!(users.of(&UserId::ANONYMOUS).count(), 0);
        let of = |users: &Users, n| {
            let mut of: Vec<_> = users.of(&user(n)).collect();
            of.sort();
            of
        };
        assert_eq!(of(&users, 7), [keys[7], keys[1007], keys[2007]]);
        users.remove(&user(7), keys[1007]);
        users.remove(&user(7), keys[1007]);
        assert_eq!(of(&users, 7), [keys[7], keys[2007]]);
        for (n, key) in keys.iter().enumerate().skip(1) {
            users.remove(&user(n), *key);
        }
        assert_eq!(users.all().collect::<Vec<_>>(), [keys[0]]);
        assert!(users.entries.capacity() < 100);
    }
}
