//! The console's budgets, measured: `cargo bench -p loadline-console`; one JSON object a line.
#![allow(clippy::unwrap_used, reason = "a measurement may stop at the first surprise")]

#[path = "../tests/fixture/mod.rs"]
mod fixture;
#[path = "../tests/fixture/screen.rs"]
mod screen;
#[path = "../tests/fixture/server.rs"]
mod server;

use fixture::{delta, frame, heartbeat, snapshot, start, status, targets, trouble, well};
use futures::{Stream, StreamExt as _, stream};
use loadline_console::{
    action::KeyMap,
    clock::Clock,
    connection::Stamped,
    model::Model,
    msg::{Effect, Input, Msg, What},
    run::{Flow, Outside, run},
    update::settle,
    view::draw,
};
use loadline_proto::health::{Severity as Wire, State as WireState};
use portable_pty::CommandBuilder;
use ratatui::{Terminal, TerminalOptions, Viewport, backend::CrosstermBackend, layout::Rect};
use serde_json::json;
use std::{
    fs,
    io::{self, Write},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use tokio::{sync::mpsc, time::sleep};

/// Takes bytes, and remembers when they were complete.
#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<Instant>>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.lock().unwrap().push(Instant::now());
        Ok(())
    }
}

type Screen = Terminal<CrosstermBackend<Sink>>;

fn screen(columns: u16, rows: u16, sink: Sink) -> Screen {
    let viewport = Viewport::Fixed(Rect::new(0, 0, columns, rows));
    Terminal::with_options(CrosstermBackend::new(sink), TerminalOptions { viewport }).unwrap()
}

fn percentile(times: &mut [Duration], share: f64) -> f64 {
    times.sort_unstable();
    let place = ((times.len() as f64 * share) as usize).min(times.len().saturating_sub(1));
    times.get(place).map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
}

/// Settling and drawing a board whose readings change every time.
fn drawing(columns: u16, rows: u16) {
    let mut console = trouble();
    let mut terminal = screen(columns, rows, Sink::default());
    let mut times: Vec<Duration> = (0..1_000_u64)
        .map(|round| {
            let state = if round % 2 == 0 { WireState::Open } else { WireState::Ok };
            let changed = ["AN-01", "AN-02", "AN-03"].map(|id| status(id, state, Wire::P3));
            console.frame(0, frame("ingest", 10 + round, delta(changed.into())));
            let begun = Instant::now();
            settle(&mut console.model, console.now);
            terminal.draw(|frame| draw(&console.model, frame)).unwrap();
            begun.elapsed()
        })
        .collect();
    let (p50, p99) = (percentile(&mut times, 0.5), percentile(&mut times, 0.99));
    println!(
        "{}",
        json!({"bench": "draw", "columns": columns, "rows": rows, "p50_ms": p50, "p99_ms": p99, "budget_p99_ms": 2.0})
    );
}

struct Quits;

impl Outside<CrosstermBackend<Sink>> for Quits {
    fn perform(&mut self, effect: Effect, _: &mut Model, _: &mut Screen) -> io::Result<Flow> {
        Ok(if effect == Effect::Quit { Flow::Quit } else { Flow::On })
    }
}

/// Every so often a key that moves, its times remembered; then `q`.
fn moving(count: usize, every: Duration, pressed: Arc<Mutex<Vec<Instant>>>) -> impl Stream<Item = Msg> {
    let keys = stream::iter(0..count).then(move |number| {
        let pressed = Arc::clone(&pressed);
        async move {
            sleep(every).await;
            pressed.lock().unwrap().push(Instant::now());
            Msg::Key(if number % 2 == 0 { "j" } else { "k" }.parse().unwrap())
        }
    });
    keys.chain(stream::iter([Msg::Quit]))
}

fn input(endpoint: usize, seq: u64, body: loadline_proto::health::frame::Body) -> Msg {
    let service = ["ingest", "query", "rollup"][endpoint];
    Msg::Input(Input { endpoint, what: What::Frame { watch: 0, frame: Box::new(frame(service, seq, body)) } })
}

/// From each of these to the first flush after it.
fn until_flushed(from: &[Instant], flushed: &[Instant]) -> Vec<Duration> {
    let first = |at: &Instant| flushed.iter().find(|flush| *flush >= at).map(|flush| *flush - *at);
    from.iter().filter_map(first).collect()
}

