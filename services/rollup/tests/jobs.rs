//! Jobs and their leader over an embedded store and history.

#![allow(clippy::unwrap_used)]

mod world;

use async_trait::async_trait;
use loadline_domain::{
    AccountId, AccountScope, Hour, Timestamp,
    archive::{Part, Totals},
    event::Currency,
    question::{LatencyRow, UsageFilter, UsageQuery, UsageRow},
    usage::Usage,
};
use loadline_history::{History, HistoryError, PartWriter};
use loadline_rollup::{job::Job, leader::Scheduled, schedule::Schedule};
use loadline_settings::JobSettings;
use loadline_store::{
    RunFilter, RunState,
    contract::{Owner, billing},
};
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};
use tokio::time::sleep;
use world::{Brief, Endless, Leading, World, noon, ten_days};

#[tokio::test]
async fn old_days_are_whole_in_history_and_gone_from_the_store() {
    let world = World::new().await;
    ten_days(&world).await;
    let leading = Leading::start(world.leader("one", world.jobs()));
    let run = world.ended(&world.enqueue("archive", "a").await).await;
    assert_eq!(run.state, RunState::Succeeded, "{run:?}");
    assert_eq!(world.events("acme").await, (40, 60));
    let result: Value = serde_json::from_str(run.result.as_deref().unwrap()).unwrap();
    assert_eq!((&result["days"], &result["events"], &result["left"]), (&json!(6), &json!(60), &json!(0)));
    let conservation = world.store.conservation().await.unwrap();
    assert_eq!(conservation.counted, conservation.usage_events);
    let again = world.ended(&world.enqueue("archive", "b").await).await;
    assert_eq!(again.state, RunState::Succeeded, "{again:?}");
    assert_eq!(world.events("acme").await, (40, 60));
    leading.stop().await;
}

#[tokio::test]
async fn days_are_rolled_up_and_dedup_tables_made_and_dropped() {
    let world = World::new().await;
    ten_days(&world).await;
    let leading = Leading::start(world.leader("one", world.jobs()));
    let rolled = world.ended(&world.enqueue("daily_rollup", "a").await).await;
    assert_eq!((rolled.state, rolled.progress.done), (RunState::Succeeded, 10), "{rolled:?}");
    assert_eq!(world.store.dirty().await.unwrap().account_days, 0);
    let purged = world.ended(&world.enqueue("purge_dedup", "a").await).await;
    let result: Value = serde_json::from_str(purged.result.as_deref().unwrap()).unwrap();
    // The log has nothing: it is counted to its end, and tables of days 48 hours past are not needed any more.
    assert!(result["dropped"].as_u64() >= Some(6) && result["made"].as_u64() >= Some(3), "{result}");
    let retained = world.ended(&world.enqueue("retention", "a").await).await;
    assert_eq!(retained.state, RunState::Succeeded, "{retained:?}");
    leading.stop().await;
}

#[tokio::test]
async fn a_late_event_while_a_day_is_written_makes_it_written_again() {
    let meddled = Arc::new(Mutex::new(None::<Owner>));
    let tries = Arc::new(AtomicU32::new(0));
    let (owner, counted) = (meddled.clone(), tries.clone());
    let world = World::over(move |history| Arc::new(Meddler { history, owner, tries: counted })).await;
    ten_days(&world).await;
    *meddled.lock().unwrap() = Some(Owner::of(&world.store, "BILLING").await);
    let leading = Leading::start(world.leader("one", world.jobs()));
    let run = world.ended(&world.enqueue("archive", "a").await).await;
    assert_eq!(run.state, RunState::Succeeded, "{run:?}");
    assert_eq!(world.events("acme").await, (40, 61), "the late event is in history, once");
    assert_eq!(tries.load(Ordering::SeqCst), 7, "six days, and one of them twice");
    leading.stop().await;
}

#[tokio::test]
async fn a_run_whose_leader_died_is_done_again_by_the_next_one() {
    let world = World::new().await;
    let stuck: Vec<Scheduled> = vec![Scheduled { job: Arc::new(Endless), schedule: None }];
    let first = Leading::start(world.leader("one", stuck));
    let run = world.enqueue("endless", "a").await;
    while world.store.job_run(run.id).await.unwrap().unwrap().state != RunState::Running {
        sleep(Duration::from_millis(50)).await;
    }
    first.die();
    let second = Leading::start(world.leader("two", vec![Scheduled { job: Arc::new(Brief), schedule: None }]));
    assert_eq!(world.ended(&run).await.state, RunState::Interrupted);
    let again = world.store.job_runs(&RunFilter::default(), None, 10).await.unwrap().remove(0);
    assert_eq!((again.asked.attempt, again.asked.idempotency_key), (2, format!("again:{}", run.id)));
    assert_eq!(world.ended(&world.store.job_run(again.id).await.unwrap().unwrap()).await.state, RunState::Succeeded);
    second.stop().await;
}

