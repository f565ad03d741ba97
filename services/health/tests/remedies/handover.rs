//! A remedy that ends the life of its own process: allowed where nothing detects its mode because it speaks for itself, and verified
//! by what comes after.

use super::bench::{Memory, Sums, Table, alice, person, seconds, toy};
use async_trait::async_trait;
use loadline_health::{
    Desk, DeskError, Monitor, Remedy, World,
    desk::{Parts, Refusal},
    remedy::{Effect, Planned, RemedyError, Reversibility, Running, Successor},
};
use loadline_proto::health::{ExecuteRemedyRequest, PlanRemedyRequest, RemedyPlan, RemedyRun, remedy_run::Outcome};
use loadline_runtime::identity::{Identity, Role};
use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering::SeqCst},
};
use tokio::time::sleep;

const MODE: &str = "PR-09";

/// Starts its own service again.
#[derive(Default)]
struct Again {
    serves: AtomicBool,
    nobody_follows: AtomicBool,
    left: Arc<Mutex<Option<String>>>,
}

struct Leaves {
    left: Arc<Mutex<Option<String>>>,
    somebody_follows: bool,
}

impl Successor for Leaves {
    fn hand_over(self: Box<Self>, left: String) -> bool {
        *self.left.lock().unwrap() = Some(left);
        self.somebody_follows
    }
}

#[async_trait]
impl Remedy for Again {
    fn key(&self) -> &'static str {
        "S"
    }

    fn title(&self) -> &'static str {
        "start again"
    }

    fn modes(&self) -> &'static [&'static str] {
        &[MODE]
    }

    fn reversibility(&self) -> Reversibility {
        Reversibility::Safe
    }

    fn signal(&self, _: &str) -> Option<Result<(), String>> {
        Some(if self.serves.load(SeqCst) { Ok(()) } else { Err("it does not serve".to_owned()) })
    }

    fn successor(&self, _: &Planned) -> Option<Box<dyn Successor>> {
        let somebody_follows = !self.nobody_follows.load(SeqCst);
        Some(Box::new(Leaves { left: self.left.clone(), somebody_follows }))
    }

    async fn plan(&self, _: &str, _: &str) -> Result<Planned, RemedyError> {
        Ok(Planned {
            target: "query one".to_owned(),
            effects: vec![Effect::new("started again", 1)],
            count: 1,
            world: World::default(),
            expected: seconds(5),
            undo_within: None,
        })
    }

    async fn execute(&self, _: &Planned, running: &Running) -> Result<(), RemedyError> {
        running.step(0, 1)?;
        running.did(Effect::new("told to start again", 1));
        Ok(())
    }
}

#[derive(Default)]
struct Ports {
    audit: Arc<Memory>,
    leases: Arc<Table>,
}

/// One life of the process.
struct Life {
    monitor: Monitor,
    desk: Desk,
    again: Arc<Again>,
}

impl Ports {
    fn life(&self) -> Life {
        let (monitor, again) = (Monitor::new("query", "test", &[]).unwrap(), Arc::<Again>::default());
        let remedies: Vec<Arc<dyn Remedy>> = vec![again.clone()];
        let (audit, leases, conservation) = (self.audit.clone(), self.leases.clone(), Arc::<Sums>::default());
        let desk = Desk::install(&monitor, Parts { remedies, audit, leases, conservation }).unwrap();
        Life { monitor, desk, again }
    }
}

impl Life {
    async fn plan_as(&self, who: &Identity) -> Result<RemedyPlan, Refusal> {
        let (failure_mode, key) = (MODE.to_owned(), "S".to_owned());
        self.desk.plan(who, PlanRemedyRequest { failure_mode, key, target: String::new(), reason: "stuck".to_owned() }).await
    }

    async fn execute(&self, plan: &RemedyPlan, confirm: &str) -> Result<RemedyRun, Refusal> {
        let (plan_id, confirm, idempotency_key) = (plan.id.clone(), confirm.to_owned(), "the key".to_owned());
        self.desk.execute(&alice(), ExecuteRemedyRequest { plan_id, confirm, idempotency_key, reason: "now".to_owned() }).await
    }

