//! Counts durations in buckets that are 1/64 of their value wide, and gives quantiles.

use serde::Serialize;

const STEPS: usize = 64;

pub(crate) struct Histogram {
    buckets: Vec<u64>,
    count: u64,
    max_ns: u64,
}

#[derive(Serialize)]
pub(crate) struct Quantiles {
    p50: f64,
    p90: f64,
    p99: f64,
    p999: f64,
    max: f64,
}

impl Histogram {
    pub(crate) fn new() -> Self {
        Self {
            buckets: vec![0; STEPS * 60],
            count: 0,
            max_ns: 0,
        }
    }

    pub(crate) fn add(&mut self, ns: u64) {
        self.buckets[bucket(ns)] += 1;
        self.count += 1;
        self.max_ns = self.max_ns.max(ns);
    }

    /// In microseconds.
    pub(crate) fn quantiles(&self) -> Quantiles {
        let [p50, p90, p99, p999] = [0.5, 0.9, 0.99, 0.999].map(|share| self.quantile_us(share));
        Quantiles {
            p50,
            p90,
            p99,
            p999,
            max: self.max_ns as f64 / 1e3,
        }
    }

    fn quantile_us(&self, share: f64) -> f64 {
        let wanted = (self.count as f64 * share).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (index, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return start_ns(index) as f64 / 1e3;
            }
        }
        0.0
    }
}

fn bucket(ns: u64) -> usize {
    if ns < STEPS as u64 {
        return ns as usize;
    }
    let exponent = 63 - ns.leading_zeros() as usize;
    (exponent - 5) * STEPS + ((ns >> (exponent - 6)) as usize & (STEPS - 1))
}

fn start_ns(bucket: usize) -> u64 {
    if bucket < STEPS {
        return bucket as u64;
    }
    ((STEPS + bucket % STEPS) as u64) << (bucket / STEPS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_lies_at_most_a_64th_above_the_start_of_its_bucket() {
        for ns in [0, 1, 63, 64, 65, 1000, 123_456, 10_000_000_000, u64::MAX] {
            let start = start_ns(bucket(ns));
            assert!(
                start <= ns && ns - start <= ns / 64,
                "{ns} fell into the bucket of {start}"
            );
        }
    }

    #[test]
    fn quantiles_of_a_thousand_steps_are_the_steps() {
        let mut histogram = Histogram::new();
        (1..=1000).for_each(|us| histogram.add(us * 1000));
        let quantiles = histogram.quantiles();
        assert!((quantiles.p50 - 500.0).abs() < 9.0 && (quantiles.p99 - 990.0).abs() < 17.0);
    }
}
