//! A real nats-server as a pod, of which the operator knows nothing but what ChatServices say: an account for each of them.

use std::fmt::Write as _;

use nkeys::KeyPair;
use serde_json::{Value, json};

use super::{Namespace, Said, run};

pub struct ExternalNats {
    pub url: String,
    accounts: Vec<Account>,
}

/// One ChatService's own.
struct Account {
    name: String,
    keys: [KeyPair; 3],
}

/// As `chat-node nats users` names the files.
const SEEDS: [&str; 3] = ["operator.nk", "node.nk", "moderator.nk"];

impl ExternalNats {
    /// Starts a server in `namespace` with accounts of these names, and waits until it listens.
    pub async fn start(namespace: &Namespace, accounts: impl Iterator<Item = String>) -> Self {
        let keys = || [(); 3].map(|()| KeyPair::new_user());
        let accounts = accounts.map(|name| Account { name, keys: keys() });
        let nats = Self {
            url: format!("nats://nats.{}.svc.cluster.local:4222", namespace.name),
            accounts: accounts.collect(),
        };
        let config = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "nats"},
            "data": {"nats.conf": nats.config()},
        });
        create(namespace, &[config]).await.succeeded();
        namespace.apply(SERVER).await.succeeded();
        namespace.rolled_out("deployment", "nats").await;
        nats
    }

    fn config(&self) -> String {
        let mut text = String::from(
            r#"
server_name: nats
listen: "0.0.0.0:4222"
http: "0.0.0.0:8222"
jetstream { store_dir: "/data", max_mem: 64MB, max_file: 64GB, sync_interval: always }
server_tags: ["sync:always"]
max_payload: 1MB
accounts {
"#,
        );
        for Account { name, keys } in &self.accounts {
            let users = keys
                .each_ref()
                .map(|key| format!("{{nkey: {}}}", key.public_key()));
            let users = users.join(", ");
            let _ = writeln!(text, "  {name}: {{jetstream: enabled, users: [{users}]}}");
        }
        text + "}\n"
    }

    /// The Secret with the keys of an account, named like it.
    pub fn secret(&self, account: usize) -> Value {
        let Account { name, keys } = &self.accounts[account];
        let seeds = SEEDS.iter().zip(keys).map(|(file, key)| {
            let seed = key.seed().expect("a pair that was made has a seed");
            ((*file).to_owned(), json!(seed))
        });
        json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name},
            "stringData": seeds.collect::<serde_json::Map<_, _>>(),
        })
    }
}

/// Creates many objects at once.
pub async fn create(namespace: &Namespace, objects: &[Value]) -> Said {
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
    let words = ["--namespace", &namespace.name, "create", "-f", "-"];
    run("kubectl", &words, &list.to_string()).await
}

const SERVER: &str = "
apiVersion: v1
kind: Service
metadata: {name: nats}
spec:
  selector: {app: nats}
  ports: [{name: client, port: 4222}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: nats}
spec:
  selector: {matchLabels: {app: nats}}
  template:
    metadata: {labels: {app: nats}}
    spec:
      automountServiceAccountToken: false
      enableServiceLinks: false
      securityContext: {runAsNonRoot: true, runAsUser: 65532, fsGroup: 65532, seccompProfile: {type: RuntimeDefault}}
      containers:
      - name: nats
        image: natter.dev/nats-server:2.15.2
        imagePullPolicy: IfNotPresent
        args: [--config, /config/nats.conf]
        readinessProbe: {httpGet: {path: '/healthz?js-server-only=true', port: 8222}, periodSeconds: 2}
        securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
        volumeMounts:
        - {name: data, mountPath: /data}
        - {name: config, mountPath: /config}
      volumes:
      - {name: config, configMap: {name: nats}}
      - {name: data, emptyDir: {}}
";
