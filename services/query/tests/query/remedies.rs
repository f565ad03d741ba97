//! I: statistics are refreshed, and the mode closes by its own readings.

use crate::{
    operator::{DONE, Operator, until},
    world::{MINUTE, Published as _, World, bill, noon},
};
use loadline_health::{Monitor, Reading};
use loadline_proto::health::{State, remedy_run::Outcome};
use loadline_query::{ACCESS, Query, detect::DETECTS, remedies};
use loadline_runtime::{Shutdown, errors::reason};
use loadline_store::AnsweringTable;
use std::time::Duration;
use tonic::service::RoutesBuilder;

async fn slow_questions_get_fresh_statistics(world: World) {
    let bills = (0..25).map(|id| bill(&format!("bill {id}"), noon().minus(MINUTE * (id * 60))).event());
    world.count(bills).await;
    let shutdown = Shutdown::new();
    let query = Query::new(world.parts(&shutdown));
    let monitor = Monitor::new("query", "test", DETECTS).unwrap();
    monitor.wait_at_most(Duration::from_secs(4));
    remedies::install(&monitor, &query, vec![]);
    let operator = Operator::at(&monitor, ACCESS, RoutesBuilder::default(), world.store.clone()).await;
    // What the detector says of a slow minute; a real one would take as long.
    monitor.observe("AN-06", Reading::bad(900.0, "30 answers in the last minute"));
    operator.sees("AN-06", State::Suspect).await;

    let (refusal, why) = operator.refused("AN-06", "I", "job_run").await;
    assert!(refusal == "REMEDY_UNAVAILABLE" && why.contains("usage_hourly"), "{why}");
    let stale = operator.plan("AN-06", "I", "usage_hourly").await.unwrap();
    assert_eq!((stale.confirm.as_str(), stale.effects.len()), ("y", 1));
    assert_eq!(reason(&operator.confirm(&stale, "1").await.unwrap_err()).as_deref(), Some("WRONG_CONFIRM"));
    world.store.refresh_statistics(AnsweringTable::UsageHourly).await.unwrap();
    let moved = operator.execute(&stale).await.unwrap_err();
    assert!(reason(&moved).as_deref() == Some("WORLD_MOVED") && moved.message().contains("usage_hourly was"), "{moved:?}");

    // More rows than were counted.
    world.count((25..40).map(|id| bill(&format!("bill {id}"), noon().minus(MINUTE * (id * 60))).event())).await;
    let plan = operator.plan("AN-06", "I", "").await.unwrap();
    assert_eq!((plan.target.as_str(), plan.effects.len(), plan.effects[0].count), ("all tables", 5, 25), "{plan:?}");
    let run = operator.execute(&plan).await.unwrap();
    until("the verification", async || operator.run(&run).await.outcome() == Outcome::Verifying).await;
    let believed = world.store.believed().await.unwrap();
    assert_eq!(believed[0].rows, Some(40), "{believed:?}");
    let good = async || {
        monitor.observe("AN-06", Reading::good(3.0, "30 answers in the last minute"));
        tokio::time::sleep(Duration::from_millis(450)).await;
        operator.run(&run).await.outcome() != Outcome::Verifying
    };
    until("good readings long enough", good).await;
    let ended = operator.ends(&run, Outcome::Verified).await;
    assert_eq!((ended.actual.len(), ended.done, ended.total), (5, 5, 5), "{ended:?}");
    let story = operator.story("I").await;
    assert_eq!(story[story.len() - 3..], DONE, "{story:?}");
    shutdown.begin();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_questions_get_fresh_statistics_on_sqlite() {
    slow_questions_get_fresh_statistics(World::new().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_questions_get_fresh_statistics_on_postgres() {
    slow_questions_get_fresh_statistics(World::on_postgres().await).await;
}
