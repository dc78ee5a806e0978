//! `chat-node nats users`: keys of the three roles, and the part of the servers' configuration that knows them.
//!
//! The text is made by pure functions; only [`write`] touches the disk. Seeds are written once and never changed.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::account::Role;
use super::api::subject;
use super::credentials::{self, Credentials};
use super::streams::stream_name;
use crate::config::Users;

/// The file that servers include.
const ACCOUNTS_FILE: &str = "accounts.conf";

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{} is there already; --update keeps the keys and writes {ACCOUNTS_FILE} anew", .0.display())]
    Exists(PathBuf),
    #[error("{} {problem}", file.display())]
    Credentials {
        file: PathBuf,
        problem: credentials::Problem,
    },
    #[error("failed to write {}", file.display())]
    Write { file: PathBuf, source: io::Error },
}

/// What a role may send and receive; nothing else.
#[derive(Debug, PartialEq, Eq)]
struct Permissions {
    publish: Vec<String>,
    subscribe: Vec<String>,
    /// May answer what it receives, once.
    answers: bool,
}

/// The rights of `role` over streams of so many shards. `None` is every right in the account.
///
/// A wildcard must be a whole token of a subject, so each stream is named.
fn permissions(role: Role, shards: u16) -> Option<Permissions> {
    type Subject = fn(&str) -> String;
    let of_each_stream = |subjects: &[Subject]| {
        let streams = (0..shards).map(stream_name);
        let subjects = streams.map(|stream| {
            let subjects = subjects.iter().map(move |subject| subject(&stream));
            subjects.collect::<Vec<_>>()
        });
        subjects.flatten().collect::<Vec<_>>()
    };
    let own = |subjects: &[&str]| -> Vec<String> {
        let subjects = subjects.iter().map(|&subject| subject.to_owned());
        subjects
            .chain([format!("{}.>", role.inbox_prefix())])
            .collect()
    };
    let named = |subjects: &[&str]| -> Vec<String> {
        subjects.iter().map(|&subject| subject.to_owned()).collect()
    };
    match role {
        Role::Operator => None,
        Role::Node => Some(Permissions {
            publish: [
                named(&[
                    "c.in.*.*.*",
                    "c.eph.>",
                    "c.who.>",
                    "c.node.>",
                    "$JS.API.INFO",
                ]),
                of_each_stream(&[
                    subject::info,
                    subject::direct_get,
                    |stream| format!("{}.>", subject::direct_get(stream)),
                    subject::message_get,
                ]),
            ]
            .concat(),
            // Only the servers speak on c.live: what they republish cannot be forged.
            subscribe: own(&[
                "c.live.>",
                "c.eph.>",
                "c.who.>",
                "c.node.>",
                "$JS.EVENT.ADVISORY.STREAM.LEADER_ELECTED.>",
            ]),
            answers: true,
        }),
        Role::Moderator => Some(Permissions {
            publish: of_each_stream(&[subject::info, subject::purge, subject::message_delete]),
            subscribe: own(&[]),
            answers: false,
        }),
    }
}

/// The servers' configuration: one account with a user for each role, known by public key.
pub fn accounts(account: &str, shards: u16, public_key: impl Fn(Role) -> String) -> String {
    let users: String = Role::ALL
        .map(|role| user(role, &public_key(role), shards))
        .concat();
    format!(
        "# The account of the chat nodes (shards: {shards}); made by `chat-node nats users`, which makes it anew\n\
         # with --update. It holds public keys only. In the configuration of every server: include \"{ACCOUNTS_FILE}\"\n\
         accounts {{\n  \
           \"{account}\": {{\n    \
             jetstream: enabled\n    \
             users: [\n{users}    ]\n  \
           }}\n\
         }}\n"
    )
}

