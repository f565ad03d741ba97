//! A monitor whose mode is bad on demand, a remedy that can be told to misbehave, and ports in memory.

use async_trait::async_trait;
use loadline_health::{
    Desk, Monitor, Reading, Remedy, World,
    audit::{self, AuditError, AuditLog, Entry, GENESIS, Record},
    desk::{Parts, Refusal},
    remedy::{Conservation, Effect, LeaseError, Leases, Planned, RemedyError, Reversibility, Running},
};
use loadline_proto::health::{
    AbortRemedyRequest, ExecuteRemedyRequest, ModeStatus, PlanRemedyRequest, RemedyPlan, RemedyRun, State, UndoRemedyRequest,
    WatchRequest, failure_mode_service_server::FailureModeService as _, frame::Body, remedy_run::Outcome,
};
use loadline_runtime::identity::{Identity, Role};
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::{Duration, SystemTime},
};
use tokio::time::{Instant, sleep, timeout};

/// The mode that everything here is about: opens at once, closes after 10 s of good readings.
pub const MODE: &str = "AN-03";

pub fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub fn person(name: &str, role: Role) -> Identity {
    Identity { name: name.to_owned(), role, accounts: Vec::new() }
}

pub fn alice() -> Identity {
    person("alice", Role::Operator)
}

pub fn bob() -> Identity {
    person("bob", Role::Operator)
}

/// The world a remedy sees, and how the remedy behaves.
pub struct Toy {
    pub key: &'static str,
    pub reversibility: Reversibility,
    pub undo_within: Option<Duration>,
    /// What the plan is about; moves only by hand.
    pub letters: AtomicU64,
    /// Its mode's signal is bad.
    pub bad: AtomicBool,
    /// P2 then.
    pub is_severe: AtomicBool,
    /// An execution makes it good.
    pub helps: AtomicBool,
    pub unavailable: Mutex<Option<String>>,
    pub steps: AtomicU64,
    pub step_time: Mutex<Duration>,
    pub ignores_stop: AtomicBool,
    pub panics: AtomicBool,
    pub fails: AtomicBool,
    pub undo_fails: AtomicBool,
    /// What each execution was told to do.
    pub executions: Mutex<Vec<Planned>>,
    pub undone: Mutex<Vec<Vec<Effect>>>,
}

#[async_trait]
impl Remedy for Toy {
    fn key(&self) -> &'static str {
        self.key
    }

    fn title(&self) -> &'static str {
        "mend it"
    }

    fn modes(&self) -> &'static [&'static str] {
        &[MODE]
    }

    fn reversibility(&self) -> Reversibility {
        self.reversibility
    }

    fn available(&self) -> Result<(), String> {
        self.unavailable.lock().unwrap().clone().map_or(Ok(()), Err)
    }

    async fn plan(&self, _: &str, target: &str) -> Result<Planned, RemedyError> {
        let count = self.letters.load(SeqCst);
        let target = if target.is_empty() { "BILLING" } else { target };
        if target == "NOWHERE" {
            return Err(RemedyError::NotNow("there is no stream NOWHERE".to_owned()));
        }
        Ok(Planned {
            target: target.to_owned(),
            effects: vec![Effect::new("letters judged again", count)],
            count,
            world: World::default().with("open letters", count),
            expected: seconds(3),
            undo_within: self.undo_within,
        })
    }

    async fn execute(&self, planned: &Planned, running: &Running) -> Result<(), RemedyError> {
        self.executions.lock().unwrap().push(planned.clone());
        let steps = self.steps.load(SeqCst);
        for step in 0..steps {
            match running.step(step, steps) {
                Err(stopped) if !self.ignores_stop.load(SeqCst) => return Err(stopped),
                _ => {}
            }
            assert!(!self.panics.load(SeqCst), "a fault of the remedy");
            let pause = *self.step_time.lock().unwrap();
            sleep(pause).await;
            running.did(Effect::new("steps done", 1));
        }
        if self.fails.load(SeqCst) {
            return Err(RemedyError::Failed("the store did not answer".to_owned()));
        }
        if self.helps.load(SeqCst) {
            self.bad.store(false, SeqCst);
        }
        Ok(())
    }

    async fn undo(&self, _: &Planned, done: &[Effect], running: &Running) -> Result<(), RemedyError> {
        running.step(0, 1)?;
        let pause = *self.step_time.lock().unwrap();
        sleep(pause).await;
        if self.undo_fails.load(SeqCst) {
            return Err(RemedyError::Failed("the store did not answer".to_owned()));
        }
        self.undone.lock().unwrap().push(done.to_vec());
        running.did(Effect::new("steps taken back", 1));
        Ok(())
    }
}

/// An audit in memory that can be made to fail.
#[derive(Default)]
pub struct Memory {
    pub entries: Mutex<Vec<Entry>>,
    pub is_down: AtomicBool,
    pub hangs: AtomicBool,
}

