//! Checks one model under limits, for the process that started it; see `loadline_models::golden`.

use std::process::ExitCode;

fn main() -> ExitCode {
    loadline_models::golden::child_main()
}