fn user(role: Role, public_key: &str, shards: u16) -> String {
    let mut text = format!("      # {}\n      {{ nkey: {public_key}", role.name());
    if let Some(permissions) = permissions(role, shards) {
        let Permissions {
            publish,
            subscribe,
            answers,
        } = permissions;
        let list = |subjects: Vec<String>| -> String {
            let line = |subject| format!("          \"{subject}\"\n");
            subjects.into_iter().map(line).collect()
        };
        let _ = write!(
            text,
            ", permissions: {{\n        publish: {{ allow: [\n{}        ] }}\n        subscribe: {{ allow: [\n{}        ] }}\n",
            list(publish),
            list(subscribe)
        );
        if answers {
            text.push_str("        allow_responses: { max: 1, expires: \"5s\" }\n");
        }
        text.push_str("      }");
    }
    text.push_str(" }\n");
    text
}

fn seed_file(directory: &Path, role: Role) -> PathBuf {
    directory.join(format!("{}.nk", role.name()))
}

/// Makes the files that are asked for, and says which.
pub fn write(users: &Users) -> Result<Vec<String>, Error> {
    let Users {
        shards,
        directory,
        account,
        update,
    } = users;
    let accounts_file = directory.join(ACCOUNTS_FILE);
    let files = Role::ALL.map(|role| seed_file(directory, role));
    // Before anything is written: a half-made set would be refused by the next run.
    let mut files_of_all = files.iter().chain([&accounts_file]);
    if let Some(file) = files_of_all.find(|file| !update && file.exists()) {
        return Err(Error::Exists(file.clone()));
    }
    let failed = |file: &Path| {
        let file = file.to_owned();
        |source| Error::Write { file, source }
    };
    std::fs::create_dir_all(directory).map_err(failed(directory))?;

    let mut said = Vec::new();
    let mut public_keys = Vec::new();
    for (role, file) in Role::ALL.into_iter().zip(&files) {
        let wrong = |problem| Error::Credentials {
            file: file.clone(),
            problem,
        };
        let credentials = if file.exists() {
            said.push(format!("{} kept", file.display()));
            Credentials::read(file).map_err(wrong)?
        } else {
            let made = Credentials::generate().map_err(wrong)?;
            made.write_new(file).map_err(failed(file))?;
            said.push(format!("{} made", file.display()));
            made
        };
        public_keys.push((role, credentials.public_key().to_owned()));
    }
    let public_key = |role| {
        let of_role = public_keys.iter().find(|(of, _)| *of == role);
        of_role.map_or_else(String::new, |(_, key)| key.clone())
    };
    let text = accounts(account, *shards, public_key);
    replace(&accounts_file, &text).map_err(failed(&accounts_file))?;
    said.push(format!(
        "{} written: account {account}, {shards} shards",
        accounts_file.display()
    ));
    Ok(said)
}