#[async_trait]
impl AuditLog for Memory {
    async fn append(&self, record: Record) -> Result<Entry, AuditError> {
        if self.hangs.load(SeqCst) {
            std::future::pending::<()>().await;
        }
        if self.is_down.load(SeqCst) {
            return Err(AuditError("disk full".to_owned()));
        }
        let mut entries = self.entries.lock().unwrap();
        let previous_hash = entries.last().map_or(GENESIS, |last| last.hash);
        let (id, at) = (entries.len() as u64 + 1, SystemTime::now());
        entries.push(Entry { id, at, hash: audit::hash(&previous_hash, at, &record), record, previous_hash });
        Ok(entries.last().unwrap().clone())
    }

    async fn entries(&self, after: u64, limit: u32) -> Result<Vec<Entry>, AuditError> {
        let entries = self.entries.lock().unwrap();
        Ok(entries.iter().filter(|entry| entry.id > after).take(limit as usize).cloned().collect())
    }
}

impl Memory {
    /// `action outcome` of each entry, the outcome without the ids in it.
    pub fn story(&self) -> Vec<String> {
        let word = |outcome: &str| outcome.split(' ').next().unwrap_or_default().to_owned();
        let entries = self.entries.lock().unwrap();
        entries.iter().map(|entry| format!("{} {}", entry.record.action, word(&entry.record.outcome))).collect()
    }

    pub fn last(&self) -> Record {
        self.entries.lock().unwrap().last().unwrap().record.clone()
    }
}

/// Leases in memory that other processes can take, and that can fail.
#[derive(Default)]
pub struct Table {
    pub held: Arc<Mutex<HashMap<String, (String, Instant)>>>,
    pub is_down: AtomicBool,
    /// What it takes until it is done.
    pub slow: Mutex<Duration>,
    /// Takings of each, as the table counts them and as this process knows.
    takings: Arc<Mutex<HashMap<String, u64>>>,
    known: Mutex<HashMap<String, u64>>,
}

#[async_trait]
impl Leases for Table {
    async fn hold(&self, name: &str, holder: &str, ttl: Duration) -> Result<bool, LeaseError> {
        if self.is_down.load(SeqCst) {
            return Err(LeaseError("no route to host".to_owned()));
        }
        let (slow, held) = (*self.slow.lock().unwrap(), self.held.clone());
        let (takings, known) = (self.takings.clone(), name.to_owned());
        let (name, holder) = (name.to_owned(), holder.to_owned());
        // As in a store: once asked, it is done, whether or not anybody waits for the answer.
        let holding = tokio::spawn(async move {
            sleep(slow).await;
            let mut held = held.lock().unwrap();
            let is_free = held.get(&name).is_none_or(|(by, until)| *by == holder || *until <= Instant::now());
            if is_free {
                *takings.lock().unwrap().entry(name.clone()).or_default() += 1;
                held.insert(name, (holder, Instant::now() + ttl));
            }
            is_free
        });
        let is_free = holding.await.unwrap();
        let taking = self.takings.lock().unwrap().get(&known).copied().unwrap_or_default();
        self.known.lock().unwrap().insert(known, taking);
        Ok(is_free)
    }

    async fn release(&self, name: &str, holder: &str) -> Result<(), LeaseError> {
        // Whoever does not know of the last taking cannot give it up.
        if self.takings.lock().unwrap().get(name) == self.known.lock().unwrap().get(name) {
            self.held.lock().unwrap().retain(|known, (by, _)| known != name || by != holder);
        }
        Ok(())
    }

    async fn names(&self) -> Result<Vec<String>, LeaseError> {
        let held = self.held.lock().unwrap();
        Ok(held.iter().filter(|(_, (_, until))| Instant::now() < *until).map(|(name, _)| name.clone()).collect())
    }
}

impl Table {
    /// Another process takes the lease, whoever has it.
    pub fn steal(&self, name: &str) {
        self.held.lock().unwrap().insert(name.to_owned(), ("elsewhere".to_owned(), Instant::now() + seconds(3600)));
    }

    pub fn holder(&self, name: &str) -> Option<String> {
        let held = self.held.lock().unwrap();
        held.get(name).filter(|(_, until)| Instant::now() < *until).map(|(holder, _)| holder.clone())
    }
}

#[derive(Default)]
pub struct Sums(pub Mutex<Option<String>>);

#[async_trait]
impl Conservation for Sums {
    async fn check(&self) -> Result<(), String> {
        self.0.lock().unwrap().clone().map_or(Ok(()), Err)
    }
}

pub struct Bench {
    pub monitor: Monitor,
    pub desk: Desk,
    /// K, undoable within 5 minutes.
    pub toy: Arc<Toy>,
    /// D, asks for its count.
    pub risky: Arc<Toy>,
    pub audit: Arc<Memory>,
    pub leases: Arc<Table>,
    pub sums: Arc<Sums>,
    detector: tokio::task::JoinHandle<()>,
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.detector.abort();
    }
}

pub fn toy(key: &'static str, reversibility: Reversibility, undo_within: Option<Duration>) -> Arc<Toy> {
    Arc::new(Toy {
        key,
        reversibility,
        undo_within,
        letters: 12.into(),
        bad: true.into(),
        is_severe: false.into(),
        helps: true.into(),
        unavailable: Mutex::default(),
        steps: 3.into(),
        step_time: Mutex::new(seconds(1)),
        ignores_stop: false.into(),
        panics: false.into(),
        fails: false.into(),
        undo_fails: false.into(),
        executions: Mutex::default(),
        undone: Mutex::default(),
    })
}

