//! A mode that is well until its drill makes it bad, a drill that can be told to go wrong, and results in memory.

use super::bench::{Bench, MODE, Toy, alice, seconds};
use async_trait::async_trait;
use loadline_health::{
    Drill, Drills,
    drill::{Accounts, DrillError, Parts, Press, Refusal, Results, Tally},
};
use loadline_proto::health::{DrillRun, State, drill_run::Verdict};
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};
use tokio::time::{sleep, timeout};

/// What goes wrong on purpose, and what else does.
pub struct Act {
    toy: Arc<Toy>,
    /// Beyond the fault itself.
    pub inject_fails: AtomicBool,
    pub is_without_effect: AtomicBool,
    pub bad_after: Mutex<Duration>,
    pub is_uncontained: AtomicBool,
    pub undo_fails: AtomicBool,
    pub leaves_something: AtomicBool,
    pub lost: AtomicU64,
    pub duplicated: AtomicU64,
    pub injected: AtomicU64,
    pub undone: AtomicU64,
}

#[async_trait]
impl Drill for Act {
    fn mode(&self) -> &'static str {
        MODE
    }

    fn fault(&self) -> &'static str {
        "the toy breaks"
    }

    fn presses(&self) -> &'static [Press] {
        &[Press { key: "K", target: "" }]
    }

    async fn inject(&self, _: Duration) -> Result<(), DrillError> {
        self.injected.fetch_add(1, SeqCst);
        if self.inject_fails.load(SeqCst) {
            return Err(DrillError("no hook".to_owned()));
        }
        if !self.is_without_effect.load(SeqCst) {
            let (toy, after) = (self.toy.clone(), *self.bad_after.lock().unwrap());
            tokio::spawn(async move {
                sleep(after).await;
                toy.bad.store(true, SeqCst);
            });
        }
        Ok(())
    }

    async fn took_effect(&self) -> Result<(), String> {
        if self.is_without_effect.load(SeqCst) { Err("no call met it".to_owned()) } else { Ok(()) }
    }

    async fn contained(&self) -> Result<(), String> {
        if self.is_uncontained.load(SeqCst) { Err("it spreads".to_owned()) } else { Ok(()) }
    }

    async fn undo(&self) -> Result<(), DrillError> {
        self.undone.fetch_add(1, SeqCst);
        self.toy.bad.store(false, SeqCst);
        if self.undo_fails.load(SeqCst) { Err(DrillError("the hook is stuck".to_owned())) } else { Ok(()) }
    }

    async fn clean(&self) -> Result<(), String> {
        if self.leaves_something.load(SeqCst) { Err("a row is left".to_owned()) } else { Ok(()) }
    }

    async fn tally(&self) -> Result<Tally, DrillError> {
        Ok(Tally { lost: self.lost.load(SeqCst), duplicated: self.duplicated.load(SeqCst) })
    }
}

/// Results in memory, the latest last.
#[derive(Default)]
pub struct Kept(pub Mutex<Vec<DrillRun>>);

#[async_trait]
impl Results for Kept {
    async fn keep(&self, run: &DrillRun) -> Result<(), DrillError> {
        self.0.lock().unwrap().push(run.clone());
        Ok(())
    }

    async fn latest(&self) -> Result<Vec<DrillRun>, DrillError> {
        Ok(self.0.lock().unwrap().clone())
    }
}

/// The books of everything else.
#[derive(Default)]
pub struct Books(pub Mutex<Tally>);

#[async_trait]
impl Accounts for Books {
    async fn tally(&self) -> Result<Tally, DrillError> {
        Ok(*self.0.lock().unwrap())
    }
}

pub struct Stage {
    pub bench: Bench,
    pub act: Arc<Act>,
    pub drills: Drills,
    pub kept: Arc<Kept>,
    pub books: Arc<Books>,
    /// Faults of whoever else injects.
    pub faults: Arc<Mutex<Vec<String>>>,
}

impl Stage {
    pub async fn new() -> Self {
        Self::with(Arc::default()).await
    }

    /// A mode that is well, with what was proven before.
    pub async fn with(kept: Arc<Kept>) -> Self {
        let bench = Bench::new().await;
        bench.toy.bad.store(false, SeqCst);
        sleep(seconds(20)).await;
        assert_eq!(bench.mode().state(), State::Ok);
        let act = Arc::new(Act {
            toy: bench.toy.clone(),
            inject_fails: false.into(),
            is_without_effect: false.into(),
            bad_after: Mutex::default(),
            is_uncontained: false.into(),
            undo_fails: false.into(),
            leaves_something: false.into(),
            lost: 0.into(),
            duplicated: 0.into(),
            injected: 0.into(),
            undone: 0.into(),
        });
        let (books, faults) = (Arc::<Books>::default(), Arc::<Mutex<Vec<String>>>::default());
        let active = faults.clone();
        let parts = Parts {
            drills: vec![act.clone()],
            leases: bench.leases.clone(),
            results: kept.clone(),
            accounts: books.clone(),
            faults: Arc::new(move || active.lock().unwrap().clone()),
        };
        let drills = Drills::install(&bench.monitor, parts).unwrap();
        sleep(seconds(1)).await;
        Self { bench, act, drills, kept, books, faults }
    }

    pub async fn start(&self, control: bool) -> Result<DrillRun, Refusal> {
        self.drills.start(&alice(), MODE, control).await
    }

    /// As a watcher sees it.
    pub async fn shown(&self) -> DrillRun {
        self.bench.snapshot().await.drills.into_iter().find(|run| run.failure_mode == MODE).unwrap()
    }

    /// The drill that is shown, at its end.
    pub async fn ended(&self) -> DrillRun {
        let id = self.shown().await.id;
        let end = async {
            loop {
                if let Some(run) = self.kept.0.lock().unwrap().iter().find(|run| run.id == id) {
                    break run.clone();
                }
                sleep(Duration::from_millis(100)).await;
            }
        };
        timeout(seconds(3600), end).await.unwrap()
    }

    /// Runs one to its end, and sees that its fault is gone.
    pub async fn verdict(&self) -> (Verdict, String) {
        self.start(false).await.unwrap();
        let run = self.ended().await;
        assert!(!self.bench.toy.bad.load(SeqCst), "its fault is still there: {run:?}");
        sleep(seconds(30)).await;
        assert_eq!(self.bench.mode().drill_id, "", "the mode is still said to be a drill's");
        (run.verdict(), run.detail)
    }
}
