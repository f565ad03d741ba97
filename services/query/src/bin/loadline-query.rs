//! `loadline-query`: the query service alone, on the backends of the configuration.

use clap::Parser;
use loadline_platform::{Kept, Platform};
use std::{path::PathBuf, process::ExitCode};

/// Answers what accounts used, from the store, and explains it from the log.
#[derive(Parser)]
#[command(name = "loadline-query", version)]
struct Arguments {
    /// Configuration file, the same for all services
    #[arg(long, env = "LOADLINE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
}

fn main() -> ExitCode {
    let file = Arguments::parse().config;
    let settings = match loadline_runtime::run::configuration::<loadline_settings::Settings>(file.as_deref(), vec![]) {
        Ok(loaded) => loaded.config,
        Err(code) => return code,
    };
    let (telemetry, grace) = (settings.telemetry.clone(), *settings.grpc.grace);
    loadline_runtime::run("loadline-query", env!("CARGO_PKG_VERSION"), &telemetry, grace, |telemetry, shutdown| {
        loadline_query::serve::alone(Platform::new(Kept::new(settings, file, vec![]), telemetry), shutdown)
    })
}
