//! What fits on a terminal: what is left out where there is no room, what never is, and where the whole of it can be read.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod fixture;
#[path = "fixture/scene.rs"]
mod scene;

use fixture::{Console, delta, frame, letter, seconds, status, streams, trouble};
use loadline_console::{
    headless,
    model::ui::Pane,
    msg::{Answer, Msg, Seen, Topic, What},
    text::width,
    view::draw_and_measure,
};
use loadline_proto::{
    health::{Severity as Wire, State as WireState},
    ingest::{DeadLetter, ListDeadLettersResponse},
};
use ratatui::{Terminal, backend::TestBackend};

fn screen(console: &Console, columns: u16) -> String {
    headless::frame(&console.model, columns, 40)
}

#[test]
fn what_there_is_no_room_for_is_left_out_whole_and_never_cut_within_a_number() {
    let mut console = trouble();
    for (second, applied) in [(1.0, 1_064), (1.0, 1_144), (1.0, 1_203)] {
        console.pass(seconds(second));
        console.hear(0, What::Answer(Answer::Streams(streams(applied))));
    }
    for (key, words) in [("t", "14.1s"), ("p", " 62%"), ("e", "aurora-001"), ("f", "FAULT")] {
        console.press(key);
        console.settle();
        for columns in [60, 80, 100, 120, 200] {
            let text = headless::frame(&console.model, columns, 15);
            assert!(text.contains(words), "{columns}: {text}");
            assert!(text.lines().all(|line| width(line) <= columns.into()));
        }
    }
    console.press("t");
    let text = headless::frame(&console.model, 120, 40);
    assert!(text.contains("applied 59 records/s, 9.1 to 80 in the last 3 readings"), "{text}");
    console.press("b");
    console.settle();
    let text = headless::frame(&console.model, 60, 15);
    assert!(text.contains("SERVICES  rollup ░ BLIND 00:09  ingest late 00:03"), "{text}");
    assert!(
        text.contains("UNACCOUNTED 0") && !text.contains(" ok 1"),
        "what is good is not told in place of what is not: {text}"
    );
    let text = headless::frame(&console.model, 100, 30);
    assert!(text.contains("118>100   ") && !text.contains("118>100 r"), "a unit that has no room is left out: {text}");
}

#[test]
fn on_a_low_terminal_empty_bands_make_room_and_what_is_unaccounted_stays() {
    let mut console = scene::busy();
    console.settle();
    let high = screen(&console, 120);
    assert!(high.contains("P1 full outage ── none") && high.contains("behind"), "{high}");
    let low = headless::frame(&console.model, 80, 24);
    assert!(!low.contains("── none") && low.contains("UNACCOUNTED") && !low.contains("behind"), "{low}");
    for id in ["AN-01", "AN-02", "AN-03"] {
        assert!(low.contains(&format!("  {id}  ")), "{low}");
    }
}

#[test]
fn nothing_is_scrolled_further_than_it_goes() {
    for (keys, words) in [("?", "lost."), ("d", "\"title\""), ("Enter", "ALERT"), ("Tab", "ALERT")] {
        let mut console = trouble();
        console.press(&format!("{keys} G"));
        let mut terminal = Terminal::new(TestBackend::new(120, 16)).unwrap();
        let mut seen = Seen::default();
        terminal.draw(|frame| seen = draw_and_measure(&console.model, frame)).unwrap();
        let deepest = seen.deepest;
        assert!(deepest > 0 && headless::frame(&console.model, 120, 16).contains(words), "{keys}: {terminal:?}");
        console.tell(Msg::Drawn { waited: None, seen });
        console.press("k");
        assert_eq!(console.model.ui.scroll, deepest - 1, "{keys}: the next key moves it");
    }
}

#[test]
fn how_a_run_is_stopped_is_not_cut_off_however_long_its_words_are() {
    let console = scene::busy();
    for columns in [60, 80, 120] {
        let text = headless::frame(&console.model, columns, 24);
        assert!(text.contains("RUNNING [X abort] W widen"), "{text}");
    }
}

#[test]
fn what_a_list_has_no_room_for_is_described_whole() {
    let mut console = trouble();
    let why = format!("billing.channel is not known; {}", "it has to be told which one it was ".repeat(8));
    let long = DeadLetter { detail: why.clone(), ..letter(7, 1) };
    let answer = ListDeadLettersResponse { dead_letters: vec![long], ..Default::default() };
    console.press("e");
    console.hear(0, What::Answer(Answer::Letters { more: false, answer }));
    console.press("Enter");
    let words =
        |console: &Console| screen(console, 80).replace(['│', '\n'], " ").split_whitespace().collect::<Vec<_>>().join(" ");
    console.settle();
    let text = words(&console);
    let end = "it has to be told which one it was ".repeat(7) + "ACCOUNT";
    assert!(text.contains(&end) && text.contains("RECORDED 2026-11-21 14:23:00 UTC, 7m ago"), "{text}");
    console.press("Esc p G Enter");
    console.settle();
    let text = words(&console);
    assert!(text.contains("RUN r1 of archive, asked for by schedule") && text.contains("TOOK 65.0s, 3 of 8 done"), "{text}");
    console.press("Esc g Enter");
    console.settle();
    assert!(words(&console).contains("WHAT what daily_rollup does SCHEDULE */2 * * * *, next in 01:24"), "{}", words(&console));
    console.press("Esc t Enter");
    console.settle();
    let text = words(&console);
    assert!(text.contains("DELIVERY 95.06 % of those with a final report; 96.60 % have one;"), "{text}");
}

