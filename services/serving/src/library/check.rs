//! Files are looked at in a process with limits before this one does: a hostile one ends that process.

use super::Library;
use bytes::Bytes;
use loadline_models::{
    Sha256,
    golden::{ARGUMENT, Limits, Refusal, Report, check_in_child},
};
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::sync::Semaphore;

/// Each may use [`Limits::memory_bytes`], and answers wait for its processor time.
const AT_ONCE: usize = 2;
/// Less than a request may take by default: whoever registers a file that never ends is told what is wrong with it.
const WALL: Duration = Duration::from_secs(25);

/// Checks files, some at once.
pub struct Checker {
    program: PathBuf,
    turns: Arc<Semaphore>,
}

impl Checker {
    /// One that starts a program; an empty path is this program, whatever has become of its file.
    pub fn new(program: &Path) -> Self {
        let this = || PathBuf::from("/proc/self/exe");
        let program = if program.as_os_str().is_empty() { this() } else { program.to_owned() };
        Self { program, turns: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// Checks a file, loads it, and asks its golden vectors.
    ///
    /// # Errors
    /// Why it is not to be loaded, or that nobody could look at it.
    pub async fn check(&self, file: Bytes) -> Result<Report, Refusal> {
        let stopped = |what: String| Refusal::NotStarted(io::Error::other(what));
        let turn = self.turns.clone().acquire_owned().await.map_err(|error| stopped(error.to_string()))?;
        let program = self.program.clone();
        let checked = tokio::task::spawn_blocking(move || {
            // Kept by the check, not by whoever may have stopped waiting for it.
            let _turn = turn;
            check_in_child(&program, &[ARGUMENT], &file, None, Limits { wall: WALL, ..Limits::default() })
        });
        checked.await.unwrap_or_else(|error| Err(stopped(error.to_string())))
    }
}

impl Library {
    /// Looks at files.
    pub fn checker(&self) -> &Checker {
        &self.parts.checker
    }

    /// A file from a registry, which others may write to, is fit to be loaded.
    ///
    /// # Errors
    /// Why it is not.
    pub(super) async fn fit(&self, file: Bytes, pinned: Sha256) -> Result<(), String> {
        let report = self.parts.checker.check(file).await.map_err(|refusal| refusal.to_string())?;
        match report.sha256 == pinned {
            true => Ok(()),
            false => Err("it is not in the form in which files are registered here; register it through this service".to_owned()),
        }
    }
}
