//! `loadline-console`: the operator's console as a program of its own.

use clap::Parser as _;
use loadline_console::cli::Cli;
use std::process::ExitCode;

fn main() -> ExitCode {
    Cli::parse().run().unwrap_or_else(|error| {
        eprintln!("{error:#}");
        ExitCode::from(3)
    })
}
