//! The real loop, real connections and real keys against a service that plans, executes, refuses and drills.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

#[path = "fixture/backend.rs"]
mod backend;
#[path = "fixture/mod.rs"]
mod fixture;
#[path = "fixture/server.rs"]
mod server;

use backend::Counting;
use fixture::{
    frame, snapshot, status, target,
    work::{drill, drill_run, offered, plan, run as remedy_run},
};
use futures::stream;
use loadline_console::{
    action::KeyMap,
    clock::Clock,
    connection::Connections,
    model::{Model, hand::READING},
    msg::{Effect, Msg},
    run::{Flow, Outside, run},
};
use loadline_proto::health::{
    Delta, ListDrillsResponse, Reversibility, Severity as Wire, State as WireState,
    drill_run::{Phase, Verdict},
    frame::Body,
    remedy_run::Outcome,
};
use ratatui::Terminal;
use server::Fake;
use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    sync::mpsc::{UnboundedSender, unbounded_channel},
    task::JoinHandle,
    time::{Instant, sleep},
};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

/// Only for what must come; nothing is timed by it.
const LONG: Duration = Duration::from_secs(20);

struct Wired(Connections);

impl Outside<Counting> for Wired {
    fn perform(&mut self, effect: Effect, _: &mut Model, _: &mut Terminal<Counting>) -> Result<Flow, Infallible> {
        Ok(if self.0.perform(effect) == Some(Effect::Quit) { Flow::Quit } else { Flow::On })
    }
}

/// Somebody at the console: sees what is drawn, presses keys.
struct Operator {
    keys: UnboundedSender<Msg>,
    text: Arc<Mutex<String>>,
    task: JoinHandle<()>,
}

impl Operator {
    fn at(fake: &Fake) -> Self {
        let (keys, pressed) = unbounded_channel();
        let backend = Counting::new(120, 40);
        let text = backend.text.clone();
        let clock = Clock::system();
        let address = fake.address.to_string();
        let (connections, mut inputs) = Connections::start(std::slice::from_ref(&address), clock);
        let mut model = Model::new(&[target("ingest", &address)], KeyMap::default(), clock.now());
        let task = tokio::spawn(async move {
            let mut terminal = Terminal::new(backend).unwrap();
            let keys = stream::unfold(pressed, async |mut keys| keys.recv().await.map(|key| (key, keys)));
            let Ok(()) = run(&mut model, &mut terminal, &mut inputs, keys, &mut Wired(connections), clock).await;
        });
        Self { keys, text, task }
    }

    fn press(&self, keys: &str) {
        for key in keys.split(' ') {
            self.keys.send(Msg::Key(key.parse().unwrap())).unwrap();
        }
    }

