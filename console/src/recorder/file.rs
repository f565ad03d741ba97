//! A recording as a file: lines of JSON, the first one saying what it is.

use super::{
    Record, Recorder,
    codec::{self, Kind},
};
use crate::{model::world::Target, moment::Moment};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::{
    io::{self, BufRead, Write},
    time::Duration,
};

/// What this console writes, and the newest it reads. Of 2 is the mouse.
const VERSION: u32 = 2;

/// Why a file is no recording.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// Not read or not written.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A line of something else.
    #[error("line {line} is not of a recording: {why}")]
    Line {
        /// From 1.
        line: usize,
        /// What is wrong with it.
        why: String,
    },
    /// Of a newer console.
    #[error("the recording has version {0}; this console reads up to {VERSION}")]
    Version(u32),
}

#[derive(Debug, Serialize, Deserialize)]
struct Head {
    loadline_recording: u32,
    wall_ms: i64,
    /// `(address, expected service)`.
    targets: Vec<(String, String)>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Line {
    ms: u64,
    wall_ms: i64,
    kind: String,
    #[serde(default, skip_serializing_if = "is_zero")]
    endpoint: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    number: u64,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    data: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Recorder {
    /// Writes what there is.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, mut to: impl Write) -> Result<(), RecordingError> {
        let targets = self.targets.iter().map(|target| (target.address.clone(), target.service.clone())).collect();
        let head = Head { loadline_recording: VERSION, wall_ms: self.begun.wall.as_millisecond(), targets };
        writeln!(to, "{}", json(&head)?)?;
        for record in self.start.records().iter().chain(&self.ring) {
            let line = Line {
                ms: u64::try_from(record.at.elapsed.as_millis()).unwrap_or(u64::MAX),
                wall_ms: record.at.wall.as_millisecond(),
                kind: record.kind.name().to_owned(),
                endpoint: record.endpoint as u64,
                number: record.number,
                data: STANDARD.encode(&record.data),
            };
            writeln!(to, "{}", json(&line)?)?;
        }
        to.flush()?;
        Ok(())
    }

    /// Reads what [`Recorder::write`] wrote. Nothing of it falls out of the ring.
    ///
    /// # Errors
    /// When it cannot be read, or is something else.
    pub fn read(from: impl BufRead) -> Result<Self, RecordingError> {
        let mut lines = from.lines().enumerate();
        let (_, head) = lines.next().ok_or_else(|| bad(1, "the file is empty"))?;
        let head: Head = serde_json::from_str(&head?).map_err(|why| bad(1, &why.to_string()))?;
        if head.loadline_recording > VERSION {
            return Err(RecordingError::Version(head.loadline_recording));
        }
        let targets = head.targets.into_iter().map(|(address, service)| Target { address, service }).collect();
        let begun = Moment::start(wall(1, head.wall_ms)?);
        let mut recorder = Self::new(targets, begun).with_limit(usize::MAX);
        for (index, line) in lines {
            let record = record(index + 1, &line?)?;
            if record.at.elapsed < recorder.last() {
                return Err(bad(index + 1, "it goes back in time"));
            }
            recorder.ring.push_back(record);
        }
        Ok(recorder)
    }
}

fn record(number: usize, line: &str) -> Result<Record, RecordingError> {
    let line: Line = serde_json::from_str(line).map_err(|why| bad(number, &why.to_string()))?;
    let kind = Kind::named(&line.kind).ok_or_else(|| bad(number, &format!("kind `{}` is not known", line.kind)))?;
    let data = STANDARD.decode(&line.data).map_err(|why| bad(number, &why.to_string()))?;
    let at = Moment { elapsed: Duration::from_millis(line.ms), wall: wall(number, line.wall_ms)? };
    let endpoint = usize::try_from(line.endpoint).map_err(|why| bad(number, &why.to_string()))?;
    let record = Record { at, kind, endpoint, number: line.number, data: data.into() };
    match codec::decode(&record) {
        Some(_) => Ok(record),
        None => Err(bad(number, &format!("its data is no {}", line.kind))),
    }
}

fn wall(line: usize, millis: i64) -> Result<Timestamp, RecordingError> {
    Timestamp::from_millisecond(millis).map_err(|why| bad(line, &why.to_string()))
}

fn bad(line: usize, why: &str) -> RecordingError {
    RecordingError::Line { line, why: why.to_owned() }
}

fn json(value: &impl Serialize) -> Result<String, RecordingError> {
    serde_json::to_string(value).map_err(|why| RecordingError::Io(why.into()))
}
