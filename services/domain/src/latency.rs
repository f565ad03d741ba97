//! Delivery latency as a mergeable sketch: counts in buckets whose bounds grow geometrically, so that every quantile is
//! within 5 % (DDSketch: Masson, Rim, Lee, "DDSketch: a fast and fully-mergeable quantile sketch", VLDB 2019). Merging is
//! adding counts, which a SQL upsert can do.

use std::time::Duration;

/// Relative error of a quantile.
pub const RELATIVE_ERROR: f64 = 0.05;
const GAMMA: f64 = (1.0 + RELATIVE_ERROR) / (1.0 - RELATIVE_ERROR);
/// Below a millisecond all is one bucket.
const SMALLEST_SECONDS: f64 = 0.001;

/// Bucket 0 is up to a millisecond, bucket `i` up to a millisecond times `GAMMA^i`.
pub type Bucket = i16;

/// The bucket of a latency.
pub fn bucket(latency: Duration) -> Bucket {
    let ratio = latency.as_secs_f64() / SMALLEST_SECONDS;
    if ratio <= 1.0 { 0 } else { (ratio.ln() / GAMMA.ln()).ceil() as Bucket }
}

/// The latency that stands for a bucket.
pub fn value(bucket: Bucket) -> Duration {
    if bucket <= 0 {
        return Duration::from_secs_f64(SMALLEST_SECONDS);
    }
    Duration::from_secs_f64(SMALLEST_SECONDS * 2.0 * GAMMA.powi(i32::from(bucket)) / (GAMMA + 1.0))
}

/// Nearest-rank quantile of bucket counts sorted by bucket; `None` when they are empty.
pub fn quantile(counts: &[(Bucket, u64)], q: f64) -> Option<Duration> {
    let total: u64 = counts.iter().map(|(_, count)| count).sum();
    let rank = ((q * total as f64).ceil() as u64).clamp(1, total.max(1));
    let mut seen = 0;
    counts
        .iter()
        .find(|(_, count)| {
            seen += count;
            seen >= rank
        })
        .map(|(bucket, _)| value(*bucket))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn quantiles_are_within_the_promised_error() {
        let mut counts = BTreeMap::new();
        let latencies: Vec<f64> = (1..=10_000).map(|i| 0.002 + f64::from(i) * 0.0173).collect();
        for latency in &latencies {
            *counts.entry(bucket(Duration::from_secs_f64(*latency))).or_insert(0) += 1;
        }
        let counts: Vec<_> = counts.into_iter().collect();
        for q in [0.01, 0.5, 0.9, 0.99, 1.0] {
            let exact = latencies[((q * 10_000.0) as usize).max(1) - 1];
            let told = quantile(&counts, q).unwrap().as_secs_f64();
            assert!((told - exact).abs() / exact <= RELATIVE_ERROR + 1e-9, "q {q}: {told} for {exact}");
        }
    }

    #[test]
    fn extremes_have_a_bucket() {
        assert_eq!(bucket(Duration::ZERO), 0);
        assert!(bucket(Duration::from_secs(8_000 * 366 * 86_400)) < Bucket::MAX);
        assert_eq!(quantile(&[], 0.5), None);
    }
}
