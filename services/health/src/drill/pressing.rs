//! The keys that a drill presses: planned and executed by the desk, as an operator would, and verified by it.

use super::{
    Press,
    conduct::{Conduct, End, STEP, end},
    look::until,
};
use crate::{Desk, catalogue::Budgets, desk::Refusal};
use loadline_proto::health::{
    AbortRemedyRequest, ExecuteRemedyRequest, PlanRemedyRequest, RemedyRun,
    drill_run::{Phase, Verdict},
    remedy_run::Outcome,
};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Every refusal is an entry of the audit: not ten a second.
const PRESS_AGAIN_AFTER: Duration = Duration::from_secs(1);

impl Conduct {
    /// Presses the keys, as an operator would; answers the runs.
    pub(super) async fn remedy(&self, budgets: &Budgets) -> Result<Vec<String>, End> {
        let (start, unremediated) = (Instant::now(), |why: String| end(Verdict::Unremediated, why));
        self.drill.relent().await.map_err(|error| unremediated(error.to_string()))?;
        let mut runs = Vec::new();
        for press in self.drill.presses() {
            self.phase(Phase::Remedy, &format!("presses {}", press.key));
            let left = || budgets.remedy().saturating_sub(start.elapsed());
            until(left(), || self.drill.ready(press)).await.map_err(unremediated)?;
            let desk = self.desk().map_err(unremediated)?;
            let id = self.press(desk, press, left()).await.map_err(unremediated)?;
            until(left(), || async { executed(&self.remedy_run(&id)?) }).await.map_err(unremediated)?;
            let run = self.remedy_run(&id).map_err(unremediated)?;
            if matches!(run.outcome(), Outcome::Failed | Outcome::Aborted | Outcome::RolledBack) {
                return Err(unremediated(format!("{} ended as {}: {}", press.key, run.outcome().as_str_name(), run.note)));
            }
            runs.push(id);
        }
        self.took(|run, took| run.remedied_after = Some(took), start.elapsed());
        Ok(runs)
    }

    /// Plans and executes, again and again while that is refused: a cooldown passes, a world settles. The run's id.
    async fn press(&self, desk: &Desk, press: &Press, budget: Duration) -> Result<String, String> {
        let until = Instant::now() + budget;
        for attempt in 1.. {
            match self.press_once(desk, press, attempt).await {
                Ok(run) => return Ok(run.id),
                Err(refusal) if Instant::now() + PRESS_AGAIN_AFTER < until => {
                    tracing::info!(drill = self.id, key = press.key, %refusal, "pressed in vain; trying again");
                    sleep(PRESS_AGAIN_AFTER).await;
                }
                Err(refusal) => return Err(format!("{} was refused: {refusal}", press.key)),
            }
        }
        Err(format!("{} was never pressed", press.key))
    }

    async fn press_once(&self, desk: &Desk, press: &Press, attempt: u32) -> Result<RemedyRun, Refusal> {
        let reason = format!("drill {}", self.id);
        let plan = PlanRemedyRequest {
            failure_mode: self.drill.mode().to_owned(),
            key: press.key.to_owned(),
            target: press.target.to_owned(),
            reason: reason.clone(),
        };
        let plan = desk.plan(&self.who, plan).await?;
        let idempotency_key = format!("{reason} {} {attempt}", press.key);
        let ask = ExecuteRemedyRequest { plan_id: plan.id, confirm: plan.confirm, idempotency_key, reason };
        desk.execute(&self.who, ask).await
    }

    /// The desk's own verification of each run, and the mode closed.
    pub(super) async fn verify(&self, budgets: &Budgets, runs: &[String]) -> Result<(), End> {
        let mode = self.drill.mode();
        self.phase(Phase::Verify, &format!("{mode} has to close"));
        let verified = self.awake(until(budgets.verify(), || async {
            for id in runs {
                verified(&self.remedy_run(id)?)?;
            }
            if self.is_open() { Err(format!("{mode} is still open")) } else { Ok(()) }
        }));
        let took = verified.await.map_err(|why| end(Verdict::Unverified, why))?;
        self.took(|run, took| run.verified_after = Some(took), took);
        Ok(())
    }

    /// Ends remedies that it began and that have not ended.
    pub(super) async fn recall(&self) {
        let Some(desk) = self.monitor.desk() else { return };
        for run in self.monitor.runs_of_drill(&self.id).into_iter().filter(|run| !is_over(run)) {
            let ask = AbortRemedyRequest { run_id: run.id.clone(), reason: format!("drill {} ends", self.id) };
            if desk.abort(&self.who, ask).await.is_ok() {
                let ended = || async { if is_over(&self.remedy_run(&run.id)?) { Ok(()) } else { Err("it goes on".to_owned()) } };
                if let Err(why) = until(STEP, ended).await {
                    tracing::warn!(run = run.id, why, "a remedy of a drill that ended has not ended");
                }
            }
        }
    }

    fn desk(&self) -> Result<&Desk, String> {
        self.monitor.desk().ok_or_else(|| "this process has no remedies".to_owned())
    }

    fn remedy_run(&self, id: &str) -> Result<RemedyRun, String> {
        self.desk()?.run(id).map_err(|refusal| refusal.to_string())
    }
}

fn is_over(run: &RemedyRun) -> bool {
    !matches!(run.outcome(), Outcome::Running | Outcome::Verifying | Outcome::Undoing)
}

/// Done, whether it helped or not.
fn executed(run: &RemedyRun) -> Result<(), String> {
    if run.outcome() == Outcome::Running { Err(format!("run {} is not done", run.id)) } else { Ok(()) }
}

fn verified(run: &RemedyRun) -> Result<(), String> {
    match run.outcome() {
        Outcome::Verified => Ok(()),
        other => Err(format!("the desk says {} of run {}: {}", other.as_str_name(), run.id, run.note)),
    }
}
