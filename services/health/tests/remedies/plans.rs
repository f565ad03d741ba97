//! What a plan says, who sees it, and when there is none.

use crate::bench::{Bench, MODE, alice, bob, person, seconds};
use loadline_health::{
    Desk, DeskError, Monitor, Remedy,
    desk::{Parts, Refusal},
    remedy::Reversibility as Kind,
};
use loadline_proto::health::{Reversibility, State};
use loadline_runtime::identity::Role;
use std::sync::{Arc, atomic::Ordering::SeqCst};
use tokio::time::sleep;

#[tokio::test(start_paused = true)]
async fn a_plan_says_what_it_would_do_and_does_nothing() {
    let bench = Bench::new().await;
    let plan = bench.plan_of(&alice(), "K", "").await.unwrap();
    assert_eq!((plan.failure_mode.as_str(), plan.key.as_str(), plan.target.as_str()), (MODE, "K", "BILLING"));
    assert_eq!((plan.effects[0].text.as_str(), plan.effects[0].count), ("letters judged again", 12));
    assert_eq!((plan.confirm.as_str(), plan.count, plan.reversibility()), ("y", 0, Reversibility::Undoable));
    assert_eq!((plan.undo_within.unwrap().seconds, plan.expected.unwrap().seconds), (300, 3));
    assert_eq!((plan.planned_by.as_str(), plan.reason.as_str()), ("alice", "it stopped"));
    assert_eq!(plan.expires_at.unwrap().seconds - plan.planned_at.unwrap().seconds, 30);
    sleep(seconds(5)).await;
    assert_eq!((bench.executions(), bench.mode().state()), (0, State::Open));
}

#[tokio::test(start_paused = true)]
async fn what_can_lose_something_asks_for_its_count() {
    let bench = Bench::new().await;
    let plan = bench.plan_of(&alice(), "D", "").await.unwrap();
    assert_eq!((plan.confirm.as_str(), plan.count, plan.reversibility()), ("12", 12, Reversibility::LossPossible));
    assert_eq!(plan.undo_within, None);
}

#[tokio::test(start_paused = true)]
async fn equal_worlds_have_equal_digests_and_others_do_not() {
    let bench = Bench::new().await;
    let (one, two) = (bench.plan().await, bench.plan().await);
    bench.toy.letters.store(13, SeqCst);
    let three = bench.plan().await;
    assert_eq!(one.world, two.world);
    assert_ne!(one.world, three.world);
    assert_ne!(one.id, two.id);
}

#[tokio::test(start_paused = true)]
async fn two_operators_see_each_other_arm_until_the_plans_expire() {
    let bench = Bench::new().await;
    let (one, two) = (bench.plan_of(&alice(), "K", "").await.unwrap(), bench.plan_of(&bob(), "D", "").await.unwrap());
    assert_eq!(bench.snapshot().await.armed.unwrap().plans, [one.clone(), two]);
    bench.execute(&one).await.unwrap();
    let armed = bench.snapshot().await.armed.unwrap().plans;
    assert_eq!(armed.iter().map(|plan| plan.planned_by.as_str()).collect::<Vec<_>>(), ["bob"]);
    sleep(seconds(31)).await;
    assert_eq!(bench.snapshot().await.armed.unwrap().plans, []);
}

#[tokio::test(start_paused = true)]
async fn no_more_plans_wait_than_operators_can_have_in_mind() {
    let bench = Bench::new().await;
    for _ in 0..64 {
        bench.plan().await;
    }
    assert_eq!(bench.plan_of(&alice(), "K", "").await.unwrap_err().reason(), "TOO_MANY_PLANS");
    sleep(seconds(30)).await;
    bench.plan().await;
}

#[tokio::test(start_paused = true)]
async fn a_mode_offers_its_remedies_and_why_one_cannot_be_planned() {
    let bench = Bench::new().await;
    let offers =
        |bench: &Bench| bench.mode().remedies.into_iter().map(|offer| (offer.key, offer.unavailable)).collect::<Vec<_>>();
    bench.snapshot().await;
    assert_eq!(offers(&bench), [("K".to_owned(), String::new()), ("D".to_owned(), String::new())]);
    *bench.toy.unavailable.lock().unwrap() = Some("nothing is stopped".to_owned());
    bench.snapshot().await;
    assert_eq!(offers(&bench)[0].1, "nothing is stopped");
    let refused = bench.plan_of(&alice(), "K", "").await.unwrap_err();
    assert_eq!(refused, Refusal::Unavailable("nothing is stopped".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn there_is_no_plan_for_what_is_not_there() {
    let bench = Bench::new().await;
    assert_eq!(bench.plan_of(&alice(), "C", "").await.unwrap_err().reason(), "NOT_FOUND");
    assert_eq!(bench.plan_of(&alice(), "K", "NOWHERE").await.unwrap_err().reason(), "REMEDY_UNAVAILABLE");
    assert_eq!(bench.plan_of(&alice(), "K", &"x".repeat(1_001)).await.unwrap_err().reason(), "INVALID_FIELD");
    assert_eq!(bench.plan_of(&person("billing", Role::Service), "K", "").await.unwrap_err().reason(), "ACCESS_DENIED");
    assert_eq!(bench.snapshot().await.armed.unwrap().plans, []);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_planned_for_a_mode_that_cannot_be_seen() {
    let bench = Bench::new().await;
    bench.blind().await;
    assert_eq!(bench.plan_of(&alice(), "K", "").await.unwrap_err().reason(), "TARGET_BLIND");
    bench.snapshot().await;
    assert!(bench.mode().remedies.iter().all(|offer| offer.unavailable.contains("cannot be seen")));
}

#[tokio::test(start_paused = true)]
async fn a_desk_takes_only_remedies_that_the_catalogue_gives_its_modes() {
    let bench = Bench::new().await;
    let install = |monitor: &Monitor, remedies: Vec<Arc<dyn Remedy>>| {
        let (audit, leases, conservation) = (bench.audit.clone(), bench.leases.clone(), bench.sums.clone());
        Desk::install(monitor, Parts { remedies, audit, leases, conservation }).map(drop)
    };
    let named = |mode: &str, key: &str| (mode.to_owned(), key.to_owned());
    let fresh = || Monitor::new("ingest", "test", &[MODE]).unwrap();
    let (mode, key) = named(MODE, "P");
    assert_eq!(install(&fresh(), vec![crate::bench::toy("P", Kind::Safe, None)]), Err(DeskError::NotInCatalogue { mode, key }));
    let (mode, key) = named(MODE, "K");
    assert_eq!(install(&fresh(), vec![bench.toy.clone(), bench.toy.clone()]), Err(DeskError::Twice { mode, key }));
    let elsewhere = Monitor::new("ingest", "test", &["AN-02"]).unwrap();
    let (mode, key) = named(MODE, "K");
    assert_eq!(install(&elsewhere, vec![bench.toy.clone()]), Err(DeskError::NotDetected { mode, key }));
    assert_eq!(install(&bench.monitor, vec![bench.toy.clone()]), Err(DeskError::HasOne));
}
