//! The program in a terminal of its own: whatever ends or interrupts it, the terminal is as it was.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

#[path = "fixture/mod.rs"]
mod fixture;
#[path = "fixture/screen.rs"]
mod screen;
#[path = "fixture/server.rs"]
mod server;

use fixture::{
    frame, snapshot, status,
    work::{offered, plan, run},
};
use loadline_console::terminal::Taken;
use loadline_proto::health::{Reversibility, Severity as Wire, State as WireState, remedy_run::Outcome};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use portable_pty::{CommandBuilder, PtySize};
use screen::Screen;
use std::{
    ops::{Deref, DerefMut},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

const LONG: Duration = Duration::from_secs(20);

/// A console in a terminal.
struct Console(Screen);

impl Deref for Console {
    type Target = Screen;

    fn deref(&self) -> &Screen {
        &self.0
    }
}

impl DerefMut for Console {
    fn deref_mut(&mut self) -> &mut Screen {
        &mut self.0
    }
}

impl Console {
    fn open(arguments: &[&str]) -> Self {
        // Nothing listens there: the console has to do without.
        Self::connected(arguments, "ingest=127.0.0.1:1")
    }

    fn connected(arguments: &[&str], to: &str) -> Self {
        let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_loadline-console"));
        command.args(arguments);
        command.args(["--connect", to]);
        command.env("LANG", "C.UTF-8");
        command.env("TERM", "xterm-256color");
        Self(Screen::of(command, 100, 30))
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.process_id().unwrap().cast_signed())
    }

    /// Whether lines are edited and keys are echoed, as a shell wants it.
    fn is_cooked(&self) -> bool {
        let settings = self.master.get_termios().unwrap();
        let local = format!("{:?}", settings.local_flags);
        let is_set = |name: &str| local.split(|char: char| !char.is_ascii_alphanumeric()).any(|flag| flag == name);
        is_set("ICANON") && is_set("ECHO")
    }

    fn restored(&self) {
        self.until("the alternate screen is left", |screen| {
            !screen.alternate_screen() && !screen.hide_cursor() && !screen.bracketed_paste()
        });
        assert!(self.is_cooked());
        let has = |what: &str| self.bytes.lock().unwrap().windows(what.len()).rposition(|bytes| bytes == what.as_bytes());
        // Movements, which would wake it all the time, are never asked for.
        assert!(has("\u{1b}[?1003h").is_none() && has("\u{1b}[?1002h").is_none());
        for mode in ["1000", "1006"] {
            let (on, off) = (has(&format!("\u{1b}[?{mode}h")), has(&format!("\u{1b}[?{mode}l")));
            assert!(on.is_some() && off > on, "{mode}: {on:?} {off:?}");
        }
    }

    fn started(&self) {
        self.until("the first frame", |screen| screen.alternate_screen() && screen.contents().contains("FAILURE MODES"));
        assert!(!self.is_cooked());
    }
}

#[test]
fn it_starts_without_a_service_and_leaves_the_terminal_as_it_was() {
    let mut screen = Console::open(&[]);
    screen.started();
    screen.press("?");
    screen.shows(" KEYS ");
    screen.press("q");
    assert_eq!(screen.ended(), 0);
    screen.restored();
}

#[test]
fn a_signal_to_end_leaves_the_terminal_as_it_was() {
    for signal in [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT] {
        let mut screen = Console::open(&[]);
        screen.started();
        kill(screen.pid(), signal).unwrap();
        assert_eq!(screen.ended(), 0, "{signal}");
        screen.restored();
    }
}

#[test]
fn a_panic_leaves_the_terminal_as_it_was_and_is_readable() {
    let mut child = CommandBuilder::new(std::env::current_exe().unwrap());
    child.args(["--ignored", "--exact", "a_child_that_panics_on_screen", "--nocapture"]);
    let mut screen = Console(Screen::of(child, 100, 30));
    screen.shows("panicked at");
    assert_ne!(screen.ended(), 0);
    screen.restored();
}

#[test]
#[ignore = "a child of the test above"]
fn a_child_that_panics_on_screen() {
    let _taken = Taken::take(true).unwrap();
    panic!("on purpose");
}

#[test]
fn suspended_it_gives_the_terminal_back_and_continued_it_takes_it_again() {
    for stop in ["key", "signal"] {
        let mut screen = Console::open(&[]);
        screen.started();
        match stop {
            "key" => screen.press("\u{1a}"),
            _ => kill(screen.pid(), Signal::SIGTSTP).unwrap(),
        }
        screen.restored();
        let before = screen.bytes.lock().unwrap().len();
        kill(screen.pid(), Signal::SIGCONT).unwrap();
        screen.until("the screen again", |screen| screen.alternate_screen() && screen.contents().contains("FAILURE MODES"));
        assert!(screen.bytes.lock().unwrap().len() > before && !screen.is_cooked());
        screen.press("q");
        assert_eq!(screen.ended(), 0, "{stop}");
        screen.restored();
    }
}

