//! Jobs and their leader over an embedded store and history.

#![allow(clippy::unwrap_used)]

mod world;

use async_trait::async_trait;
use loadline_domain::{
    StreamName,
    archive::{Part, Totals},
};
use loadline_event_log::{NewRecord, Retention, StreamSpec};
use loadline_rollup::{job::Job, leader::Scheduled, schedule::Schedule};
use loadline_settings::JobSettings;
use loadline_store::{
    RunFilter, RunState,
    contract::{Owner, billing},
};
use serde_json::{Value, json};
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};
use tokio::time::sleep;
use world::{
    Brief, DAY, Endless, Leading, World, noon, ten_days,
    watched::{Eye, Watched},
};

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

/// Two stores are given one history: a copied configuration, or an empty store where another one was.
#[tokio::test]
async fn history_of_another_store_is_neither_written_nor_tidied() {
    let first = World::new().await;
    ten_days(&first).await;
    let leading = Leading::start(first.leader("one", first.jobs()));
    assert_eq!(first.ended(&first.enqueue("archive", "a").await).await.state, RunState::Succeeded);
    let mut other = World::over(|_| first.parts.history.clone()).await;
    let tidied = async |other: &World, key: &str| other.ended(&other.enqueue("tidy_history", key).await).await;
    ten_days(&other).await;
    let stranger = Leading::start(other.leader("two", other.jobs()));
    let refused = other.ended(&other.enqueue("archive", "a").await).await;
    assert!(refused.state == RunState::Failed && refused.error.unwrap().contains("history belongs to the store"));
    let tidy = tidied(&other, "a").await;
    assert_eq!((tidy.state, tidy.result.as_deref()), (RunState::Succeeded, Some(r#"{"merged":0,"swept":0}"#)));
    stranger.stop().await;
    // It has days in a history of its own, and is pointed to that of the first.
    let own = tempfile::tempdir().unwrap();
    let url = format!("file:{}", own.path().display());
    other.parts.history = loadline_history::open(&url, loadline_history::Options::default()).unwrap();
    let stranger = Leading::start(other.leader("three", other.jobs()));
    assert_eq!(other.ended(&other.enqueue("archive", "b").await).await.state, RunState::Succeeded);
    stranger.stop().await;
    other.parts.history = first.parts.history.clone();
    let stranger = Leading::start(other.leader("four", other.jobs()));
    let tidy = tidied(&other, "b").await;
    assert!(tidy.state == RunState::Failed && tidy.error.unwrap().contains("it is another history"));
    assert_eq!(first.events("acme").await, (40, 60));
    stranger.stop().await;
    leading.stop().await;
}

/// A clock that is days ahead says that horizons have passed which by the log's clock have not.
#[tokio::test]
async fn a_clock_ahead_drops_no_dedup_table_that_the_log_still_needs() {
    let dropped = async |ahead: u32| {
        let world = World::new().await;
        ten_days(&world).await;
        world.clock.0.store(noon().plus(DAY * ahead).micros(), Ordering::SeqCst);
        let leading = Leading::start(world.leader("one", world.jobs()));
        let purged = world.ended(&world.enqueue("purge_dedup", "a").await).await;
        leading.stop().await;
        let result: Value = serde_json::from_str(purged.result.as_deref().unwrap()).unwrap();
        result["dropped"].as_u64().unwrap()
    };
    let by_the_right_clock = dropped(0).await;
    assert!(by_the_right_clock > 0);
    assert_eq!(dropped(5).await, by_the_right_clock);
}

#[tokio::test]
async fn a_late_event_while_a_day_is_written_makes_it_written_again() {
    let meddler = Arc::new(Meddler { owner: Mutex::new(None), tries: AtomicU32::new(0) });
    let eye = meddler.clone();
    let world = World::over(move |history| Arc::new(Watched { history, eye })).await;
    ten_days(&world).await;
    *meddler.owner.lock().unwrap() = Some(Owner::of(&world.store, "BILLING").await);
    let leading = Leading::start(world.leader("one", world.jobs()));
    let run = world.ended(&world.enqueue("archive", "a").await).await;
    assert_eq!(run.state, RunState::Succeeded, "{run:?}");
    assert_eq!(world.events("acme").await, (40, 61), "the late event is in history, once");
    assert_eq!(meddler.tries.load(Ordering::SeqCst), 7, "six days, and one of them twice");
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
    owner: Mutex<Option<Owner>>,
    tries: AtomicU32,
}

#[async_trait]
impl Eye for Meddler {
    async fn sees(&self, end: &'static str, part: &Part) {
        self.tries.fetch_add(u32::from(end == "begin"), Ordering::SeqCst);
        let owner = if end == "count" { self.owner.lock().unwrap().take() } else { None };
        if let Some(mut owner) = owner {
            let at = part.day.start().plus(Duration::from_secs(3_600));
            owner.count_at(at, &[billing("late", "acme", at)]).await;
        }
    }
}

/// Tells of a row fewer than there is.
struct Liar;

impl Eye for Liar {
    fn tells(&self, totals: Totals) -> Totals {
        Totals { hourly_rows: totals.hourly_rows - 1, ..totals }
    }
}

#[tokio::test]
async fn a_part_that_does_not_read_back_as_it_was_written_leaves_its_day_hot() {
    let world = World::over(move |history| Arc::new(Watched { history, eye: Arc::new(Liar) })).await;
    ten_days(&world).await;
    let leading = Leading::start(world.leader("one", world.jobs()));
    let run = world.ended(&world.enqueue("archive", "a").await).await;
    assert_eq!(run.state, RunState::Failed);
    // Two days are under way at once: either may be told first.
    assert!(run.error.as_deref().unwrap().contains("history does not hold what it was given for 2026-03-0"), "{run:?}");
    assert_eq!(world.events("acme").await, (100, 0));
    leading.stop().await;
}

#[tokio::test]
async fn what_was_kept_long_enough_is_deleted_and_nothing_younger() {
    let world = World::new().await;
    let leading = Leading::start(world.leader("one", world.jobs()));
    let old = world.ended(&world.enqueue("daily_rollup", "old").await).await;
    // The last run of a job is kept whatever its age.
    world.ended(&world.enqueue("daily_rollup", "new").await).await;
    // The store's own clock dates the end of a run; thirty days from it are the default policy.
    for (days, kept) in [(29, true), (31, false)] {
        world.clock.0.store(old.finished_at.unwrap().plus(DAY * days).micros(), Ordering::SeqCst);
        let run = world.ended(&world.enqueue("retention", &days.to_string()).await).await;
        assert_eq!(run.state, RunState::Succeeded, "{run:?}");
        assert_eq!(world.store.job_run(old.id).await.unwrap().is_some(), kept, "after {days} days");
    }
    leading.stop().await;
}

#[tokio::test]
async fn more_account_days_than_one_transaction_takes_are_all_rolled_up() {
    let world = World::new().await;
    let mut owner = Owner::of(&world.store, "BILLING").await;
    // Transactions take 5,000.
    for chunk in 0..6 {
        let events: Vec<_> = (0..1_000).map(|n| billing("one", &format!("acct-{chunk}-{n}"), noon())).collect();
        owner.count_at(noon(), &events).await;
    }
    let leading = Leading::start(world.leader("one", world.jobs()));
    let run = world.ended(&world.enqueue("daily_rollup", "a").await).await;
    assert_eq!((run.state, run.progress.done), (RunState::Succeeded, 6_000), "{run:?}");
    assert_eq!(world.store.dirty().await.unwrap().account_days, 0);
    leading.stop().await;
}

#[tokio::test]
async fn keys_of_a_stream_that_is_no_longer_configured_are_kept_while_it_is_behind() {
    let mut world = World::new().await;
    let long_ago = noon().minus(DAY * 9);
    Owner::of(&world.store, "BILLING").await.count_at(long_ago, &[billing("one", "acme", long_ago)]).await;
    // Its log went on after what was counted, and whoever configures it again counts on from there.
    let name = StreamName::new("BILLING").unwrap();
    let retention = Retention { max_age: None, max_bytes: None };
    world.parts.log.ensure(&StreamSpec { name: name.clone(), subject: "billing".to_owned(), retention }).await.unwrap();
    let record = NewRecord { key: "acme".to_owned(), payload: "more".into(), traceparent: None };
    world.parts.log.append(&name, vec![record]).await.unwrap();
    world.parts.streams = vec![StreamName::new("OTHER").unwrap()];
    let leading = Leading::start(world.leader("one", world.jobs()));
    let purged = world.ended(&world.enqueue("purge_dedup", "a").await).await;
    let result: Value = serde_json::from_str(purged.result.as_deref().unwrap()).unwrap();
    assert_eq!(result["dropped"], json!(0), "{result}");
    leading.stop().await;
}