/// Writes a file so that nobody ever reads half of it.
fn replace(file: &Path, text: &str) -> io::Result<()> {
    let new = file.with_extension("conf.new");
    let mut open = File::create(&new)?;
    open.write_all(text.as_bytes())?;
    open.sync_all()?;
    std::fs::rename(&new, file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users(directory: &Path) -> Users {
        Users {
            shards: 2,
            directory: directory.to_owned(),
            account: "chat".to_owned(),
            update: false,
        }
    }

    #[test]
    fn a_node_may_publish_read_and_listen_and_no_more() {
        let node = permissions(Role::Node, 2).unwrap();
        assert_eq!(
            node.publish,
            [
                "c.in.*.*.*",
                "c.eph.>",
                "c.who.>",
                "c.node.>",
                "$JS.API.INFO",
                "$JS.API.STREAM.INFO.C_0",
                "$JS.API.DIRECT.GET.C_0",
                "$JS.API.DIRECT.GET.C_0.>",
                "$JS.API.STREAM.MSG.GET.C_0",
                "$JS.API.STREAM.INFO.C_1",
                "$JS.API.DIRECT.GET.C_1",
                "$JS.API.DIRECT.GET.C_1.>",
                "$JS.API.STREAM.MSG.GET.C_1",
            ]
        );
        assert_eq!(
            node.subscribe,
            [
                "c.live.>",
                "c.eph.>",
                "c.who.>",
                "c.node.>",
                "$JS.EVENT.ADVISORY.STREAM.LEADER_ELECTED.>",
                "_INBOX_node.>"
            ]
        );
        assert!(node.answers);
    }

    #[test]
    fn a_moderator_may_erase_and_no_more() {
        let moderator = permissions(Role::Moderator, 1).unwrap();
        let expected = Permissions {
            publish: [
                "$JS.API.STREAM.INFO.C_0",
                "$JS.API.STREAM.PURGE.C_0",
                "$JS.API.STREAM.MSG.DELETE.C_0",
            ]
            .map(str::to_owned)
            .into(),
            subscribe: vec!["_INBOX_moderator.>".to_owned()],
            answers: false,
        };
        assert_eq!(moderator, expected);
        assert_eq!(permissions(Role::Operator, 1), None);
    }

    #[test]
    fn the_configuration_names_each_user_by_public_key() {
        let text = accounts("chat", 1, |role| format!("U{}", role.name()));
        assert_eq!(
            text,
            r##"# The account of the chat nodes (shards: 1); made by `chat-node nats users`, which makes it anew
# with --update. It holds public keys only. In the configuration of every server: include "accounts.conf"
accounts {
  "chat": {
    jetstream: enabled
    users: [
      # operator
      { nkey: Uoperator }
      # node
      { nkey: Unode, permissions: {
        publish: { allow: [
          "c.in.*.*.*"
          "c.eph.>"
          "c.who.>"
          "c.node.>"
          "$JS.API.INFO"
          "$JS.API.STREAM.INFO.C_0"
          "$JS.API.DIRECT.GET.C_0"
          "$JS.API.DIRECT.GET.C_0.>"
          "$JS.API.STREAM.MSG.GET.C_0"
        ] }
        subscribe: { allow: [
          "c.live.>"
          "c.eph.>"
          "c.who.>"
          "c.node.>"
          "$JS.EVENT.ADVISORY.STREAM.LEADER_ELECTED.>"
          "_INBOX_node.>"
        ] }
        allow_responses: { max: 1, expires: "5s" }
      } }
      # moderator
      { nkey: Umoderator, permissions: {
        publish: { allow: [
          "$JS.API.STREAM.INFO.C_0"
          "$JS.API.STREAM.PURGE.C_0"
          "$JS.API.STREAM.MSG.DELETE.C_0"
        ] }
        subscribe: { allow: [
          "_INBOX_moderator.>"
        ] }
      } }
    ]
  }
}
"##
        );
    }

    #[test]
    fn keys_are_made_once_and_survive_an_update() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path().join("nats");
        let mut users = users(&directory);
        write(&users).unwrap();
        let read = |name: &str| std::fs::read_to_string(directory.join(name)).unwrap();
        let seeds = || ["operator.nk", "node.nk", "moderator.nk"].map(read);
        let made = seeds();
        let conf = read(ACCOUNTS_FILE);
        for role in Role::ALL {
            let key = Credentials::read(&seed_file(&directory, role)).unwrap();
            assert_eq!(conf.matches(key.public_key()).count(), 1, "{role:?}");
            assert!(!conf.contains(key.seed()));
        }
        assert!(conf.contains("C_1") && !conf.contains("C_2"));

        let error = write(&users).unwrap_err().to_string();
        assert!(error.contains("operator.nk is there already"), "{error}");
        (users.shards, users.update) = (3, true);
        let said = write(&users).unwrap();
        assert_eq!(said.iter().filter(|line| line.ends_with("kept")).count(), 3);
        assert_eq!(seeds(), made);
        assert!(read(ACCOUNTS_FILE).contains("C_2"));
    }

    #[test]
    fn nothing_is_written_if_anything_is_there() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("moderator.nk"), "mine").unwrap();
        let error = write(&users(directory.path())).unwrap_err();
        assert!(matches!(error, Error::Exists(file) if file.ends_with("moderator.nk")));
        assert_eq!(directory.path().read_dir().unwrap().count(), 1);
    }

    #[test]
    fn a_key_that_cannot_be_read_is_not_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("node.nk");
        std::fs::write(&file, "mine").unwrap();
        let error = write(&Users {
            update: true,
            ..users(directory.path())
        });
        let error = error.unwrap_err().to_string();
        assert!(
            error.contains("node.nk has a line that is no valid nkey seed"),
            "{error}"
        );
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "mine");
    }
}
