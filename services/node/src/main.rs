//! `loadline`: the whole product in one process, and every command of an operator.
//!
//! ```text
//! loadline [up]     ingest ─ query ─ rollup ─ serving ─ simulated traffic ─ console or status   all in this process, a port each
//! loadline console│check│publish│usage│streams│dead-letters│jobs│models│predict│audit│drill     clients of a running one
//! loadline config│bench│completions
//! ```

mod audit;
mod backoff;
mod bench;
mod cli;
mod config;
mod connect;
mod csv;
mod dead_letters;
mod drill;
mod example_league;
mod jobs;
mod json;
mod models;
mod money;
mod output;
mod predict;
mod publish;
mod simulate;
mod status;
mod streams;
mod up;
mod usage;
mod when;

use clap::{CommandFactory as _, Parser as _};
use clap_complete::Shell;
use cli::{Cli, Command};
use std::process::ExitCode;

/// Which build this is, as `--version`, the services and their proofs say it.
fn build() -> &'static str {
    loadline_runtime::build!()
}

fn main() -> ExitCode {
    // This program again, which a service started to look at a file.
    if let Some(checked) = loadline_serving::as_child() {
        return checked;
    }
    let cli = Cli::parse();
    match cli.command.unwrap_or(Command::Up(up::UpArgs::default())) {
        Command::Up(args) => up::run(&args, &cli.configuration),
        Command::Config(args) => output::finish(config::run(&args, &cli.configuration)),
        Command::Completions { shell } => output::finish(completions(shell)),
        Command::Console(console) => output::finish(console.run()),
        Command::Check(check) => check.run(),
        Command::Publish(args) => client(publish::run(args)),
        Command::Usage(args) => client(usage::run(args)),
        Command::Streams(args) => client(streams::run(args)),
        Command::DeadLetters(args) => client(dead_letters::run(args)),
        Command::Jobs(args) => client(jobs::run(args)),
        Command::Models(args) => client(models::run(args)),
        Command::Predict(args) => client(predict::run(args)),
        Command::Audit(args) => client(audit::run(args)),
        Command::Drill(args) => client(drill::run(args)),
        Command::Bench(args) => client(bench::run(args)),
    }
}

/// Prints them by way of memory: their generator panics where it cannot write.
fn completions(shell: Shell) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "loadline", &mut script);
    output::Output::stdout(false).print(&String::from_utf8(script)?)?;
    Ok(ExitCode::SUCCESS)
}

/// Runs a command that only asks others.
fn client(command: impl Future<Output = anyhow::Result<ExitCode>>) -> ExitCode {
    match tokio::runtime::Runtime::new() {
        Ok(runtime) => output::finish(runtime.block_on(command)),
        Err(error) => output::finish(Err(error.into())),
    }
}
