//! Programs run to their end: what they wrote, and how they ended.

use anyhow::{Context as _, Result, ensure};
use std::{
    process::{Command, Stdio},
    time::Duration,
};

/// A program that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// Exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub output: String,
    /// Standard error.
    pub errors: String,
}

impl Finished {
    /// Its output, when it ended with this code.
    ///
    /// # Errors
    /// When it ended otherwise; with what it wrote.
    pub fn with_code(self, code: i32) -> Result<String> {
        ensure!(self.code == Some(code), "ended with {:?}, not {code}: {}{}", self.code, self.output, self.errors);
        Ok(self.output)
    }
}

/// Runs a program with nothing to read. It is killed when it takes longer than `patience`, or nobody waits any more.
///
/// # Errors
/// When it cannot be started, or does not end in time.
pub async fn run(command: Command, patience: Duration) -> Result<Finished> {
    let shown = format!("{command:?}");
    let mut command = tokio::process::Command::from(command);
    let ending = command.stdin(Stdio::null()).kill_on_drop(true).output();
    let ended =
        tokio::time::timeout(patience, ending).await.with_context(|| format!("{shown} did not end within {patience:?}"))?;
    let ended = ended.with_context(|| format!("cannot start {shown}"))?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok(Finished { code: ended.status.code(), output: text(ended.stdout), errors: text(ended.stderr) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[tokio::test]
    async fn output_errors_and_code_are_kept_apart() {
        let finished = run(shell("echo out; echo err >&2; exit 3"), Duration::from_secs(10)).await.unwrap();
        assert_eq!(finished, Finished { code: Some(3), output: "out\n".to_owned(), errors: "err\n".to_owned() });
        assert!(finished.clone().with_code(0).unwrap_err().to_string().contains("err"));
        assert_eq!(finished.with_code(3).unwrap(), "out\n");
    }

    #[tokio::test]
    async fn one_that_does_not_end_is_an_error() {
        let error = run(shell("sleep 60"), Duration::from_millis(100)).await.unwrap_err();
        assert!(error.to_string().contains("did not end"), "{error}");
    }
}
