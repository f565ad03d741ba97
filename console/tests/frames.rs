//! What is drawn: frames with their styles, at three sizes, with and without colours and signs.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod fixture;
#[path = "fixture/scene.rs"]
mod scene;

use fixture::{Console, catalogue, delta, frame, heartbeat, registry, seconds, snapshot, status, target, trouble};
use loadline_console::{
    headless,
    model::{endpoint::Link, ui::Screen},
    msg::What,
    view::{
        draw,
        theme::{Look, Theme},
    },
};
use loadline_proto::health::{Severity as Wire, State as WireState};
use proptest::prelude::*;
use ratatui::{
    Terminal,
    backend::TestBackend,
    buffer::Buffer,
    style::{Color, Style},
};
use std::fmt::Write as _;

fn drawn(console: &Console, columns: u16, rows: u16) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
    terminal.draw(|frame| draw(&console.model, frame)).unwrap();
    terminal.backend().buffer().clone()
}

/// The text, then a letter for the style of each cell, then what the letters mean.
fn with_styles(buffer: &Buffer) -> String {
    let (mut text, mut letters) = (String::new(), String::new());
    let mut styles: Vec<Style> = Vec::new();
    for y in 0..buffer.area.height {
        for x in 0..buffer.area.width {
            let cell = &buffer[(x, y)];
            text.push_str(cell.symbol());
            let style = cell.style();
            let known = styles.iter().position(|known| *known == style).unwrap_or_else(|| {
                styles.push(style);
                styles.len() - 1
            });
            letters.push(char::from(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"[known]));
        }
        text.push('\n');
        letters.push('\n');
    }
    let mut out = format!("{text}\n{letters}\n");
    for (style, letter) in styles.iter().zip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ".chars()) {
        let _ = writeln!(
            out,
            "{letter} {:?} on {:?} {:?}",
            style.fg.unwrap_or_default(),
            style.bg.unwrap_or_default(),
            style.add_modifier
        );
    }
    out
}

const COLOUR: Look = Look { theme: Theme::Dark, ascii: false };
const MONO: Look = Look { theme: Theme::Mono, ascii: false };
const ASCII: Look = Look { theme: Theme::Mono, ascii: true };

#[test]
fn the_board_looks_as_it_did_at_three_sizes_and_in_three_ways() {
    for (size, columns, rows) in [("80x24", 80, 24), ("120x40", 120, 40), ("200x60", 200, 60)] {
        for (way, look) in [("colour", COLOUR), ("no_color", MONO), ("ascii", ASCII)] {
            let mut console = trouble();
            console.model.ui.look = look;
            insta::assert_snapshot!(format!("board_{size}_{way}"), with_styles(&drawn(&console, columns, rows)));
        }
    }
}

#[test]
fn what_is_done_and_proven_looks_as_it_did_at_three_sizes_and_in_three_ways() {
    for (size, columns, rows) in [("80x24", 80, 24), ("120x40", 120, 40), ("200x60", 200, 60)] {
        for (way, look) in [("colour", COLOUR), ("no_color", MONO), ("ascii", ASCII)] {
            for (name, mut console) in [("card", scene::deciding()), ("running", scene::busy()), ("drills", scene::busy())] {
                console.model.ui.look = look;
                if name == "drills" {
                    console.press("f");
                }
                insta::assert_snapshot!(format!("{name}_{size}_{way}"), with_styles(&drawn(&console, columns, rows)));
            }
        }
    }
    for (name, keys) in [("actions", "x"), ("note", "m 3 0 m")] {
        let mut console = scene::busy();
        console.press(keys);
        insta::assert_snapshot!(name, with_styles(&drawn(&console, 100, 30)));
    }
}

#[test]
fn models_look_as_they_did_at_three_sizes_and_in_three_ways() {
    for (size, columns, rows) in [("80x24", 80, 24), ("120x40", 120, 40), ("200x60", 200, 60)] {
        for (way, look) in [("colour", COLOUR), ("no_color", MONO), ("ascii", ASCII)] {
            let mut console = registry::console();
            console.model.ui.look = look;
            insta::assert_snapshot!(format!("models_{size}_{way}"), with_styles(&drawn(&console, columns, rows)));
        }
    }
    for (name, keys) in [("model_version", "j j j"), ("model_described", "Enter")] {
        let mut console = registry::console();
        console.press(keys);
        insta::assert_snapshot!(name, with_styles(&drawn(&console, 100, 30)));
    }
}

#[test]
fn every_other_picture_looks_as_it_did() {
    let pictures = [
        ("usage", "t"),
        ("jobs", "p"),
        ("dead_letters", "e"),
        ("help", "?"),
        ("palette", ": f r"),
        ("filter", "/ A N"),
        ("describe", "d"),
        ("unfolded", "o G"),
        ("sorted", "s s"),
        ("sorted_usage", "t s"),
        ("services", "Tab Tab j"),
        ("band", "3"),
        ("frozen", "z"),
        ("replay", "v h"),
    ];
    for (name, keys) in pictures {
        let mut console = trouble();
        console.press(keys);
        insta::assert_snapshot!(name, with_styles(&drawn(&console, 100, 30)));
    }
}

#[test]
fn a_p1_takes_the_two_top_lines_by_text() {
    let mut console = Console::well();
    console.frame(0, frame("ingest", 8, delta(vec![status("AN-09", WireState::Open, Wire::P1)])));
    for look in [COLOUR, MONO, ASCII] {
        console.model.ui.look = look;
        console.settle();
        let text = headless::frame(&console.model, 80, 24);
        let top: Vec<&str> = text.lines().take(3).collect();
        assert!(top[0].contains("P1 FULL OUTAGE") && top[0].contains("AN-09 Retention"), "{top:?}");
        assert!(top[1].contains("what users notice of AN-09") && top[2].contains("WORST P1"), "{top:?}");
    }
}

#[test]
fn without_colours_there_is_none_and_in_ascii_nothing_else() {
    for keys in ["o", "t", "p", "e", "i", "?", "d", "v", ": a", "/ x"] {
        let mut console = trouble();
        console.model.ui.look = ASCII;
        let mut wide = status("AN-02", WireState::Open, Wire::P1);
        wide.evidence.as_mut().unwrap().detail = "停止 é ▶".to_owned();
        console.frame(0, frame("ingest", 10, delta(vec![wide])));
        console.press(keys);
        for cell in &drawn(&console, 120, 40).content {
            assert_eq!((cell.fg, cell.bg), (Color::Reset, Color::Reset), "{keys}");
            assert!(cell.symbol().is_ascii(), "{:?} in {keys}", cell.symbol());
        }
    }
}

#[test]
fn what_is_open_can_be_told_from_what_is_ok_without_colours() {
    let mut console = trouble();
    console.model.ui.look = MONO;
    console.press("o");
    console.settle();
    let text = headless::frame(&console.model, 120, 40);
    let line = |id: &str| text.lines().find(|line| line.contains(&format!("  {id}  "))).unwrap_or_default().to_owned();
    assert!(line("AN-01").contains("OPEN 00:4") && line("AN-04").contains("BLIND 00:06") && line("AN-04").contains("was OK"));
    assert!(line("AN-06").contains(" OK ") && line("PR-11").contains("PLANNED") && line("AN-03").contains("SUSPECT"));
}

#[test]
fn names_from_a_server_cannot_move_the_cursor_or_the_columns() {
    let mut console = Console::well();
    let mut hostile = status("\u{1b}[2J\u{7}AN\n", WireState::Open, Wire::P1);
    hostile.rule = "\u{1b}]52;c;ZXZpbA==\u{7}\u{202e}".to_owned();
    let mut answer = catalogue();
    answer.failure_modes[0].title = "停止停止停止停止停止停止停止停止停止停止停止停止".to_owned();
    console.hear(0, What::Catalogue(answer));
    console.frame(0, frame("ingest\u{9b}31m", 8, delta(vec![hostile, status("AN-01", WireState::Open, Wire::P2)])));
    console.press("j d");
    console.settle();
    let buffer = drawn(&console, 120, 40);
    assert!(buffer.content.iter().all(|cell| !cell.symbol().chars().any(char::is_control)));
    // The border at the right of the board is where it is.
    console.press("Esc");
    let buffer = drawn(&console, 120, 40);
    assert!((6..20).all(|y| buffer[(119, y)].symbol() == "│" && buffer[(77, y)].symbol() == "│"), "{}", with_styles(&buffer));
}

#[test]
fn the_countdown_to_the_next_try_is_seen() {
    let mut console = Console::new();
    let error = "Connection refused (os error 111)".to_owned();
    console.hear(0, What::Link(Link::Down { error, retry_at: seconds(8.0) }));
    console.pass(seconds(5.0));
    let text = headless::frame(&console.model, 120, 40);
    assert!(text.contains("Connection refused") && text.contains("again in 3s") && text.contains("BLIND 3 (5s)"), "{text}");
    assert!(
        text.contains("WORST P1") && text.contains("▶P1  PR-09") && text.contains("P1 full outage: it was the"),
        "the last ingest is gone: {text}"
    );
}

#[test]
fn the_past_and_a_frozen_picture_say_so_and_show_the_worst_of_now() {
    let mut console = Console::well();
    console.press("z");
    console.now = console.now.after(seconds(1.0));
    console.frame(0, frame("ingest", 8, delta(vec![status("AN-09", WireState::Open, Wire::P1)])));
    console.settle();
    let text = headless::frame(&console.model, 120, 40);
    let (top, board) = text.split_at(text.find("FAILURE MODES").unwrap());
    assert!(top.contains("FROZEN 00:01") && top.contains("WORST P1") && top.contains("P1 FULL OUTAGE"), "{text}");
    assert!(board.contains("P1 full outage ── none") && !board.contains("OPEN"), "the picture itself stands still: {text}");
    console.press("z");
    assert!(headless::frame(&console.model, 120, 40).contains("OPEN"));
}

#[test]
fn a_recording_has_no_present_beside_it() {
    let mut console = Console::well();
    console.frame(0, frame("ingest", 8, delta(vec![status("AN-09", WireState::Open, Wire::P1)])));
    console.press("v");
    console.model.offline = true;
    console.model.world = Console::new().model.world;
    console.settle();
    let text = headless::frame(&console.model, 120, 40);
    assert!(text.contains("P1 FULL OUTAGE") && text.contains("WORST P1") && text.contains("live 3/3"), "{text}");
}

#[test]
fn five_megabytes_of_modes_are_drawn() {
    let mut console = Console::of(&[target("ingest", "host:1")]);
    console.up(0);
    let modes: Vec<_> = (0..25_000)
        .map(|number| {
            let mut status = status(&format!("XX-{number}"), WireState::Open, Wire::P3);
            status.rule = "x".repeat(100);
            status
        })
        .collect();
    let big = frame("ingest", 1, snapshot(modes));
    assert!(prost::Message::encoded_len(&big) > 5_000_000);
    console.frame(0, big);
    console.settle();
    let text = headless::frame(&console.model, 120, 40);
    assert!(text.contains("[3]P3 25000"), "{text}");
    console.press("G");
    assert!(headless::frame(&console.model, 120, 40).contains("▶P3  XX-99…"));
}

#[test]
fn many_endpoints_fit_by_showing_the_worst_first() {
    let targets: Vec<_> = (0..100).map(|number| target("query", &format!("host-{number}:1"))).collect();
    let mut console = Console::of(&targets);
    for endpoint in 0..99 {
        console.up(endpoint);
        console.frame(endpoint, frame("query", 1, snapshot(vec![status("AN-06", WireState::Ok, Wire::P2)])));
    }
    console.now = console.now.after(seconds(4.0));
    for endpoint in 0..99 {
        console.frame(endpoint, frame("query", 2, heartbeat()));
    }
    console.pass(seconds(1.0));
    let text = headless::frame(&console.model, 120, 40);
    let services = text.split("SERVICES").nth(1).unwrap();
    assert!(services.contains("host-99:1") && services.contains("BLIND") && text.contains("live 99/100"), "{text}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn no_size_and_no_screen_panics(
        columns in prop_oneof![1_u16..30, 1_u16..250], rows in prop_oneof![1_u16..12, 1_u16..90],
        keys in prop::collection::vec(prop::sample::select("itpebodz?/:jkGglhv12045ycfxamuTXCD".chars().collect::<Vec<_>>()), 0..6),
        ascii in any::<bool>(),
    ) {
        let mut console = trouble();
        console.model.ui.look.ascii = ascii;
        for key in keys {
            console.press(&key.to_string());
        }
        let text = headless::frame(&console.model, columns, rows);
        prop_assert_eq!(text.split('\n').count(), usize::from(rows));
    }
}

#[test]
fn a_screen_of_one_cell_is_drawn() {
    for screen in [Screen::Board, Screen::Usage, Screen::Jobs, Screen::Letters, Screen::Drills, Screen::Models] {
        let mut console = trouble();
        console.model.ui.screen = screen;
        assert_eq!(drawn(&console, 1, 1).content.len(), 1);
    }
}
