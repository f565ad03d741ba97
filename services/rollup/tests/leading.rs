//! Leaders that step down, die or lose the store, and clocks that jump.

#![allow(clippy::unwrap_used)]

mod world;

use async_trait::async_trait;
use loadline_domain::Timestamp;
use loadline_event_log::LogError;
use loadline_rollup::{
    job::{Job, JobError, Running},
    leader::{ROLE, Scheduled},
    schedule::Schedule,
};
use loadline_settings::JobSettings;
use loadline_store::{JobRun, RunFilter, RunState, StoreError};
use serde_json::{Value, json};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};
use tokio::time::sleep;
use world::{Brief, DAY, Endless, Leading, TTL, World, noon};

const MINUTE: Duration = Duration::from_secs(60);
/// Two looks of a leader at its schedules, and some.
const LOOKS: Duration = Duration::from_millis(1_300);

fn on_request(job: impl Job + 'static) -> Vec<Scheduled> {
    vec![Scheduled { job: Arc::new(job), schedule: None }]
}

fn every_five_minutes() -> Vec<Scheduled> {
    let settings = JobSettings { schedule: "*/5 * * * *".to_owned(), ..JobSettings::default() };
    vec![Scheduled { job: Arc::new(Brief), schedule: Schedule::of(&settings, "UTC").unwrap() }]
}

impl World {
    fn set(&self, time: Timestamp) {
        self.clock.0.store(time.micros(), Ordering::SeqCst);
    }

    /// Times that were run, the latest first.
    async fn fired(&self) -> Vec<Timestamp> {
        let runs = self.store.job_runs(&RunFilter::default(), None, 100).await.unwrap();
        runs.iter().filter_map(|run| run.asked.scheduled_for).collect()
    }

    async fn running(&self, run: &JobRun) {
        while self.store.job_run(run.id).await.unwrap().unwrap().state != RunState::Running {
            sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test]
async fn a_run_left_by_leaders_that_step_down_is_gone_on_with_and_never_given_up() {
    let world = World::new().await;
    let run = world.enqueue("endless", "a").await;
    // More often than a run may be lost.
    for _ in 0..7 {
        let leading = Leading::start(world.leader("one", on_request(Endless)));
        world.running(&run).await;
        leading.stop().await;
        let left = world.store.job_run(run.id).await.unwrap().unwrap();
        assert_eq!((left.state, left.asked.attempt), (RunState::Queued, 1), "{left:?}");
    }
    let last = Leading::start(world.leader("two", on_request(Brief)));
    let ended = world.ended(&run).await;
    assert_eq!((ended.state, ended.asked.attempt), (RunState::Succeeded, 1), "{ended:?}");
    last.stop().await;
}

#[tokio::test]
async fn a_run_lost_with_its_process_again_and_again_is_given_up() {
    let world = World::new().await;
    world.enqueue("endless", "a").await;
    let newest = || async { world.store.job_runs(&RunFilter::default(), None, 1).await.unwrap().remove(0) };
    for attempt in 1..=5 {
        let leading = Leading::start(world.leader("one", on_request(Endless)));
        while newest().await.asked.attempt < attempt {
            sleep(Duration::from_millis(20)).await;
        }
        world.running(&newest().await).await;
        leading.die();
    }
    let leading = Leading::start(world.leader("one", on_request(Brief)));
    sleep(LOOKS).await;
    let last = newest().await;
    assert_eq!((last.asked.attempt, last.state), (5, RunState::Interrupted), "{last:?}");
    leading.stop().await;
}

/// Loses the store so many times before it ends well.
struct Unlucky {
    times: u32,
    tries: Arc<AtomicU32>,
}

#[async_trait]
impl Job for Unlucky {
    fn name(&self) -> &'static str {
        "unlucky"
    }

    fn description(&self) -> &'static str {
        "Loses the store."
    }

    fn check(&self, _: &Value) -> Result<(), String> {
        Ok(())
    }

    async fn run(&self, _: &Running) -> Result<Value, JobError> {
        match self.tries.fetch_add(1, Ordering::SeqCst) {
            tries if tries >= self.times => Ok(json!({})),
            0 => Err(StoreError::Unknown("cut at the commit".to_owned()).into()),
            1 => Err(LogError::Unavailable("refused".to_owned()).into()),
            _ => Err(StoreError::Unavailable("refused".to_owned()).into()),
        }
    }
}

