//! One nats-server of a test, with streams of its own, gone when dropped.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::super::streams::{Desired, StreamConfig, random_epoch, stream_name};

const DEADLINE: Duration = Duration::from_secs(20);

pub struct Server {
    process: Child,
    _store: tempfile::TempDir,
    pub port: u16,
}

impl Server {
    /// Starts a server and makes the streams of so many shards.
    pub async fn start(shards: u16) -> Self {
        let store = tempfile::tempdir().unwrap();
        let program = PathBuf::from(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../target/tools/nats-server"
        ));
        let path = store.path().to_str().unwrap();
        let process = Command::new(&program)
            .args(["-a", "127.0.0.1", "-p", "-1", "-js", "-sd", path])
            .args(["--ports_file_dir", path])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let process = process.unwrap_or_else(|error| {
            panic!(
                "{} does not start ({error}): run make nats-tools",
                program.display()
            )
        });
        let ports = store
            .path()
            .join(format!("nats-server_{}.ports", process.id()));
        let mut port = None;
        until("the server's ports", async || {
            let ports = std::fs::read_to_string(&ports).unwrap_or_default();
            let ports: Value = serde_json::from_str(&ports).unwrap_or_default();
            let url = ports["nats"][0].as_str().unwrap_or_default();
            port = url.rsplit(':').next().and_then(|port| port.parse().ok());
            port.is_some()
        })
        .await;
        let server = Self {
            process,
            _store: store,
            port: port.unwrap(),
        };
        for shard in 0..shards {
            let desired = Desired {
                shards,
                replicas: 1,
                max_bytes: 64 << 20,
                max_age: Duration::from_secs(3600),
                message_bytes: 65_536,
                placement_tags: Vec::new(),
            };
            let config = StreamConfig::desired(&desired, shard, &random_epoch());
            let config = serde_json::to_value(config).unwrap();
            server
                .api(&format!("STREAM.CREATE.{}", stream_name(shard)), config)
                .await;
        }
        server
    }

    /// Asks JetStream's API; an error is the test's end.
    pub async fn api(&self, subject: &str, request: Value) -> Value {
        let client = async_nats::connect(format!("127.0.0.1:{}", self.port))
            .await
            .unwrap();
        let subject = format!("$JS.API.{subject}");
        let answer = client
            .request(subject, request.to_string().into())
            .await
            .unwrap();
        let answer: Value = serde_json::from_slice(&answer.payload).unwrap();
        assert!(answer.get("error").is_none(), "{answer}");
        answer
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Waits until `condition` holds.
pub async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition().await {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
