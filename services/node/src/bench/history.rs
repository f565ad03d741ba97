//! A year of one account out of a history of many, asked at a fixed rate, then again with twice the rows.

use super::open_loop::{self, Waits};
use anyhow::{Context as _, ensure};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use loadline_domain::{
    AccountId, AccountScope, Day, Hour,
    archive::Part,
    event::{Channel, Country, Currency},
    question::{Grain, GroupBy, UsageFilter, UsageQuery},
    usage::{Usage, UsageKey},
};
use loadline_history::{History, Options, Rows};
use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};
use serde::Serialize;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// Days of the year that is asked for: 2025.
const FIRST_DAY: i32 = 20_089;
const DAYS: i32 = 365;
/// Rows of a write.
const CHUNK: usize = 10_000;
/// Days written at once.
const WRITERS: usize = 2;

#[derive(Debug, clap::Args)]
pub struct HistoryArgs {
    /// Account-days archived before the first questions; as many again before the second
    #[arg(long, default_value_t = 50_000_000)]
    rows: u64,
    /// Accounts, each with usage on every day; as many as make the rows when absent
    #[arg(long)]
    accounts: Option<u32>,
    /// History, empty; a scratch folder when absent
    #[arg(long)]
    url: Option<String>,
    /// Questions a second
    #[arg(long, default_value_t = 20)]
    rate: u32,
    /// Questions asked
    #[arg(long, default_value_t = 400)]
    questions: u32,
    /// JSON instead of text
    #[arg(long)]
    pub json: bool,
}

/// All figures of a run.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Scheme of the history.
    pub history: String,
    pub caveats: Vec<String>,
    pub once: Phase,
    pub twice: Phase,
    /// p50 with twice the rows / p50 with the rows once.
    pub p50_ratio: f64,
    /// The same of p99.
    pub p99_ratio: f64,
    pub peak_memory_mib: Option<f64>,
}

/// Writing, merging, asking.
#[derive(Debug, Serialize)]
pub struct Phase {
    /// Account-days in the history.
    pub account_days: u64,
    pub accounts: u32,
    /// Rows written now: a daily and an hourly one an account-day.
    pub exported_rows: u64,
    pub exported_rows_per_second: f64,
    /// Pieces that were merged, and how long that took.
    pub merged_pieces: u64,
    pub merge_seconds: f64,
    pub rate_per_second: u32,
    pub asked: usize,
    pub failed: usize,
    /// The first question, which learns what is in the files.
    pub first_ms: f64,
    /// From when each was due: waiting counts.
    pub p50_ms: f64,
    pub p99_ms: f64,
}

/// Runs both phases.
///
/// # Errors
/// When the history cannot be reached, or an answer is wrong.
pub async fn run(args: HistoryArgs) -> anyhow::Result<Report> {
    let scratch = tempfile::tempdir().context("a folder for scratch files")?;
    let url = args.url.clone().unwrap_or_else(|| format!("file:{}", scratch.path().display()));
    let history = loadline_history::open(&url, Options { timeout: Duration::from_secs(600), ..Options::default() })?;
    history.prepare().await?;
    let accounts = args.accounts.unwrap_or_else(|| (args.rows / DAYS as u64).clamp(1, 50_000_000) as u32);
    let mut bench = Bench { history, args, accounts, parts: vec![] };
    let once = bench.phase(0).await?;
    let twice = bench.phase(1).await?;
    let scheme = url.split(':').next().unwrap_or_default().to_owned();
    Ok(Report {
        history: scheme,
        caveats: bench.history.caveats(),
        p50_ratio: twice.p50_ms / once.p50_ms,
        p99_ratio: twice.p99_ms / once.p99_ms,
        once,
        twice,
        peak_memory_mib: super::memory::peak_mib(),
    })
}

struct Bench {
    history: Arc<dyn History>,
    args: HistoryArgs,
    /// Of a phase.
    accounts: u32,
    parts: Vec<Part>,
}

impl Bench {
    /// Adds a year of as many accounts again, between those that were there, and asks.
    async fn phase(&mut self, number: u32) -> anyhow::Result<Phase> {
        eprintln!("writing {} account-days …", u64::from(self.accounts) * DAYS as u64);
        let started = Instant::now();
        let days =
            (FIRST_DAY..FIRST_DAY + DAYS).map(|day| write_day(&*self.history, Day::from_index(day), number, self.accounts));
        let parts: Vec<Part> = stream::iter(days).buffered(WRITERS).try_collect().await?;
        let written = started.elapsed().as_secs_f64();
        self.parts.extend(parts);
        eprintln!("merging …");
        let started = Instant::now();
        let merged_pieces = self.history.compact(&self.parts).await?;
        let merge_seconds = started.elapsed().as_secs_f64();
        let accounts = self.accounts * (number + 1);
        let exported_rows = u64::from(self.accounts) * DAYS as u64 * 2;
        eprintln!("asking at {}/s …", self.args.rate);
        let (first, waits) = self.ask(number + 1).await?;
        Ok(Phase {
            account_days: u64::from(accounts) * DAYS as u64,
            accounts,
            exported_rows,
            exported_rows_per_second: exported_rows as f64 / written,
            merged_pieces,
            merge_seconds,
            rate_per_second: self.args.rate,
            asked: waits.asked,
            failed: waits.failed,
            first_ms: first.as_secs_f64() * 1_000.0,
            p50_ms: waits.ms(0.50),
            p99_ms: waits.ms(0.99),
        })
    }