#[tokio::test]
async fn a_run_that_is_cancelled_ends_between_two_steps() {
    let world = World::new().await;
    let leading = Leading::start(world.leader("one", vec![Scheduled { job: Arc::new(Endless), schedule: None }]));
    let run = world.enqueue("endless", "a").await;
    while world.store.job_run(run.id).await.unwrap().unwrap().progress.done < 2 {
        sleep(Duration::from_millis(50)).await;
    }
    world.store.request_cancel(run.id).await.unwrap().unwrap();
    assert_eq!(world.ended(&run).await.state, RunState::Cancelled);
    leading.stop().await;
}

#[tokio::test]
async fn a_time_of_a_schedule_is_run_once_whoever_leads() {
    let world = World::new().await;
    let jobs = || {
        let settings = JobSettings { schedule: "*/5 * * * *".to_owned(), ..JobSettings::default() };
        vec![Scheduled { job: Arc::new(Brief) as Arc<dyn Job>, schedule: Schedule::of(&settings, "UTC").unwrap() }]
    };
    let first = Leading::start(world.leader("one", jobs()));
    sleep(Duration::from_millis(800)).await;
    world.clock.0.store(noon().plus(Duration::from_secs(5 * 60 + 1)).micros(), Ordering::SeqCst);
    let runs = || async { world.store.job_runs(&RunFilter::default(), None, 10).await.unwrap() };
    while !runs().await.first().is_some_and(|run| run.state.is_final()) {
        sleep(Duration::from_millis(50)).await;
    }
    first.stop().await;
    let second = Leading::start(world.leader("two", jobs()));
    sleep(Duration::from_millis(1_500)).await;
    let runs = runs().await;
    assert_eq!(runs.len(), 1, "{runs:?}");
    assert_eq!(runs[0].asked.scheduled_for, Some(noon().plus(Duration::from_secs(5 * 60))));
    second.stop().await;
}

/// Counts a late event of a day whose part was just written, once.
struct Meddler {
    history: Arc<dyn History>,
    owner: Arc<Mutex<Option<Owner>>>,
    tries: Arc<AtomicU32>,
}

#[async_trait]
impl History for Meddler {
    async fn prepare(&self) -> Result<(), HistoryError> {
        self.history.prepare().await
    }

    async fn probe(&self) -> Result<(), HistoryError> {
        self.history.probe().await
    }

    async fn begin(&self, part: &Part) -> Result<Box<dyn PartWriter>, HistoryError> {
        self.tries.fetch_add(1, Ordering::SeqCst);
        self.history.begin(part).await
    }

    async fn totals(&self, part: &Part) -> Result<Totals, HistoryError> {
        let owner = self.owner.lock().unwrap().take();
        if let Some(mut owner) = owner {
            let at = part.day.start().plus(Duration::from_secs(3_600));
            owner.count_at(at, &[billing("late", "acme", at)]).await;
        }
        self.history.totals(part).await
    }

    async fn usage(&self, scope: &AccountScope, parts: &[Part], query: &UsageQuery) -> Result<Vec<UsageRow>, HistoryError> {
        self.history.usage(scope, parts, query).await
    }

    async fn delivery(
        &self,
        scope: &AccountScope,
        parts: &[Part],
        query: &UsageQuery,
    ) -> Result<(Vec<UsageRow>, Vec<LatencyRow>), HistoryError> {
        self.history.delivery(scope, parts, query).await
    }

    async fn account_totals(
        &self,
        scope: &AccountScope,
        parts: &[Part],
        from: Hour,
        to: Hour,
        filter: &UsageFilter,
    ) -> Result<HashMap<(AccountId, Currency), Usage>, HistoryError> {
        self.history.account_totals(scope, parts, from, to, filter).await
    }

    async fn compact(&self, parts: &[Part]) -> Result<u64, HistoryError> {
        self.history.compact(parts).await
    }

    async fn sweep(&self, keep: &[Part], older_than: Timestamp) -> Result<u64, HistoryError> {
        self.history.sweep(keep, older_than).await
    }

    fn caveats(&self) -> Vec<String> {
        self.history.caveats()
    }
}