    async fn sees(&self, what: &str) {
        let end = Instant::now() + LONG;
        while !self.text.lock().unwrap().contains(what) {
            assert!(Instant::now() < end, "never seen: {what}\n{}", self.text.lock().unwrap());
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// As long as it takes a careful reader.
    async fn reads(&self) {
        sleep(READING + Duration::from_millis(100)).await;
    }

    async fn leaves(self) {
        self.press("Esc Esc q");
        self.task.await.unwrap();
    }
}

/// Ingest with AN-01 open, which says from time to time that it lives.
async fn ingest() -> Arc<Fake> {
    let mode = offered(status("AN-01", WireState::Open, Wire::P2));
    Arc::new(Fake::start(vec![vec![frame("ingest", 1, snapshot(vec![mode]))]]).await)
}

/// What happens next, and heartbeats after it, as the contract wants them.
fn lives(fake: &Arc<Fake>, from: u64) -> JoinHandle<()> {
    let fake = fake.clone();
    tokio::spawn(async move {
        for seq in from.. {
            sleep(Duration::from_millis(500)).await;
            fake.send(&frame("ingest", seq, fixture::heartbeat()));
        }
    })
}

fn refusal(code: Code, reason: &str, text: &str) -> Status {
    let details = ErrorDetails::with_error_info(reason, "loadline", std::collections::HashMap::<String, String>::new());
    Status::with_error_details(code, text, details)
}

#[tokio::test]
async fn a_remedy_goes_from_its_key_over_the_wire_to_what_it_did() {
    let fake = ingest().await;
    let armed = plan("p-1", "AN-01", "D", Reversibility::Irreversible, "1204");
    let mut going = remedy_run("r-1", armed.clone(), Outcome::Running, 300, 1_204);
    fake.desk().plans.lock().unwrap().push_back(Ok(armed));
    fake.desk().runs.lock().unwrap().push_back(Ok(going.clone()));
    let operator = Operator::at(&fake);
    operator.sees("OPEN").await;
    operator.press("D");
    operator.sees("read-only: Ctrl-o").await;
    assert_eq!(fake.desk().asked(), Vec::<String>::new());
    operator.press("Ctrl-o D");
    operator.sees("type the count of").await;
    operator.reads().await;
    fake.send(&frame("ingest", 2, fixture::heartbeat()));
    operator.press("1 2 0 4 Enter");
    operator.sees("confirmed by the server").await;
    assert_eq!(fake.desk().asked(), ["plan D AN-01", "execute p-1 1204 console p-1"]);
    fake.send(&frame("ingest", 3, Body::Delta(Delta { runs: vec![going.clone()], ..Delta::default() })));
    operator.sees("300/1,204").await;
    going.outcome = Outcome::Verified.into();
    going.finished_at = Some(fixture::wire(fixture::WALL));
    going.actual = vec![loadline_proto::health::Effect { text: "counted now".to_owned(), count: 1_190 }];
    fake.send(&frame("ingest", 4, Body::Delta(Delta { runs: vec![going], ..Delta::default() })));
    operator.sees("planned 1,204 redrive dead letters   actual 1,190 counted now").await;
    operator.leaves().await;
}

#[tokio::test]
async fn the_reason_of_a_refusal_is_on_the_card() {
    let fake = ingest().await;
    let beat = lives(&fake, 2);
    let operator = Operator::at(&fake);
    operator.sees("OPEN").await;
    let busy = refusal(Code::FailedPrecondition, "BUSY", "D is at work already");
    fake.desk().plans.lock().unwrap().extend([Err(busy), Ok(plan("p-2", "AN-01", "C", Reversibility::Safe, "y"))]);
    let stale = refusal(Code::FailedPrecondition, "STALE_PLAN", "the world has changed");
    fake.desk().runs.lock().unwrap().push_back(Err(stale));
    operator.press("Ctrl-o D");
    operator.sees("refused: BUSY: D is at work already").await;
    operator.press("Enter C");
    operator.sees("y does it").await;
    operator.reads().await;
    operator.press("y");
    operator.sees("refused: STALE_PLAN: the world has changed").await;
    operator.press("y y");
    operator.leaves().await;
    assert_eq!(fake.desk().asked(), ["plan D AN-01", "plan C AN-01", "execute p-2 y console p-2"]);
    beat.abort();
}

#[tokio::test]
async fn a_process_that_dies_with_an_answer_under_way_leaves_it_unknown() {
    let fake = ingest().await;
    let operator = Operator::at(&fake);
    operator.sees("OPEN").await;
    fake.desk().plans.lock().unwrap().push_back(Ok(plan("p-3", "AN-01", "C", Reversibility::Safe, "y")));
    fake.desk().runs.lock().unwrap().push_back(Err(Status::unavailable("connection reset")));
    operator.press("Ctrl-o C");
    operator.sees("y does it").await;
    operator.reads().await;
    operator.press("y");
    operator.sees("It may have begun").await;
    Arc::into_inner(fake).unwrap().kill().await;
    operator.sees("Service process crashed").await;
    operator.leaves().await;
}

#[tokio::test]
async fn a_drill_is_started_watched_and_stopped() {
    let fake = ingest().await;
    *fake.desk().listed.lock().unwrap() = ListDrillsResponse { drills: vec![drill("AN-01")], build: "0.1.0".to_owned() };
    let going = drill_run("AN-01", Phase::Steady, Verdict::Running);
    fake.desk().drills.lock().unwrap().extend([Ok(going.clone()), Ok(drill_run("AN-01", Phase::Undo, Verdict::Running))]);
    let operator = Operator::at(&fake);
    operator.sees("nothing proven yet").await;
    operator.press("Ctrl-o T");
    operator.sees("store is cut off").await;
    operator.reads().await;
    fake.send(&frame("ingest", 2, fixture::heartbeat()));
    operator.press("y");
    operator.sees("drill of AN-01: AN-01 is awaited").await;
    fake.send(&frame("ingest", 3, Body::Delta(Delta { drills: vec![going], ..Delta::default() })));
    operator.sees("DRILL [X stop] AN-01").await;
    operator.press("f X");
    operator.sees("drill of AN-01: ").await;
    let ended = drill_run("AN-01", Phase::Done, Verdict::Aborted);
    fake.send(&frame("ingest", 4, Body::Delta(Delta { drills: vec![ended], ..Delta::default() })));
    operator.sees("aborted seen 2.0s").await;
    assert_eq!(fake.desk().asked(), ["drill AN-01 false", "stop d-AN-01"]);
    operator.leaves().await;
}
