//! Drills for people: what there is, how one goes, how all ended.

use super::{Ended, Stage};
use crate::{
    output::{Column, Output, Tone, clean},
    when::minute,
};
use loadline_proto::health::{
    DrillRun,
    drill_run::{Phase, Verdict},
};
use std::{fmt::Write as _, io::IsTerminal as _};

/// What each service can prove, and what it has proven.
pub fn listed(output: &Output, stages: &[Stage]) -> String {
    if stages.iter().all(|stage| stage.drills.is_empty()) {
        return "drills are off in these services".to_owned();
    }
    let columns = ["MODE", "SERVICE", "KEY", "PROVEN", "BUILD", "FAULT"].map(Column::Left);
    let rows = stages.iter().flat_map(|stage| {
        stage.drills.iter().map(|drill| {
            let proven = drill.last.as_ref().map_or("never".to_owned(), |run| {
                let finished = minute(run.finished_at.as_ref());
                if run.verdict() == Verdict::Passed { finished } else { format!("{} {finished}", word(run.verdict())) }
            });
            let build = drill.last.as_ref().map_or(String::new(), |run| match run.build == stage.build {
                true => run.build.clone(),
                false => format!("{}, old", run.build),
            });
            let (mode, key, fault) = (drill.failure_mode.clone(), drill.remedy.clone(), drill.fault.clone());
            vec![mode, stage.service.to_owned(), key, proven, build, fault]
        })
    });
    output.table(&columns, rows)
}

/// A line for somebody who watches.
pub fn progress(output: &Output, service: &str, run: &DrillRun) {
    if output.json || !std::io::stderr().is_terminal() {
        return;
    }
    let phase = run.phase().as_str_name().trim_start_matches("PHASE_").to_lowercase();
    let phase = if run.phase() == Phase::Done { word(run.verdict()) } else { phase };
    eprintln!("{} {service:<6} {phase:<8} {}", run.failure_mode, clean(&run.detail));
}

/// How all of them ended.
pub fn verdicts(output: &Output, ended: &[Ended]) -> String {
    let [left, right] = [Column::Left as fn(&'static str) -> Column, Column::Right];
    let columns = [
        left("MODE"),
        left("SERVICE"),
        left("VERDICT"),
        right("SEEN"),
        right("CONTAINED"),
        right("REPAIRED"),
        right("OVER"),
        left("WHY"),
    ];
    let row = |ended: &Ended| {
        let (mode, service) = (ended.mode.clone(), ended.service.to_owned());
        match &ended.run {
            Ok(run) => {
                let times = [run.detected_after, run.contained_after, run.remedied_after, run.verified_after].map(seconds);
                let why = match run.verdict() {
                    Verdict::Lossy | Verdict::Duplicated => {
                        format!("{} lost, {} twice: {}", run.lost, run.duplicated, run.detail)
                    }
                    _ => run.detail.clone(),
                };
                [vec![mode, service, word(run.verdict())], times.to_vec(), vec![why]].concat()
            }
            Err(error) => {
                let none = vec![String::new(); 4];
                [vec![mode, service, "not begun".to_owned()], none, vec![format!("{error:#}").replace('\n', " ")]].concat()
            }
        }
    };
    let mut text = output.table(&columns, ended.iter().map(row));
    let passed = ended.iter().filter(|ended| ended.run.as_ref().is_ok_and(|run| run.verdict() == Verdict::Passed)).count();
    let tone = if passed == ended.len() { Tone::Good } else { Tone::Bad };
    let _ = write!(text, "{}", output.paint(tone, &format!("{passed} of {} passed", ended.len())));
    text
}

/// `VERDICT_NOT_RUN` as `not-run`.
fn word(verdict: Verdict) -> String {
    verdict.as_str_name().trim_start_matches("VERDICT_").to_lowercase().replace('_', "-")
}

fn seconds(time: Option<prost_types::Duration>) -> String {
    let time = time.and_then(|time| std::time::Duration::try_from(time).ok());
    time.map_or("–".to_owned(), |time| format!("{:.1} s", time.as_secs_f64()))
}
