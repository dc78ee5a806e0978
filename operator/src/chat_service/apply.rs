//! Objects that are wanted -> the API server: server-side apply in order, then what is not wanted any more is deleted.
//!
//! Never over an object that somebody else owns. Nothing is written when nothing changed: after a write the operator
//! remembers what it wrote and what the object looked like; as long as both are the same, there is nothing to do. With its
//! version it knows that without reading the object again.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::Client;
use kube::api::{DeleteParams, DynamicObject, ObjectMeta, Patch, PatchParams, Preconditions};

use super::build::metadata::MANAGED_BY;
use super::build::{Kind, Object};
use super::fetch::{Live, Observed, api, essence};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{kind} {name} belongs to {owner}: rename the ChatService, or remove the {kind}")]
    NotOwned {
        kind: Kind,
        name: String,
        owner: String,
    },
    #[error("failed to apply {kind} {name}: {}", reason(source))]
    Apply {
        kind: Kind,
        name: String,
        #[source]
        source: kube::Error,
    },
    #[error("failed to delete {kind} {name}: {}", reason(source))]
    Delete {
        kind: Kind,
        name: String,
        #[source]
        source: kube::Error,
    },
}

/// What the API server says, without the debug output that kube's error has.
pub fn reason(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

/// Something that a human may ask about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    Created(Kind, String),
    Updated(Kind, String),
    Deleted(Kind, String),
}

impl Action {
    /// The reason of its event, and the kind and name of the object.
    pub fn parts(&self) -> (&'static str, Kind, &str) {
        match self {
            Self::Created(kind, name) => ("Created", *kind, name),
            Self::Updated(kind, name) => ("Updated", *kind, name),
            Self::Deleted(kind, name) => ("Deleted", *kind, name),
        }
    }
}

/// What is there after all has been applied.
#[derive(Debug, Default)]
pub struct Applied {
    pub objects: Vec<Live>,
    pub actions: Vec<Action>,
}

type Key = (String, Kind, String);

/// What was written last, and the object as it was then.
#[derive(Clone)]
struct Mark {
    wanted: blake3::Hash,
    state: blake3::Hash,
    version: String,
}

/// Hashes of what was written last, by ChatService, kind and name.
#[derive(Default)]
pub struct Written(Mutex<HashMap<Key, Mark>>);

impl Written {
    fn marks(&self) -> MutexGuard<'_, HashMap<Key, Mark>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state of an object, if this version of it was seen.
    pub fn state_of(
        &self,
        uid: &str,
        kind: Kind,
        name: &str,
        version: &str,
    ) -> Option<blake3::Hash> {
        let marks = self.marks();
        let mark = marks.get(&(uid.to_owned(), kind, name.to_owned()))?;
        (mark.version == version).then_some(mark.state)
    }

    /// Whether there is nothing to write. The object may have another version, as each change of its status gives it one.
    fn is_unchanged(&self, key: &Key, wanted: blake3::Hash, live: &Live) -> bool {
        let mut marks = self.marks();
        let mark = marks.get_mut(key);
        let mark = mark.filter(|mark| mark.wanted == wanted && mark.state == live.state);
        let is_unchanged = mark.is_some();
        if let (Some(mark), Some(version)) = (mark, &live.metadata.resource_version) {
            mark.version.clone_from(version);
        }
        is_unchanged
    }

    fn remember(&self, key: Key, wanted: blake3::Hash, live: &Live) {
        let mark = Mark {
            wanted,
            state: live.state,
            version: live.metadata.resource_version.clone().unwrap_or_default(),
        };
        self.marks().insert(key, mark);
    }

    /// Forgets a ChatService that is gone.
    pub fn forget(&self, uid: &str) {
        self.marks().retain(|(owner, _, _), _| owner != uid);
    }
}

/// Whose objects these are, and where.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    pub namespace: &'a str,
    /// The ChatService's.
    pub uid: &'a str,
}

