//! `loadline bench`: figures of this build on this machine, as ratios within one run wherever something is compared.

mod baseline;
mod events;
mod health;
mod history;
mod ingest;
mod memory;
mod open_loop;
mod query;
mod questions;
mod report;
mod rollup;
mod serving;

use crate::output::Output;
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub struct BenchArgs {
    #[command(subcommand)]
    command: BenchCommand,
}

#[derive(Debug, clap::Subcommand)]
enum BenchCommand {
    /// Applies events from a log to a store, and asks for usage, in scratch streams and a scratch store
    Ingest(ingest::IngestArgs),
    /// Moves account-days to a history, and asks for a year of one account, then again with twice the rows
    History(history::HistoryArgs),
    /// Rolls up, purges and archives generated usage, each beside plain SQL on the same rows, and asks for 90 days of hours
    Rollup(rollup::RollupArgs),
    /// Asks a model for single rows, beside calls that do nothing, and past what the server takes
    Serving(serving::ServingArgs),
    /// What `bench serving` asks past saturation
    #[command(hide = true)]
    Server(serving::ServerArgs),
}

/// Runs the bench.
///
/// # Errors
/// When a backend cannot be reached, the store is not a scratch one, or an answer is wrong.
pub async fn run(args: BenchArgs) -> anyhow::Result<ExitCode> {
    match args.command {
        BenchCommand::Ingest(args) => {
            let json = args.json;
            let report = ingest::run(args).await?;
            Output::stdout(json).print(&if json { report.json() } else { report.text() })?;
        }
        BenchCommand::History(args) => {
            let json = args.json;
            let report = history::run(args).await?;
            Output::stdout(json).print(&if json { report.json() } else { report.text() })?;
        }
        BenchCommand::Rollup(args) => {
            let json = args.json;
            let report = rollup::run(args).await?;
            Output::stdout(json).print(&if json { report.json() } else { report.text() })?;
        }
        BenchCommand::Serving(args) => {
            let json = args.json;
            let report = serving::run(args).await?;
            Output::stdout(json).print(&if json { report.json() } else { report.text() })?;
        }
        BenchCommand::Server(args) => serving::serve(args).await?,
    }
    Ok(ExitCode::SUCCESS)
}
