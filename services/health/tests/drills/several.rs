//! Modes without remedies, each with its drill: controls beside each other, and a mode that has to be bad for a while.

use super::{
    bench::{Table, alice, seconds},
    stage::{Books, Kept},
};
use async_trait::async_trait;
use loadline_health::{
    Drill, Drills, Monitor, Reading,
    drill::{DrillError, Parts, Press, Refusal},
};
use loadline_proto::health::{DrillRun, State, drill_run::Verdict};
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

/// Open by one bad reading.
const AT_ONCE: &str = "AN-02";
/// Has to be bad for a minute.
const HELD: &str = "AN-06";

/// A mode that is bad from a while after its drill said so until its drill relents.
#[derive(Default)]
struct Simple {
    mode: &'static str,
    bad_after: Duration,
    bad_since: Mutex<Option<Instant>>,
    is_bad: Arc<AtomicBool>,
    prepared: AtomicUsize,
}

impl Simple {
    fn bad(&self, since: Option<Instant>) {
        *self.bad_since.lock().unwrap() = since;
    }

    fn reading(&self) -> Reading {
        let bad = self.bad_since.lock().unwrap().is_some_and(|since| since <= Instant::now());
        self.is_bad.store(bad, SeqCst);
        Reading { bad, ..Reading::good(1.0, "") }
    }
}

#[async_trait]
impl Drill for Simple {
    fn mode(&self) -> &'static str {
        self.mode
    }

    fn fault(&self) -> &'static str {
        "it is said to be bad"
    }

    fn presses(&self) -> &'static [Press] {
        &[]
    }

    async fn prepare(&self) -> Result<(), DrillError> {
        self.prepared.fetch_add(1, SeqCst);
        Ok(())
    }

    async fn inject(&self, _: Duration) -> Result<(), DrillError> {
        self.bad(Some(Instant::now() + self.bad_after));
        Ok(())
    }

    async fn took_effect(&self) -> Result<(), String> {
        Ok(())
    }

    async fn contained(&self) -> Result<(), String> {
        Ok(())
    }

    async fn relent(&self) -> Result<(), DrillError> {
        self.undo().await
    }

    async fn undo(&self) -> Result<(), DrillError> {
        self.bad(None);
        Ok(())
    }
}

/// A process of one service.
struct Process {
    monitor: Monitor,
    drills: Drills,
    simple: Vec<Arc<Simple>>,
    kept: Arc<Kept>,
    _detector: AbortOnDropHandle<()>,
}