impl Bench {
    /// An open mode with its remedies, read once a second.
    pub async fn new() -> Self {
        let monitor = Monitor::new("ingest", "test", &["AN-02", MODE]).unwrap();
        let toy = toy("K", Reversibility::Undoable, Some(seconds(300)));
        let risky = self::toy("D", Reversibility::LossPossible, None);
        let (audit, leases, sums) = (Arc::<Memory>::default(), Arc::<Table>::default(), Arc::<Sums>::default());
        let parts = Parts {
            remedies: vec![toy.clone(), risky.clone()],
            audit: audit.clone(),
            leases: leases.clone(),
            conservation: sums.clone(),
        };
        let desk = Desk::install(&monitor, parts).unwrap();
        let (seen, one, two) = (monitor.clone(), toy.clone(), risky.clone());
        let detector = tokio::spawn(async move {
            loop {
                // Either remedy mends it.
                let bad = one.bad.load(SeqCst) && two.bad.load(SeqCst);
                let severity = one.is_severe.load(SeqCst).then_some(loadline_health::Severity::P2);
                seen.observe(MODE, Reading { bad, severity, ..Reading::good(1.0, "BILLING") });
                sleep(seconds(1)).await;
            }
        });
        tokio::task::yield_now().await;
        let bench = Self { monitor, desk, toy, risky, audit, leases, sums, detector };
        assert_eq!(bench.mode().state(), State::Open);
        bench
    }

    pub fn stop_detector(&self) {
        self.detector.abort();
    }

    /// The detector falls silent.
    pub async fn blind(&self) {
        self.detector.abort();
        sleep(seconds(20)).await;
        assert_eq!(self.mode().state(), State::Unknown);
    }

    pub fn mode(&self) -> ModeStatus {
        self.monitor.status(MODE).unwrap()
    }

    pub async fn plan_of(&self, who: &Identity, key: &str, target: &str) -> Result<RemedyPlan, Refusal> {
        let ask = PlanRemedyRequest {
            failure_mode: MODE.to_owned(),
            key: key.to_owned(),
            target: target.to_owned(),
            reason: "it stopped".to_owned(),
        };
        self.desk.plan(who, ask).await
    }

    pub async fn plan(&self) -> RemedyPlan {
        self.plan_of(&alice(), "K", "").await.unwrap()
    }

    pub async fn execute_as(&self, who: &Identity, plan: &str, confirm: &str, key: &str) -> Result<RemedyRun, Refusal> {
        let ask = ExecuteRemedyRequest {
            plan_id: plan.to_owned(),
            confirm: confirm.to_owned(),
            idempotency_key: key.to_owned(),
            reason: "now".to_owned(),
        };
        self.desk.execute(who, ask).await
    }

    /// With a key of its own.
    pub async fn execute(&self, plan: &RemedyPlan) -> Result<RemedyRun, Refusal> {
        self.execute_as(&alice(), &plan.id, &plan.confirm, &format!("key of {}", plan.id)).await
    }

    pub async fn begun(&self) -> RemedyRun {
        let plan = self.plan().await;
        self.execute(&plan).await.unwrap()
    }

    pub async fn abort(&self, run: &str) -> Result<RemedyRun, Refusal> {
        self.desk.abort(&bob(), AbortRemedyRequest { run_id: run.to_owned(), reason: "wrong stream".to_owned() }).await
    }

    pub async fn undo(&self, run: &str) -> Result<RemedyRun, Refusal> {
        self.desk.undo(&bob(), UndoRemedyRequest { run_id: run.to_owned(), reason: "worse".to_owned() }).await
    }

    /// The run as a watcher that begins now sees it.
    pub async fn run(&self, id: &str) -> RemedyRun {
        self.snapshot().await.runs.into_iter().find(|run| run.id == id).unwrap()
    }

    pub async fn snapshot(&self) -> loadline_proto::health::Snapshot {
        use futures::StreamExt as _;
        let service = loadline_health::failure_modes::service(self.monitor.clone());
        let mut frames = service.watch(tonic::Request::new(WatchRequest::default())).await.unwrap().into_inner();
        match frames.next().await.unwrap().unwrap().body.unwrap() {
            Body::Snapshot(snapshot) => snapshot,
            other => panic!("{other:?}"),
        }
    }

    /// Waits for the run to be so, an hour at most.
    pub async fn until(&self, id: &str, outcome: Outcome) -> RemedyRun {
        let reached = async {
            loop {
                let run = self.run(id).await;
                if run.outcome() == outcome {
                    break run;
                }
                sleep(Duration::from_millis(100)).await;
            }
        };
        timeout(seconds(3600), reached).await.unwrap_or_else(|_| panic!("never {outcome:?}"))
    }

    pub fn executions(&self) -> usize {
        self.toy.executions.lock().unwrap().len() + self.risky.executions.lock().unwrap().len()
    }
}
