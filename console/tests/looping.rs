//! The real loop with scripted keys, on a terminal that only remembers.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

#[path = "fixture/backend.rs"]
mod backend;
#[path = "fixture/mod.rs"]
mod fixture;

use backend::Counting;
use fixture::{catalogue, delta, frame, heartbeat, snapshot, start, status, targets, well};
use futures::{Stream, StreamExt as _, stream};
use loadline_console::{
    action::KeyMap,
    clock::Clock,
    connection::Stamped,
    model::{Model, endpoint::Link},
    msg::{Effect, Input, Msg, What},
    run::{FRAME, Flow, Outside, run},
};
use loadline_proto::health::{Severity as Wire, State as WireState};
use ratatui::Terminal;
use std::{convert::Infallible, time::Duration};
use tokio::{
    sync::mpsc::{self, Receiver, Sender},
    time::{Instant, sleep},
};

/// Remembers what it was asked for.
#[derive(Default)]
struct Remembering(Vec<Effect>);

impl Outside<Counting> for Remembering {
    fn perform(&mut self, effect: Effect, _: &mut Model, _: &mut Terminal<Counting>) -> Result<Flow, Infallible> {
        let quit = effect == Effect::Quit;
        self.0.push(effect);
        Ok(if quit { Flow::Quit } else { Flow::On })
    }
}

struct Bench {
    model: Model,
    terminal: Terminal<Counting>,
    outside: Remembering,
    clock: Clock,
}

impl Bench {
    fn new() -> Self {
        Self {
            model: Model::new(&targets(), KeyMap::default(), start()),
            terminal: Terminal::new(Counting::new(120, 40)).unwrap(),
            outside: Remembering::default(),
            clock: Clock::starting_at(start().wall),
        }
    }

    async fn run(&mut self, inputs: &mut Receiver<Stamped>, keys: impl Stream<Item = Msg>) {
        let Ok(()) = run(&mut self.model, &mut self.terminal, inputs, keys, &mut self.outside, self.clock).await;
    }

    fn frames(&self) -> &[Instant] {
        &self.terminal.backend().frames
    }

    fn text(&self) -> String {
        self.terminal.backend().inner.to_string()
    }
}

/// Keys, each after so many milliseconds; then nothing more, without an end.
fn keys(script: &[(u64, &str)]) -> impl Stream<Item = Msg> + use<> {
    let script: Vec<(u64, Msg)> = script.iter().map(|(wait, key)| (*wait, Msg::Key(key.parse().unwrap()))).collect();
    let pressed = stream::iter(script).then(|(wait, key)| async move {
        sleep(Duration::from_millis(wait)).await;
        key
    });
    pressed.chain(stream::pending())
}

async fn hear(out: &Sender<Stamped>, endpoint: usize, what: What) {
    let msg = Msg::Input(Input { endpoint, what });
    out.send(Stamped { at: Instant::now(), msg }).await.unwrap();
}

async fn say_well(out: &Sender<Stamped>) {
    for (endpoint, service) in ["ingest", "query", "rollup"].into_iter().enumerate() {
        hear(out, endpoint, What::Link(Link::Up)).await;
        let frame = Box::new(frame(service, 1, snapshot(well(service))));
        hear(out, endpoint, What::Frame { watch: 0, frame }).await;
    }
    hear(out, 0, What::Catalogue(catalogue())).await;
}

#[tokio::test(start_paused = true)]
async fn keys_find_copy_and_leave() {
    let mut bench = Bench::new();
    let (out, mut inputs) = mpsc::channel(100);
    say_well(&out).await;
    let script: Vec<(u64, &str)> = "o / S l o w Enter y Esc : q u i t Enter".split(' ').map(|key| (20, key)).collect();
    bench.run(&mut inputs, keys(&script)).await;
    let copied = bench.outside.0.iter().find_map(|effect| if let Effect::Copy(text) = effect { Some(text) } else { None });
    assert!(copied.unwrap().contains("\"id\": \"AN-06\""), "{:?}", bench.outside.0);
    assert_eq!(bench.outside.0.last(), Some(&Effect::Quit));
}

#[tokio::test(start_paused = true)]
async fn a_key_is_answered_while_nothing_answers() {
    let mut bench = Bench::new();
    let (_out, mut inputs) = mpsc::channel(1);
    bench.run(&mut inputs, keys(&[(5, "?"), (5, "q")])).await;
    assert!(bench.text().contains("KEYS"), "{}", bench.text());
    assert!(bench.frames()[1] - bench.frames()[0] <= Duration::from_millis(6));
}

