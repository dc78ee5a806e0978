//! The chat page, embedded in the binary.

use axum::Router;
use axum::http::header;
use axum::routing::get;

/// Nothing but the page's own files, and WebSockets to where it came from.
const POLICY: &str = "default-src 'self'; connect-src 'self' ws: wss:; frame-ancestors 'none'; base-uri 'none'; form-action 'self'";

const HTML: &str = "text/html; charset=utf-8";

const FILES: &[(&str, &str, &str)] = &[("/", HTML, "<!doctype html>")];

pub fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    FILES
        .iter()
        .fold(Router::new(), |router, &(path, kind, text)| {
            let headers = [
                (header::CONTENT_TYPE, kind),
                (header::CACHE_CONTROL, "no-cache"),
                (header::CONTENT_SECURITY_POLICY, POLICY),
                (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
                (header::REFERRER_POLICY, "no-referrer"),
            ];
            router.route(path, get(move || async move { (headers, text) }))
        })
}
