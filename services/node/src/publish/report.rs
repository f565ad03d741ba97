//! What became of a file's lines.

use super::{
    fault::{Fault, Reason},
    lines::Position,
};
use crate::output::{Output, Tone, clean, count, plural};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

/// Most faults that a report lists; all are counted.
pub const LISTED_FAULTS: usize = 1_000;

/// Counts of settled events.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// In the log.
    pub accepted: u64,
    /// Known before.
    pub duplicates: u64,
    /// Not taken, by reason.
    pub rejected: BTreeMap<Reason, u64>,
}

impl Tally {
    /// Events and lines that were not taken.
    pub fn rejections(&self) -> u64 {
        self.rejected.values().sum()
    }
}

/// How publishing ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// Every line is settled.
    Complete,
    /// `--strict`, and something was rejected.
    Strict,
    /// It could not go on, and why.
    Failed(String),
}

/// Of one run of `publish`.
#[derive(Debug, Clone)]
pub struct Report {
    /// What was read.
    pub file: String,
    /// Of the whole file, earlier runs that this one went on from included.
    pub tally: Tally,
    /// The first faults of this run, by line.
    pub faults: Vec<(u64, Fault)>,
    /// Where this run went on.
    pub resumed_from: Option<Position>,
    /// Up to where every line is settled.
    pub position: Position,
    /// Whether running it again goes on from there.
    pub resumable: bool,
    /// Of this run.
    pub elapsed: Duration,
    /// Events settled by this run.
    pub settled: u64,
    /// How it ended.
    pub end: End,
}

impl Report {
    /// For programs.
    pub fn to_json(&self) -> Value {
        let faults = self.faults.iter().map(
            |(line, fault)| json!({"line": line, "reason": fault.reason.as_str(), "field": fault.field, "detail": fault.detail}),
        );
        let stopped = match &self.end {
            End::Complete => Value::Null,
            End::Strict => json!("something was rejected, and --strict was given"),
            End::Failed(why) => json!(why),
        };
        json!({
            "file": self.file,
            "complete": self.end == End::Complete,
            "stopped": stopped,
            "lines": self.position.lines,
            "bytes": self.position.bytes,
            "resumed_at_line": self.resumed_from.map(|position| position.lines + 1),
            "accepted": self.tally.accepted,
            "duplicates": self.tally.duplicates,
            "rejected": self.tally.rejected,
            "rejections": faults.collect::<Vec<_>>(),
            "seconds": self.elapsed.as_secs_f64(),
            "events_per_second": self.rate(),
        })
    }

    /// For people.
    pub fn to_text(&self, output: &Output) -> String {
        let mut text = String::new();
        let resumed = self.resumed_from.map(|from| format!(", going on from line {}", count(from.lines + 1))).unwrap_or_default();
        let _ = writeln!(text, "{}: {}{resumed}", clean(&self.file), plural(self.position.lines, "line", "lines"));
        let _ = writeln!(text, "  accepted    {:>12}", count(self.tally.accepted));
        let _ = writeln!(text, "  duplicates  {:>12}", count(self.tally.duplicates));
        let tone = if self.tally.rejections() == 0 { Tone::Quiet } else { Tone::Bad };
        let reasons = self.tally.rejected.iter().map(|(reason, number)| format!("{} {}", reason.as_str(), count(*number)));
        let reasons = reasons.collect::<Vec<_>>().join(" · ");
        let rejected = format!("  rejected    {:>12}  {reasons}", count(self.tally.rejections()));
        let _ = writeln!(text, "{}", output.paint(tone, rejected.trim_end()));
        let _ = writeln!(text, "  took        {:>10.1} s  {} events/s", self.elapsed.as_secs_f64(), count(self.rate()));
        match &self.end {
            End::Complete => {}
            End::Strict => {
                let _ = writeln!(text, "{}", output.paint(Tone::Bad, "stopped at the first rejection (--strict)"));
            }
            End::Failed(why) => {
                let _ = writeln!(text, "{}", output.paint(Tone::Bad, &format!("stopped: {}", crate::output::clean_lines(why))));
            }
        }
        if self.end != End::Complete && self.resumable {
            let _ = writeln!(text, "run it again to go on from line {}", count(self.position.lines + 1));
        }
        text
    }

    fn rate(&self) -> u64 {
        (self.settled as f64 / self.elapsed.as_secs_f64().max(1e-3)) as u64
    }
}