#[tokio::test(start_paused = true)]
async fn a_flood_is_drawn_twenty_times_a_second_and_nothing_of_it_is_dropped() {
    let mut bench = Bench::new();
    let (out, mut inputs) = mpsc::channel(4_096);
    let flood = tokio::spawn(async move {
        say_well(&out).await;
        for seq in 2..20_002_u64 {
            let state = if seq % 2 == 0 { WireState::Open } else { WireState::Suspect };
            let frame = Box::new(frame("ingest", seq, delta(vec![status("AN-02", state, Wire::P3)])));
            hear(&out, 0, What::Frame { watch: 0, frame }).await;
            if seq % 10 == 0 {
                sleep(Duration::from_millis(1)).await;
            }
        }
        sleep(Duration::from_secs(3)).await;
    });
    bench.run(&mut inputs, keys(&[(2_000, "j"), (1_000, "q")])).await;
    flood.abort();
    let busy = bench.frames().iter().filter(|at| **at - bench.frames()[0] <= Duration::from_secs(2)).count();
    assert!((30..=42).contains(&busy), "{busy} frames in 2 s");
    let endpoint = &bench.model.world.endpoints[0];
    assert_eq!((endpoint.position.as_ref().unwrap().1, endpoint.gaps), (20_001, 0));
}

#[tokio::test(start_paused = true)]
async fn heartbeats_do_not_draw_and_an_idle_console_draws_once_a_second() {
    let mut bench = Bench::new();
    let (out, mut inputs) = mpsc::channel(100);
    let beat = tokio::spawn(async move {
        say_well(&out).await;
        for seq in 2..100 {
            sleep(Duration::from_millis(500)).await;
            for (endpoint, service) in ["ingest", "query", "rollup"].into_iter().enumerate() {
                let frame = Box::new(frame(service, seq, heartbeat()));
                hear(&out, endpoint, What::Frame { watch: 0, frame }).await;
            }
        }
    });
    bench.run(&mut inputs, keys(&[(20_500, "q")])).await;
    beat.abort();
    let frames = bench.frames().len();
    assert!((20..=24).contains(&frames), "{frames} frames in 20 s");
}

#[tokio::test(start_paused = true)]
async fn blindness_is_drawn_within_a_tenth_of_a_second_of_its_time() {
    let mut bench = Bench::new();
    let (out, mut inputs) = mpsc::channel(100);
    // Between two ticks, so that a tick alone would be late.
    let late = tokio::spawn(async move {
        sleep(Duration::from_millis(370)).await;
        say_well(&out).await;
        sleep(Duration::from_secs(60)).await;
    });
    bench.run(&mut inputs, keys(&[(370 + 5_100, "q")])).await;
    late.abort();
    assert!(bench.text().contains("BLIND 3"), "{}", bench.text());
}

#[tokio::test(start_paused = true)]
async fn what_opens_is_drawn_within_a_frame() {
    let mut bench = Bench::new();
    let (out, mut inputs) = mpsc::channel(100);
    say_well(&out).await;
    let opening = tokio::spawn(async move {
        sleep(Duration::from_millis(1_333)).await;
        let frame = Box::new(frame("ingest", 2, delta(vec![status("AN-02", WireState::Open, Wire::P3)])));
        hear(&out, 0, What::Frame { watch: 0, frame }).await;
        sleep(Duration::from_secs(60)).await;
    });
    bench.run(&mut inputs, keys(&[(1_333 + FRAME.as_millis() as u64 + 1, "q")])).await;
    opening.abort();
    assert!(bench.text().contains("OPEN"), "{}", bench.text());
}

#[tokio::test(start_paused = true)]
async fn the_loop_ends_when_no_key_can_come_any_more() {
    let mut bench = Bench::new();
    let (_out, mut inputs) = mpsc::channel(1);
    bench.run(&mut inputs, stream::empty()).await;
    assert_eq!(bench.frames().len(), 1, "the first frame comes before anything else");
}

#[tokio::test(start_paused = true)]
async fn pasted_text_presses_no_key() {
    let mut bench = Bench::new();
    let (_out, mut inputs) = mpsc::channel(1);
    let pasted = stream::iter([Msg::Paste("q\u{3}\n:quit\n".to_owned())]).chain(keys(&[(100, "/"), (5, "x")]));
    let pasted = pasted.chain(stream::pending());
    let timeout = tokio::time::timeout(Duration::from_secs(1), bench.run(&mut inputs, pasted)).await;
    assert!(timeout.is_err(), "it runs on");
    assert_eq!(bench.outside.0, []);
}
