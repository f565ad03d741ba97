//! What operators and drills do, as the stream tells it: runs, plans that wait, drills, and what a process has to do.

use crate::{
    model::{
        drill::DrillRun,
        endpoint::Endpoint,
        remedy::{Plan, Run},
    },
    moment::Moment,
    text::{clock, grouped},
};
use jiff::Timestamp;
use loadline_proto::health::{ArmedPlans, DrillRun as WireDrill, RemedyRun, ServiceLoad};

/// What a frame says beside modes.
pub(super) struct Rest {
    pub runs: Vec<RemedyRun>,
    pub armed: Option<ArmedPlans>,
    pub drills: Vec<WireDrill>,
    pub load: Option<ServiceLoad>,
}

/// A subject and what happened to it.
pub(super) type Happened = Vec<(String, String)>;

impl Rest {
    /// All there is: a snapshot.
    pub fn replace(self, endpoint: &mut Endpoint, sent: Timestamp, now: Moment) {
        endpoint.take_runs(self.runs, sent, now);
        endpoint.take_armed(self.armed.unwrap_or_default(), sent, now);
        (endpoint.drills.runs, endpoint.drills.controls) = Default::default();
        for run in self.drills {
            endpoint.drills.take_run(DrillRun::from_wire(run, sent, now));
        }
        endpoint.load = None;
        self.load.into_iter().for_each(|load| endpoint.take_load(load));
    }

    /// What has changed.
    pub fn add(self, endpoint: &mut Endpoint, sent: Timestamp, now: Moment, happened: &mut Happened) {
        for run in self.runs {
            let run = Run::from_wire(run, sent, now);
            let after = run.clone();
            let before = endpoint.take_run(run);
            happened.extend(ran(before.as_ref(), &after, now));
        }
        if let Some(armed) = self.armed {
            let known: Vec<String> = endpoint.armed.iter().map(|plan| plan.id.clone()).collect();
            endpoint.take_armed(armed, sent, now);
            let new = endpoint.armed.iter().filter(|plan| !known.contains(&plan.id));
            happened.extend(new.map(|plan| (plan.mode.clone(), format!("{} planned {}", who(&plan.by), words(plan)))));
        }
        for run in self.drills {
            let run = DrillRun::from_wire(run, sent, now);
            let before = endpoint.drills.take_run(run.clone()).filter(|known| known.id == run.id);
            happened.extend(drilled(before.as_ref(), &run));
        }
        self.load.into_iter().for_each(|load| endpoint.take_load(load));
    }
}

fn who(name: &str) -> &str {
    if name.is_empty() { "somebody" } else { name }
}

fn words(plan: &Plan) -> String {
    let count = plan.changes.first().map(|change| format!(" ({})", grouped(change.count))).unwrap_or_default();
    format!("{} {}{count}", plan.key, plan.title)
}

/// What is worth a line about a run.
fn ran(before: Option<&Run>, after: &Run, now: Moment) -> Option<(String, String)> {
    if before.is_some_and(|before| before.outcome == after.outcome) {
        return None;
    }
    let text = match (before, after.is_under_way()) {
        (None, true) => format!("{} started {}", who(&after.by), words(&after.plan)),
        (_, true) => format!("{} {}", after.plan.key, after.outcome),
        (_, false) => {
            let took = after.lasted(now).map(|took| format!(" after {}", clock(took))).unwrap_or_default();
            let note = if after.note.is_empty() { String::new() } else { format!(": {}", after.note) };
            format!("{} {}{took}{note}", after.plan.key, after.outcome)
        }
    };
    Some((after.plan.mode.clone(), text))
}

/// What is worth a line about a drill.
fn drilled(before: Option<&DrillRun>, after: &DrillRun) -> Option<(String, String)> {
    let what = if after.control { "control" } else { "drill" };
    let text = match (before, after.is_under_way()) {
        (None, true) => format!("{} started its {what}", who(&after.by)),
        (Some(before), false) if !before.is_under_way() => return None,
        (_, false) => {
            let detail = if after.detail.is_empty() { String::new() } else { format!(": {}", after.detail) };
            format!("{what} {}{detail}", after.found())
        }
        (Some(_), true) => return None,
    };
    Some((after.mode.clone(), text))
}
