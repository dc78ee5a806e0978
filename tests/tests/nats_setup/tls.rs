//! Servers with certificates: the authority that signed them is trusted, and no other.

use std::path::{Path, PathBuf};
use std::process::Command;

use natter_tests::NatsServers;
use natter_tests::command::{Ended, run};
use tempfile::TempDir;

/// An authority, and a certificate that it signed for 127.0.0.1.
struct Certificates {
    folder: TempDir,
}

impl Certificates {
    fn make() -> Self {
        let folder = TempDir::new().expect("there is a place for temporary files");
        std::fs::write(folder.path().join("san"), "subjectAltName=IP:127.0.0.1")
            .expect("the temporary folder can be written to");
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
        for words in [
            format!("req -x509 {key} -keyout ca.key -out ca.pem -subj /CN=authority -days 2"),
            format!("req {key} -keyout server.key -out server.csr -subj /CN=nats"),
            "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -extfile san -out server.pem -days 2"
                .to_owned(),
        ] {
            let mut openssl = Command::new("openssl");
            let ended = openssl
                .args(words.split(' '))
                .current_dir(folder.path())
                .output()
                .expect("openssl is installed");
            let said = String::from_utf8_lossy(&ended.stderr);
            assert!(ended.status.success(), "openssl {words}: {said}");
        }
        Self { folder }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What a server is told.
    fn config(&self) -> String {
        let (certificate, key) = (self.file("server.pem"), self.file("server.key"));
        format!("tls {{ cert_file: {certificate:?}, key_file: {key:?}, timeout: 10 }}")
    }
}

async fn init(url: &str, ca: Option<&Path>) -> Ended {
    let ca = ca.map(|ca| ca.display().to_string());
    let mut words = vec![
        "nats",
        "init",
        "--nats-url",
        url,
        "--replicas",
        "1",
        "--shards",
        "1",
    ];
    words.extend(["--timeout", "5s"]);
    words.extend(ca.iter().flat_map(|ca| ["--nats-ca", ca.as_str()]));
    run(&words).await
}

#[tokio::test]
async fn only_servers_of_the_given_authority_are_trusted() {
    let (ours, others) = (Certificates::make(), Certificates::make());
    let servers = NatsServers::with(1).config(&ours.config()).start().await;
    let (nats, tls) = (servers.urls(), servers.urls().replace("nats://", "tls://"));
    for url in [&nats, &tls] {
        init(url, Some(&ours.file("ca.pem"))).await.succeeded();
        for ca in [None, Some(others.file("ca.pem"))] {
            let said = init(url, ca.as_deref()).await.refused();
            assert!(
                said.contains("invalid peer certificate: "),
                "{url} {ca:?}: {said}"
            );
        }
    }
}

#[tokio::test]
async fn a_server_without_tls_is_not_talked_to_if_tls_is_asked_for() {
    let ours = Certificates::make();
    let servers = NatsServers::start(1).await;
    let said = init(&servers.urls(), Some(&ours.file("ca.pem")))
        .await
        .refused();
    assert!(said.contains("TLS with the NATS servers failed"), "{said}");
    let tls = servers.urls().replace("nats://", "tls://");
    init(&tls, None).await.refused();
    init(&servers.urls(), None).await.succeeded();
}