#[test]
fn a_tall_terminal_has_a_longer_timeline_and_a_drill_takes_little_of_a_line() {
    let mut console = Console::well();
    let mut drilled = status("AN-01", WireState::Open, Wire::P2);
    drilled.drill_id = "8f141158-21aa-4cde-8000-0123456789ab".to_owned();
    console.frame(0, frame("ingest", 8, delta(vec![drilled])));
    console.settle();
    let timeline = |rows: u16| {
        let text = headless::frame(&console.model, 120, rows);
        text.lines().skip_while(|line| !line.contains("├ TIMELINE")).count() - 3
    };
    assert_eq!([24, 40, 60].map(timeline), [2, 4, 8]);
    let text = headless::frame(&console.model, 200, 40);
    assert!(text.contains("opened P2 118>100 records by drill 8f141158… (ingest)"), "{text}");
}

#[test]
fn a_payload_says_how_much_of_it_is_shown_or_why_it_is_not() {
    let mut console = trouble();
    console.press("e Enter");
    assert!(screen(&console, 120).contains("payload is being fetched"));
    let refused = What::Refused { topic: Topic::Letter, error: "it was redriven".to_owned() };
    console.hear(0, refused);
    assert!(screen(&console, 120).contains("payload: it was redriven"), "{}", screen(&console, 120));
    let whole = DeadLetter { payload: vec![7; 5_000].into(), ..letter(1, 1) };
    console.hear(0, What::Answer(Answer::Letter(Box::new(whole))));
    assert!(screen(&console, 120).contains("payload, the first 4,096 of 5,000 bytes"), "{}", screen(&console, 120));
}

#[test]
fn a_drill_is_described_in_words_before_its_json() {
    let mut console = scene::busy();
    console.press("f G Enter");
    console.settle();
    let text = screen(&console, 120);
    let at = |words: &str| text.find(words).unwrap_or_else(|| panic!("{words}: {text}"));
    assert!(at("MODE     AN-09 Retention") < at("PROOF    drill undetected 2m ago"), "{text}");
    assert!(at("CONTROL  never run without its fault") < at("\"fault\""), "{text}");
}

#[test]
fn two_numbers_that_read_the_same_are_not_told_apart() {
    let mut console = Console::well();
    let mut near = status("AN-01", WireState::Open, Wire::P2);
    (near.evidence.as_mut().unwrap().value, near.evidence.as_mut().unwrap().threshold) = (1.96, 2.0);
    console.frame(0, frame("ingest", 8, delta(vec![near])));
    console.settle();
    let text = screen(&console, 120);
    assert!(text.contains("2.0/2 records") && !text.contains("2.0<2"), "{text}");
}

#[test]
fn the_time_until_data_is_lost_is_on_the_board_and_at_the_top_of_the_detail() {
    let mut console = trouble();
    console.press("j");
    console.settle();
    let text = screen(&console, 120);
    assert!(text.contains("AN-09  Retention about … loss 12:28"), "754 s, of which 6 are gone: {text}");
    let detail: Vec<&str> = text.lines().filter(|line| line.contains("LOSS IN  12:28")).collect();
    assert_eq!(detail.len(), 1, "{text}");
    assert!(text.find("LOSS IN") < text.find("IMPACT"), "{text}");
    assert!(screen(&console, 200).contains("loss 12:28  118>100"), "both where there is room: {}", screen(&console, 200));
}

#[test]
fn tab_goes_to_panes_that_are_there_only() {
    let mut console = trouble();
    let mut go = |columns: u16, rows: u16, keys: &str| {
        let mut terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
        let mut seen = Seen::default();
        terminal.draw(|frame| seen = draw_and_measure(&console.model, frame)).unwrap();
        console.tell(Msg::Drawn { waited: None, seen });
        console.press(keys);
        console.settle();
        (console.model.ui.pane, screen(&console, 120).lines().last().unwrap().trim().to_owned())
    };
    assert_eq!(go(120, 40, "Tab").0, Pane::Detail);
    assert_eq!(go(80, 24, "Tab").0, Pane::Services, "the detail had gone with the columns, and the cursor was with the modes");
    assert_eq!(go(80, 24, "Tab").0, Pane::Timeline);
    assert_eq!(go(80, 24, "Tab").0, Pane::Modes);
    assert_eq!(go(80, 24, "h").0, Pane::Timeline);
    let (pane, told) = go(60, 15, "Tab");
    let short = headless::frame(&console.model, 40, 15);
    assert!(short.trim_end().ends_with("there is room for one pane only: Enter…"), "what is cut says so: {short}");
    assert_eq!((pane, told.as_str()), (Pane::Modes, "there is room for one pane only: Enter opens the detail"));
}
