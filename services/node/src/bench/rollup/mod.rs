//! `loadline bench rollup`: what background work costs beside plain SQL on the same rows, and beside ingest.

mod daily;
mod moving;
mod purging;
mod question;
mod report;
mod rows;

use anyhow::{Context as _, ensure};
use loadline_rollup::leader::ROLE;
use loadline_store::{Leadership, Options, Store};
use report::Report;
use sqlx::{Connection as _, PgConnection};
use std::{sync::Arc, time::Duration};

const LEADS: Duration = Duration::from_secs(3_600);

#[derive(Debug, clap::Args)]
pub struct RollupArgs {
    /// PostgreSQL database, empty or of an earlier bench: what is compared with is plain SQL there
    #[arg(long)]
    store: String,
    /// Accounts; the first has four times the rows of the others
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(2..=9_999))]
    accounts: u32,
    /// Days of usage, all hours of each
    #[arg(long, default_value_t = 92, value_parser = clap::value_parser!(u32).range(91..=1_000))]
    days: u32,
    /// Times that the days are rolled up
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Keys in the dedup table that is dropped beside ingest
    #[arg(long, default_value_t = 20_000_000)]
    dedup_rows: u64,
    /// Batches of 5,000 events committed before the drop, and as many from its beginning on
    #[arg(long, default_value_t = 400, value_parser = clap::value_parser!(u32).range(10..))]
    batches: u32,
    /// Questions a second for 90 days of hours
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,
    /// Questions asked
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    questions: u32,
    /// JSON instead of text
    #[arg(long)]
    pub json: bool,
}

/// The store under test, and its server seen directly.
struct Bench {
    args: RollupArgs,
    store: Arc<dyn Store>,
    leadership: Leadership,
    plain: PgConnection,
}

/// Runs every phase and returns the figures.
///
/// # Errors
/// When the store is not a scratch PostgreSQL, or background work came to another result than plain SQL.
pub async fn run(args: RollupArgs) -> anyhow::Result<Report> {
    ensure!(args.store.starts_with("postgres"), "--store must be a PostgreSQL URL: what is compared with is plain SQL there");
    let store = loadline_store::open(&args.store, Options::default()).await?;
    store.migrate().await?;
    super::ingest::refuse_production(&*store).await?;
    let plain = PgConnection::connect(&args.store).await?;
    let holder = format!("bench-{}", std::process::id());
    let leadership = store.lead(ROLE, &holder, LEADS).await?.context("another process leads the jobs of this store")?;
    // A bench that was cut short may have left one.
    store.interrupt_orphans(&leadership).await?;
    let mut bench = Bench { args, store, leadership, plain };
    eprintln!("making usage …");
    let rows = rows::fill(&mut bench).await?;
    eprintln!("rolling up …");
    let daily = daily::measure(&mut bench).await?;
    eprintln!("asking for 90 days …");
    let question = question::measure(&bench).await?;
    eprintln!("making {} dedup keys, and dropping them beside ingest …", bench.args.dedup_rows);
    let purge = purging::measure(&mut bench).await?;
    eprintln!("moving days to history …");
    let moved = moving::measure(&mut bench).await?;
    bench.store.step_down(&bench.leadership).await?;
    Ok(Report { rows, daily, question, purge, moved })
}
