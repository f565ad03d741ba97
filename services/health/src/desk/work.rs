//! A run under way: a task of its own, told to stop when there is reason to, and its end written down.

use super::{
    Desk,
    admit::{subject, words},
    book::{Draft, Held},
};
use crate::{audit::Record, remedy::RemedyError, signal::Moment};
use loadline_proto::health::remedy_run::Outcome;
use std::{convert::Infallible, fmt, time::Duration};
use tokio::{
    task::JoinError,
    time::{Instant, sleep, timeout},
};

/// How long a lease outlives its last renewal.
pub(super) const LEASE: Duration = Duration::from_secs(30);
const RENEWAL: Duration = Duration::from_secs(10);
/// How often progress is shown.
pub(super) const LOOK: Duration = Duration::from_millis(500);
/// How long a step may take to end once it was told to stop.
const GRACE: Duration = Duration::from_secs(10);
/// Tries to write down the end of a run.
const TRIES: u32 = 3;
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Why a run has to stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Interruption {
    Aborted(String),
    Shutdown,
    Deadline(Duration),
    LeaseLost,
}

impl fmt::Display for Interruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Aborted(by) => write!(f, "aborted by {by}"),
            Self::Shutdown => f.write_str("the process is shutting down"),
            Self::Deadline(limit) => write!(f, "not finished within {limit:?}"),
            Self::LeaseLost => f.write_str("its lease was lost: another process may work on the same target"),
        }
    }
}

/// How a piece of work ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Done,
    Stopped(Interruption),
    Failed(String),
}

impl Desk {
    /// Executes, verifies, and writes down how it ended.
    pub(super) async fn work(&self, held: Held) {
        let (remedy, planned, running) = (held.draft.remedy.clone(), held.draft.planned.clone(), held.running.clone());
        let ended = self.supervise(&held, async move { remedy.execute(&planned, &running).await }).await;
        let executed = Moment::now();
        let ended = match held.draft.remedy.successor(&held.draft.planned).filter(|_| ended == Ended::Done) {
            Some(successor) => {
                if self.hand_over(&held, successor) {
                    return;
                }
                Ended::Stopped(Interruption::Shutdown)
            }
            None => ended,
        };
        let (outcome, note) = match ended {
            Ended::Done => {
                self.show(&held, Outcome::Verifying, "");
                return self.verify_and_close(held, executed).await;
            }
            Ended::Stopped(why @ (Interruption::Aborted(_) | Interruption::Shutdown)) => (Outcome::Aborted, why.to_string()),
            Ended::Stopped(why) => (Outcome::Failed, why.to_string()),
            Ended::Failed(why) => (Outcome::Failed, why),
        };
        let note = self.write_end(&held, "remedy.finish", outcome, note).await;
        self.close(&held, executed, outcome, note).await;
    }

    /// What comes after an execution that was done.
    pub(super) async fn verify_and_close(&self, held: Held, executed: Moment) {
        let (outcome, note) = self.verify(&held, executed.at).await;
        let note = self.write_end(&held, "remedy.finish", outcome, note).await;
        self.close(&held, executed, outcome, note).await;
    }

    /// Lets work run in a task of its own until it ends, or has to.
    pub(super) async fn supervise(
        &self,
        held: &Held,
        work: impl Future<Output = Result<(), RemedyError>> + Send + 'static,
    ) -> Ended {
        let mut task = tokio::spawn(work);
        let why = tokio::select! {
            biased;
            joined = &mut task => return ended(joined, None),
            why = self.interruption(held, held.draft.remedy.deadline()) => why,
            never = self.follow(held) => match never {},
        };
        held.running.stop();
        match timeout(GRACE, &mut task).await {
            Ok(joined) => ended(joined, Some(why)),
            Err(_) => {
                task.abort();
                Ended::Failed(format!("{why}, and it did not stop within {GRACE:?}: its step was cut"))
            }
        }
    }

    /// Completes when there is reason to stop.
    pub(super) async fn interruption(&self, held: &Held, limit: Duration) -> Interruption {
        tokio::select! {
            biased;
            () = held.aborted.cancelled() => {
                Interruption::Aborted(self.book().run(&held.run.id).map(|held| held.aborted_by.clone()).unwrap_or_default())
            }
            () = self.0.stop.cancelled() => Interruption::Shutdown,
            () = sleep(limit) => Interruption::Deadline(limit),
            () = self.lose_lease(held) => Interruption::LeaseLost,
        }
    }