    /// Asks for a year of accounts at random; answers are checked.
    async fn ask(&self, phases: u32) -> anyhow::Result<(Duration, Waits)> {
        let started = Instant::now();
        year_of(&*self.history, &self.parts, 0, 0).await?;
        let first = started.elapsed();
        let parts = Arc::new(self.parts.clone());
        let waits = open_loop::ask(self.args.rate, self.args.questions, |index| {
            let mut random = SmallRng::seed_from_u64(u64::from(index));
            let (account, phase) = (random.random_range(0..self.accounts), random.random_range(0..phases));
            let (history, parts) = (self.history.clone(), parts.clone());
            async move { year_of(&*history, &parts, account, phase).await }
        });
        Ok((first, waits.await?))
    }
}

async fn year_of(history: &dyn History, parts: &[Part], account: u32, phase: u32) -> anyhow::Result<()> {
    let query = UsageQuery {
        account: name(account, phase),
        from: Day::from_index(FIRST_DAY).first_hour(),
        to: Day::from_index(FIRST_DAY + DAYS).first_hour(),
        filter: UsageFilter::default(),
        group_by: GroupBy::default(),
        grain: Grain::Day,
    };
    let rows = history.usage(&AccountScope::All, parts, &query).await?;
    let messages: i64 = rows.iter().map(|row| row.usage.messages).sum();
    let expected: i64 = (FIRST_DAY..FIRST_DAY + DAYS).map(|day| usage(account, day).messages).sum();
    ensure!(rows.len() == DAYS as usize && messages == expected, "{} rows with {messages} messages, not {expected}", rows.len());
    Ok(())
}

async fn write_day(history: &dyn History, day: Day, number: u32, accounts: u32) -> anyhow::Result<Part> {
    let part = Part { day, number, token: uuid::Uuid::now_v7().to_string() };
    let mut writer = history.begin(&part).await?;
    for first in (0..accounts).step_by(CHUNK) {
        let chunk = first..accounts.min(first + CHUNK as u32);
        let rows = |hour: Hour| chunk.clone().map(|account| (key(account, number, hour), usage(account, day.index()))).collect();
        writer.write(Rows::Daily(rows(day.first_hour()))).await?;
        writer.write(Rows::Hourly(rows(Hour::from_index(day.first_hour().index() + 11)))).await?;
    }
    let sent = writer.finish().await?;
    ensure!(sent == history.totals(&part).await?, "{day} was not stored as it was sent");
    Ok(part)
}

/// Accounts of the second phase lie between those of the first.
fn name(account: u32, phase: u32) -> AccountId {
    AccountId::new(&format!("account-{account:08}-{phase}")).expect("visible ASCII")
}

fn key(account: u32, phase: u32, hour: Hour) -> UsageKey {
    let (country, currency) = [("DE", "EUR"), ("FR", "EUR"), ("US", "USD"), ("GB", "GBP")][account as usize % 4];
    UsageKey {
        account: name(account, phase),
        hour,
        channel: Channel::SMS,
        country: Country::parse(country).expect("two letters"),
        currency: Currency::parse(currency).expect("three letters"),
    }
}

/// Numbers that differ by account and day, as real ones do.
fn usage(account: u32, day: i32) -> Usage {
    let mixed = (u64::from(account) << 32 | day as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40;
    let messages = (mixed % 5_000) as i64;
    let delivered = messages * 95 / 100;
    Usage {
        events: messages * 2,
        messages,
        segments: messages + messages / 3,
        amount_micros: messages * 72_000,
        delivered,
        undelivered: messages - delivered,
        ..Usage::default()
    }
}

impl Report {
    pub fn json(&self) -> String {
        serde_json::to_string_pretty(self).expect("numbers and texts have a JSON form")
    }

    pub fn text(&self) -> String {
        let mut lines = vec![format!("history {}", self.history)];
        lines.extend(self.caveats.iter().map(|caveat| format!("note: {caveat}")));
        for phase in [&self.once, &self.twice] {
            lines.push(format!("\n{} account-days of {} accounts", phase.account_days, phase.accounts));
            lines.push(format!("  exported and counted again {:>10.0} rows/s", phase.exported_rows_per_second));
            lines.push(format!("  {} pieces merged in {:.1} s", phase.merged_pieces, phase.merge_seconds));
            lines.push(format!(
                "  a year of one account at {}/s: {} asked, {} failed, first {:.1} ms, p50 {:.2} ms, p99 {:.2} ms",
                phase.rate_per_second, phase.asked, phase.failed, phase.first_ms, phase.p50_ms, phase.p99_ms
            ));
        }
        lines.push(format!("\ntwice the rows: p50 × {:.2}, p99 × {:.2}", self.p50_ratio, self.p99_ratio));
        if let Some(memory) = self.peak_memory_mib {
            lines.push(format!("peak memory {memory:.0} MiB"));
        }
        lines.join("\n")
    }
}
