//! Asks pods over HTTP, each question with a deadline. A pod answers or it does not: nothing is tried again here.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

/// Pods that are asked are a millisecond away.
const DEADLINE: Duration = Duration::from_secs(2);

/// More than any answer that is asked for has.
const MAX_BYTES: usize = 8 << 20;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("no answer from {0} within {limit} s", limit = DEADLINE.as_secs())]
    Late(SocketAddr),
    #[error("{0}: {1}")]
    Failed(SocketAddr, String),
}

/// Keeps no connections: pods are asked seldom, and many of them.
#[derive(Clone)]
pub struct Ask(Client<HttpConnector, Empty<Bytes>>);

impl Default for Ask {
    fn default() -> Self {
        let mut client = Client::builder(TokioExecutor::new());
        Self(client.pool_max_idle_per_host(0).build_http())
    }
}

impl fmt::Debug for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ask")
    }
}

impl Ask {
    /// The body of `path`, whatever the status.
    pub async fn text(&self, address: SocketAddr, path: &str) -> Result<String, Error> {
        let answer = tokio::time::timeout(DEADLINE, self.body(address, path)).await;
        answer
            .map_err(|_| Error::Late(address))?
            .map_err(|problem| Error::Failed(address, problem))
    }

    /// The same, as JSON.
    pub async fn json(&self, address: SocketAddr, path: &str) -> Result<Value, Error> {
        let text = self.text(address, path).await?;
        let not_json = |_| Error::Failed(address, format!("{path} is not JSON"));
        serde_json::from_str(&text).map_err(not_json)
    }

    async fn body(&self, address: SocketAddr, path: &str) -> Result<String, String> {
        let url = format!("http://{address}{path}");
        let url = url.parse().map_err(|_| format!("{url} is no URL"))?;
        let response = self.0.get(url).await.map_err(|error| {
            // The last cause is the one that says something: connection refused.
            let mut cause: &dyn std::error::Error = &error;
            while let Some(deeper) = cause.source() {
                cause = deeper;
            }
            cause.to_string()
        })?;
        let body = Limited::new(response.into_body(), MAX_BYTES);
        let body = body.collect().await.map_err(|error| error.to_string())?;
        String::from_utf8(body.to_bytes().into()).map_err(|_| format!("{path} is not text"))
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::net::Ipv4Addr;

    use axum::Router;
    use axum::http::StatusCode;
    use axum::routing::get;
    use serde_json::json;
    use tokio::net::TcpListener;

    use super::*;

    async fn server() -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let sick = || async { (StatusCode::SERVICE_UNAVAILABLE, r#"{"status":"sick"}"#) };
        let router = Router::new()
            .route("/sick", get(sick))
            .route("/text", get(|| async { "hello" }))
            .route("/silent", get(pending::<&str>));
        tokio::spawn(axum::serve(listener, router).into_future());
        address
    }

    #[tokio::test]
    async fn an_answer_is_read_whatever_its_status() {
        let (ask, address) = (Ask::default(), server().await);
        let answer = ask.json(address, "/sick").await.unwrap();
        assert_eq!(answer, json!({"status": "sick"}));
        let error = ask.json(address, "/text").await.unwrap_err().to_string();
        assert_eq!(error, format!("{address}: /text is not JSON"));
    }

    #[tokio::test]
    async fn a_pod_that_is_silent_or_away_is_given_up() {
        let (ask, address) = (Ask::default(), server().await);
        let late = ask.text(address, "/silent").await.unwrap_err();
        assert!(matches!(late, Error::Late(_)), "{late}");
        let nobody = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let away = nobody.local_addr().unwrap();
        drop(nobody);
        let error = ask.text(away, "/").await.unwrap_err().to_string();
        assert!(error.contains("refused"), "{error}");
    }
}
