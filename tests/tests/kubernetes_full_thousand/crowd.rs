//! Many small ChatServices over one external NATS, in a namespace of their own.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use natter_tests::kubernetes::external_nats::{ExternalNats, create};
use natter_tests::kubernetes::pretended::{Pretended, pod_template};
use natter_tests::kubernetes::{Namespace, chat_service, kubectl, operator};
use natter_tests::wait::until_some_within;
use serde_json::{Value, json};

/// How long all of them may take to be ready.
const DEADLINE: Duration = Duration::from_secs(900);

/// Between two looks at all of them.
const PAUSE: Duration = Duration::from_secs(3);

/// Kinds that show whether anything was written.
const KINDS: [&str; 3] = ["chatservices", "deployments", "configmaps"];

pub struct Crowd {
    namespace: Namespace,
    nats: ExternalNats,
    made: usize,
    // In this order: pods are removed while there is somebody to remove them.
    _gone: Gone,
    _pretended: Pretended,
    _servers: Namespace,
}

/// Removes the namespace. Of a test that failed the operator's last words are shown, and nothing of a thousand services.
struct Gone(String);

impl Drop for Gone {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let pods = "--selector=app.kubernetes.io/name=natter-operator";
            let words = [
                "--namespace",
                operator::NAMESPACE,
                "logs",
                pods,
                "--tail=60",
            ];
            let _ = Command::new("kubectl").args(words).status();
        }
        let words = ["delete", "namespace", &self.0, "--wait=false"];
        let _ = Command::new("kubectl").args(words).status();
    }
}

impl Crowd {
    /// Starts what so many services need, and none of them.
    pub async fn start(services: usize) -> Self {
        let servers = Namespace::new("external").await;
        let nats = ExternalNats::start(&servers, (0..services).map(Self::name)).await;
        let name = format!("{}-crowd", servers.name);
        let make = ["create", "namespace", &name];
        kubectl(&make).await.succeeded();
        Self {
            namespace: Namespace::existing(&name),
            nats,
            made: 0,
            _gone: Gone(name),
            _pretended: Pretended::start(3).await,
            _servers: servers,
        }
    }

    pub fn name(service: usize) -> String {
        format!("chat-{service:04}")
    }

    /// Applies more services, until there are so many, and waits until all are ready.
    pub async fn grow_to(&mut self, services: usize) {
        let new = self.made..services;
        let objects: Vec<_> = new
            .flat_map(|it| [self.nats.secret(it), self.service(it)])
            .collect();
        self.made = services;
        if !objects.is_empty() {
            create(&self.namespace, &objects).await.succeeded();
        }
        let what = format!("{services} services to be ready");
        until_some_within(DEADLINE, PAUSE, &what, async || {
            (self.ready().await == services).then_some(())
        })
        .await;
    }

    fn service(&self, service: usize) -> Value {
        let name = Self::name(service);
        json!({
            "apiVersion": "natter.dev/v1alpha1", "kind": "ChatService", "metadata": {"name": name},
            "spec": {
                "auth": {"allowAnonymous": true},
                "replicas": 1,
                "history": {"shards": 1, "maxBytesPerShard": "1Mi"},
                "nats": {"external": {
                    "urls": [self.nats.url], "credentialsSecretRef": {"name": name}, "streamReplicas": 1,
                }},
                "podTemplate": pod_template(),
            },
        })
    }

    /// How many are ready, by the table that the API server makes of them.
    async fn ready(&self) -> usize {
        let table = self
            .namespace
            .kubectl(&["get", "chatservices", "--no-headers"])
            .await;
        let table = table.succeeded();
        let ready = table
            .lines()
            .filter(|line| line.split_whitespace().nth(1) == Some("True"));
        ready.count()
    }

    /// Name and version of every object; another version is a change.
    pub async fn versions(&self) -> BTreeSet<String> {
        let shown = r#"jsonpath={range .items[*]}{.kind} {.metadata.name} {.metadata.resourceVersion}{"\n"}{end}"#;
        let mut versions = BTreeSet::new();
        for kind in KINDS {
            let said = self
                .namespace
                .kubectl(&["get", kind, "--output", shown])
                .await;
            let said = said.succeeded();
            versions.extend(said.lines().map(str::to_owned));
        }
        assert!(versions.len() >= KINDS.len() * self.made);
        versions
    }

    /// Edits one, and waits until that is carried out.
    pub async fn edit(&self, service: usize, spec: &Value) {
        let name = Self::name(service);
        self.namespace.patch_chat_service(&name, spec).await;
        let ready = chat_service::is_ready;
        self.namespace
            .until("chatservice", &name, "ready", ready)
            .await;
    }
}
