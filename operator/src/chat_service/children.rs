//! The operator's objects as the watches tell of them: names, labels, owners and versions, no contents.
//!
//! May lag behind the API server. What is decided by it is decided again when the watch catches up: every event of an object
//! is a reconcile of its ChatService.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kube::ResourceExt as _;
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::{Store, store::Writer};
use kube::runtime::watcher::Event;

use super::build::Kind;
use super::build::metadata::is_of;
use super::fetch::resource;

/// How long a watch may take to tell of all objects. One that fails is tried again meanwhile.
const PATIENCE: Duration = Duration::from_secs(30);

/// An object without its contents, of any kind.
pub type Child = PartialObjectMeta;

pub struct Children([OfKind; Kind::ALL.len()]);

struct OfKind {
    kind: Kind,
    writer: Mutex<Writer<Child>>,
    store: Store<Child>,
}

impl Default for Children {
    fn default() -> Self {
        Self(Kind::ALL.map(|kind| {
            let writer = Writer::new(resource(kind));
            OfKind {
                kind,
                store: writer.as_reader(),
                writer: Mutex::new(writer),
            }
        }))
    }
}

impl Children {
    /// Takes what the watch of a kind says.
    pub fn take(&self, kind: Kind, event: &Event<Child>) {
        for it in self.0.iter().filter(|it| it.kind == kind) {
            let mut writer = it.writer.lock().unwrap_or_else(PoisonError::into_inner);
            writer.apply_watcher_event(event);
        }
    }

    /// The objects with the labels of a ChatService, whoever owns them. Waits until every watch has told of all that there is;
    /// errors: the kind of which nothing is known after 30 s.
    pub async fn of(
        &self,
        namespace: &str,
        service: &str,
    ) -> Result<Vec<(Kind, Arc<Child>)>, Kind> {
        let mut found = Vec::new();
        for OfKind { kind, store, .. } in &self.0 {
            let ready = tokio::time::timeout(PATIENCE, store.wait_until_ready()).await;
            if !matches!(ready, Ok(Ok(()))) {
                return Err(*kind);
            }
            let children = store.state_filter(|child| {
                child.metadata.namespace.as_deref() == Some(namespace)
                    && is_of(child.labels(), service)
            });
            found.extend(children.into_iter().map(|child| (*kind, child)));
        }
        Ok(found)
    }
}

/// Leaves out what nobody asks for: most of the metadata by size.
pub fn slim(child: &mut Child) {
    child.metadata.managed_fields = None;
    child.metadata.annotations = None;
}

#[cfg(test)]
pub mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// Tells `children` that of these kinds there is this, and nothing else.
    pub fn show(children: &Children, objects: impl Fn(Kind) -> Vec<Value>) {
        for kind in Kind::ALL {
            children.take(kind, &Event::Init);
            for object in objects(kind) {
                let child = json!({"metadata": object["metadata"]});
                let child = serde_json::from_value(child).unwrap();
                children.take(kind, &Event::InitApply(child));
            }
            children.take(kind, &Event::InitDone);
        }
    }

    fn object(namespace: &str, name: &str, service: &str) -> Value {
        json!({"metadata": {
            "name": name, "namespace": namespace, "resourceVersion": "1",
            "labels": {"app.kubernetes.io/name": "natter", "app.kubernetes.io/instance": service},
        }})
    }

    async fn names(children: &Children) -> Vec<String> {
        let found = children.of("chat", "lobby").await.unwrap().into_iter();
        let names = found.map(|(kind, child)| format!("{kind} {}", child.name_any()));
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    }

    #[tokio::test]
    async fn a_service_has_the_objects_with_its_labels_in_its_namespace() {
        let children = Children::default();
        let lobby = object("chat", "lobby-nodes", "lobby");
        show(&children, |kind| match kind {
            Kind::ConfigMap => vec![lobby.clone(), object("chat", "hall-nodes", "hall")],
            Kind::Service => vec![object("chat", "lobby", "lobby"), lobby.clone()],
            Kind::Deployment => vec![object("other", "lobby-nodes", "lobby")],
            _ => Vec::new(),
        });
        let all = [
            "ConfigMap lobby-nodes",
            "Service lobby",
            "Service lobby-nodes",
        ];
        assert_eq!(names(&children).await, all);

        let gone = serde_json::from_value(lobby).unwrap();
        children.take(Kind::Service, &Event::Delete(gone));
        assert_eq!(names(&children).await, all[..2]);
        // A watch that begins anew tells by its silence what went meanwhile.
        show(&children, |_| Vec::new());
        assert_eq!(names(&children).await, [""; 0]);
    }

    #[tokio::test]
    async fn nothing_is_said_before_every_watch_has_told_all() {
        let children = Children::default();
        for kind in &Kind::ALL[1..] {
            children.take(*kind, &Event::Init);
            children.take(*kind, &Event::InitDone);
        }
        let early = futures_util::FutureExt::now_or_never(names(&children));
        assert_eq!(early, None);
    }
}
