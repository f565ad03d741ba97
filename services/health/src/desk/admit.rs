//! Planning, and what stands between a plan and its execution.

use super::{
    Desk, PATIENCE, Refusal,
    book::{self, Claim, Draft, EXPIRY, Held, in_time},
    operator,
    work::LEASE,
};
use crate::{
    audit::Record,
    remedy::{Effect, RemedyError, Running},
    signal::Moment,
};
use loadline_proto::health::{ExecuteRemedyRequest, PlanRemedyRequest, RemedyPlan, RemedyRun, remedy_run::Outcome};
use loadline_runtime::identity::Identity;
use std::sync::Arc;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

const LONGEST_KEY: usize = 128;
const LONGEST_REASON: usize = 500;
const LONGEST_TARGET: usize = 1_000;

impl Desk {
    /// Looks at the world and says what a remedy would do. Changes nothing.
    pub async fn plan(&self, who: &Identity, ask: PlanRemedyRequest) -> Result<RemedyPlan, Refusal> {
        let (desk, who) = (self.clone(), who.clone());
        self.whole(async move {
            let record = Record {
                actor: who.name.clone(),
                action: "remedy.plan".to_owned(),
                target: shortened(&format!("{} {} {}", ask.failure_mode, ask.key, ask.target)),
                reason: shortened(&ask.reason),
                ..Record::default()
            };
            match desk.draft(&who, ask).await {
                Ok(draft) => desk.arm(record, draft).await,
                Err(refusal) => Err(desk.refused(record, refusal).await),
            }
        })
        .await
    }

    /// Executes a plan, once. Returns when it has begun, or the run that this key began before.
    pub async fn execute(&self, who: &Identity, ask: ExecuteRemedyRequest) -> Result<RemedyRun, Refusal> {
        let (desk, who) = (self.clone(), who.clone());
        self.whole(async move {
            let record = Record {
                actor: who.name.clone(),
                action: "remedy.execute".to_owned(),
                target: shortened(&format!("plan {}", ask.plan_id)),
                reason: shortened(&ask.reason),
                ..Record::default()
            };
            let admitted = desk.admit(&who, &ask, &record).await;
            desk.refresh();
            match admitted {
                Ok(run) => Ok(run),
                Err(refusal) => Err(desk.refused(record, refusal).await),
            }
        })
        .await
    }

    async fn draft(&self, who: &Identity, ask: PlanRemedyRequest) -> Result<Draft, Refusal> {
        operator(who)?;
        within("reason", &ask.reason, LONGEST_REASON)?;
        within("target", &ask.target, LONGEST_TARGET)?;
        let monitor = self.monitor()?;
        let no_remedy = || Refusal::NoRemedy { mode: ask.failure_mode.clone(), key: ask.key.clone() };
        let remedy = self.remedies_of(&ask.failure_mode).find(|remedy| remedy.key() == ask.key).ok_or_else(no_remedy)?.clone();
        self.ready(&monitor, &ask.failure_mode, &*remedy)?;
        let planned = looked(remedy.plan(&ask.failure_mode, &ask.target)).await?;
        let now = Moment::now();
        let plan = book::plan(Uuid::new_v4().to_string(), &ask.failure_mode, &*remedy, &planned, now);
        let plan = RemedyPlan { planned_by: who.name.clone(), reason: ask.reason, ..plan };
        Ok(Draft { plan, planned: Arc::new(planned), remedy, expires: now.at + EXPIRY })
    }

    async fn arm(&self, record: Record, draft: Draft) -> Result<RemedyPlan, Refusal> {
        let plan = draft.plan.clone();
        self.write(Record {
            target: subject(&plan),
            before: draft.planned.world.to_string(),
            after: words(&draft.planned.effects),
            outcome: format!("PLANNED {}", plan.id),
            ..record.clone()
        })
        .await?;
        if let Err(refusal) = { self.book().arm(draft, Instant::now()) } {
            return Err(self.refused(record, refusal).await);
        }
        self.refresh();
        Ok(plan)
    }

