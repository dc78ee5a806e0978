//! What docs/operations.md tells people to copy.

use std::process::Command;

use natter_tests::command::make_users;
use natter_tests::script::installed;
use tempfile::TempDir;

const OPERATIONS: &str = include_str!("../../../docs/operations.md");

/// The documented configuration of a server.
fn config() -> &'static str {
    let (_, rest) = OPERATIONS
        .split_once("```\nserver_name:")
        .expect("the configuration is documented");
    let (config, _) = rest.split_once("```").expect("the block ends");
    config
}

#[tokio::test]
async fn the_documented_configuration_is_valid_with_the_users_that_are_made() {
    let folder = TempDir::new().expect("there is a place for temporary files");
    make_users(folder.path(), 64).await;
    let file = folder.path().join("nats.conf");
    let check = |text: &str| {
        std::fs::write(&file, text).expect("the temporary folder can be written to");
        let ended = Command::new(installed("target/tools/nats-server"))
            .arg("-t")
            .arg("-c")
            .arg(&file)
            .output()
            .expect("nats-server can be started");
        let said = [ended.stdout, ended.stderr].concat();
        (
            ended.status.success(),
            String::from_utf8_lossy(&said).into_owned(),
        )
    };
    let text = format!("server_name:{}", config());
    let (valid, said) = check(&text);
    assert!(valid, "{said}");
    // The check would notice a setting that there is not.
    let (valid, said) = check(&text.replace("sync_interval", "sync_intervall"));
    assert!(!valid, "{said}");
}