    /// What it leaves for the next life.
    async fn ends(&self) -> (RemedyRun, String) {
        let plan = self.plan_as(&alice()).await.unwrap();
        let run = self.execute(&plan, "y").await.unwrap();
        let left = loop {
            if let Some(left) = self.again.left.lock().unwrap().clone() {
                break left;
            }
            sleep(seconds(1)).await;
        };
        self.desk.stop().await;
        (run, left)
    }
}

#[tokio::test(start_paused = true)]
async fn a_mode_that_nothing_here_detects_has_only_remedies_that_speak_for_themselves() {
    let monitor = Monitor::new("query", "test", &[]).unwrap();
    let parts = Parts {
        remedies: vec![toy("K", Reversibility::Undoable, None)],
        audit: Arc::<Memory>::default(),
        leases: Arc::<Table>::default(),
        conservation: Arc::<Sums>::default(),
    };
    assert!(matches!(Desk::install(&monitor, parts), Err(DeskError::NotDetected { .. })));
    let life = Ports::default().life();
    let offers = life.monitor.status(MODE).unwrap().remedies;
    assert!(offers.len() == 1 && offers[0].unavailable.is_empty(), "{offers:?}");
}

#[tokio::test(start_paused = true)]
async fn a_run_that_ends_its_process_is_verified_and_written_down_by_the_next_one() {
    let ports = Ports::default();
    let (run, left) = ports.life().ends().await;
    assert_eq!(ports.audit.story(), ["remedy.plan PLANNED", "remedy.execute RUNNING"]);
    let next = ports.life();
    next.desk.take_over(&left);
    sleep(seconds(20)).await;
    assert_eq!(ports.audit.story().len(), 2, "it does not serve yet");
    assert_eq!(ports.leases.holder("remedy S query one"), Some(run.id.clone()), "nobody else restarts it meanwhile");
    next.again.serves.store(true, SeqCst);
    sleep(seconds(2)).await;
    assert_eq!(ports.audit.story()[2..], ["remedy.finish VERIFIED"]);
    assert!(ports.audit.last().outcome.contains(&run.id) && ports.audit.last().after.contains("told to start again"));
    let known = next.execute(&run.plan.clone().unwrap(), "y").await.unwrap();
    assert_eq!((known.outcome(), known.id), (Outcome::Verified, run.id), "the same key is the same run, in whatever life");
}

#[tokio::test(start_paused = true)]
async fn what_does_not_serve_again_is_not_verified() {
    let ports = Ports::default();
    let (_, left) = ports.life().ends().await;
    let next = ports.life();
    next.desk.take_over(&left);
    sleep(seconds(120)).await;
    assert_eq!(ports.audit.story()[2..], ["remedy.finish EXECUTED_UNVERIFIED"]);
    assert!(ports.audit.last().reason.contains("does not serve"), "{:?}", ports.audit.last());
}

#[tokio::test(start_paused = true)]
async fn where_nobody_follows_the_run_is_aborted_and_nonsense_is_taken_over_by_nobody() {
    let ports = Ports::default();
    let life = ports.life();
    life.again.nobody_follows.store(true, SeqCst);
    let (_, left) = life.ends().await;
    assert_eq!(ports.audit.story()[2..], ["remedy.finish ABORTED"]);
    let next = ports.life();
    for nonsense in ["", "no", "AAAA AAAA", &left[1..], &left[..9]] {
        next.desk.take_over(nonsense);
    }
    sleep(seconds(120)).await;
    assert_eq!(ports.audit.story().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn it_needs_an_operator_the_text_of_its_plan_and_a_plan_that_is_not_old() {
    let ports = Ports::default();
    let life = ports.life();
    let service = life.plan_as(&person("billing", Role::Service)).await.unwrap_err();
    assert_eq!(service.reason(), "ACCESS_DENIED");
    let plan = life.plan_as(&alice()).await.unwrap();
    assert_eq!(life.execute(&plan, "1").await.unwrap_err().reason(), "WRONG_CONFIRM");
    sleep(seconds(31)).await;
    assert_eq!(life.execute(&plan, "y").await.unwrap_err().reason(), "PLAN_EXPIRED");
    assert!(life.again.left.lock().unwrap().is_none(), "nothing was done");
}
