//! Official Centrifuge SDKs, unmodified, each as a script that plays one scenario.

use std::path::{Path, PathBuf};

use tokio::process::Command;

use crate::script::installed;

/// How scenarios for an SDK are run.
pub struct Sdk {
    program: PathBuf,
    /// What stands before the scenario.
    script: Option<&'static str>,
    /// What stands behind the URLs: which SDK, or how it is set up.
    variant: Option<&'static str>,
}

impl Sdk {
    pub fn javascript() -> Self {
        Self::npm("centrifuge")
    }

    pub fn javascript_5_7_1() -> Self {
        Self::npm("centrifuge-571")
    }

    fn npm(package: &'static str) -> Self {
        for needed in [package, "ws"] {
            installed(&format!("tests/sdk/node_modules/{needed}/package.json"));
        }
        Self {
            program: "node".into(),
            script: Some("js/scenarios.mjs"),
            variant: Some(package),
        }
    }

    pub fn javascript_protobuf() -> Self {
        Self::variant("centrifuge/build/protobuf")
    }

    pub fn http_stream() -> Self {
        Self::variant("http_stream")
    }

    pub fn http_stream_protobuf() -> Self {
        Self::variant("protobuf over http_stream")
    }

    pub fn sse() -> Self {
        Self::variant("sse")
    }

    pub fn fallback() -> Self {
        Self::variant("fallback")
    }

    fn variant(name: &'static str) -> Self {
        Self {
            variant: Some(name),
            ..Self::javascript()
        }
    }

    pub fn python() -> Self {
        Self {
            program: installed("target/sdk-venv/bin/python"),
            script: Some("py/scenarios.py"),
            variant: None,
        }
    }

    pub fn python_protobuf() -> Self {
        Self {
            variant: Some("protobuf"),
            ..Self::python()
        }
    }

    pub fn go() -> Self {
        Self {
            program: installed("target/tools/sdk-go"),
            script: None,
            variant: None,
        }
    }

    pub fn go_protobuf() -> Self {
        Self {
            variant: Some("protobuf"),
            ..Self::go()
        }
    }

    /// The script that plays `scenario` with the nodes at these WebSocket URLs.
    pub fn plays(&self, scenario: &str, urls: &[String]) -> Command {
        let mut script = Command::new(&self.program);
        if self.program == Path::new("node") {
            script.arg("--experimental-eventsource");
        }
        script
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/sdk"))
            .args(self.script)
            .args([scenario, &urls.join(",")])
            .args(self.variant);
        script
    }
}
