//! Ending a run early, and taking one back.

use super::{
    Desk, Refusal,
    admit::{shortened, subject, within},
    book::Held,
    operator,
    work::{Ended, name},
};
use crate::{
    audit::Record,
    remedy::{Effect, Running},
};
use loadline_proto::health::{AbortRemedyRequest, RemedyRun, UndoRemedyRequest, remedy_run::Outcome};
use loadline_runtime::identity::Identity;
use std::sync::Arc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

const LONGEST_REASON: usize = 500;

impl Desk {
    /// Ends a run between two of its steps. One that is being verified ends unverified.
    pub async fn abort(&self, who: &Identity, ask: AbortRemedyRequest) -> Result<RemedyRun, Refusal> {
        let (desk, who) = (self.clone(), who.clone());
        self.whole(async move {
            let record = record(&who, "remedy.abort", &ask.run_id, &ask.reason);
            match desk.tell_to_stop(&who, &ask) {
                Ok(held) => {
                    let outcome = format!("STOPPING {}", held.run.id);
                    // Not refused when it cannot be written down: stopping is the careful side.
                    if let Err(error) = desk.write(Record { target: subject(&held.draft.plan), outcome, ..record }).await {
                        tracing::error!(run = held.run.id, %error, "an abort is not in the audit");
                    }
                    Ok(held.run)
                }
                Err(refusal) => Err(desk.refused(record, refusal).await),
            }
        })
        .await
    }

    /// Takes a run back while its horizon is open. Returns when that has begun.
    pub async fn undo(&self, who: &Identity, ask: UndoRemedyRequest) -> Result<RemedyRun, Refusal> {
        let (desk, who) = (self.clone(), who.clone());
        self.whole(async move {
            let record = record(&who, "remedy.undo", &ask.run_id, &ask.reason);
            match desk.begin_undo(&who, &ask, &record).await {
                Ok(run) => Ok(run),
                Err(refusal) => Err(desk.refused(record, refusal).await),
            }
        })
        .await
    }

    fn tell_to_stop(&self, who: &Identity, ask: &AbortRemedyRequest) -> Result<Held, Refusal> {
        operator(who)?;
        within("reason", &ask.reason, LONGEST_REASON)?;
        let held = self.book().run(&ask.run_id)?.clone();
        if !held.is_under_way() {
            return Err(Refusal::NotRunning(name(held.run.outcome())));
        }
        self.change(&ask.run_id, |held| {
            held.aborted_by.clone_from(&who.name);
            held.run.note = format!("told to stop by {}", who.name);
        });
        held.aborted.cancel();
        Ok(Held { run: self.book().run(&ask.run_id)?.run.clone(), ..held })
    }

    async fn begin_undo(&self, who: &Identity, ask: &UndoRemedyRequest, record: &Record) -> Result<RemedyRun, Refusal> {
        operator(who)?;
        within("reason", &ask.reason, LONGEST_REASON)?;
        let _one = self.0.admission.lock().await;
        self.monitor()?;
        let held = { self.book().undoable(&ask.run_id, Instant::now()) }?;
        self.lease(&held.draft, &held.run.id).await?;
        let outcome = format!("UNDOING {}", held.run.id);
        let written = self.write(Record {
            target: subject(&held.draft.plan),
            before: super::admit::words(&held.running.effects()),
            outcome,
            ..record.clone()
        });
        if let Err(refusal) = written.await {
            self.cool_down(&held).await;
            return Err(refusal);
        }
        let done = held.running.effects();
        let running = Arc::new(Running::of(&who.name, &ask.reason));
        let undoing = Held { running, aborted: CancellationToken::new(), ..held.clone() };
        let before = held.run.outcome();
        self.change(&held.run.id, |held| {
            held.aborted = undoing.aborted.clone();
            held.run.outcome = Outcome::Undoing.into();
            held.run.note = format!("being undone by {}", who.name);
        });
        let run = self.book().run(&held.run.id)?.run.clone();
        let (desk, by) = (self.clone(), who.name.clone());
        self.0.tasks.spawn(async move { desk.take_back(undoing, done, before, by).await });
        Ok(run)
    }

    async fn take_back(&self, undoing: Held, done: Vec<Effect>, before: Outcome, by: String) {
        let (remedy, planned) = (undoing.draft.remedy.clone(), undoing.draft.planned.clone());
        let running: Arc<Running> = undoing.running.clone();
        let ended = self.supervise(&undoing, async move { remedy.undo(&planned, &done, &running).await }).await;
        // A run that could not be taken back is still what it was.
        let (outcome, note) = match ended {
            Ended::Done => (Outcome::RolledBack, format!("undone by {by}")),
            Ended::Stopped(why) => (before, format!("not undone, or not whole: {why}")),
            Ended::Failed(why) => (before, format!("not undone, or not whole: {why}")),
        };
        let said = if outcome == Outcome::RolledBack { outcome } else { Outcome::Failed };
        let by_whom = Held { run: RemedyRun { started_by: by, ..undoing.run.clone() }, ..undoing.clone() };
        let note = self.write_end(&by_whom, "remedy.undone", said, note).await;
        self.cool_down(&undoing).await;
        self.change(&undoing.run.id, |held| {
            held.ended = Some(Instant::now());
            held.run.outcome = outcome.into();
            held.run.note = note;
        });
    }
}

fn record(who: &Identity, action: &str, run: &str, reason: &str) -> Record {
    Record {
        actor: who.name.clone(),
        action: action.to_owned(),
        target: shortened(&format!("run {run}")),
        reason: shortened(reason),
        ..Record::default()
    }
}
