//! One drill from its beginning to its verdict.

use super::{
    Drill, Drills, Tally,
    incidents::{Elsewhere, is_serious},
    look::until,
    records::LEASE_TTL,
    seeing::LATE,
};
use crate::{Catalogue, Monitor, catalogue::Budgets};
use loadline_proto::health::{
    DrillRun, ModeStatus,
    drill_run::{Phase, Verdict},
};
use loadline_runtime::identity::Identity;
use std::{collections::BTreeSet, sync::Arc, sync::Mutex, sync::PoisonError, time::Duration};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

/// How long all may take to be well to begin with: detectors have to have looked.
const STEADY: Duration = Duration::from_secs(30);
/// What a fault lasts beyond all budgets.
const SLACK: Duration = Duration::from_secs(30);
/// How long a step of the drill's own may take: to prepare, to inject, to undo.
pub(super) const STEP: Duration = Duration::from_secs(30);
const UNDO_TRIES: u32 = 3;
/// How often it looks for reasons to stop.
pub(super) const WATCH: Duration = Duration::from_millis(250);
/// How often detectors that look seldom are asked to look, while it waits for one to say that all is well.
const WAKE: Duration = Duration::from_secs(1);
/// And how often in other services, by what they tell.
const LOOK_ELSEWHERE: Duration = Duration::from_secs(1);

/// How it ended, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct End {
    pub verdict: Verdict,
    pub detail: String,
}

pub(super) fn end(verdict: Verdict, detail: impl Into<String>) -> End {
    End { verdict, detail: detail.into() }
}

pub(super) struct Conduct {
    pub drills: Drills,
    pub monitor: Monitor,
    pub drill: Arc<dyn Drill>,
    pub who: Identity,
    pub control: bool,
    pub id: String,
    pub stop: CancellationToken,
}

impl Conduct {
    /// All of it. Whatever happens in between, what was done is undone and looked at.
    pub async fn run(&self) -> End {
        let open = match self.steady().await {
            Ok(open) => open,
            Err(why) => return end(Verdict::NotRun, why),
        };
        let proven = tokio::select! {
            biased;
            why = self.interruption() => Err(end(Verdict::Aborted, why)),
            proven = self.prove(&open) => proven,
        };
        if proven.is_err() {
            self.recall().await;
        }
        let after = self.leave(&open).await;
        self.monitor.set_drill(self.drill.mode(), "");
        judge(proven, after)
    }

    /// Nothing is wrong to begin with; answers which other modes are open.
    async fn steady(&self) -> Result<BTreeSet<String>, String> {
        self.phase(Phase::Steady, "looks whether all is well to begin with");
        let began = Instant::now();
        let steady = self.awake(until(STEADY, || async {
            self.well_since(began)?;
            if let Some(open) = self.monitor.open_modes().into_iter().find(is_serious) {
                return Err(format!("{} is open", open.id));
            }
            match self.drills.look_elsewhere(self.drill.mode(), self.control).await {
                Ok(Elsewhere::Incident(open)) => Err(format!("{open} is open")),
                Ok(Elsewhere::Drill(_) | Elsewhere::Nothing) => self.books().await,
                Err(error) => Err(error.to_string()),
            }
        }));
        steady.await?;
        Ok(self.monitor.open_modes().into_iter().map(|mode| mode.id).collect())
    }

    async fn prove(&self, open: &BTreeSet<String>) -> Result<String, End> {
        let budgets = &Catalogue::embedded().get(self.drill.mode()).map(|mode| mode.drill.clone()).unwrap_or_default();
        self.phase(Phase::Inject, "prepares");
        let prepared = timeout(STEP, self.drill.prepare()).await.unwrap_or_else(|_| Err(slow("preparing")));
        prepared.map_err(|error| end(Verdict::NotRun, format!("could not be prepared: {error}")))?;
        if self.control {
            return self.nothing_opens(open, budgets).await;
        }
        self.inject(budgets).await?;
        let late = self.detect(open, budgets).await?;
        self.contain(budgets).await?;
        let runs = self.remedy(budgets).await?;
        self.verify(budgets, &runs).await?;
        late.map_or_else(|| Ok("seen, contained, repaired and over".to_owned()), |why| Err(end(Verdict::Late, why)))
    }