impl Process {
    /// With its modes well.
    async fn of(service: &str, modes: &[&'static str], bad_after: Duration, leases: &Arc<Table>) -> Self {
        let monitor = Monitor::new(service, "test", modes).unwrap();
        let simple: Vec<_> = modes.iter().map(|mode| Arc::new(Simple { mode, bad_after, ..Simple::default() })).collect();
        let (seen, read) = (monitor.clone(), simple.clone());
        let _detector = AbortOnDropHandle::new(tokio::spawn(async move {
            loop {
                read.iter().for_each(|simple| seen.observe(simple.mode, simple.reading()));
                sleep(seconds(1)).await;
            }
        }));
        let kept = Arc::<Kept>::default();
        let parts = Parts {
            drills: simple.iter().map(|simple| simple.clone() as Arc<dyn Drill>).collect(),
            leases: leases.clone(),
            results: kept.clone(),
            accounts: Arc::<Books>::default(),
            faults: Arc::new(Vec::new),
        };
        let drills = Drills::install(&monitor, parts).unwrap();
        sleep(seconds(1)).await;
        Self { monitor, drills, simple, kept, _detector }
    }

    async fn start(&self, mode: &str, control: bool) -> Result<DrillRun, Refusal> {
        self.drills.start(&alice(), mode, control).await
    }

    async fn refused(&self, mode: &str, control: bool) -> String {
        let refusal = self.start(mode, control).await.unwrap_err();
        assert_eq!(refusal.reason(), "DRILL_RUNNING", "{refusal}");
        refusal.to_string()
    }

    async fn ended(&self, id: &str) -> DrillRun {
        let end = async {
            loop {
                if let Some(run) = self.kept.0.lock().unwrap().iter().find(|run| run.id == id) {
                    break run.clone();
                }
                sleep(Duration::from_millis(100)).await;
            }
        };
        timeout(seconds(3_600), end).await.unwrap()
    }
}

#[tokio::test(start_paused = true)]
async fn controls_run_beside_each_other_and_never_beside_a_fault() {
    let leases = Arc::<Table>::default();
    let (query, ingest) = (
        Process::of("query", &[HELD, AT_ONCE], Duration::ZERO, &leases).await,
        Process::of("ingest", &[AT_ONCE], Duration::ZERO, &leases).await,
    );
    let long = query.start(HELD, true).await.unwrap();
    let (beside, there) = (query.start(AT_ONCE, true).await.unwrap(), ingest.start(AT_ONCE, true).await.unwrap());
    assert!(query.refused(HELD, true).await.contains("control"), "of one mode there is one");
    assert!(query.refused(AT_ONCE, false).await.contains("control"));
    assert!(ingest.refused(AT_ONCE, false).await.contains("control"));
    for (process, run) in [(&query, &beside), (&ingest, &there)] {
        let ended = process.ended(&run.id).await;
        assert_eq!((ended.verdict(), ended.control), (Verdict::Passed, true), "{}", ended.detail);
    }
    // The held one takes a minute, and is known in the other process by its lease alone.
    assert!(query.kept.0.lock().unwrap().iter().all(|ended| ended.id != long.id), "it is still under way");
    assert!(ingest.refused(AT_ONCE, false).await.contains("control AN-06 of query"));
    let ended = query.ended(&long.id).await;
    assert_eq!(ended.verdict(), Verdict::Passed, "{}", ended.detail);
    assert!(query.simple.iter().all(|simple| simple.prepared.load(SeqCst) == 1 && !simple.is_bad.load(SeqCst)));

    sleep(seconds(1)).await;
    let fault = ingest.start(AT_ONCE, false).await.unwrap();
    assert!(query.refused(HELD, true).await.contains("drill of another service"));
    assert!(query.refused(HELD, false).await.contains("drill of another service"));
    assert_eq!(ingest.ended(&fault.id).await.verdict(), Verdict::Passed);
    sleep(seconds(1)).await;
    query.start(HELD, true).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_fault_that_begins_all_the_same_ends_the_control() {
    let leases = Arc::<Table>::default();
    let query = Process::of("query", &[HELD], Duration::ZERO, &leases).await;
    let control = query.start(HELD, true).await.unwrap();
    sleep(seconds(5)).await;
    // Of a process that lost sight of the control's lease.
    leases.steal("drill");
    let ended = query.ended(&control.id).await;
    assert_eq!(ended.verdict(), Verdict::Aborted, "{}", ended.detail);
    assert!(ended.detail.contains("drill of another service or process has begun"), "{}", ended.detail);
}

#[tokio::test(start_paused = true)]
async fn an_alarm_beside_controls_is_heard_by_each_of_them() {
    let leases = Arc::<Table>::default();
    let query = Process::of("query", &[HELD, AT_ONCE], Duration::ZERO, &leases).await;
    let runs = [query.start(HELD, true).await.unwrap(), query.start(AT_ONCE, true).await.unwrap()];
    sleep(seconds(3)).await;
    query.simple[1].bad(Some(Instant::now()));
    for run in runs {
        let ended = query.ended(&run.id).await;
        assert_eq!(ended.verdict(), Verdict::FalseAlarm, "{}", ended.detail);
        assert!(ended.detail.contains(AT_ONCE), "{}", ended.detail);
    }
}

/// The rule's minute is not the detector's: what counts is how soon the mode is suspect, and that it opens when the minute is full.
#[tokio::test(start_paused = true)]
async fn the_time_for_which_a_mode_has_to_be_bad_is_no_part_of_how_soon_it_was_seen() {
    for (after, verdict) in [(0, Verdict::Passed), (3, Verdict::Passed), (8, Verdict::Late), (100, Verdict::Undetected)] {
        let leases = Arc::<Table>::default();
        let query = Process::of("query", &[HELD], seconds(after), &leases).await;
        let began = Instant::now();
        let run = query.start(HELD, false).await.unwrap();
        sleep(seconds(after + 3)).await;
        let state = query.monitor.status(HELD).unwrap().state();
        assert_eq!(state == State::Suspect, after < 100, "{state:?} after {after} s");
        let ended = query.ended(&run.id).await;
        assert_eq!(ended.verdict(), verdict, "after {after} s: {}", ended.detail);
        let seen = ended.detected_after.map(|seen| Duration::try_from(seen).unwrap());
        match verdict {
            Verdict::Undetected => assert_eq!(seen, None),
            _ => assert!(seen.is_some_and(|seen| (seconds(after)..seconds(after + 2)).contains(&seen)), "{seen:?}"),
        }
        assert!(began.elapsed() > seconds(60), "it is waited for as long as the rule wants");
    }
}
