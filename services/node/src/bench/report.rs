//! What the bench found, for people and for programs.

use super::events::Ids;
use serde::Serialize;

/// All figures of a run.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Backends, without secrets.
    pub log: String,
    pub store: String,
    pub caveats: Vec<String>,
    /// Records of a batch.
    pub batch_records: usize,
    /// One entry a kind of ids.
    pub runs: Vec<Run>,
    pub health: Option<Health>,
    pub query: Option<Questions>,
    /// Of this process: publisher, ingest and query together.
    pub peak_memory_mib: Option<f64>,
}

/// One kind of ids.
#[derive(Debug, Serialize)]
pub struct Run {
    pub ids: Ids,
    pub events: u64,
    /// Dedup rows that were there before.
    pub preloaded: u64,
    /// Appending to the log, durable.
    pub append_per_second: f64,
    /// From the log to the store through the ingest service: events a second.
    pub applied_per_second: f64,
    /// Committing the same batches, folded beforehand, one after another.
    pub committed_per_second: f64,
    /// The same without dedup rows; PostgreSQL only.
    pub committed_without_dedup_per_second: Option<f64>,
    /// One transaction an event.
    pub one_by_one_per_second: f64,
    /// applied / one by one.
    pub ratio_to_one_by_one: f64,
    /// committed / committed without dedup.
    pub ratio_to_without_dedup: Option<f64>,
}

/// The ingest service with and without all that tells of its health, in turns.
#[derive(Debug, Serialize)]
pub struct Health {
    pub rounds: usize,
    /// Consoles on the health stream.
    pub watchers: usize,
    /// Median of the rounds, as all that follows without another word.
    pub with_per_second: f64,
    pub without_per_second: f64,
    /// with / without of the same round.
    pub ratio: f64,
    pub lowest_ratio: f64,
    pub highest_ratio: f64,
    /// Of the whole process.
    pub with_core_seconds_per_million: Option<f64>,
    pub without_core_seconds_per_million: Option<f64>,
}

/// GetUsage of one account's month of hours, over gRPC, at a fixed rate.
#[derive(Debug, Serialize)]
pub struct Questions {
    pub rate_per_second: u32,
    /// Of the service; who asks has one of its own.
    pub service_threads: usize,
    pub asked: usize,
    pub failed: usize,
    pub rows: usize,
    /// From when each was due: waiting counts.
    pub p50_ms: f64,
    pub p99_ms: f64,
    /// The same of a bare call, `grpc.health.v1` Check, to the same server: what the machine leaves to be had.
    pub bare_p50_ms: f64,
    pub bare_p99_ms: f64,
    /// How late the machine woke a thread that only slept, during the bare calls; a question wakes several threads in turn.
    pub wake_up_p99_ms: f64,
}

impl Report {
    pub fn json(&self) -> String {
        serde_json::to_string_pretty(self).expect("numbers and texts have a JSON form")
    }

    pub fn text(&self) -> String {
        let mut lines = vec![format!("log {}   store {}   batches of {}", self.log, self.store, self.batch_records)];
        lines.extend(self.caveats.iter().map(|caveat| format!("note: {caveat}")));
        for run in &self.runs {
            lines.push(format!("\nids {:?}, {} events, {} dedup rows before", run.ids, run.events, run.preloaded));
            lines.push(format!("  appended to the log        {:>10.0} events/s", run.append_per_second));
            lines.push(format!("  applied end to end         {:>10.0} events/s", run.applied_per_second));
            lines.push(format!("  committed, batch by batch  {:>10.0} events/s", run.committed_per_second));
            if let (Some(rate), Some(ratio)) = (run.committed_without_dedup_per_second, run.ratio_to_without_dedup) {
                lines.push(format!("    without dedup rows       {rate:>10.0} events/s   ratio {ratio:.2}"));
            }
            let (rate, ratio) = (run.one_by_one_per_second, run.ratio_to_one_by_one);
            lines.push(format!("  one transaction an event   {rate:>10.0} events/s   ratio {ratio:.0} ×"));
        }
        if let Some(health) = &self.health {
            lines.extend(health.text());
        }
        if let Some(query) = &self.query {
            let Questions { rate_per_second, service_threads, asked, failed, rows, .. } = query;
            let Questions { p50_ms, p99_ms, bare_p50_ms, bare_p99_ms, wake_up_p99_ms, .. } = query;
            lines.push(format!(
                "\nGetUsage of a month of hours ({rows} rows) at {rate_per_second}/s: {asked} asked, {failed} failed, p50 {p50_ms:.2} ms, p99 {p99_ms:.2} ms, \
                 service on {service_threads} threads\n  \
                 a bare call at that rate: p50 {bare_p50_ms:.2} ms, p99 {bare_p99_ms:.2} ms; a thread that only slept woke up late: \
                 p99 {wake_up_p99_ms:.2} ms"
            ));
        }
        if let Some(memory) = self.peak_memory_mib {
            lines.push(format!("peak memory {memory:.0} MiB (publisher, ingest and query in one process)"));
        }
        lines.join("\n")
    }
}

impl Health {
    fn text(&self) -> Vec<String> {
        let Self { rounds, watchers, with_per_second, without_per_second, ratio, lowest_ratio, highest_ratio, .. } = self;
        let mut lines = vec![
            format!("\nwith the health machinery and {watchers} watchers, against without, {rounds} rounds in turns"),
            format!("  applied with               {with_per_second:>10.0} events/s"),
            format!(
                "  applied without            {without_per_second:>10.0} events/s   ratio {ratio:.3} ({lowest_ratio:.3} to {highest_ratio:.3}), budget 0.990"
            ),
        ];
        let spent = self.with_core_seconds_per_million.zip(self.without_core_seconds_per_million);
        lines.extend(spent.map(|(with, without)| {
            format!("  core time a million events {with:>10.2} s with, {without:.2} s without   ratio {:.3}", with / without)
        }));
        lines
    }
}
