//! `loadline config check` and `config show`.

use crate::{cli::Configuration, output::Output};
use loadline_history::{HistoryError, Options};
use loadline_runtime::config::{Check, Problems, environment, key, load, show};
use loadline_settings::Settings;
use serde::{Deserialize, Serialize};
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

/// The file as a start takes it: with what the settings cannot know of a URL, and who opens it does.
#[derive(Default, Serialize, Deserialize)]
#[serde(transparent)]
struct Startable(Settings);

impl Check for Startable {
    fn check(&self, at: &str, problems: &mut Problems) {
        self.0.check(at, problems);
        let (url, named) = (&self.0.history.url, key(at, "history.url"));
        if problems.iter().any(|problem| problem.key == named) {
            return;
        }
        // Nothing is touched by opening it.
        if let Err(HistoryError::Misconfigured(wrong)) = loadline_history::open(url.reveal(), Options::default()) {
            problems.refuse(named, url, wrong);
        }
    }
}

/// Reads the configuration from its file, the environment and `--set`.
///
/// # Errors
/// All problems at once.
pub fn read(configuration: &Configuration) -> Result<Settings, Problems> {
    load::<Startable>(configuration.file.as_deref(), &environment(), configuration.set.clone()).map(|loaded| loaded.config.0)
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
        (ConfigCommand::Show, loaded) => output.print(&show(&loaded?)?)?,
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_history(url: &str) -> Result<Settings, Problems> {
        read(&Configuration { file: None, set: vec![("history.url".to_owned(), url.to_owned())] })
    }

    #[test]
    fn a_history_that_a_start_would_refuse_is_refused_by_its_name_and_once() {
        for url in ["s3://", "s3:///prefix", "file:", "clickhouse://", "clickhouse://host/d?lz4=off", "ftp://host"] {
            let problems = with_history(url).unwrap_err();
            let named: Vec<_> = problems.iter().map(|problem| problem.key.as_str()).collect();
            assert_eq!(named, ["history.url"], "{url}");
            assert!(problems.to_string().to_lowercase().contains("s3://bucket/prefix"), "{problems}");
        }
    }

    #[test]
    fn a_history_that_nobody_has_made_yet_is_no_mistake() {
        for url in ["file:absent/history", "s3://bucket", "clickhouse://127.0.0.1:1/absent"] {
            assert!(with_history(url).is_ok(), "{url}");
        }
    }
}
