//! Programs that check models: those that look at their first argument before anything else.

use super::child_main;
use std::{env, ffi::OsStr, process::ExitCode};

/// The argument that makes a program check a model.
pub const ARGUMENT: &str = "check-model-in-child";

/// Checks a model, if that is what this process was started for. Called first in `main`, before there is a thread.
#[must_use]
pub fn as_child() -> Option<ExitCode> {
    (env::args_os().nth(1).as_deref() == Some(OsStr::new(ARGUMENT))).then(child_main)
}
