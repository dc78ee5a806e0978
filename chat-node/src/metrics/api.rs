//! What the server API counts.

use std::time::Duration;

use prometheus::{HistogramVec, IntCounterVec};

use super::Register;

pub struct ApiMetrics {
    requests: IntCounterVec,
    seconds: HistogramVec,
}

impl ApiMetrics {
    pub(super) fn new(register: &Register<'_>) -> Result<Self, prometheus::Error> {
        Ok(Self {
            requests: register.counter_vec(
                "api_requests_total",
                "Calls of the server API, those in batches too, by error code; none where there was no error.",
                &["method", "error"],
            )?,
            seconds: register.histogram_vec(
                "api_request_seconds",
                "From a call of the server API, its parameters read, until its answer.",
                &["method"],
            )?,
        })
    }

    pub fn called(&self, method: &'static str, error: Option<u32>, took: Duration) {
        let error = error.map_or("none".to_owned(), |code| code.to_string());
        let requests = self.requests.with_label_values(&[method, error.as_str()]);
        requests.inc();
        let seconds = self.seconds.with_label_values(&[method]);
        seconds.observe(took.as_secs_f64());
    }
}