    async fn admit(&self, who: &Identity, ask: &ExecuteRemedyRequest, record: &Record) -> Result<RemedyRun, Refusal> {
        operator(who)?;
        within("reason", &ask.reason, LONGEST_REASON)?;
        if ask.idempotency_key.is_empty() || ask.idempotency_key.len() > LONGEST_KEY {
            return Err(Refusal::Invalid { field: "idempotency_key", problem: format!("has to be of 1 to {LONGEST_KEY} bytes") });
        }
        let _one = self.0.admission.lock().await;
        let draft = match { self.book().claim(ask, Instant::now()) }? {
            Claim::Known(run) => return Ok(*run),
            Claim::New(draft) => *draft,
        };
        self.ready(&self.monitor()?, &draft.plan.failure_mode, &*draft.remedy)?;
        let run = Uuid::new_v4().to_string();
        self.lease(&draft, &run).await?;
        match self.last_look(&draft, &run, record).await {
            Ok(()) => Ok(self.begin(who, ask, draft, run)),
            Err(refusal) => {
                self.release(&draft, &run).await;
                Err(refusal)
            }
        }
    }

    pub(super) async fn lease(&self, draft: &Draft, run: &str) -> Result<(), Refusal> {
        let held = timeout(PATIENCE, self.0.parts.leases.hold(&draft.lease(), run, LEASE)).await;
        let silent = || Refusal::LeaseUnavailable(format!("leases did not answer within {PATIENCE:?}"));
        match held.map_err(|_| silent())? {
            Ok(true) => Ok(()),
            Ok(false) => Err(Refusal::Busy("another run, of this process or another,".to_owned())),
            Err(error) => Err(Refusal::LeaseUnavailable(error.to_string())),
        }
    }

    /// With the lease in hand: the world is as planned, and what comes now is written down.
    async fn last_look(&self, draft: &Draft, run: &str, record: &Record) -> Result<(), Refusal> {
        let now = looked(draft.remedy.look_again(&draft.plan.failure_mode, &draft.planned)).await?;
        if now.digest() != draft.planned.world.digest() {
            let difference = draft.planned.world.difference(&now);
            self.book().moved(&draft.plan.id, &difference);
            return Err(Refusal::WorldMoved(difference));
        }
        in_time(draft, Instant::now())?;
        self.write(Record {
            target: subject(&draft.plan),
            before: now.to_string(),
            after: words(&draft.planned.effects),
            outcome: format!("RUNNING {run}"),
            ..record.clone()
        })
        .await
    }

    fn begin(&self, who: &Identity, ask: &ExecuteRemedyRequest, draft: Draft, id: String) -> RemedyRun {
        let monitor = self.0.monitor.upgrade();
        let drill_id = monitor.as_ref().and_then(|monitor| monitor.status(&draft.plan.failure_mode)).map(|mode| mode.drill_id);
        let run = RemedyRun {
            id,
            plan: Some(draft.plan.clone()),
            outcome: Outcome::Running.into(),
            started_by: who.name.clone(),
            started_at: Some(Moment::now().wall.into()),
            drill_id: drill_id.unwrap_or_default(),
            ..RemedyRun::default()
        };
        let held = Held {
            draft,
            run: run.clone(),
            key: ask.idempotency_key.clone(),
            running: Arc::new(Running::of(&who.name, &ask.reason)),
            aborted: CancellationToken::new(),
            aborted_by: String::new(),
            ended: None,
            undo_until: None,
        };
        self.book().begin(held.clone());
        if let Some(monitor) = monitor {
            monitor.show_run(run.clone());
        }
        let desk = self.clone();
        self.0.tasks.spawn(async move { desk.work(held).await });
        run
    }
}

/// A look at the world, bounded.
async fn looked<T>(look: impl Future<Output = Result<T, RemedyError>>) -> Result<T, Refusal> {
    match timeout(PATIENCE, look).await {
        Ok(Ok(seen)) => Ok(seen),
        Ok(Err(RemedyError::NotNow(why))) => Err(Refusal::Unavailable(why)),
        Ok(Err(error)) => Err(Refusal::PlanningFailed(error.to_string())),
        Err(_) => Err(Refusal::PlanningFailed(format!("no answer within {PATIENCE:?}"))),
    }
}

pub(super) fn within(field: &'static str, text: &str, characters: usize) -> Result<(), Refusal> {
    if text.chars().count() <= characters {
        return Ok(());
    }
    Err(Refusal::Invalid { field, problem: format!("is longer than {characters} characters") })
}

/// What a plan is about, for the audit.
pub(super) fn subject(plan: &RemedyPlan) -> String {
    format!("{} {} {}", plan.failure_mode, plan.key, plan.target)
}

/// What a caller sent, cut to what an entry has room for.
pub(super) fn shortened(text: &str) -> String {
    text.chars().take(LONGEST_TARGET).collect()
}

/// Effects in words, for the audit.
pub(super) fn words(effects: &[Effect]) -> String {
    effects.iter().map(|effect| format!("{} {}", effect.count, effect.text)).collect::<Vec<_>>().join("; ")
}
