//! The command line: which commands there are, and the options they share.

use crate::{audit, bench, config, dead_letters, drill, jobs, models, predict, publish, streams, up, usage};
use clap::{Parser, Subcommand};
use std::path::PathBuf;

/// Event analytics that shows its own load line.
///
/// Without a command: `up`, the services on embedded backends with simulated traffic, and their console.
#[derive(Debug, Parser)]
#[command(name = "loadline", version = crate::build(), propagate_version = true, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(flatten)]
    pub configuration: Configuration,
    #[command(subcommand)]
    pub command: Option<Command>,
}

const EXIT_CODES: &str =
    "Exit codes: 0 done and nothing is wrong; 1 done and the answer is bad news; 2 not done. Those of `check` are its own.";

/// Where the configuration comes from: defaults < file < LOADLINE_SECTION__KEY variables < --set.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Configuration {
    /// Configuration file; only what differs from the defaults
    #[arg(long = "config", visible_alias = "profile", env = "LOADLINE_CONFIG", value_name = "FILE", global = true)]
    pub file: Option<PathBuf>,
    /// One setting, such as --set store.url=sqlite:/tmp/store.db; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = key_value, global = true)]
    pub set: Vec<(String, String)>,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Runs all services in this process, with their console when on a terminal
    Up(up::UpArgs),
    /// Shows running services on one screen, or says once how they are
    Console(loadline_console::cli::Cli),
    /// Says once how running services are, for a monitoring system or a script
    Check(loadline_console::cli::Check),
    /// Publishes the events of a file
    Publish(publish::PublishArgs),
    /// Shows what accounts used
    Usage(usage::UsageArgs),
    /// Shows how far streams are read, and what was lost
    Streams(streams::StreamsArgs),
    /// Shows, redrives or discards what could not be counted
    DeadLetters(dead_letters::DeadLettersArgs),
    /// Shows background jobs, runs and cancels them
    Jobs(jobs::JobsArgs),
    /// Shows models, registers them, and says which version answers
    Models(models::ModelsArgs),
    /// Asks a model
    Predict(predict::PredictArgs),
    /// Shows what was done to the system and by whom, and proves that nobody changed that record
    Audit(audit::AuditArgs),
    /// Causes failure modes on purpose, and proves that they are seen, contained and repaired
    Drill(drill::DrillArgs),
    /// Checks or shows the configuration
    Config(config::ConfigArgs),
    /// Measures this build on this machine
    Bench(bench::BenchArgs),
    /// Prints a completion script for a shell
    Completions {
        /// bash, zsh, fish, …
        shell: clap_complete::Shell,
    },
}

fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write KEY=VALUE, such as ingest.batch_records=2000")?;
    Ok((key.trim().to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn without_a_command_it_is_up() {
        assert!(Cli::parse_from(["loadline"]).command.is_none());
        let cli = Cli::parse_from(["loadline", "up", "--headless", "--set", "simulate.rate=5"]);
        assert_eq!(cli.configuration.set, [("simulate.rate".to_owned(), "5".to_owned())]);
    }
}
