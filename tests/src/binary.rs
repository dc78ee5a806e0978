//! The `chat-node` program under test: built once per test process, in the tests' own profile.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The program's path.
pub fn chat_node() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(build)
}

fn build() -> PathBuf {
    // <target>/<profile>/deps/<test>
    let test = std::env::current_exe().expect("a test knows its own path");
    let profile = test
        .ancestors()
        .nth(2)
        .expect("a test is two folders below its profile's");
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map(PathBuf::from)
        .or_else(|| profile.parent().map(Path::to_owned))
        .expect("a profile's folder is in the target folder");
    let name = profile.file_name().unwrap_or_default();
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .args(["build", "--quiet", "-p", "chat-node", "--target-dir"])
        .arg(&target);
    // What cargo tells a test of its package would make crates that ask for it be built anew, again and again.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            cargo.env_remove(name);
        }
    }
    if name != "debug" {
        cargo.arg("--profile").arg(name);
    }
    let built = cargo.status().expect("cargo can be started");
    assert!(built.success(), "chat-node could not be built");
    target.join(name).join("chat-node")
}