#[tokio::test]
async fn a_run_that_lost_the_store_goes_on_when_it_is_back_and_not_for_ever() {
    let world = World::new().await;
    for (times, state, tries) in [(2, RunState::Succeeded, 3), (9, RunState::Failed, 5)] {
        let counted = Arc::new(AtomicU32::new(0));
        let leading = Leading::start(world.leader("one", on_request(Unlucky { times, tries: counted.clone() })));
        let ended = world.ended(&world.enqueue("unlucky", &times.to_string()).await).await;
        assert_eq!((ended.state, ended.asked.attempt, counted.load(Ordering::SeqCst)), (state, 1, tries), "{ended:?}");
        leading.stop().await;
    }
}

struct Panics;

#[async_trait]
impl Job for Panics {
    fn name(&self) -> &'static str {
        "panics"
    }

    fn description(&self) -> &'static str {
        "Has a bug."
    }

    fn check(&self, _: &Value) -> Result<(), String> {
        Ok(())
    }

    async fn run(&self, _: &Running) -> Result<Value, JobError> {
        panic!("a bug");
    }
}

#[tokio::test]
async fn a_run_that_panics_has_failed_and_holds_up_no_other() {
    let world = World::new().await;
    let leading = Leading::start(world.leader("one", on_request(Panics)));
    for key in ["a", "b"] {
        let ended = world.ended(&world.enqueue("panics", key).await).await;
        assert_eq!((ended.state, ended.error.as_deref()), (RunState::Failed, Some("it panicked: a bug")));
    }
    leading.stop().await;
}

#[tokio::test]
async fn a_leader_whose_clock_stands_still_keeps_leading() {
    let world = World::new().await;
    let first = Leading::start(world.leader("one", on_request(Brief)));
    sleep(LOOKS).await;
    let second = Leading::start(world.leader("two", on_request(Brief)));
    sleep(TTL * 2).await;
    let leaders = world.store.leaders().await.unwrap();
    assert_eq!(leaders.len(), 1, "nobody leads");
    assert_eq!((leaders[0].role.as_str(), leaders[0].holder.as_str(), leaders[0].epoch), (ROLE, "one", 1));
    second.stop().await;
    first.stop().await;
}

#[tokio::test]
async fn a_clock_that_jumps_a_day_ahead_makes_up_for_one_time_and_set_back_runs_none_twice() {
    let world = World::new().await;
    let leading = Leading::start(world.leader("one", every_five_minutes()));
    sleep(LOOKS).await;
    assert_eq!(world.fired().await, []);
    let ahead = noon().plus(DAY + MINUTE * 3);
    world.set(ahead);
    sleep(LOOKS).await;
    let tomorrow = noon().plus(DAY);
    assert_eq!(world.fired().await, [tomorrow], "the latest of 288");
    // Set back to what it should have been: nothing is due until the next time of the schedule, and then it is.
    world.set(noon().plus(MINUTE * 3));
    sleep(LOOKS).await;
    assert_eq!(world.fired().await, [tomorrow]);
    world.set(noon().plus(MINUTE * 5));
    sleep(LOOKS).await;
    assert_eq!(world.fired().await, [noon().plus(MINUTE * 5), tomorrow]);
    // A day later that time comes again, and has been run.
    world.set(ahead);
    sleep(LOOKS).await;
    assert_eq!(world.fired().await, [noon().plus(MINUTE * 5), tomorrow]);
    world.set(noon().plus(DAY + MINUTE * 5));
    sleep(LOOKS).await;
    assert_eq!(world.fired().await[0], noon().plus(DAY + MINUTE * 5));
    leading.stop().await;
}

#[tokio::test]
async fn a_leader_that_began_under_a_clock_ahead_follows_it_back() {
    let world = World::new().await;
    world.set(noon().plus(DAY));
    let leading = Leading::start(world.leader("one", every_five_minutes()));
    sleep(LOOKS).await;
    world.set(noon().plus(MINUTE));
    sleep(LOOKS).await;
    assert_eq!(world.fired().await, []);
    world.set(noon().plus(MINUTE * 6));
    sleep(LOOKS).await;
    assert_eq!(world.fired().await, [noon().plus(MINUTE * 5)]);
    leading.stop().await;
}
