//! `loadline-ingest`: the ingest service alone, on the backends of the configuration.

use clap::Parser;
use std::{path::PathBuf, process::ExitCode};

/// Takes events into the log, and applies the log to the store, each record exactly once.
#[derive(Parser)]
#[command(name = "loadline-ingest", version)]
struct Arguments {
    /// Configuration file, the same for all services
    #[arg(long, env = "LOADLINE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
}

fn main() -> ExitCode {
    let loaded =
        match loadline_runtime::run::configuration::<loadline_settings::Settings>(Arguments::parse().config.as_deref(), vec![]) {
            Ok(loaded) => loaded,
            Err(code) => return code,
        };
    let settings = loaded.config;
    let (telemetry, grace) = (settings.telemetry.clone(), *settings.grpc.grace);
    loadline_runtime::run::run("loadline-ingest", env!("CARGO_PKG_VERSION"), &telemetry, grace, |telemetry, shutdown| {
        loadline_ingest::serve::alone(settings, telemetry, shutdown)
    })
}
