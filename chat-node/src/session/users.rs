//! How many sessions each user has on this node.

use std::collections::HashMap;
use std::sync::Mutex;

use foldhash::fast::RandomState;

use crate::ids::UserId;

/// Touched by connects and ends of named users only.
#[derive(Default)]
pub struct UserSessions {
    counts: Mutex<HashMap<UserId, usize, RandomState>>,
}

impl UserSessions {
    /// Counts one more session of `user`, unless there are `most`. Nobody counts the sessions of no user.
    pub fn enter(&self, user: &UserId, most: usize) -> bool {
        if *user == UserId::ANONYMOUS {
            return true;
        }
        let mut counts = self.counts.lock().expect("no panic holds this lock");
        let count = counts.entry(user.clone()).or_default();
        let fits = *count < most;
        if fits {
            *count += 1;
        } else if *count == 0 {
            counts.remove(user);
        }
        fits
    }

    /// Takes one `enter` back.
    pub fn leave(&self, user: &UserId) {
        if *user == UserId::ANONYMOUS {
            return;
        }
        let mut counts = self.counts.lock().expect("no panic holds this lock");
        if let Some(count) = counts.get_mut(user) {
            *count -= 1;
            if *count == 0 {
                counts.remove(user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_user_has_a_count_of_its_own_and_leaves_nothing_behind() {
        let (sessions, ann, bob) = (
            UserSessions::default(),
            UserId::named("ann"),
            UserId::named("bob"),
        );
        assert!(sessions.enter(&ann, 2) && sessions.enter(&ann, 2) && sessions.enter(&bob, 2));
        assert!(!sessions.enter(&ann, 2));
        sessions.leave(&ann);
        assert!(sessions.enter(&ann, 2));
        for user in [&ann, &ann, &bob] {
            sessions.leave(user);
        }
        assert!(sessions.counts.lock().unwrap().is_empty());
        for _ in 0..3 {
            assert!(sessions.enter(&UserId::ANONYMOUS, 2));
        }
    }
}