pub async fn apply(
    client: &Client,
    written: &Written,
    scope: Scope<'_>,
    wanted: &[Object],
    observed: &Observed,
) -> Result<Applied, Error> {
    let mut applied = Applied::default();
    for object in wanted {
        let live = apply_one(
            client,
            written,
            scope,
            object,
            observed,
            &mut applied.actions,
        )
        .await?;
        applied.objects.push(live);
    }
    // Last: what replaces an object is there before it goes.
    prune(client, scope, wanted, observed, &mut applied.actions).await?;
    Ok(applied)
}

async fn apply_one(
    client: &Client,
    written: &Written,
    scope: Scope<'_>,
    object: &Object,
    observed: &Observed,
    actions: &mut Vec<Action>,
) -> Result<Live, Error> {
    let (kind, name) = (object.kind, object.name.clone());
    let failed = |source| Error::Apply {
        kind,
        name: name.clone(),
        source,
    };
    let api = api(client, scope.namespace, kind);
    let live = match observed.object(kind, &name) {
        Some(live) => Some(live.clone()),
        // It may be there without our labels, or the watch has not told of it yet.
        None => {
            let there = api.get_opt(&name).await.map_err(failed)?;
            there.map(|body| Live::read(kind, body))
        }
    };
    let key = (scope.uid.to_owned(), kind, name.clone());
    let wanted = hash(&object.body);
    if let Some(live) = &live {
        if !is_owned(&live.metadata, scope.uid) {
            let owner = owner(&live.metadata);
            return Err(Error::NotOwned { kind, name, owner });
        }
        if written.is_unchanged(&key, wanted, live) {
            return Ok(live.clone());
        }
    }
    let params = PatchParams::apply(MANAGED_BY).force();
    let after = api
        .patch(&name, &params, &Patch::Apply(&object.body))
        .await
        .map_err(failed)?;
    let after = Live::read(kind, after);
    match &live {
        None => actions.push(Action::Created(kind, name)),
        Some(live) if live.state != after.state => actions.push(Action::Updated(kind, name)),
        // The first look after a start: it was as it should be.
        Some(_) => {}
    }
    written.remember(key, wanted, &after);
    Ok(after)
}

async fn prune(
    client: &Client,
    scope: Scope<'_>,
    wanted: &[Object],
    observed: &Observed,
    actions: &mut Vec<Action>,
) -> Result<(), Error> {
    let is_wanted = |kind, name: &str| {
        wanted
            .iter()
            .any(|object| object.kind == kind && object.name == name)
    };
    for live in &observed.objects {
        let (kind, name) = (live.kind, live.name.as_str());
        let is_going = live.metadata.deletion_timestamp.is_some();
        if is_wanted(kind, name) || is_going || !is_owned(&live.metadata, scope.uid) {
            continue;
        }
        let params = DeleteParams {
            preconditions: Some(Preconditions {
                uid: live.metadata.uid.clone(),
                resource_version: None,
            }),
            ..DeleteParams::default()
        };
        match api(client, scope.namespace, kind)
            .delete(name, &params)
            .await
        {
            Ok(_) => actions.push(Action::Deleted(kind, name.to_owned())),
            Err(kube::Error::Api(status)) if status.is_not_found() => {}
            Err(source) => {
                let name = name.to_owned();
                return Err(Error::Delete { kind, name, source });
            }
        }
    }
    Ok(())
}

fn hash(value: &serde_json::Value) -> blake3::Hash {
    blake3::hash(value.to_string().as_bytes())
}

/// By which an object is known again: a hash of its essence.
pub fn state(object: &DynamicObject) -> blake3::Hash {
    hash(&essence(object))
}

/// The one owner that answers for an object.
fn controller(metadata: &ObjectMeta) -> Option<&OwnerReference> {
    let mut owners = metadata.owner_references.iter().flatten();
    owners.find(|owner| owner.controller == Some(true))
}

fn is_owned(metadata: &ObjectMeta, uid: &str) -> bool {
    controller(metadata).is_some_and(|owner| owner.uid == uid)
}

/// Who owns an object, in words.
fn owner(metadata: &ObjectMeta) -> String {
    match controller(metadata) {
        Some(owner) => format!("{} {}", owner.kind, owner.name),
        None => "somebody else (it has no owner reference of this ChatService)".to_owned(),
    }
}

#[cfg(test)]
mod tests;
