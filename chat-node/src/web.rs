//! The chat page, embedded in the binary: plain HTML, CSS and ES modules, served as they are written.

use axum::Router;
use axum::http::header;
use axum::routing::get;

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// Nothing but the page's own files, and WebSockets to where it came from.
const POLICY: &str = "default-src 'self'; connect-src 'self' ws: wss:; base-uri 'none'; \
                      form-action 'self'; frame-ancestors 'none'";

macro_rules! page {
    ($($name:literal: $kind:expr),* $(,)?) => {
        &[$((concat!("/", $name), $kind, include_str!(concat!("web/", $name)))),*]
    };
}

/// Path, content type, content.
const FILES: &[(&str, &str, &str)] = page! {
    "index.html": HTML,
    "style.css": CSS,
    "favicon.svg": SVG,
    "app.js": JAVASCRIPT,
    "backoff.js": JAVASCRIPT,
    "client.js": JAVASCRIPT,
    "join_dialog.js": JAVASCRIPT,
    "log.js": JAVASCRIPT,
    "message.js": JAVASCRIPT,
    "message_view.js": JAVASCRIPT,
    "outbox.js": JAVASCRIPT,
    "panel.js": JAVASCRIPT,
    "people.js": JAVASCRIPT,
    "room.js": JAVASCRIPT,
    "settings.js": JAVASCRIPT,
    "words.js": JAVASCRIPT,
};

pub fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    FILES
        .iter()
        .fold(Router::new(), |router, &(path, kind, text)| {
            let headers = [
                (header::CONTENT_TYPE, kind),
                // A new release of the node brings its own page.
                (header::CACHE_CONTROL, "no-cache"),
                (header::CONTENT_SECURITY_POLICY, POLICY),
                (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
                (header::REFERRER_POLICY, "no-referrer"),
            ];
            let path = path.strip_suffix("index.html").unwrap_or(path);
            router.route(path, get(move || async move { (headers, text) }))
        })
}

#[cfg(test)]
mod tests {
    use super::FILES;

    #[test]
    fn every_file_of_the_page_is_embedded() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/web");
        for file in std::fs::read_dir(folder).unwrap() {
            let name = format!("/{}", file.unwrap().file_name().to_string_lossy());
            assert!(FILES.iter().any(|(path, ..)| *path == name), "{name}");
        }
    }
}
