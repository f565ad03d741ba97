//! What is proven of a mode, in a column or in a sentence.

use super::theme::Look;
use crate::{
    model::drill::{DrillRun, Proof},
    moment::Moment,
    text::{age, clock},
};
use ratatui::style::Style;
use std::time::Duration;

/// In a column: how old, and what it is worth.
pub fn short(proof: Proof<'_>, look: Look, now: Moment) -> (String, Style) {
    let old = |run: &DrillRun| age(run.age(now));
    match proof {
        Proof::Running(run) if run.control => ("control".to_owned(), look.label()),
        Proof::Running(_) => ("drilling".to_owned(), look.label()),
        Proof::Passed(run) => (format!("{} ok", old(run)), look.good()),
        Proof::Test(run) => (format!("{} test", old(run)), look.label()),
        Proof::Old(run) => (format!("{} old", old(run)), look.blind()),
        Proof::Failed(run) => (format!("{} FAIL", old(run)), look.bad()),
        Proof::Void(run) => (format!("{} void", old(run)), look.dim()),
        Proof::Never => ("never".to_owned(), look.dim()),
    }
}

/// In a sentence.
pub fn long(proof: Proof<'_>, look: Look, now: Moment) -> (String, Style) {
    let (_, style) = short(proof, look, now);
    let ago = |run: &DrillRun| format!("{} ago", age(run.age(now)));
    let words = match proof {
        Proof::Never => "never drilled".to_owned(),
        Proof::Running(run) => format!("{} under way for {}: {}", kind(run), clock(run.age(now)), run.phase),
        Proof::Passed(run) => format!("drill passed {}, in this build: {}", ago(run), times(run)),
        Proof::Test(run) => {
            let longest = run.times_at_most.map(age).unwrap_or_default();
            format!("drill passed {}, in this build, but with times cut to {longest} for tests: {}", ago(run), times(run))
        }
        Proof::Old(run) => format!("drill passed {}, but in build {}: {}", ago(run), run.build, times(run)),
        Proof::Failed(run) => format!("drill {} {}: {} {}", run.found(), ago(run), times(run), run.detail),
        Proof::Void(run) => format!("drill {} {}: {}", run.found(), ago(run), run.detail),
    };
    (words, style)
}

/// Whether it had a fault.
pub fn kind(run: &DrillRun) -> &'static str {
    if run.control { "control" } else { "drill" }
}

/// How long each step took, as far as it came, and what was lost.
pub fn times(run: &DrillRun) -> String {
    let words = ["seen", "held", "fixed", "verified"];
    let steps = words.into_iter().zip(run.times).filter_map(|(word, time)| Some(format!("{word} {}", seconds(time?))));
    let counted = [("lost", run.lost), ("twice", run.duplicated)].map(|(word, count)| format!("{word} {count}"));
    steps.chain(counted).collect::<Vec<_>>().join(" ")
}

/// With a decimal while that says something.
pub fn seconds(time: Duration) -> String {
    if time.as_secs() < 100 { format!("{:.1}s", time.as_secs_f64()) } else { clock(time) }
}
