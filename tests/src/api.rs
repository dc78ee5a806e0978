//! The server API of a node, called as a backend calls it.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde_json::Value;
use tempfile::TempDir;

use crate::http::{self, Response};
use crate::node::Node;

/// A file of keys that a node is started with.
pub struct Keys {
    folder: TempDir,
}

impl Keys {
    pub fn new(text: &str) -> Self {
        let folder = TempDir::new().expect("there is a place for temporary files");
        let keys = Self { folder };
        keys.rewrite(text);
        keys
    }

    /// Writes another text to the file, all at once.
    pub fn rewrite(&self, text: &str) {
        let new = self.folder.path().join("new");
        std::fs::write(&new, text).expect("the temporary folder can be written to");
        std::fs::rename(new, self.file()).expect("the temporary folder can be written to");
    }

    pub fn file(&self) -> PathBuf {
        self.folder.path().join("keys")
    }

    /// The variables that turn a node's server API on, on any free port.
    pub fn variables(&self) -> [(&'static str, String); 2] {
        [
            ("NATTER_API_LISTEN", "127.0.0.1:0".to_owned()),
            ("NATTER_API_KEY_FILE", self.file().display().to_string()),
        ]
    }
}

/// A backend with a key.
#[derive(Clone)]
pub struct Api {
    pub address: SocketAddr,
    pub key: String,
}

impl Api {
    pub fn of(node: &Node, key: &str) -> Self {
        Self {
            address: node.api.expect("the node's server API is on"),
            key: key.to_owned(),
        }
    }

    /// Calls a method and returns the whole answer.
    pub async fn call(&self, method: &str, params: Value) -> Value {
        let key = format!("X-API-Key: {}\r\n", self.key);
        let response = self.post(method, &key, &params.to_string()).await;
        assert_eq!(response.status, 200, "{method}: {response:?}");
        serde_json::from_str(&response.body).expect("answers are JSON")
    }

    /// Calls a method that must be done, and returns its result.
    pub async fn ask(&self, method: &str, params: Value) -> Value {
        let mut answer = self.call(method, params).await;
        assert!(answer["result"].is_object(), "{method}: {answer}");
        answer["result"].take()
    }

    /// Calls a method that must be refused, and returns the error's code and message.
    pub async fn refused(&self, method: &str, params: Value) -> (u64, String) {
        let answer = self.call(method, params).await;
        let error = &answer["error"];
        let (code, message) = (error["code"].as_u64(), error["message"].as_str());
        let code = code.unwrap_or_else(|| panic!("{method}: {answer}"));
        (code, message.expect("errors say what is wrong").to_owned())
    }

    /// Sends a body to a method as it is.
    pub async fn post(&self, method: &str, headers: &str, body: &str) -> Response {
        let (address, length) = (self.address, body.len());
        let request = format!(
            "POST /api/{method} HTTP/1.1\r\nHost: {address}\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        );
        http::request(address, &request).await
    }
}
