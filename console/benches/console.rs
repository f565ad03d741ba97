//! The console's budgets, measured: `cargo bench -p loadline-console`; a JSON object a line, each figure beside its budget.
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
use loadline_proto::health::{Frame, Severity as Wire, State as WireState};
use portable_pty::CommandBuilder;
use prost::Message as _;
use ratatui::{Terminal, TerminalOptions, Viewport, backend::CrosstermBackend, layout::Rect};
use serde_json::{Value, json};
use std::{
    fs,
    io::{self, Write},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use tokio::{sync::mpsc, time::sleep};

/// A figure that is to be no higher than its budget.
fn tell(bench: &str, what: &str, value: f64, budget: f64, further: Value) {
    println!("{}", json!({"bench": bench, what: value, "budget": budget, "holds": value <= budget, "further": further}));
}

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
    tell("draw", "p99_ms", p99, 2.0, json!({"columns": columns, "rows": rows, "p50_ms": p50}));
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
        let frames = terminal.get_frame().count() as f64 / seconds;
        let rate = json!({"deltas_per_second": seq as f64 / seconds});
        tell("flood", "key_to_bytes_p99_ms", percentile(&mut keys, 0.99), 16.0, rate.clone());
        tell("flood", "frames_per_second_without_those_for_keys", frames - pressed, 20.0, rate.clone());
        tell("flood", "frames_lost", endpoint.gaps as f64, 0.0, rate);
    } else {
        let mut paints = until_flushed(&sent.lock().unwrap(), &flushed);
        let p99 = percentile(&mut paints, 0.99);
        tell("signal_to_paint", "p99_ms", p99, 150.0, json!({"samples": paints.len()}));
    }
}

/// Of the program, in MiB.
const MEMORY: f64 = 25.0;

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
    async fn measure(&self, name: &str, seconds: u64, core: f64, wake_ups: f64) {
        let before = self.used();
        sleep(Duration::from_secs(seconds)).await;
        let after = self.used();
        let text = self.text();
        let live = text.split("live ").nth(1).and_then(|rest| rest.split(' ').next());
        let rss = self.rss_mib();
        let further = json!({"live": live, "gaps": text.contains("gaps "), "seconds": seconds, "rss_mib": rss});
        tell(name, "core_percent", (after.0 - before.0) / seconds as f64 * 100.0, core, further.clone());
        tell(name, "wake_ups_per_second", (after.1 - before.1) as f64 / seconds as f64, wake_ups, further);
    }

    fn rss_mib(&self) -> f64 {
        field(&self.proc("status"), "VmRSS:") as f64 / 1_024.0
    }

    /// Waits until this is on the screen; for how long.
    async fn until(&self, text: &str) -> Duration {
        let begun = Instant::now();
        while !self.text().contains(text) {
            assert!(begun.elapsed() < Duration::from_secs(120), "never: {text}\n{}", self.text());
            sleep(Duration::from_millis(2)).await;
        }
        begun.elapsed()
    }
}

