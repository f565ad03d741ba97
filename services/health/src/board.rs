//! Runs and armed plans as watchers see them: what there is, and what has changed since the last frame.

use crate::attention::Work;
use loadline_proto::health::{ArmedPlans, DrillRun, RemedyPlan, RemedyRun, ServiceLoad, drill_run::Verdict, remedy_run::Outcome};
use std::collections::{BTreeMap, HashSet};

/// Ended runs that are still shown.
const SHOWN: usize = 32;

#[derive(Debug, Default)]
pub(crate) struct Board {
    /// In the order of their beginning.
    runs: Vec<RemedyRun>,
    armed: Vec<RemedyPlan>,
    unsent: HashSet<String>,
    is_armed_unsent: bool,
    drills: BTreeMap<String, Drilled>,
    unsent_drills: BTreeMap<String, DrillRun>,
    load: Option<ServiceLoad>,
    is_load_unsent: bool,
}

/// The drills of one mode.
#[derive(Debug, Default)]
struct Drilled {
    under_way: Option<DrillRun>,
    /// The latest that ended with a fault.
    last: Option<DrillRun>,
}

impl Board {
    /// Shows a run, or how it is now. False: as it was.
    pub(crate) fn show_run(&mut self, run: RemedyRun) -> bool {
        match self.runs.iter_mut().find(|known| known.id == run.id) {
            Some(known) if *known == run => return false,
            Some(known) => *known = run.clone(),
            None => self.runs.push(run.clone()),
        }
        self.unsent.insert(run.id);
        let ended = self.runs.iter().filter(|run| is_over(run)).count();
        if ended > SHOWN
            && let Some(oldest) = self.runs.iter().position(is_over)
        {
            self.unsent.remove(&self.runs.remove(oldest).id);
        }
        true
    }

    /// Shows the plans that wait. False: as they were.
    pub(crate) fn show_armed(&mut self, armed: Vec<RemedyPlan>) -> bool {
        let changed = self.armed != armed;
        self.is_armed_unsent |= changed;
        self.armed = armed;
        changed
    }

    /// Shows a drill, or how it is now.
    pub(crate) fn show_drill(&mut self, run: DrillRun) {
        let drilled = self.drills.entry(run.failure_mode.clone()).or_default();
        let is_running = run.verdict() == Verdict::Running;
        drilled.under_way = is_running.then(|| run.clone());
        if !is_running && !run.control {
            drilled.last = Some(run.clone());
        }
        self.unsent_drills.insert(run.failure_mode.clone(), run);
    }

    /// Shows what the process has to do; watchers hear of it with the next frame.
    pub(crate) fn show_load(&mut self, load: ServiceLoad) {
        self.is_load_unsent |= self.load.as_ref() != Some(&load);
        self.load = Some(load);
    }

    /// Of each mode the drill under way, or else the latest that ended with a fault.
    pub(crate) fn drills(&self) -> Vec<DrillRun> {
        self.drills.values().filter_map(|drilled| drilled.under_way.clone().or_else(|| drilled.last.clone())).collect()
    }

    pub(crate) fn load(&self) -> Option<ServiceLoad> {
        self.load.clone()
    }

    /// Drills, and the load, that changed since this was last asked.
    pub(crate) fn take_unsent_drills(&mut self) -> (Vec<DrillRun>, Option<ServiceLoad>) {
        let load = std::mem::take(&mut self.is_load_unsent).then(|| self.load.clone()).flatten();
        (std::mem::take(&mut self.unsent_drills).into_values().collect(), load)
    }

    /// What is being done about a mode.
    pub(crate) fn work_on(&self, mode: &str) -> Option<Work> {
        let of_mode = self.runs.iter().filter(|run| run.plan.as_ref().is_some_and(|plan| plan.failure_mode == mode));
        of_mode.filter_map(work).max()
    }

    pub(crate) fn runs(&self) -> Vec<RemedyRun> {
        self.runs.clone()
    }

    pub(crate) fn armed(&self) -> ArmedPlans {
        ArmedPlans { plans: self.armed.clone() }
    }

    /// What has changed since this was last asked.
    pub(crate) fn take_unsent(&mut self) -> (Vec<RemedyRun>, Option<ArmedPlans>) {
        let unsent = std::mem::take(&mut self.unsent);
        let runs = self.runs.iter().filter(|run| unsent.contains(&run.id)).cloned().collect();
        let armed = std::mem::take(&mut self.is_armed_unsent).then(|| self.armed());
        (runs, armed)
    }
}