#[test]
fn the_mouse_selects_in_a_terminal_and_is_left_to_it_where_it_is_not_wanted() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let modes = ["AN-01", "AN-02"].map(|id| status(id, WireState::Open, Wire::P2));
    let fake = runtime.block_on(server::Fake::start(vec![vec![frame("ingest", 1, snapshot(modes.into()))]]));
    let mut screen = Console::connected(&[], &format!("ingest={}", fake.address));
    screen.shows("OPEN");
    screen.shows("▶P2  AN-01");
    let text = screen.text();
    let row = text.lines().position(|line| line.contains("P2  AN-02")).unwrap() + 1;
    screen.press(&format!("\u{1b}[<0;5;{row}M\u{1b}[<0;5;{row}m"));
    screen.shows("▶P2  AN-02");
    screen.press("q");
    assert_eq!(screen.ended(), 0);
    screen.restored();
    let mut screen = Console::open(&["--no-mouse"]);
    screen.started();
    screen.press("q");
    assert_eq!(screen.ended(), 0);
    assert!(!screen.bytes.lock().unwrap().windows(7).any(|bytes| bytes == b"\x1b[?1000"));
}

#[test]
fn another_size_is_drawn_at_once_down_to_one_cell_and_back() {
    let mut screen = Console::open(&[]);
    screen.started();
    for (rows, cols) in [(1, 1), (10, 40), (50, 160)] {
        let before = screen.bytes.lock().unwrap().len();
        screen.master.resize(PtySize { rows, cols, pixel_width: 0, pixel_height: 0 }).unwrap();
        let end = Instant::now() + LONG;
        while screen.bytes.lock().unwrap().len() == before {
            assert!(Instant::now() < end, "nothing is drawn at {cols}×{rows}");
            thread::sleep(Duration::from_millis(20));
        }
    }
    let end = Instant::now() + LONG;
    while !screen.seen(160, 50).screen().contents_between(49, 0, 49, 160).contains("help") {
        assert!(Instant::now() < end, "{}", screen.seen(160, 50).screen().contents());
        thread::sleep(Duration::from_millis(20));
    }
    screen.press("q");
    assert_eq!(screen.ended(), 0);
    screen.restored();
}

#[test]
fn without_a_terminal_it_says_what_else_there_is() {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_loadline-console"))
        .args(["--connect", "127.0.0.1:1"])
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(3) && told.contains("--plain"), "{told}");
}

#[test]
fn a_reader_that_closed_the_pipe_ends_what_is_printed_quietly() {
    for (arguments, code) in [(&["keys"][..], 0), (&["check", "--patience", "1"], 3), (&["--once"], 0)] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut console = std::process::Command::new(env!("CARGO_BIN_EXE_loadline-console"));
        let output = console.args(arguments).args(["--connect", "127.0.0.1:1"]).stdout(writer).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((output.status.code(), &*told), (Some(code), ""), "{arguments:?}");
    }
}

#[test]
fn keys_bound_twice_are_refused_at_the_start() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "freeze = [\"q\"]").unwrap();
    let mut screen = Console::open(&["--keys", file.path().to_str().unwrap()]);
    assert_eq!(screen.ended(), 3);
    screen.shows("key q would both freeze and quit");
}

#[test]
fn keys_in_a_terminal_plan_and_confirm_and_neither_paste_nor_a_glance_away_does() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mode = offered(status("AN-01", WireState::Open, Wire::P2));
    let fake = runtime.block_on(server::Fake::start(vec![vec![frame("ingest", 1, snapshot(vec![mode]))]]));
    let armed = |id: &str| plan(id, "AN-01", "C", Reversibility::Safe, "y");
    fake.desk().plans.lock().unwrap().extend([Ok(armed("p-1")), Ok(armed("p-2"))]);
    fake.desk().runs.lock().unwrap().push_back(Ok(run("r-1", armed("p-2"), Outcome::Running, 0, 1)));
    let mut screen = Console::connected(&[], &format!("ingest={}", fake.address));
    screen.shows("OPEN");
    screen.press("\u{f}C");
    screen.shows("y does it");
    // As terminals say that another window has the keyboard now.
    screen.press("\u{1b}[O");
    screen.shows("the terminal was left");
    thread::sleep(Duration::from_millis(600));
    screen.press("y\r");
    screen.until("closed", |screen| !screen.contents().contains("the terminal was left"));
    screen.press("\u{1b}[IC");
    screen.shows("y does it");
    thread::sleep(Duration::from_millis(1_200));
    screen.press("\u{1b}[200~y\u{1b}[201~");
    screen.shows("pasted text confirms nothing");
    assert_eq!(fake.desk().asked(), ["plan C AN-01", "plan C AN-01"]);
    screen.press("y");
    screen.shows("confirmed by the server");
    assert_eq!(fake.desk().asked().last().unwrap(), "execute p-2 y console p-2");
    screen.press("q");
    screen.child.wait().unwrap();
    let bytes = Arc::clone(&screen.bytes);
    let last = |what: &[u8]| bytes.lock().unwrap().windows(what.len()).rposition(|window| window == what);
    // Or the shell would be told of every glance. What it wrote last may still be on its way.
    screen.until("glances no longer asked for", |_| last(b"\x1b[?1004l") > last(b"\x1b[?1004h"));
}
