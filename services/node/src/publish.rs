//! `loadline publish FILE`: events of a file into the log, resumable, with an account of every line.
//!
//! ```text
//! file ─lines─▶ fields or table ─▶ batch ─(thread)─▶ sender ═PublishStream═▶ ingest
//!                                                      └─settle─▶ tally, checkpoint, progress
//! ```
//!
//! Exit codes: 0 all accepted or duplicate, 1 some rejected, 2 could not go on.

mod batch;
mod checkpoint;
mod fault;
mod fields;
pub mod lines;
pub mod progress;
mod report;
mod sender;
mod table;
#[cfg(test)]
mod tests;

use crate::{
    connect::{IngestAddress, Peer},
    output::{BAD_NEWS, NOT_DONE, Output, clean},
};
use anyhow::Context as _;
use batch::{Batch, Cut, Format, Source};
use checkpoint::Checkpoint;
use fault::Fault;
use lines::Position;
use loadline_proto::ingest::PublishResponse;
use progress::Progress;
use report::{End, LISTED_FAULTS, Report, Tally};
use sender::{Pace, SendError, Sender, Settle};
use std::{
    io,
    ops::ControlFlow,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

/// Bad lines printed as they are met; all are counted.
const PRINTED_FAULTS: usize = 100;
/// A checkpoint that is older than this costs a few duplicates after a crash, nothing else.
const CHECKPOINT_EVERY: Duration = Duration::from_millis(500);

/// What a file looks like, for `--help`.
const FORMATS: &str = r#"NDJSON, one object a line, names as in loadline.event.v1 (snake or camel case):
  {"billing": {"event_id": "…", "account": "acme", "occurred_at": "2026-11-21T10:00:00Z", "channel": "sms",
               "country": "DE", "currency": "EUR", "messages": 1, "segments": 2, "amount": "0.0075"}}
  {"receipt": {"message_id": "…", "account": "acme", "submitted_at": "2026-11-21T10:00:00Z",
               "reported_at": "2026-11-21T10:00:04Z", "channel": "sms", "country": "DE", "status": "delivered"}}

CSV, a header with the same names in any order, and a column type that is billing or receipt.
The price is amount, a decimal text, or amount_micros, a whole number of millionths.

Exit codes: 0 all accepted or duplicate, 1 some rejected, 2 could not go on."#;

/// Publish billing events and delivery receipts from a file
///
/// Every line is accepted, a duplicate, or rejected with line number, field and reason; a bad line does not stop the others.
/// An interrupted run goes on where it stopped when it is started again.
#[derive(Debug, Clone, clap::Args)]
#[command(after_long_help = FORMATS)]
pub struct PublishArgs {
    /// File to read; - for standard input
    pub file: PathBuf,
    /// How events are written down [default: by the file's extension]
    #[arg(long, value_enum)]
    pub format: Option<Format>,
    /// Stop at the first line that is rejected
    #[arg(long)]
    pub strict: bool,
    /// Start at the beginning also when an earlier run stopped half-way
    #[arg(long)]
    pub no_resume: bool,
    /// Leave out of the log what was counted before; without it duplicates are found when they are counted
    #[arg(long, value_name = "BOOL", default_value_t = true, default_missing_value = "true", num_args = 0..=1, require_equals = true, action = clap::ArgAction::Set)]
    pub skip_duplicates: bool,
    /// Events sent at once
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub batch: u32,
    /// Batches that may be unanswered at a time
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub in_flight: u32,
    /// How long to go on trying, in seconds, while ingest is unavailable
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    pub patience: u64,
    /// Print the report as JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub address: IngestAddress,
}

/// Runs the command.
///
/// # Errors
/// When it cannot start: no such file, a wrong header, no address.
pub async fn run(args: PublishArgs) -> anyhow::Result<ExitCode> {
    let output = Output::stdout(args.json);
    let report = publish(&args, true).await?;
    if args.json {
        output.json(&report.to_json())?;
    } else {
        output.print(&report.to_text(&output))?;
    }
    Ok(match report.end {
        End::Failed(_) => ExitCode::from(NOT_DONE),
        _ if report.tally.rejections() > 0 => ExitCode::from(BAD_NEWS),
        _ => ExitCode::SUCCESS,
    })
}

/// Publishes the file; `visible` shows progress and bad lines on standard error.
async fn publish(args: &PublishArgs, visible: bool) -> anyhow::Result<Report> {
    let peer = args.address.connect()?;
    let cut = Cut { events: args.batch as usize, strict: args.strict };
    let piped = args.file == Path::new("-");
    let format = args.format.or_else(|| Format::of(&args.file));
    let found = if piped || args.no_resume { None } else { found(&args.file, visible) };
    let start = found.as_ref().map(|checkpoint| checkpoint.position);
    let (source, total) = if piped {
        (Source::pipe(io::stdin(), format.unwrap_or(Format::Ndjson), cut)?, None)
    } else {
        let format = format.context("the format does not show in the file's name; add --format ndjson or --format csv")?;
        (
            Source::open(&args.file, format, start.unwrap_or_default(), cut)?,
            std::fs::metadata(&args.file).ok().map(|file| file.len()),
        )
    };
    let mut ledger = Ledger {
        file: (!piped).then(|| args.file.clone()),
        strict: args.strict,
        progress: Progress::new(total, start.unwrap_or_default().bytes, visible),
        visible,
        at_position: found.as_ref().map(|checkpoint| checkpoint.tally.clone()).unwrap_or_default(),
        tally: found.map(|checkpoint| checkpoint.tally).unwrap_or_default(),
        position: start.unwrap_or_default(),
        settled: 0,
        rejected_here: 0,
        faults: Vec::new(),
        saved: Instant::now(),
    };
    let started = Instant::now();
    let end = send(args, &peer, source, &mut ledger).await;
    ledger.progress.finish();
    let resumable = ledger.leave(end == End::Complete);
    Ok(Report {
        file: if piped { "standard input".to_owned() } else { args.file.display().to_string() },
        tally: ledger.tally,
        faults: ledger.faults,
        resumed_from: start,
        position: ledger.position,
        resumable,
        elapsed: started.elapsed(),
        settled: ledger.settled,
        end,
    })
}

async fn send(args: &PublishArgs, peer: &Peer, source: Source, ledger: &mut Ledger) -> End {
    let pace = Pace {
        in_flight: args.in_flight as usize,
        skip_duplicates: args.skip_duplicates,
        patience: Duration::from_secs(args.patience),
    };
    let sender = Sender::new(peer, pace, source.batches(), &mut *ledger);
    let sent = tokio::select! {
        sent = sender.run() => sent,
        _ = tokio::signal::ctrl_c() => return End::Failed("interrupted".to_owned()),
    };
    match sent {
        Ok(()) if args.strict && ledger.rejected_here > 0 => End::Strict,
        Ok(()) => End::Complete,
        Err(SendError::Read(error)) => End::Failed(format!("the file cannot be read any further: {error}")),
        Err(SendError::Refused(status)) => End::Failed(peer.explain(&status).to_string()),
        Err(SendError::Answer(why)) => End::Failed(format!("{why}; ingest and this program do not understand each other")),
    }
}

/// The checkpoint of an earlier run. One that does not fit is no reason to stop: duplicates count once.
fn found(file: &Path, visible: bool) -> Option<Checkpoint> {
    Checkpoint::find(file).unwrap_or_else(|why| {
        if visible {
            eprintln!("starting at the beginning: there is a checkpoint of an earlier run, but {}", clean(&why));
        }
        None
    })
}

/// The account of what was settled.
struct Ledger {
    /// Where checkpoints go; a pipe has none.
    file: Option<PathBuf>,
    strict: bool,
    progress: Progress,
    visible: bool,
    tally: Tally,
    position: Position,
    /// The tally of the lines before the position: what a checkpoint holds.
    at_position: Tally,
    settled: u64,
    rejected_here: u64,
    faults: Vec<(u64, Fault)>,
    saved: Instant,
}

impl Ledger {
    fn reject(&mut self, line: u64, fault: Fault) {
        *self.tally.rejected.entry(fault.reason).or_default() += 1;
        self.rejected_here += 1;
        let printed = self.rejected_here as usize;
        if self.visible && printed <= PRINTED_FAULTS {
            self.progress.note(&format!("line {line}: {fault}"));
        } else if self.visible && printed == PRINTED_FAULTS + 1 {
            self.progress.note("further bad lines are counted, not printed");
        }
        if self.faults.len() < LISTED_FAULTS {
            self.faults.push((line, fault));
        }
    }

    /// Writes the checkpoint; whether there is one now.
    fn save(&mut self) -> bool {
        self.saved = Instant::now();
        let Some(file) = &self.file else { return false };
        let saved = Checkpoint::new(file, self.position, self.at_position.clone()).and_then(|checkpoint| checkpoint.save(file));
        if let Err(error) = &saved {
            self.progress.note(&format!("no checkpoint could be written beside the file: {error}"));
            self.file = None;
        }
        saved.is_ok()
    }

    /// At the end: what is complete needs no checkpoint, what is not does. Whether there is one.
    fn leave(&mut self, complete: bool) -> bool {
        if !complete {
            return self.position != Position::default() && self.save();
        }
        if let Some(Err(error)) = self.file.as_deref().map(Checkpoint::remove) {
            self.progress.note(&format!("the checkpoint could not be removed: {error}"));
        }
        false
    }
}

impl Settle for &mut Ledger {
    fn settle(&mut self, mut batch: Batch, answer: PublishResponse) -> ControlFlow<()> {
        let mut faults = batch.take_faults();
        let refused = !answer.rejections.is_empty();
        faults.extend(
            answer.rejections.into_iter().map(|rejection| (batch.lines[rejection.index as usize], Fault::from(rejection))),
        );
        faults.sort_by_key(|(line, _)| *line);
        self.tally.accepted += u64::from(answer.accepted);
        self.tally.duplicates += u64::from(answer.duplicates);
        self.settled += batch.events.len() as u64;
        // A strict run goes on at what it rejected, once that is put right: it is not part of the account yet.
        let (faults, open) = if self.strict { (Vec::new(), faults) } else { (faults, Vec::new()) };
        faults.into_iter().for_each(|(line, fault)| self.reject(line, fault));
        if !(self.strict && refused) {
            (self.position, self.at_position) = (batch.end, self.tally.clone());
        }
        open.into_iter().for_each(|(line, fault)| self.reject(line, fault));
        self.progress.settled(self.position.bytes, self.settled);
        if self.strict && refused {
            return ControlFlow::Break(());
        }
        if self.saved.elapsed() >= CHECKPOINT_EVERY {
            self.save();
        }
        ControlFlow::Continue(())
    }

    fn waiting(&mut self, why: &str, wait: Duration) {
        self.save();
        if self.visible {
            self.progress.note(&format!("ingest is unavailable ({why}); trying again in {:.1} s", wait.as_secs_f64()));
        }
    }
}
