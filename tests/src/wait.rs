//! Waiting for what must happen, with a deadline instead of a pause.

use std::time::{Duration, Instant};

/// How long anything that must happen may take; far longer than it takes on a busy machine.
pub const DEADLINE: Duration = Duration::from_secs(15);

/// How long a test watches for something that must not happen.
pub const QUIET: Duration = Duration::from_millis(200);

/// The future's result, or a panic that names `what` was waited for.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, future).await {
        Ok(result) => result,
        Err(_) => panic!("waited {DEADLINE:?} in vain for {what}"),
    }
}

/// Asks `check` until it says true.
pub async fn until(what: &str, mut check: impl AsyncFnMut() -> bool) {
    until_some(what, async || check().await.then_some(())).await;
}

/// Asks `check` until it has an answer.
pub async fn until_some<T>(what: &str, check: impl AsyncFnMut() -> Option<T>) -> T {
    until_some_within(DEADLINE, Duration::from_millis(5), what, check).await
}

/// Asks `check` again and again with pauses between, until it has an answer or the deadline has passed.
pub async fn until_some_within<T>(
    deadline: Duration,
    pause: Duration,
    what: &str,
    mut check: impl AsyncFnMut() -> Option<T>,
) -> T {
    let begun = Instant::now();
    loop {
        if let Some(answer) = check().await {
            return answer;
        }
        assert!(
            begun.elapsed() < deadline,
            "waited {deadline:?} in vain for {what}"
        );
        tokio::time::sleep(pause).await;
    }
}
