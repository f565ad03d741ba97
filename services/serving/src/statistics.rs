//! What was asked of a version since it was loaded, and how long it took, in the figures of the protocol's statistics.

use loadline_proto::inference::{InferBatchStatistics, InferStatistics, ModelStatistics, StatisticDuration};
use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

/// Counters of one version.
#[derive(Default)]
pub struct Statistics {
    success: Total,
    fail: Total,
    cache_hit: Total,
    cache_miss: Total,
    /// Milliseconds since 1970.
    last: AtomicU64,
    batches: Mutex<Batches>,
}

/// A batch that was answered.
pub struct Executed {
    pub rows: usize,
    pub requests: usize,
    /// What its requests waited, together.
    pub queued: Duration,
    pub input: Duration,
    pub infer: Duration,
    pub output: Duration,
}

#[derive(Default)]
struct Total {
    count: AtomicU64,
    nanos: AtomicU64,
}

#[derive(Default)]
struct Batches {
    queue: StatisticDuration,
    /// By rows.
    by_size: BTreeMap<usize, [StatisticDuration; 3]>,
}

impl Statistics {
    /// A request was answered, at so many milliseconds since 1970.
    pub fn succeeded(&self, time: Duration, at: u64) {
        self.success.add(time);
        self.last.fetch_max(at, Relaxed);
    }

    /// A request was refused, or failed.
    pub fn failed(&self, time: Duration) {
        self.fail.add(time);
    }

    /// A question was answered from the cache; how long that took.
    pub fn hit(&self, time: Duration) {
        self.cache_hit.add(time);
    }

    /// A question was looked for in the cache, answered by the model and kept; how long that took.
    pub fn missed(&self, time: Duration) {
        self.cache_miss.add(time);
    }

    /// The model answered a batch.
    pub fn executed(&self, batch: &Executed) {
        let mut batches = self.batches.lock().unwrap_or_else(PoisonError::into_inner);
        add(&mut batches.queue, batch.requests as u64, batch.queued);
        let sizes = batches.by_size.entry(batch.rows).or_default();
        for (total, time) in sizes.iter_mut().zip([batch.input, batch.infer, batch.output]) {
            add(total, 1, time);
        }
    }

    /// As the protocol has it.
    pub fn told(&self, name: &str, version: u64) -> ModelStatistics {
        let batches = self.batches.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sums = [StatisticDuration::default(); 3];
        let mut rows = 0;
        for (size, totals) in &batches.by_size {
            rows += *size as u64 * totals[0].count;
            for (sum, total) in sums.iter_mut().zip(totals) {
                sum.count += total.count;
                sum.ns += total.ns;
            }
        }
        let [compute_input, compute_infer, compute_output] = sums.map(Some);
        ModelStatistics {
            name: name.to_owned(),
            version: version.to_string(),
            last_inference: self.last.load(Relaxed),
            inference_count: rows,
            execution_count: sums[1].count,
            inference_stats: Some(InferStatistics {
                success: Some(self.success.told()),
                fail: Some(self.fail.told()),
                queue: Some(batches.queue),
                compute_input,
                compute_infer,
                compute_output,
                cache_hit: Some(self.cache_hit.told()),
                cache_miss: Some(self.cache_miss.told()),
            }),
            batch_stats: batches.by_size.iter().map(|(size, totals)| of_size(*size, totals)).collect(),
        }
    }
}

impl Total {
    fn add(&self, time: Duration) {
        self.count.fetch_add(1, Relaxed);
        self.nanos.fetch_add(nanos(time), Relaxed);
    }

    fn told(&self) -> StatisticDuration {
        StatisticDuration { count: self.count.load(Relaxed), ns: self.nanos.load(Relaxed) }
    }
}

fn of_size(size: usize, totals: &[StatisticDuration; 3]) -> InferBatchStatistics {
    let [compute_input, compute_infer, compute_output] = totals.map(Some);
    InferBatchStatistics { batch_size: size as u64, compute_input, compute_infer, compute_output }
}

fn add(total: &mut StatisticDuration, count: u64, time: Duration) {
    total.count += count;
    total.ns = total.ns.saturating_add(nanos(time));
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_and_batches_are_counted_apart() {
        let statistics = Statistics::default();
        let ms = Duration::from_millis;
        for (rows, requests) in [(3, 2), (3, 3), (1, 1)] {
            statistics.executed(&Executed { rows, requests, queued: ms(4), input: ms(1), infer: ms(5), output: ms(2) });
        }
        statistics.succeeded(ms(9), 70);
        statistics.succeeded(ms(1), 60);
        statistics.failed(ms(3));
        let told = statistics.told("wine", 4);
        assert_eq!((told.name.as_str(), told.version.as_str(), told.last_inference), ("wine", "4", 70));
        assert_eq!((told.inference_count, told.execution_count), (7, 3));
        let sizes: Vec<_> = told.batch_stats.iter().map(|size| (size.batch_size, size.compute_infer.unwrap().count)).collect();
        assert_eq!(sizes, [(1, 1), (3, 2)]);
        let sums = told.inference_stats.unwrap();
        assert_eq!(sums.queue.unwrap(), StatisticDuration { count: 6, ns: 12_000_000 });
        assert_eq!(sums.compute_infer.unwrap(), StatisticDuration { count: 3, ns: 15_000_000 });
        assert_eq!(sums.success.unwrap(), StatisticDuration { count: 2, ns: 10_000_000 });
        assert_eq!(sums.fail.unwrap().count, 1);
    }
}
