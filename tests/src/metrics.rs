//! A node's metrics, as a scrape sees them.

use std::net::SocketAddr;

use crate::http;

/// The text of one scrape.
pub struct Metrics(pub String);

/// Scrapes the admin port.
pub async fn scrape(admin: SocketAddr) -> Metrics {
    let response = http::get(admin, "/metrics").await;
    assert_eq!(response.status, 200, "{}", response.body);
    Metrics(response.body)
}

impl Metrics {
    /// The value of a series such as `natter_disconnects_total{code="3501"}`; `None` if it is not there (yet).
    pub fn get(&self, series: &str) -> Option<f64> {
        self.0.lines().find_map(|line| {
            let value = line.strip_prefix(series)?.strip_prefix(' ')?;
            value.parse().ok()
        })
    }
}
