//! No sequence of calls executes a remedy without a plan and its text of confirmation.

use crate::bench::{Bench, alice, bob, seconds};
use loadline_proto::health::RemedyPlan;
use proptest::{collection::vec, prelude::*};
use std::{collections::HashSet, sync::atomic::Ordering::SeqCst};
use tokio::time::{Instant, sleep};

#[derive(Debug, Clone)]
enum Call {
    Plan { key: &'static str },
    Execute { plan: usize, confirm: Confirm, key: u8, by_bob: bool },
    Abort { run: usize },
    Undo { run: usize },
    Wait { seconds: u64 },
    Move,
    AuditDown(bool),
    LeasesDown(bool),
}

#[derive(Debug, Clone)]
enum Confirm {
    Right,
    Other(&'static str),
}

fn call() -> impl Strategy<Value = Call> {
    let confirm = prop_oneof![
        6 => Just(Confirm::Right),
        1 => prop_oneof![Just("y"), Just(""), Just("12"), Just("13"), Just("Y")].prop_map(Confirm::Other),
    ];
    prop_oneof![
        4 => prop_oneof![Just("K"), Just("D")].prop_map(|key| Call::Plan { key }),
        6 => (0..4_usize, confirm, 0..6_u8, any::<bool>())
            .prop_map(|(plan, confirm, key, by_bob)| Call::Execute { plan, confirm, key, by_bob }),
        1 => (0..3_usize).prop_map(|run| Call::Abort { run }),
        1 => (0..3_usize).prop_map(|run| Call::Undo { run }),
        3 => prop_oneof![Just(1), Just(5), Just(12), Just(31), Just(80)].prop_map(|seconds| Call::Wait { seconds }),
        1 => Just(Call::Move),
        1 => any::<bool>().prop_map(Call::AuditDown),
        1 => any::<bool>().prop_map(Call::LeasesDown),
    ]
}

/// What the caller knows.
#[derive(Default)]
struct Seen {
    plans: Vec<(RemedyPlan, Instant, u64)>,
    runs: Vec<String>,
    executed: HashSet<String>,
}

async fn play(calls: Vec<Call>) -> Result<(), TestCaseError> {
    let bench = Bench::new().await;
    bench.toy.helps.store(false, SeqCst);
    bench.risky.helps.store(false, SeqCst);
    let mut seen = Seen::default();
    for call in calls {
        let before = bench.executions();
        let may = step(&bench, &mut seen, &call).await?;
        // Time for what should not have begun to show.
        sleep(seconds(1) / 4).await;
        let begun = bench.executions() - before;
        prop_assert!(begun <= usize::from(may), "{call:?} began {begun} executions");
        let audited = bench.audit.story().iter().filter(|entry| *entry == "remedy.execute RUNNING").count();
        prop_assert_eq!(bench.executions(), audited, "each is written down");
    }
    bench.desk.stop().await;
    Ok(())
}

/// Makes a call; true when it may execute.
async fn step(bench: &Bench, seen: &mut Seen, call: &Call) -> Result<bool, TestCaseError> {
    match call {
        Call::Plan { key } => {
            let letters = bench.toy.letters.load(SeqCst);
            if let Ok(plan) = bench.plan_of(&alice(), key, "").await {
                seen.plans.push((plan, Instant::now(), letters));
            }
        }
        Call::Execute { plan, confirm, key, by_bob } => return execute(bench, seen, (*plan, confirm, *key), *by_bob).await,
        Call::Abort { run } => {
            let id = seen.runs.iter().rev().nth(*run).cloned().unwrap_or_else(|| "made up".to_owned());
            let _ = bench.abort(&id).await;
        }
        Call::Undo { run } => {
            let id = seen.runs.iter().rev().nth(*run).cloned().unwrap_or_else(|| "made up".to_owned());
            let _ = bench.undo(&id).await;
        }
        Call::Wait { seconds } => sleep(std::time::Duration::from_secs(*seconds)).await,
        Call::Move => {
            bench.toy.letters.fetch_add(1, SeqCst);
            bench.risky.letters.fetch_add(1, SeqCst);
        }
        Call::AuditDown(down) => bench.audit.is_down.store(*down, SeqCst),
        Call::LeasesDown(down) => bench.leases.is_down.store(*down, SeqCst),
    }
    Ok(false)
}

async fn execute(
    bench: &Bench,
    seen: &mut Seen,
    (plan, confirm, key): (usize, &Confirm, u8),
    by_bob: bool,
) -> Result<bool, TestCaseError> {
    let known = seen.plans.iter().rev().nth(plan).cloned();
    let id = known.as_ref().map_or("made up", |(plan, ..)| &plan.id).to_owned();
    let right = known.as_ref().map_or("y", |(plan, ..)| &plan.confirm).to_owned();
    let text = match confirm {
        Confirm::Right => right.clone(),
        Confirm::Other(text) => (*text).to_owned(),
    };
    let who = if by_bob { bob() } else { alice() };
    let answer = bench.execute_as(&who, &id, &text, &format!("key {key}")).await;
    let Ok(run) = answer else { return Ok(false) };
    let is_new = !seen.runs.contains(&run.id);
    if is_new {
        let (plan, at, letters) = known.expect("a run of a plan that was made");
        prop_assert_eq!(&text, &plan.confirm);
        prop_assert!(at.elapsed() < seconds(30), "the plan was {:?} old", at.elapsed());
        prop_assert_eq!(letters, bench.toy.letters.load(SeqCst), "the world has moved");
        prop_assert!(!bench.audit.is_down.load(SeqCst) && !bench.leases.is_down.load(SeqCst));
        prop_assert!(seen.executed.insert(plan.id), "a plan was executed twice");
        seen.runs.push(run.id);
    }
    Ok(is_new)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_sequence_of_calls_executes_without_a_plan_and_its_text(calls in vec(call(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(play(calls))?;
    }
}
