//! The check in a process of its own.
//!
//! The parent writes a line of JSON, which says the limits and the sizes of what follows, then the model, then the golden vectors.
//! The child sets the limits before it reads on, and answers with a line of JSON. Whatever else it does is a refusal.

use super::{Golden, Limits, Verified, apart};
use crate::{
    Sha256, onnx,
    predictor::{LoadError, Predictor},
};
use serde::{Deserialize, Serialize};
use std::{
    ffi::OsStr,
    io::{BufRead, BufReader, Read, Write},
    path::Path,
    process::{Child, ChildStdin, Command, ExitCode, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

/// What a child that found nothing wrong says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Of the normalised model: what [`onnx::check`] makes of the same file has the same. A file that it made is normalised.
    pub sha256: Sha256,
    /// Its size in bytes.
    pub bytes: usize,
    /// Rows of golden inputs asked; zero if there are none.
    pub golden_rows: usize,
    /// Values compared.
    pub golden_values: usize,
    /// The largest difference of two floats among them.
    pub largest_difference: f64,
}

/// Why a model is refused, or could not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The file cannot be served, or does not answer as expected, in words.
    #[error("{0}")]
    Model(String),
    /// It used more than it may, or broke the process that looked at it.
    #[error("the model is refused: the process that checked it {0}")]
    Died(String),
    /// It took too long.
    #[error("the model is refused: its check took longer than {} s", .0.as_secs())]
    TookTooLong(Duration),
    /// The process could not be started. Another try may help.
    #[error("the process that checks models cannot be started: {0}")]
    NotStarted(#[source] std::io::Error),
}

#[derive(Serialize, Deserialize)]
struct Order {
    limits: Limits,
    model: usize,
    golden: usize,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    Fine(Report),
    Refused(String),
}

/// Bytes of an answer that are read, and of what the child says before it dies.
const ANSWER_LIMIT: u64 = 64 << 10;

/// Checks a file, loads it, compiles it for every batch size, asks its golden vectors and whether it keeps rows apart, in a process of
/// its own: `program` with
/// `args`, which must end up in [`child_main`]. `golden` comes before what the model's metadata holds. Blocks until it is done, at
/// most [`Limits::wall`].
///
/// # Errors
/// The model is refused. This process is not harmed, whatever the file is.
pub fn check_in_child<S: AsRef<OsStr>>(
    program: &Path,
    args: &[S],
    model: &[u8],
    golden: Option<&Golden>,
    limits: Limits,
) -> Result<Report, Refusal> {
    if model.len() > onnx::MAX_BYTES {
        let error = onnx::CheckError::TooMuch { what: "bytes", count: model.len(), limit: onnx::MAX_BYTES };
        return Err(Refusal::Model(error.to_string()));
    }
    let deadline = Instant::now() + limits.wall;
    let mut command = Command::new(program);
    // A hostile file has nothing to find in an empty environment.
    command.args(args).env_clear().stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running = Running(command.spawn().map_err(Refusal::NotStarted)?);
    let golden = golden.map(Golden::to_json).unwrap_or_default();
    let order = Order { limits, model: model.len(), golden: golden.len() };
    let said = thread::scope(|scope| {
        let (stdin, stdout, stderr) = (running.0.stdin.take(), running.0.stdout.take(), running.0.stderr.take());
        // What a dead child does not read is no error: how it ended says more.
        scope.spawn(move || stdin.map(|stdin| send(stdin, &order, model, golden.as_bytes())));
        let answer = scope.spawn(move || stdout.map(read_some).unwrap_or_default());
        let complaint = scope.spawn(move || stderr.map(read_some).unwrap_or_default());
        // Its end closes the pipes, and so ends the threads.
        let ended = running.wait_until(deadline);
        (ended, answer.join().unwrap_or_default(), complaint.join().unwrap_or_default())
    });
    judge(said, limits)
}

/// A child that does not outlive its check.
struct Running(Child);

impl Running {
    /// How it ended, or `None` if it had to be killed.
    fn wait_until(&mut self, deadline: Instant) -> Option<std::io::Result<ExitStatus>> {
        let mut pause = Duration::from_millis(1);
        loop {
            match self.0.try_wait() {
                Ok(Some(status)) => return Some(Ok(status)),
                Err(error) => return Some(Err(error)),
                Ok(None) if Instant::now() >= deadline => break,
                Ok(None) => thread::sleep(pause),
            }
            pause = (pause * 2).min(Duration::from_millis(20));
        }
        self.end();
        None
    }

    fn end(&mut self) {
        // It may have ended in between, and then both calls are nothing.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

fn send(mut to: ChildStdin, order: &Order, model: &[u8], golden: &[u8]) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(order)?;
    line.push(b'\n');
    to.write_all(&line)?;
    to.write_all(model)?;
    to.write_all(golden)
}

/// The beginning of what comes; the rest is read and dropped, so that nobody waits for it.
fn read_some(mut from: impl Read) -> Vec<u8> {
    let mut beginning = Vec::new();
    // What cannot be read was not said.
    let _ = from.by_ref().take(ANSWER_LIMIT).read_to_end(&mut beginning);
    let _ = std::io::copy(&mut from, &mut std::io::sink());
    beginning
}

type Said = (Option<std::io::Result<ExitStatus>>, Vec<u8>, Vec<u8>);

fn judge((ended, answer, complaint): Said, limits: Limits) -> Result<Report, Refusal> {
    let status = match ended {
        None => return Err(Refusal::TookTooLong(limits.wall)),
        Some(Err(error)) => return Err(Refusal::Died(format!("cannot be watched: {error}"))),
        Some(Ok(status)) => status,
    };
    match serde_json::from_slice(&answer) {
        Ok(Answer::Fine(report)) if status.success() => Ok(report),
        Ok(Answer::Refused(why)) if status.success() => Err(Refusal::Model(why)),
        _ => Err(Refusal::Died(how(status, &complaint, limits))),
    }
}

/// How a child ended without an answer, in words.
fn how(status: ExitStatus, complaint: &[u8], limits: Limits) -> String {
    use std::os::unix::process::ExitStatusExt;
    let complaint = String::from_utf8_lossy(complaint);
    let complaint: String = complaint.trim().chars().take(300).collect();
    let complaint = if complaint.is_empty() { String::new() } else { format!(": {complaint}") };
    match (status.signal(), status.code()) {
        (Some(24), _) => format!("used more than {} s of processor time", limits.cpu_seconds),
        (Some(9), _) => format!("was killed, or used more than {} s of processor time", limits.cpu_seconds),
        (Some(signal), _) => format!("ended by signal {signal}; it may use {} MiB{complaint}", limits.memory_bytes >> 20),
        (None, code) => format!("ended with code {} and no answer{complaint}", code.unwrap_or(-1)),
    }
}

/// What the child does: reads an order and a model from its input, checks it under limits, and answers on its output.
#[must_use]
pub fn child_main() -> ExitCode {
    let answer = match serve(&mut BufReader::new(std::io::stdin())) {
        Ok(report) => Answer::Fine(report),
        Err(why) => Answer::Refused(why),
    };
    let said = serde_json::to_writer(std::io::stdout(), &answer).is_ok() && std::io::stdout().flush().is_ok();
    if said { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn serve(from: &mut impl BufRead) -> Result<Report, String> {
    let mut line = Vec::new();
    from.by_ref().take(4096).read_until(b'\n', &mut line).map_err(|error| error.to_string())?;
    let order: Order = serde_json::from_slice(&line).map_err(|error| format!("this is called with an order: {error}"))?;
    order.limits.keep().map_err(|error| format!("the limits cannot be set: {error}"))?;
    let model = read_exactly(from, order.model)?;
    let golden = read_exactly(from, order.golden)?;
    examine(&model, &golden)
}

fn read_exactly(from: &mut impl BufRead, length: usize) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    from.by_ref().take(length as u64).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() == length { Ok(bytes) } else { Err(format!("{} bytes came of {length}", bytes.len())) }
}

fn examine(model: &[u8], golden: &[u8]) -> Result<Report, String> {
    let (predictor, bytes) = loaded(model)?;
    let from_model = || Golden::from_metadata(predictor.metadata());
    let golden = if golden.is_empty() { from_model() } else { Golden::from_json(golden).map(Some) };
    let golden = golden.map_err(|error| error.to_string())?;
    predictor.warm().map_err(|error| error.to_string())?;
    let nothing = Verified { rows: 0, values: 0, largest_difference: 0.0 };
    let verified = golden.as_ref().map_or(Ok(nothing), |golden| golden.check(&predictor)).map_err(|error| error.to_string())?;
    apart::check(&predictor, golden.as_ref()).map_err(|error| error.to_string())?;
    Ok(Report {
        sha256: Sha256::of(&bytes),
        bytes: bytes.len(),
        golden_rows: verified.rows,
        golden_values: verified.values,
        largest_difference: verified.largest_difference,
    })
}

/// A file as it was exported, or as it was registered, which is taken as it would be by whoever serves it.
fn loaded(model: &[u8]) -> Result<(Predictor, Vec<u8>), String> {
    match Predictor::load(model) {
        Err(LoadError::NotNormalised | LoadError::Unreadable(_)) => {
            let bytes = onnx::check(model).map_err(|error| error.to_string())?.bytes;
            let predictor = Predictor::load(&bytes).map_err(|error| error.to_string())?;
            Ok((predictor, bytes))
        }
        loaded => loaded.map(|predictor| (predictor, model.to_vec())).map_err(|error| error.to_string()),
    }
}
