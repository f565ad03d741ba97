//! `loadline config check` and `config show`.

use crate::{cli::Configuration, output::Output};
use loadline_runtime::config::{Loaded, Problems, show};
use loadline_settings::Settings;
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub struct ConfigArgs {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Debug, Clone, Copy, clap::Subcommand)]
enum ConfigCommand {
    /// Names every mistake at once; exit code 1 when there is one
    Check,
    /// Prints what is in force, with secrets hidden
    Show,
}

/// Reads the configuration from its file, the environment and `--set`.
///
/// # Errors
/// All problems at once.
pub fn read(configuration: &Configuration) -> Result<Loaded<Settings>, Problems> {
    Settings::read(configuration.file.as_deref(), configuration.set.clone())
}

/// Runs the command.
///
/// # Errors
/// When standard output is gone, or (`show`) the configuration has problems.
pub fn run(args: &ConfigArgs, configuration: &Configuration) -> anyhow::Result<ExitCode> {
    let output = Output::stdout(false);
    match (args.command, read(configuration)) {
        (ConfigCommand::Check, Ok(_)) => output.print("the configuration is valid")?,
        (ConfigCommand::Check, Err(problems)) => {
            output.print(&problems.to_string())?;
            return Ok(ExitCode::from(crate::output::BAD_NEWS));
        }
        (ConfigCommand::Show, loaded) => output.print(&show(&loaded?.config)?)?,
    }
    Ok(ExitCode::SUCCESS)
}