/// The loop under a flood of `rate` deltas a second, a key every 37 ms; or with one delta each 210 ms and no key but the last.
async fn looping(rate: u64) {
    let sink = Sink::default();
    let mut terminal = screen(120, 40, sink.clone());
    let mut model = Model::new(&targets(), KeyMap::default(), start());
    let (out, mut inputs) = mpsc::channel(4_096);
    let (pressed, sent) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(Vec::new())));
    let sending = Arc::clone(&sent);
    let flood = tokio::spawn(async move {
        for (endpoint, service) in ["ingest", "query", "rollup"].into_iter().enumerate() {
            out.send(Stamped { at: tokio::time::Instant::now(), msg: input(endpoint, 1, snapshot(well(service))) })
                .await
                .unwrap();
        }
        let (pause, burst) = if rate > 0 { (Duration::from_millis(10), rate / 100) } else { (Duration::from_millis(210), 1) };
        let mut beat = tokio::time::interval(pause);
        let mut seq = 1;
        loop {
            beat.tick().await;
            sending.lock().unwrap().push(Instant::now());
            for _ in 0..burst {
                seq += 1;
                let state = if seq % 2 == 0 { WireState::Open } else { WireState::Suspect };
                let msg = input(0, seq, delta(vec![status("AN-02", state, Wire::P3)]));
                out.send(Stamped { at: tokio::time::Instant::now(), msg }).await.unwrap();
            }
        }
    });
    let begun = Instant::now();
    let keys = if rate > 0 { (135, Duration::from_millis(37)) } else { (1, Duration::from_secs(8)) };
    let keys = moving(keys.0, keys.1, Arc::clone(&pressed));
    run(&mut model, &mut terminal, &mut inputs, keys, &mut Quits, Clock::system()).await.unwrap();
    let seconds = begun.elapsed().as_secs_f64();
    flood.abort();
    let flushed = sink.0.lock().unwrap().clone();
    let endpoint = &model.world.endpoints[0];
    let seq = endpoint.position.as_ref().unwrap().1;
    if rate > 0 {
        let mut keys = until_flushed(&pressed.lock().unwrap(), &flushed);
        let pressed = keys.len() as f64 / seconds;
        println!(
            "{}",
            json!({
                "bench": "flood", "deltas_per_second": seq as f64 / seconds, "gaps": endpoint.gaps,
                "frames_per_second": terminal.get_frame().count() as f64 / seconds, "of_these_for_keys": pressed,
                "key_to_bytes_p99_ms": percentile(&mut keys, 0.99), "budget_key_p99_ms": 16.0, "budget_frames_per_second": 20.0,
            })
        );
    } else {
        let mut paints = until_flushed(&sent.lock().unwrap(), &flushed);
        let p99 = percentile(&mut paints, 0.99);
        println!("{}", json!({"bench": "signal_to_paint", "samples": paints.len(), "p99_ms": p99, "budget_p99_ms": 150.0}));
    }
}

/// The program in a terminal.
struct Program(screen::Screen);

impl Program {
    fn start(arguments: &[String]) -> Self {
        let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_loadline-console"));
        command.args(arguments);
        command.env("LANG", "C.UTF-8");
        Self(screen::Screen::of(command, 120, 40))
    }

    fn text(&self) -> String {
        self.0.text()
    }

    fn proc(&self, file: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{file}", self.0.child.process_id().unwrap())).unwrap()
    }

    /// Seconds of a core, and voluntary switches of all threads.
    fn used(&self) -> (f64, u64) {
        let stat = self.proc("stat");
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        let ticks: u64 = fields[11..13].iter().map(|ticks| ticks.parse::<u64>().unwrap()).sum();
        let tasks = fs::read_dir(format!("/proc/{}/task", self.0.child.process_id().unwrap())).unwrap();
        let switches = tasks.map(|task| {
            let status = fs::read_to_string(task.unwrap().path().join("status")).unwrap();
            field(&status, "voluntary_ctxt_switches:")
        });
        (ticks as f64 / 100.0, switches.sum())
    }

    /// Over so long, by itself: share of a core, wake-ups a second, memory.
    async fn measure(&self, name: &str, seconds: u64) {
        let before = self.used();
        sleep(Duration::from_secs(seconds)).await;
        let after = self.used();
        let text = self.text();
        println!(
            "{}",
            json!({
                "bench": name, "core_percent": (after.0 - before.0) / seconds as f64 * 100.0,
                "wake_ups_per_second": (after.1 - before.1) as f64 / seconds as f64,
                "rss_mib": field(&self.proc("status"), "VmRSS:") as f64 / 1_024.0,
                "live": text.split("live ").nth(1).and_then(|rest| rest.split(' ').next()),
                "gaps": text.contains("gaps "),
            })
        );
    }
}

fn field(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

/// With nothing up: how soon something useful is there, and what waiting costs.
async fn alone() {
    let begun = Instant::now();
    let program = Program::start(&["--connect".to_owned(), "ingest=127.0.0.1:1".to_owned()]);
    while !program.text().contains("quit") {
        assert!(begun.elapsed() < Duration::from_secs(10), "{}", program.text());
        sleep(Duration::from_millis(2)).await;
    }
    let first = begun.elapsed().as_secs_f64() * 1e3;
    println!("{}", json!({"bench": "first_frame", "ms": first, "budget_ms": 200.0}));
    sleep(Duration::from_secs(5)).await;
    program.measure("nothing_up", 20).await;
}

/// With so many processes that send a frame every `pause`.
async fn watched(name: &str, processes: usize, pause: Duration) {
    // One listener; each watch of it is another replica.
    let scripts = (0..processes).map(|_| vec![frame("query", 1, snapshot(well("query")))]).collect();
    let fake = server::Fake::start(scripts).await;
    let arguments = (0..processes).flat_map(|_| ["--connect".to_owned(), fake.address.to_string()]).collect::<Vec<_>>();
    let program = Program::start(&arguments);
    let begun = Instant::now();
    while fake.resumes().len() < processes {
        assert!(begun.elapsed() < Duration::from_secs(60), "{}", program.text());
        sleep(Duration::from_millis(20)).await;
    }
    let beat = async {
        let mut interval = tokio::time::interval(pause);
        for seq in 2.. {
            interval.tick().await;
            fake.send(&frame("query", seq, heartbeat()));
        }
    };
    tokio::select! {
        () = beat => {}
        () = async { sleep(Duration::from_secs(5)).await; program.measure(name, 20).await } => {}
    }
}

fn main() {
    drawing(120, 40);
    drawing(200, 60);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    // The console runs on one thread, and the flood on another, as they would.
    runtime.block_on(async {
        looping(10_000).await;
        looping(0).await;
        alone().await;
        watched("three_processes_at_2_hz", 3, Duration::from_millis(500)).await;
        watched("thousand_processes_at_1_hz", 1_000, Duration::from_secs(1)).await;
    });
}