    async fn inject(&self, budgets: &Budgets) -> Result<(), End> {
        self.phase(Phase::Inject, self.drill.fault());
        self.monitor.set_drill(self.drill.mode(), &self.id);
        let ttl = self.hold() + budgets.detect() * LATE + budgets.contain() + budgets.remedy() + budgets.verify() + SLACK;
        let injected = timeout(STEP, self.drill.inject(ttl)).await.unwrap_or_else(|_| Err(slow("injecting")));
        injected.map_err(|error| end(Verdict::NotInjected, error.to_string()))
    }

    async fn contain(&self, budgets: &Budgets) -> Result<(), End> {
        self.phase(Phase::Contain, "looks whether the harm is limited");
        let contained = until(budgets.contain(), || self.drill.contained()).await;
        let took = contained.map_err(|why| end(Verdict::Uncontained, why))?;
        self.took(|run, took| run.contained_after = Some(took), took);
        Ok(())
    }

    /// Undoes everything, and looks whether all is as it was before.
    async fn leave(&self, open: &BTreeSet<String>) -> Result<(), End> {
        self.phase(Phase::Undo, "takes the fault away, and looks whether all is well again");
        let residue = |why: String| end(Verdict::Residue, why);
        let mut tries = 1;
        while let Err(error) = timeout(STEP, self.drill.undo()).await.unwrap_or_else(|_| Err(slow("undoing"))) {
            tracing::error!(drill = self.id, %error, "a drill could not be undone");
            if tries == UNDO_TRIES {
                return Err(residue(format!("could not be undone: {error}")));
            }
            tries += 1;
            sleep(WATCH).await;
        }
        let undone = Instant::now();
        let budget = Catalogue::embedded().get(self.drill.mode()).map(|mode| mode.drill.verify()).unwrap_or(STEADY);
        let well = self.awake(until(budget.max(STEADY), || async {
            self.well_since(undone)?;
            self.drill.clean().await?;
            let opened = self.monitor.open_modes().into_iter().find(|mode| !open.contains(&mode.id));
            opened.map_or(Ok(()), |mode| Err(format!("{} is open: {}", mode.id, evidence(&mode))))
        }));
        let well = well.await.map_err(residue);
        // What was lost or counted twice matters more than what is left.
        let Tally { lost, duplicated } = self.tally().await.map_err(residue)?;
        self.drills.change(&self.id, |run| (run.lost, run.duplicated) = (lost, duplicated));
        match (lost, duplicated) {
            (0, 0) => well.map(drop),
            (0, _) => Err(end(Verdict::Duplicated, format!("{duplicated} events are counted twice"))),
            (_, _) => Err(end(Verdict::Lossy, format!("{lost} events are missing, {duplicated} are counted twice"))),
        }
    }

    /// The drill's own events may still be on their way: it has a while to show that none is missing.
    async fn tally(&self) -> Result<Tally, String> {
        let seen = Mutex::new(Tally::default());
        let even = until(STEADY, || async {
            let (own, all) = (self.drill.tally().await, self.drills.0.parts.accounts.tally().await);
            let (own, all) = (own.map_err(|error| error.to_string())?, all.map_err(|error| error.to_string())?);
            let sum = Tally { lost: own.lost + all.lost, duplicated: own.duplicated + all.duplicated };
            *seen.lock().unwrap_or_else(PoisonError::into_inner) = sum;
            if sum == Tally::default() { Ok(()) } else { Err(String::new()) }
        });
        match even.await {
            Err(why) if !why.is_empty() => Err(format!("the accounts cannot be read: {why}")),
            _ => Ok(seen.into_inner().unwrap_or_else(PoisonError::into_inner)),
        }
    }