    /// Renews the lease; completes when it is another's, or may be.
    async fn lose_lease(&self, held: &Held) {
        let (lease, mut until) = (held.draft.lease(), Instant::now() + LEASE);
        loop {
            sleep(RENEWAL).await;
            let asked = Instant::now();
            match timeout(RENEWAL / 2, self.0.parts.leases.hold(&lease, &held.run.id, LEASE)).await {
                Ok(Ok(true)) => until = asked + LEASE,
                Ok(Ok(false)) => return,
                Ok(Err(_)) | Err(_) if until <= Instant::now() + RENEWAL => return,
                Ok(Err(_)) | Err(_) => {}
            }
        }
    }

    /// Shows how far it is.
    async fn follow(&self, held: &Held) -> Infallible {
        loop {
            sleep(LOOK).await;
            self.show_progress(held);
        }
    }

    pub(super) fn show(&self, held: &Held, outcome: Outcome, note: &str) {
        self.change(&held.run.id, |held| {
            held.run.outcome = outcome.into();
            held.run.note = note.to_owned();
        });
        self.show_progress(held);
    }

    fn show_progress(&self, held: &Held) {
        let ((done, total), effects) = (held.running.progress(), held.running.effects());
        self.change(&held.run.id, |held| {
            (held.run.done, held.run.total) = (done, total);
            // While it is taken back, what it did stays what it did.
            if held.run.outcome() != Outcome::Undoing {
                held.run.actual = effects.iter().map(Into::into).collect();
            }
        });
    }

    /// Writes down how something ended. It has happened: where the audit cannot be reached, the note says so.
    pub(super) async fn write_end(&self, held: &Held, action: &str, outcome: Outcome, note: String) -> String {
        let record = Record {
            actor: held.run.started_by.clone(),
            action: action.to_owned(),
            target: subject(&held.draft.plan),
            reason: note.clone(),
            before: held.draft.planned.world.to_string(),
            after: words(&held.running.effects()),
            outcome: format!("{} {}", name(outcome), held.run.id),
        };
        for _ in 1..TRIES {
            if self.write(record.clone()).await.is_ok() {
                return note;
            }
            sleep(RETRY_AFTER).await;
        }
        match self.write(record).await {
            Ok(()) => note,
            Err(error) => {
                tracing::error!(run = held.run.id, %error, "the end of a remedy is not in the audit");
                format!("{note} (its end is not in the audit: {error})")
            }
        }
    }

    async fn close(&self, held: &Held, executed: Moment, outcome: Outcome, note: String) {
        let horizon = held.draft.planned.undo_within.filter(|_| !held.running.effects().is_empty());
        // A lease that outlives its run is the pause before the next one, for all processes.
        self.cool_down(held).await;
        let now = Moment::now();
        self.show_progress(held);
        self.change(&held.run.id, |held| {
            held.ended = Some(now.at);
            held.undo_until = horizon.map(|horizon| executed.at + horizon);
            held.run.outcome = outcome.into();
            held.run.note.clone_from(&note);
            held.run.finished_at = Some(now.wall.into());
            held.run.undo_until = horizon.map(|horizon| (executed.wall + horizon).into());
        });
        tracing::info!(run = held.run.id, key = held.draft.plan.key, outcome = name(outcome), note, "remedy ended");
    }

    pub(super) async fn cool_down(&self, held: &Held) {
        let pause = held.draft.remedy.cooldown();
        if pause.is_zero() || self.0.stop.is_cancelled() {
            return self.release(&held.draft, &held.run.id).await;
        }
        let lease = held.draft.lease();
        if !matches!(timeout(RENEWAL / 2, self.0.parts.leases.hold(&lease, &held.run.id, pause)).await, Ok(Ok(true))) {
            tracing::warn!(lease, "the lease could not be kept for the pause after a remedy");
        }
    }

    pub(super) async fn release(&self, draft: &Draft, run: &str) {
        let lease = draft.lease();
        if !matches!(timeout(RENEWAL / 2, self.0.parts.leases.release(&lease, run)).await, Ok(Ok(()))) {
            tracing::warn!(lease, "the lease could not be given up; it ends by itself");
        }
    }
}

fn ended(joined: Result<Result<(), RemedyError>, JoinError>, why: Option<Interruption>) -> Ended {
    match (joined, why) {
        (Ok(Ok(())), _) => Ended::Done,
        (Ok(Err(RemedyError::Stopped)), Some(why)) => Ended::Stopped(why),
        (Ok(Err(error)), _) => Ended::Failed(error.to_string()),
        (Err(_), _) => Ended::Failed("it panicked, which is a fault of this build: see its log".to_owned()),
    }
}

/// As in the contract, without the prefix.
pub(super) fn name(outcome: Outcome) -> &'static str {
    outcome.as_str_name().trim_start_matches("OUTCOME_")
}