fn work(run: &RemedyRun) -> Option<Work> {
    match run.outcome() {
        Outcome::Running | Outcome::Undoing => Some(Work::Remediating),
        Outcome::Verifying => Some(Work::Verifying),
        _ => None,
    }
}

fn is_over(run: &RemedyRun) -> bool {
    work(run).is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(id: usize, outcome: Outcome) -> RemedyRun {
        let plan = RemedyPlan { failure_mode: "AN-03".to_owned(), ..RemedyPlan::default() };
        RemedyRun { id: id.to_string(), outcome: outcome.into(), plan: Some(plan), ..RemedyRun::default() }
    }

    #[test]
    fn a_change_is_told_once() {
        let mut board = Board::default();
        assert!(board.show_run(run(1, Outcome::Running)));
        assert!(!board.show_run(run(1, Outcome::Running)));
        assert_eq!(board.take_unsent(), (vec![run(1, Outcome::Running)], None));
        assert!(board.show_run(run(1, Outcome::Verified)));
        board.show_run(run(2, Outcome::Running));
        assert_eq!(board.take_unsent().0, [run(1, Outcome::Verified), run(2, Outcome::Running)]);
        assert_eq!(board.take_unsent(), (vec![], None));
    }

    #[test]
    fn that_no_plan_is_armed_any_more_is_told_too() {
        let mut board = Board::default();
        board.show_armed(vec![RemedyPlan::default()]);
        assert_eq!(board.take_unsent().1.unwrap().plans.len(), 1);
        board.show_armed(vec![]);
        assert_eq!(board.take_unsent().1, Some(ArmedPlans::default()));
    }

    #[test]
    fn a_control_that_ended_is_told_and_does_not_hide_the_proof() {
        let drill = |id: &str, control, verdict: Verdict| DrillRun {
            id: id.to_owned(),
            failure_mode: "AN-03".to_owned(),
            control,
            verdict: verdict.into(),
            ..DrillRun::default()
        };
        let shown = |board: &Board| board.drills().into_iter().map(|run| run.id).collect::<Vec<_>>();
        let mut board = Board::default();
        board.show_drill(drill("proof", false, Verdict::Passed));
        board.show_drill(drill("control", true, Verdict::Running));
        assert_eq!(shown(&board), ["control"]);
        board.show_drill(drill("control", true, Verdict::Passed));
        assert_eq!(shown(&board), ["proof"]);
        let (told, _) = board.take_unsent_drills();
        assert_eq!(told, [drill("control", true, Verdict::Passed)]);
        assert_eq!(board.take_unsent_drills(), (vec![], None));
    }

    #[test]
    fn a_load_is_told_when_it_changed() {
        let mut board = Board::default();
        let load = |rate| ServiceLoad { rate, unit: "events".to_owned(), p99: None };
        board.show_load(load(1.0));
        assert_eq!(board.take_unsent_drills().1, Some(load(1.0)));
        board.show_load(load(1.0));
        assert_eq!(board.take_unsent_drills().1, None);
        board.show_load(load(2.0));
        assert_eq!((board.take_unsent_drills().1, board.load()), (Some(load(2.0)), Some(load(2.0))));
    }

    #[test]
    fn old_runs_leave_and_those_under_way_do_not() {
        let mut board = Board::default();
        board.show_run(run(0, Outcome::Running));
        assert!((1..=100).all(|id| board.show_run(run(id, Outcome::Failed))));
        let shown: Vec<String> = board.runs().into_iter().map(|run| run.id).collect();
        assert_eq!((shown.len(), shown[0].as_str(), shown[1].as_str()), (SHOWN + 1, "0", "69"));
    }

    #[test]
    fn what_still_works_on_a_mode_counts_more_than_what_is_verified() {
        let mut board = Board::default();
        assert_eq!(board.work_on("AN-03"), None);
        board.show_run(run(1, Outcome::Running));
        board.show_run(run(2, Outcome::Verifying));
        assert_eq!((board.work_on("AN-03"), board.work_on("AN-02")), (Some(Work::Remediating), None));
        board.show_run(run(1, Outcome::Failed));
        assert_eq!(board.work_on("AN-03"), Some(Work::Verifying));
        board.show_run(run(2, Outcome::Verified));
        assert_eq!(board.work_on("AN-03"), None);
    }
}
