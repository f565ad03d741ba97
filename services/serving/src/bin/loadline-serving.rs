//! `loadline-serving`: the serving service alone, on the backends of the configuration.

use clap::Parser;
use loadline_platform::{Kept, Platform};
use loadline_runtime::{
    Shutdown,
    lifecycle::{Restarts, lives},
};
use std::{path::PathBuf, process::ExitCode};

/// Lets models answer, over the Open Inference Protocol.
#[derive(Parser)]
#[command(name = "loadline-serving", version = build())]
struct Arguments {
    /// Configuration file, the same for all services
    #[arg(long, env = "LOADLINE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
}

fn build() -> &'static str {
    loadline_runtime::build!()
}

fn main() -> ExitCode {
    if let Some(checked) = loadline_serving::as_child() {
        return checked;
    }
    let file = Arguments::parse().config;
    let settings = match loadline_runtime::run::configuration::<loadline_settings::Settings>(file.as_deref(), vec![]) {
        Ok(loaded) => loaded.config,
        Err(code) => return code,
    };
    let (telemetry, grace) = (settings.telemetry.clone(), *settings.grpc.grace);
    loadline_runtime::run("loadline-serving", build(), &telemetry, grace, |telemetry, shutdown| {
        let platform = Platform::new(Kept::new(settings, file, vec![]), telemetry);
        async move {
            let alone = |life: Shutdown| platform.live(life.clone(), loadline_serving::serve::alone(platform.clone(), life));
            lives(&shutdown, Restarts::Process, grace, alone).await
        }
    })
}