    /// Completes when there is reason to stop, in words.
    async fn interruption(&self) -> String {
        let renewed = Mutex::new(Instant::now());
        let mut looked = Instant::now();
        loop {
            if self.stop.is_cancelled() {
                return format!("stopped by {}", self.drills.stopped_by(&self.id));
            }
            if self.drills.0.stop.is_cancelled() {
                return "the process is shutting down".to_owned();
            }
            if let Some(real) = self.real_incident() {
                return format!("{} is open, a real {:?}: {}", real.id, real.severity(), evidence(&real));
            }
            if looked.elapsed() > LOOK_ELSEWHERE {
                looked = Instant::now();
                match self.drills.look_elsewhere(self.drill.mode(), self.control).await {
                    Ok(Elsewhere::Incident(real)) => return format!("{real} is open, a real P1 or P2"),
                    Ok(Elsewhere::Drill(other)) => return format!("{other} has begun"),
                    // Whoever cannot know loses the lease too, which ends it.
                    Ok(Elsewhere::Nothing) | Err(_) => {}
                }
            }
            let since = *renewed.lock().unwrap_or_else(PoisonError::into_inner);
            if since.elapsed() > LEASE_TTL / 3 {
                match self.drills.hold(&self.id, self.drill.mode(), self.control).await {
                    Ok(()) => *renewed.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now(),
                    Err(super::Refusal::Running(by)) => return format!("{by} has taken over"),
                    Err(why) if since.elapsed() > LEASE_TTL => return why.to_string(),
                    Err(_) => {}
                }
            }
            sleep(WATCH).await;
        }
    }

    /// Another mode, open and serious. Of a control nothing is, whatever opens: that is what it looks for.
    fn real_incident(&self) -> Option<ModeStatus> {
        let other = |mode: &ModeStatus| mode.id != self.drill.mode();
        self.monitor.open_modes().into_iter().find(|mode| !self.control && is_serious(mode) && other(mode))
    }

    /// The mode is OK by a reading of its own since then, and no fault is active.
    fn well_since(&self, since: Instant) -> Result<(), String> {
        let (mode, faults) = (self.drill.mode(), (self.drills.0.parts.faults)());
        if !faults.is_empty() {
            return Err(format!("faults are active: {}", faults.join("; ")));
        }
        match self.monitor.is_good_since(mode, since) {
            true => Ok(()),
            false => Err(format!("{mode} is {}", self.monitor.status(mode).map_or("unknown", |mode| mode.state().as_str_name()))),
        }
    }

    async fn books(&self) -> Result<(), String> {
        match self.drills.0.parts.accounts.tally().await {
            Ok(tally) if tally == Tally::default() => Ok(()),
            Ok(Tally { lost, duplicated }) => Err(format!("{lost} events are missing and {duplicated} are counted twice")),
            Err(error) => Err(format!("the accounts cannot be read: {error}")),
        }
    }

    /// Waits for something to be over. Detectors that look seldom do so at once, and again.
    pub(super) async fn awake<T>(&self, wait: impl Future<Output = T>) -> T {
        let waking = async {
            loop {
                sleep(WAKE).await;
                self.drill.wake();
            }
        };
        tokio::select! {
            waited = wait => waited,
            never = waking => never,
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.monitor.open_modes().iter().any(|mode| mode.id == self.drill.mode())
    }

    pub(super) fn phase(&self, phase: Phase, detail: &str) {
        self.drills.change(&self.id, |run| {
            run.phase = phase.into();
            run.detail = detail.to_owned();
        });
        self.drill.wake();
    }

    pub(super) fn took(&self, set: impl FnOnce(&mut DrillRun, prost_types::Duration), took: Duration) {
        if let Ok(took) = took.try_into() {
            self.drills.change(&self.id, |run| set(run, took));
        }
    }
}

/// What was lost or left counts more than what was proven before; else the first thing that went wrong.
fn judge(proven: Result<String, End>, after: Result<(), End>) -> End {
    match (proven, after) {
        (Ok(detail), Ok(())) => end(Verdict::Passed, detail),
        (Err(why), Ok(())) => why,
        (Ok(_), Err(left)) => left,
        (Err(why), Err(left)) if matches!(left.verdict, Verdict::Lossy | Verdict::Duplicated) => {
            end(left.verdict, format!("{}; and before: {}", left.detail, why.detail))
        }
        (Err(why), Err(left)) => end(why.verdict, format!("{}; and afterwards: {}", why.detail, left.detail)),
    }
}

pub(super) fn evidence(mode: &ModeStatus) -> String {
    mode.evidence.as_ref().map(|evidence| evidence.detail.clone()).unwrap_or_default()
}

fn slow(what: &str) -> super::DrillError {
    super::DrillError(format!("{what} took more than {STEP:?}"))
}
