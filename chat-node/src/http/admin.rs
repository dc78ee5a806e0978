//! The admin port: metrics and health.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::node::Shared;
use crate::worker::Inbox;

/// A worker that has not run its timer for so long is stuck.
const STUCK: Duration = Duration::from_secs(10);

#[derive(Clone)]
struct Admin {
    shared: Arc<Shared>,
    inboxes: Arc<[Inbox]>,
}

pub fn router(shared: Arc<Shared>, inboxes: Vec<Inbox>) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(health))
        .route("/readyz", get(readiness))
        .route("/nodes", get(nodes))
        .fallback(|| async {
            (
                StatusCode::NOT_FOUND,
                "not found: /metrics, /healthz, /readyz and /nodes are here\n",
            )
        })
        .with_state(Admin {
            shared,
            inboxes: inboxes.into(),
        })
}

async fn metrics(State(admin): State<Admin>) -> Response {
    match admin.shared.metrics.render() {
        Ok(text) => {
            let kind = "text/plain; version=0.0.4; charset=utf-8";
            ([(header::CONTENT_TYPE, kind)], text).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

/// All nodes that serve the same rooms, as this one knows of them.
async fn nodes(State(admin): State<Admin>) -> Response {
    match serde_json::to_vec(&admin.shared.broker.nodes()) {
        Ok(json) => ([(header::CONTENT_TYPE, "application/json")], json).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

/// Ready once the broker has been joined.
async fn readiness(State(admin): State<Admin>) -> Response {
    match admin.shared.broker.readiness() {
        Ok(()) => "ready\n".into_response(),
        Err(text) => (StatusCode::SERVICE_UNAVAILABLE, format!("{text}\n")).into_response(),
    }
}

/// Healthy while every worker's timer runs.
async fn health(State(admin): State<Admin>) -> Response {
    let now = admin.shared.now();
    for (index, inbox) in admin.inboxes.iter().enumerate() {
        let alive = Duration::from_millis(inbox.load().alive_at_millis.load(Relaxed));
        let silent = now.saturating_sub(alive);
        if silent > STUCK {
            let text = format!(
                "worker {index} has not answered for {} s\n",
                silent.as_secs()
            );
            return (StatusCode::SERVICE_UNAVAILABLE, text).into_response();
        }
    }
    "healthy\n".into_response()
}
