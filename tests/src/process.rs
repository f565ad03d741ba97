//! Child processes that write to a file, take signals by pid, and never outlive their owner.

use anyhow::{Context, Result, bail};
use nix::{
    sys::signal::{self, Signal},
    unistd::Pid,
};
use std::{
    fs::{self, File, OpenOptions},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

/// A child process. Dropping it kills and reaps it.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    output: PathBuf,
}

impl Process {
    /// Starts `command` with nothing to read and its output, both kinds, appended to `output`.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn spawn(name: &str, mut command: Command, output: &Path) -> Result<Self> {
        let file: File =
            OpenOptions::new().create(true).append(true).open(output).with_context(|| format!("{}", output.display()))?;
        let child = command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file).spawn();
        let child = child.with_context(|| format!("cannot start {name}: {command:?}"))?;
        Ok(Self { name: name.to_owned(), child, output: output.to_owned() })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Everything it has written, over all its lives in the same file.
    pub fn output(&self) -> String {
        fs::read(&self.output).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// When the process has ended.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        signal_pid(self.pid(), signal).with_context(|| format!("{signal} to {}", self.name))
    }

    /// Its exit status, if it has ended.
    ///
    /// # Errors
    /// When the system cannot tell.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Fails, with what it wrote, when it has ended.
    ///
    /// # Errors
    /// As said.
    pub fn ensure_alive(&mut self) -> Result<()> {
        if let Some(status) = self.ended()? {
            bail!("{} ended with {status}; it wrote:\n{}", self.name, last_lines(&self.output(), 40));
        }
        Ok(())
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it has not ended after `patience`; it is left running.
    pub async fn wait(&mut self, patience: Duration) -> Result<ExitStatus> {
        let started = Instant::now();
        loop {
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            if started.elapsed() >= patience {
                bail!("{} did not end within {patience:?}; it wrote:\n{}", self.name, last_lines(&self.output(), 40));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// SIGKILL, and reaps it. Does nothing when it has ended.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Its living children.
    pub fn children(&self) -> Vec<u32> {
        children_of(self.pid())
    }

    /// Its living children, theirs, and so on; parents first.
    pub fn descendants(&self) -> Vec<u32> {
        let mut found = self.children();
        let mut at = 0;
        while let Some(pid) = found.get(at) {
            found.extend(children_of(*pid));
            at += 1;
        }
        found
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Sends a signal to any process of ours.
///
/// # Errors
/// When it has ended or is not ours.
pub fn signal_pid(pid: u32, signal: Signal) -> Result<()> {
    signal::kill(Pid::from_raw(i32::try_from(pid)?), signal).with_context(|| format!("process {pid}"))
}

/// Waits until none of these exists any more; `false` after `patience`.
pub fn gone(pids: &[u32], patience: Duration) -> bool {
    holds(patience, || pids.iter().all(|pid| state_of(*pid).is_none_or(|state| state == 'Z')))
}

/// Waits until a process stands still after SIGSTOP; `false` after `patience`, and when it has ended.
pub fn stopped(pid: u32, patience: Duration) -> bool {
    let over = |state: Option<char>| matches!(state, Some('T' | 'Z') | None);
    holds(patience, || over(state_of(pid))) && state_of(pid) == Some('T')
}

fn holds(patience: Duration, it: impl Fn() -> bool) -> bool {
    let started = Instant::now();
    while !it() {
        if started.elapsed() >= patience {
            return false;
        }
        thread::sleep(Duration::from_millis(1));
    }
    true
}

/// State letter of a process (`R`, `S`, `T`, `Z` …); `None` when there is none.
pub fn state_of(pid: u32) -> Option<char> {
    stat(pid).map(|(state, _)| state)
}

fn children_of(parent: u32) -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| stat(*pid).is_some_and(|(_, of)| of == parent)).collect()
}

/// State and parent. The command's name, in parentheses, may itself hold spaces and parentheses.
fn stat(pid: u32) -> Option<(char, u32)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

/// The end of a text, for messages.
pub fn last_lines(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, folder: &Path) -> Process {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Process::spawn("sh", command, &folder.join("output")).unwrap()
    }

    #[tokio::test]
    async fn output_is_kept_and_an_early_end_is_told_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let mut process = shell("echo out; echo err >&2; exit 3", folder.path());
        assert_eq!(process.wait(Duration::from_secs(10)).await.unwrap().code(), Some(3));
        let told = process.ensure_alive().unwrap_err().to_string();
        assert!(told.contains("out\nerr"), "{told}");
    }

    #[tokio::test]
    async fn a_process_is_stopped_continued_and_never_outlives_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let process = shell("while :; do sleep 0.01; done", folder.path());
        let pid = process.pid();
        process.signal(Signal::SIGSTOP).unwrap();
        while state_of(pid) != Some('T') {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        process.signal(Signal::SIGCONT).unwrap();
        while state_of(pid) == Some('T') {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        drop(process);
        assert_eq!(state_of(pid), None);
    }

    #[tokio::test]
    async fn children_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let process = shell("sleep 60 & wait", folder.path());
        while process.children().is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let children = process.children();
        children.iter().for_each(|pid| signal_pid(*pid, Signal::SIGKILL).unwrap());
        assert!(gone(&children, Duration::from_secs(10)));
    }
}
