//! What the operator that leads has spent, as its metrics tell: memory, reconciles, requests to the API server.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use natter_tests::kubernetes::{operator, until_some};
use natter_tests::metrics::Metrics;
use natter_tests::wait::until_some_within;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// How long the operator may take to look at all services.
const DEADLINE: Duration = Duration::from_secs(600);

const PAUSE: Duration = Duration::from_secs(2);

/// Counters of one process.
#[derive(Clone, Debug, PartialEq)]
pub struct Counted {
    reconciles: BTreeMap<String, u64>,
    /// By verb and resource; of the lease apart from the rest.
    requests: BTreeMap<(String, String), u64>,
    seconds: f64,
    cpu_seconds: f64,
    bytes: f64,
}

impl Counted {
    fn read(metrics: &Metrics) -> Self {
        let number = |series: &str| metrics.get(series).unwrap_or_default();
        let mut requests = BTreeMap::new();
        let mut reconciles = BTreeMap::new();
        for line in metrics.0.lines() {
            let words: Vec<_> = line.split(['"', '{', '}', ' ']).collect();
            let value = || {
                words
                    .last()
                    .and_then(|it| it.parse().ok())
                    .expect("a counter is a number")
            };
            // Labels are sorted by name.
            match words[..] {
                [
                    "natter_operator_api_requests_total",
                    "resource=",
                    resource,
                    ",verb=",
                    verb,
                    ..,
                ] => {
                    requests.insert((verb.to_owned(), resource.to_owned()), value());
                }
                ["natter_operator_reconciles_total", "result=", result, ..] => {
                    reconciles.insert(result.to_owned(), value());
                }
                _ => {}
            }
        }
        Self {
            reconciles,
            requests,
            seconds: number("natter_operator_reconcile_seconds_sum"),
            cpu_seconds: number("process_cpu_seconds_total"),
            bytes: number("process_resident_memory_bytes"),
        }
    }

    pub fn since(&self, before: &Self) -> Self {
        fn less<K: Ord + Clone>(
            now: &BTreeMap<K, u64>,
            before: &BTreeMap<K, u64>,
        ) -> BTreeMap<K, u64> {
            let less =
                |(key, count): (&K, &u64)| (key.clone(), count - before.get(key).unwrap_or(&0));
            now.iter()
                .map(less)
                .filter(|(_, count)| *count > 0)
                .collect()
        }
        Self {
            reconciles: less(&self.reconciles, &before.reconciles),
            requests: less(&self.requests, &before.requests),
            seconds: self.seconds - before.seconds,
            cpu_seconds: self.cpu_seconds - before.cpu_seconds,
            bytes: self.bytes,
        }
    }

    pub fn reconciles(&self) -> u64 {
        self.reconciles.values().sum()
    }

    pub fn megabytes(&self) -> f64 {
        self.bytes / 1e6
    }

    /// Requests that change anything but the lease.
    pub fn writes(&self) -> u64 {
        self.sum(|verb| !is_read(verb) && verb != "watch")
    }

    /// Requests that read anything but the lease. A watch is one request in five minutes.
    pub fn reads(&self) -> u64 {
        self.sum(is_read)
    }

    fn sum(&self, which: impl Fn(&str) -> bool) -> u64 {
        let requests = self.requests.iter();
        let which = requests.filter(|((verb, resource), _)| resource != "leases" && which(verb));
        which.map(|(_, count)| count).sum()
    }
}

fn is_read(verb: &str) -> bool {
    matches!(verb, "get" | "list")
}

impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let each = self.seconds / self.reconciles().max(1) as f64;
        write!(
            f,
            "{:?} reconciles of {:.0} ms, {:.1} s of CPU, {} reads, {} writes:",
            self.reconciles,
            each * 1e3,
            self.cpu_seconds,
            self.reads(),
            self.writes(),
        )?;
        for ((verb, resource), count) in &self.requests {
            write!(f, " {verb} {resource} {count},")?;
        }
        Ok(())
    }
}

/// What is counted now.
pub async fn counted() -> Counted {
    let metrics = until_some("metrics of the operator that leads", operator::metrics).await;
    Counted::read(&metrics)
}

/// Waits until the operator has had nothing to do for ten seconds.
pub async fn settled() -> Counted {
    let mut last = counted().await;
    let mut same = 0;
    until_some_within(
        DEADLINE,
        PAUSE,
        "the operator to have nothing to do",
        async || {
            let now = counted().await;
            same = if now.reconciles == last.reconciles {
                same + 1
            } else {
                0
            };
            last = now;
            (same >= 5).then(|| last.clone())
        },
    )
    .await
}

/// Waits until the operator has carried out so many looks.
pub async fn reconciled(looks: u64) {
    let what = format!("{looks} reconciles");
    until_some_within(DEADLINE, PAUSE, &what, async || {
        (counted().await.reconciles() >= looks).then_some(())
    })
    .await;
}

/// The most memory that the operator was seen to have, in megabytes.
pub struct Peak {
    end: oneshot::Sender<()>,
    seen: JoinHandle<f64>,
}

impl Peak {
    /// Looks every two seconds.
    pub fn watch() -> Self {
        let (end, mut ended) = oneshot::channel();
        let seen = tokio::spawn(async move {
            let mut most: f64 = 0.0;
            while ended.try_recv().is_err() {
                if let Some(metrics) = operator::metrics().await {
                    most = most.max(Counted::read(&metrics).megabytes());
                }
                tokio::time::sleep(PAUSE).await;
            }
            most
        });
        Self { end, seen }
    }

    pub async fn end(self) -> f64 {
        let _ = self.end.send(());
        self.seen.await.expect("looking at metrics does not fail")
    }
}
