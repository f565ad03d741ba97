//! The figures, as text and as JSON.

use super::{ServingArgs, cached::Cached, load::Closed, overload::Overload, peer::Peer, resident::Resident};
use crate::{bench::open_loop::Waits, output::count};
use loadline_proto::inference::model_metadata_response::TensorMetadata;
use serde::Serialize;

/// All of them.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Values of a row.
    values: i64,
    in_flight: usize,
    connections: usize,
    rounds: usize,
    /// Medians of the rounds.
    answers_per_second: f64,
    bare_per_second: f64,
    /// Of rounds one after the other: the median, the lowest and the highest.
    ratio: f64,
    lowest_ratio: f64,
    highest_ratio: f64,
    answers_p50_ms: f64,
    answers_p99_ms: f64,
    peer: Option<Peer>,
    cache: Cache,
    open: Vec<Open>,
    overload: Option<Overload>,
    resident: Option<Resident>,
}

/// What was measured.
pub struct Found {
    pub answers: Vec<Closed>,
    pub bare: Vec<Closed>,
    pub peer: Option<Peer>,
    pub cache: Cached,
    /// By rate: the model's answers, and the bare call's.
    pub open: Vec<(u32, Waits, Waits)>,
    pub overload: Option<Overload>,
    pub resident: Option<Resident>,
}

/// Medians of rounds in turns.
#[derive(Debug, Serialize)]
struct Cache {
    hit_per_second: f64,
    miss_per_second: f64,
    off_per_second: f64,
    hit_p50_ms: f64,
    miss_p50_ms: f64,
    off_p50_ms: f64,
}

#[derive(Debug, Serialize)]
struct Open {
    rate_per_second: u32,
    asked: usize,
    failed: usize,
    p50_ms: f64,
    p99_ms: f64,
    bare_p50_ms: f64,
    bare_p99_ms: f64,
    /// How late the machine woke a thread that only waits.
    wake_up_p99_ms: f64,
}

impl Report {
    pub fn new(args: &ServingArgs, inputs: &[TensorMetadata], found: Found) -> Self {
        let Found { answers, bare, peer, cache, open, overload, resident } = found;
        let width = |input: &TensorMetadata| input.shape.iter().skip(1).product::<i64>();
        let ratios: Vec<f64> = answers.iter().zip(&bare).map(|(answers, bare)| answers.per_second / bare.per_second).collect();
        Self {
            values: inputs.iter().map(width).sum(),
            in_flight: args.in_flight,
            connections: args.connections,
            rounds: answers.len(),
            answers_per_second: middle(&answers, |round| round.per_second),
            bare_per_second: middle(&bare, |round| round.per_second),
            ratio: median(ratios.clone()),
            lowest_ratio: ratios.iter().copied().fold(f64::INFINITY, f64::min),
            highest_ratio: ratios.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            answers_p50_ms: middle(&answers, |round| round.ms(0.5)),
            answers_p99_ms: middle(&answers, |round| round.ms(0.99)),
            peer,
            cache: Cache::new(&cache),
            open: open.iter().map(|(rate, answers, bare)| Open::new(*rate, answers, bare)).collect(),
            overload,
            resident,
        }
    }

    /// For a person.
    pub fn text(&self) -> String {
        let Self { values, in_flight, connections, rounds, .. } = self;
        let rate = |rate: f64| count(rate as u64);
        let mut text = format!(
            "{values} values a row, {in_flight} in flight on {connections} connections, {rounds} rounds\n\
             answers   {:>9}/s  p50 {:.2} ms  p99 {:.2} ms\n\
             bare call {:>9}/s\n\
             ratio     {:.2} ({:.2} to {:.2})\n",
            rate(self.answers_per_second),
            self.answers_p50_ms,
            self.answers_p99_ms,
            rate(self.bare_per_second),
            self.ratio,
            self.lowest_ratio,
            self.highest_ratio,
        );
        if let Some(Peer { ours_per_second, peers_per_second, ratio, ours_p50_ms, peers_p50_ms }) = &self.peer {
            text.push_str(&format!(
                "peer      {:>9}/s beside our {}/s: {ratio:.1} times as many  (p50 {peers_p50_ms:.2} and {ours_p50_ms:.2} ms)\n",
                rate(*peers_per_second),
                rate(*ours_per_second)
            ));
        }
        let Cache { hit_per_second, miss_per_second, off_per_second, hit_p50_ms, miss_p50_ms, off_p50_ms } = self.cache;
        text.push_str(&format!(
            "cache     hit {:>9}/s  miss {:>9}/s  off {:>9}/s  (p50 {hit_p50_ms:.2}, {miss_p50_ms:.2} and {off_p50_ms:.2} ms)\n",
            rate(hit_per_second),
            rate(miss_per_second),
            rate(off_per_second),
        ));
        for open in &self.open {
            text.push_str(&format!(
                "{:>6}/s  p50 {:.2} ms  p99 {:.2} ms  failed {}  (bare call {:.2} and {:.2} ms; the machine wakes {:.2} ms late)\n",
                open.rate_per_second,
                open.p50_ms,
                open.p99_ms,
                open.failed,
                open.bare_p50_ms,
                open.bare_p99_ms,
                open.wake_up_p99_ms
            ));
        }
        if let Some(overload) = &self.overload {
            text.push_str(&overload.text());
        }
        if let Some(Resident { models, files_mib, above_files_mib, ready_ms }) = &self.resident {
            text.push_str(&format!(
                "resident  {models} models of {files_mib:.1} MiB take {above_files_mib:.1} MiB more; READY without the registry after \
                 {ready_ms:.0} ms\n"
            ));
        }
        text
    }

    /// For a program.
    pub fn json(&self) -> String {
        serde_json::to_string_pretty(self).expect("figures are plain data")
    }
}

impl Cache {
    fn new(Cached { hit, miss, off }: &Cached) -> Self {
        let rate = |rounds: &[Closed]| middle(rounds, |round| round.per_second);
        let p50 = |rounds: &[Closed]| middle(rounds, |round| round.ms(0.5));
        Self {
            hit_per_second: rate(hit),
            miss_per_second: rate(miss),
            off_per_second: rate(off),
            hit_p50_ms: p50(hit),
            miss_p50_ms: p50(miss),
            off_p50_ms: p50(off),
        }
    }
}

impl Open {
    fn new(rate_per_second: u32, answers: &Waits, bare: &Waits) -> Self {
        Self {
            rate_per_second,
            asked: answers.asked,
            failed: answers.failed,
            p50_ms: answers.ms(0.5),
            p99_ms: answers.ms(0.99),
            bare_p50_ms: bare.ms(0.5),
            bare_p99_ms: bare.ms(0.99),
            wake_up_p99_ms: answers.wake_up_ms(0.99),
        }
    }
}

/// The round in the middle of what was measured.
pub fn middle(rounds: &[Closed], what: fn(&Closed) -> f64) -> f64 {
    median(rounds.iter().map(what).collect())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
