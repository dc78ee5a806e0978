//! Who may do what in a room: the class's setting and how the session stands to the room -> leave, or a refusal. Pure.
//!
//! docs/security.md has the same as a table, and a test compares the two from outside.

use crate::config::{PublishAccess, ReadAccess, RoomClass, SubscribeAccess};
use crate::ids::{RoomName, UserId};
use crate::protocol::{ErrorCode, Refusal};

use super::Refused;

/// How a session stands to a room.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standing {
    /// The room is for everybody, or for this user by name.
    pub is_meant: bool,
    pub is_member: bool,
    /// It came by a subscription token, or was put into the room.
    pub is_vouched: bool,
}

/// Whether the room is for `user`: what follows its last `#` lists the users that it is for.
pub(super) fn is_meant(room: &RoomName, user: &UserId) -> bool {
    match room.as_str().rsplit_once('#') {
        None => true,
        Some((_, users)) => {
            let user = user.as_str();
            !user.is_empty() && users.split(',').any(|named| named == user)
        }
    }
}

pub(super) fn subscribe(class: &RoomClass, standing: Standing) -> Refused<()> {
    meant(standing)?;
    match class.subscribe {
        SubscribeAccess::Anyone => Ok(()),
        SubscribeAccess::Token if standing.is_vouched => Ok(()),
        SubscribeAccess::Token => denied("this room needs a subscription token"),
        SubscribeAccess::Server => denied("only the server puts sessions into this room"),
    }
}

pub(super) fn publish(class: &RoomClass, standing: Standing) -> Refused<()> {
    meant(standing)?;
    match class.publish {
        PublishAccess::Anyone => Ok(()),
        PublishAccess::Subscribers if standing.is_member => Ok(()),
        PublishAccess::Subscribers => denied("subscribe to the room before publishing to it"),
        PublishAccess::Token if standing.is_member && standing.is_vouched => Ok(()),
        PublishAccess::Token => denied("publishing to this room needs a subscription token"),
        PublishAccess::Server => denied("only the server publishes to this room"),
    }
}

pub(super) fn history(class: &RoomClass, standing: Standing) -> Refused<()> {
    meant(standing)?;
    match class.history {
        ReadAccess::Anyone => Ok(()),
        ReadAccess::Subscribers if standing.is_member => Ok(()),
        ReadAccess::Subscribers => denied("subscribe to the room before reading its history"),
        ReadAccess::Server => denied("only the server reads this room's history"),
        ReadAccess::None => {
            let detail = "this room's class has no readable history";
            Err(Refusal::new(ErrorCode::NotAvailable, detail))
        }
    }
}

/// Whether the session may ask who is in the room, and hear who comes and goes.
pub(super) fn presence(class: &RoomClass, standing: Standing) -> Refused<()> {
    meant(standing)?;
    match class.presence {
        ReadAccess::Anyone => Ok(()),
        ReadAccess::Subscribers if standing.is_member => Ok(()),
        ReadAccess::Subscribers => denied("subscribe to the room before asking who is in it"),
        ReadAccess::Server => denied("only the server sees who is in this room"),
        ReadAccess::None => {
            let detail = "this room's class does not show who is in it";
            Err(Refusal::new(ErrorCode::NotAvailable, detail))
        }
    }
}

fn meant(standing: Standing) -> Refused<()> {
    match standing.is_meant {
        true => Ok(()),
        false => denied("this room is for the users that its name lists"),
    }
}

fn denied(detail: &'static str) -> Refused<()> {
    Err(Refusal::new(ErrorCode::PermissionDenied, detail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_with_a_hash_is_for_the_users_it_lists() {
        let is_meant = |room: &str, user: &str| {
            is_meant(&RoomName::parse(room, 255).unwrap(), &UserId::named(user))
        };
        assert!(is_meant("dm#ann,bob", "ann") && is_meant("dm#ann,bob", "bob"));
        assert!(is_meant("a#b#ann", "ann"));
        assert!(is_meant("lobby", "") && is_meant("lobby", "ann"));
        for (room, user) in [
            ("dm#ann,bob", "an"),
            ("dm#ann,bob", "ann,bob"),
            ("dm#ann,bob", ""),
            ("dm#", ""),
            ("dm#,", ""),
            ("ann#bob", "ann"),
            ("dm#ann#bob", "ann"),
            ("dm#ann, bob", "bob"),
        ] {
            assert!(!is_meant(room, user), "{room} {user}");
        }
    }
}