fn field(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

/// With nothing up: how soon something useful is there, and what waiting costs.
async fn alone() {
    let program = Program::start(&["--connect".to_owned(), "ingest=127.0.0.1:1".to_owned()]);
    let first = program.until("quit").await;
    tell("first_frame", "ms", first.as_secs_f64() * 1e3, 200.0, json!({}));
    sleep(Duration::from_secs(5)).await;
    program.measure("nothing_up", 20, 0.5, 2.0).await;
}

/// A process that falls silent: how soon it is shown as blind.
async fn silent() {
    let fake = server::Fake::start(vec![vec![frame("query", 1, snapshot(well("query")))]]).await;
    let program = Program::start(&["--connect".to_owned(), fake.address.to_string()]);
    program.until("live 1/1").await;
    for seq in 2..6 {
        sleep(Duration::from_millis(500)).await;
        fake.send(&frame("query", seq, heartbeat()));
    }
    let blind = program.until("BLIND 1").await;
    tell("blind", "seconds", blind.as_secs_f64(), 5.1, json!({}));
}

/// What three processes say in a day, at once; the last of it opens a mode.
async fn a_day() {
    let scripts = (0..3).map(|_| vec![frame("query", 1, snapshot(well("query")))]).collect();
    let fake = server::Fake::start(scripts).await;
    let arguments = (0..3).flat_map(|_| ["--connect".to_owned(), fake.address.to_string()]).collect::<Vec<_>>();
    let program = Program::start(&arguments);
    program.until("live 3/3").await;
    let last = 24 * 3_600 * 2;
    for seq in 2..=last {
        let body = match seq {
            _ if seq == last => delta(vec![status("AN-06", WireState::Open, Wire::P2)]),
            _ if seq % 2 == 0 => delta(vec![status("AN-06", WireState::Ok, Wire::P2)]),
            _ => heartbeat(),
        };
        fake.send(&frame("query", seq, body));
        // Not faster than they are taken, or the bench would hold them.
        if seq % 256 == 0 {
            sleep(Duration::from_millis(1)).await;
        }
    }
    program.until("[2]P2 1").await;
    tell(
        "a_day_of_frames",
        "rss_mib",
        program.rss_mib(),
        MEMORY,
        json!({"frames": 3 * last, "gaps": program.text().contains("gaps ")}),
    );
}

/// A snapshot of five megabytes, from its bytes to the terminal's.
fn five_megabytes() {
    let modes = (0..25_000).map(|number| {
        let mut status = status(&format!("XX-{number}"), WireState::Open, Wire::P3);
        status.rule = "x".repeat(100);
        status
    });
    let bytes = frame("ingest", 1, snapshot(modes.collect())).encode_to_vec();
    assert!(bytes.len() > 5_000_000);
    let mut parts = [const { Vec::new() }; 3];
    let mut times: Vec<Duration> = (0..10)
        .map(|_| {
            let mut console = fixture::Console::new();
            let mut terminal = screen(120, 40, Sink::default());
            console.up(0);
            let begun = Instant::now();
            console.frame(0, Frame::decode(&*bytes).unwrap());
            let taken = Instant::now();
            settle(&mut console.model, console.now);
            let settled = Instant::now();
            terminal.draw(|frame| draw(&console.model, frame)).unwrap();
            let drawn = Instant::now();
            for (part, time) in parts.iter_mut().zip([taken - begun, settled - taken, drawn - settled]) {
                part.push(time);
            }
            drawn - begun
        })
        .collect();
    let [taking, settling, drawing] = parts.map(|mut part| percentile(&mut part, 0.5));
    let further = json!({
        "bytes": bytes.len(), "modes": 25_000, "slowest_ms": percentile(&mut times, 1.0),
        "of_it_p50_ms": {"taking": taking, "settling": settling, "drawing": drawing},
    });
    tell("snapshot_of_5_mb", "p50_ms", percentile(&mut times, 0.5), 150.0, further);
}

/// With so many processes that send a frame every `pause`.
async fn watched(name: &str, processes: usize, pause: Duration, core: f64) {
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
    // Each frame is one; two more are the console's own.
    let wake_ups = processes as f64 / pause.as_secs_f64() + 2.0;
    let beat = async {
        let mut interval = tokio::time::interval(pause);
        for seq in 2.. {
            interval.tick().await;
            fake.send(&frame("query", seq, heartbeat()));
        }
    };
    tokio::select! {
        () = beat => {}
        () = async { sleep(Duration::from_secs(5)).await; program.measure(name, 20, core, wake_ups).await } => {}
    }
}

fn main() {
    drawing(120, 40);
    drawing(200, 60);
    five_megabytes();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    // The console runs on one thread, and the flood on another, as they would.
    runtime.block_on(async {
        looping(10_000).await;
        looping(0).await;
        alone().await;
        silent().await;
        watched("three_processes_at_2_hz", 3, Duration::from_millis(500), 0.5).await;
        watched("thousand_processes_at_1_hz", 1_000, Duration::from_secs(1), 10.0).await;
        a_day().await;
    });
}
