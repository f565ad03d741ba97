//! What an operator is told on the screens: by whom it is known, what is muted, what is not known yet, why a key is off.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod fixture;
#[path = "fixture/scene.rs"]
mod scene;

use fixture::{
    Console, answers, catalogue, delta, frame, heartbeat, mode, seconds, snapshot, status, target, trouble, wire, work,
};
use loadline_console::{
    action::ACTIONS,
    headless,
    model::{endpoint::Link, ui::Overlay},
    msg::{Answer, What},
    plain,
    update::able::disabled,
    view::draw,
};
use loadline_proto::health::{
    Caller, Delta, DrillRun, Frame, Severity as Wire, Snapshot, State as WireState,
    drill_run::{Phase, Verdict},
    frame::Body,
};
use ratatui::{Terminal, backend::TestBackend};

fn screen(console: &Console, columns: u16) -> String {
    headless::frame(&console.model, columns, 40)
}

fn top(console: &Console, columns: u16) -> String {
    // The top line is the same on a low screen, which is sooner drawn.
    headless::frame(&console.model, columns, 6).lines().next().unwrap().to_owned()
}

fn known_as(console: &mut Console, endpoint: usize, seq: u64, caller: Option<(&str, &str)>) {
    let caller = caller.map(|(name, role)| Caller { name: name.to_owned(), role: role.to_owned() });
    let all = Body::Snapshot(Snapshot { caller, ..Snapshot::default() });
    console.frame(endpoint, frame(["ingest", "query", "rollup"][endpoint], seq, all));
    console.settle();
}

#[test]
fn the_header_says_whom_the_processes_take_the_console_for() {
    let mut console = Console::well();
    assert!(top(&console, 120).contains("READ-ONLY  ana (operator)  WORST none"), "{}", top(&console, 120));
    console.press("Ctrl-o");
    assert!(top(&console, 120).contains("OPERATE 05:00  ana (operator)"), "{}", top(&console, 120));
    known_as(&mut console, 1, 8, Some(("ana\u{1b}[2J", "service")));
    assert!(top(&console, 140).contains("ana (operator), ana\u{fffd}[2J (service)"), "{}", top(&console, 140));
    for endpoint in 0..3 {
        known_as(&mut console, endpoint, 9, None);
    }
    assert!(top(&console, 120).contains("OPERATE 05:00  WORST"), "an older process says nothing: {}", top(&console, 120));
}

/// A heartbeat of each process, of this installation and with times cut so; nothing: as in production.
fn introduced(console: &mut Console, seq: u64, of: [(&str, Option<i64>); 3]) {
    for (endpoint, (installation, longest)) in of.into_iter().enumerate() {
        let times_at_most = longest.map(|seconds| prost_types::Duration { seconds, nanos: 0 });
        let said = frame(["ingest", "query", "rollup"][endpoint], seq, heartbeat());
        console.frame(endpoint, Frame { installation: installation.to_owned(), times_at_most, ..said });
    }
    console.settle();
}

#[test]
fn the_header_names_the_installation_and_says_when_there_are_two() {
    let mut console = Console::well();
    assert!(top(&console, 120).starts_with(" loadline  READ-ONLY"), "no process names it: {}", top(&console, 120));
    introduced(&mut console, 8, [("prod-eu1", None); 3]);
    for columns in 63..200 {
        assert!(top(&console, columns).starts_with(" loadline  prod-eu1  READ-ONLY"), "{columns}: {}", top(&console, columns));
    }
    for columns in 43..63 {
        let top = top(&console, columns);
        assert!(top.starts_with(" prod-eu1  READ-ONLY  WORST none  live 3/3"), "the program's name goes first: {columns}: {top}");
        assert!(top.trim_end().ends_with("14:30:00Z") == (columns > 52), "then the time of day: {columns}: {top}");
    }
    introduced(&mut console, 9, [("prod-eu1", None), ("test", None), ("", None)]);
    assert!(top(&console, 120).starts_with(" loadline  MIXED prod-eu1 and test  READ-ONLY"), "{}", top(&console, 120));
    introduced(&mut console, 10, [(&"x".repeat(200), None), ("", None), ("", None)]);
    assert!(top(&console, 120).contains("READ-ONLY"), "a long name takes no room from the rest: {}", top(&console, 120));
    assert!(plain::summary(&console.model).starts_with("installation=xxx"));
}

#[test]
fn a_test_installation_is_not_taken_for_production() {
    let mut console = Console::well();
    console.press("/ A N - 0 2 Enter");
    introduced(&mut console, 8, [("", None); 3]);
    assert!(!screen(&console, 120).contains("TEST TIMES") && !screen(&console, 120).contains("for tests"));
    introduced(&mut console, 9, [("", Some(20)), ("", Some(3)), ("", None)]);
    let text = screen(&console, 120);
    assert!(top(&console, 120).contains("TEST TIMES"), "{text}");
    assert!(text.contains("TEST TIMES in 2 of 3: waits 3s at most"), "{text}");
    assert!(text.contains("cut to 20s for tests"), "the selected mode is of ingest: {text}");
    assert!(plain::report(&console.model).contains("test-times=3s"), "{}", plain::report(&console.model));
    let json = plain::json(&console.model);
    let told: Vec<_> = json["endpoints"].as_array().unwrap().iter().map(|of| of["times_at_most_seconds"].as_f64()).collect();
    assert_eq!(told, [Some(20.0), Some(3.0), None]);
    console.press("Tab Tab Enter");
    assert!(screen(&console, 120).contains("cut to 20s for tests"), "{}", screen(&console, 120));
}

#[test]
fn a_proof_with_times_cut_for_tests_is_told_apart_from_one_of_the_product() {
    let mut console = Console::well();
    let passed = |mode: &str, longest: Option<i64>| DrillRun {
        times_at_most: longest.map(|seconds| prost_types::Duration { seconds, nanos: 0 }),
        ..work::drill_run(mode, Phase::Done, Verdict::Passed)
    };
    let drills = vec![passed("AN-01", None), passed("AN-02", Some(3))];
    console.frame(0, frame("ingest", 8, Body::Delta(Delta { drills, ..Delta::default() })));
    console.settle();
    console.press("o");
    let text = screen(&console, 160);
    assert!(text.lines().any(|line| line.contains(" AN-01 ") && line.contains("2m ok")), "{text}");
    assert!(text.lines().any(|line| line.contains(" AN-02 ") && line.contains("2m test")), "{text}");
    assert!(text.contains("drills: 1 proven 1 in test times 0 old"), "{text}");
    console.press("/ A N - 0 2 Enter");
    let text = screen(&console, 160).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(text.contains("in this build, but with"), "{text}");
}

#[test]
fn the_header_says_that_it_records_and_a_recording_records_nothing() {
    let mut console = Console::well();
    assert!(top(&console, 120).contains("rec ON"));
    console.press("v");
    assert!(top(&console, 120).contains("REPLAY") && top(&console, 120).contains("rec ON"), "the present goes on meanwhile");
    console.model.offline = true;
    assert!(!top(&console, 120).contains("rec ON"), "{}", top(&console, 120));
}

#[test]
fn a_narrow_header_leaves_out_what_matters_least_and_never_what_is_wrong() {
    let console = trouble();
    for columns in 72..200 {
        let top = top(&console, columns);
        for word in ["READ-ONLY", "WORST P2 00:46", "live 2/3", "BLIND 1 (6s)", "14:30:06Z"] {
            assert!(top.contains(word), "{columns}: {top}");
        }
        let shown = ["rec ON", "ana (operator)", "clock query -00:06", "lag 0ms"].map(|word| top.contains(word));
        assert!(shown.is_sorted(), "{columns}: {top}");
    }
    assert!(top(&console, 80).contains("lag 0ms") && top(&console, 130).contains("rec ON"));
}

#[test]
fn what_is_muted_says_so_on_the_board_and_for_how_long() {
    let mut console = Console::well();
    let mut muted = status("AN-02", WireState::Open, Wire::P3);
    muted.muted_until = Some(wire(fixture::WALL + 1_800));
    muted.note = "known".to_owned();
    console.frame(0, frame("ingest", 8, delta(vec![muted.clone(), status("AN-03", WireState::Open, Wire::P3)])));
    console.settle();
    let row = |console: &Console, id: &str| {
        screen(console, 120).lines().find(|line| line.contains(&format!(" {id}  "))).unwrap_or_default().to_owned()
    };
    assert!(row(&console, "AN-02").contains("OPEN mute 30m"), "{}", row(&console, "AN-02"));
    assert!(row(&console, "AN-03").contains("OPEN 00:40"), "{}", row(&console, "AN-03"));
    for second in 1..=361 {
        console.now = console.now.after(seconds(5.0));
        console.frame(0, frame("ingest", 8 + second, heartbeat()));
    }
    console.settle();
    assert!(!row(&console, "AN-02").contains("mute"), "its time is over: {}", row(&console, "AN-02"));
}

#[test]
fn a_mute_is_marked_also_while_a_remedy_is_at_work() {
    let mut console = scene::busy();
    let source = console.model.world.endpoints[0].position.clone().unwrap().1;
    let mut muted = status("AN-02", WireState::Remediating, Wire::P3);
    muted.muted_until = Some(wire(fixture::WALL + 1_800));
    let next = Frame {
        boot_id: console.model.world.endpoints[0].position.clone().unwrap().0,
        ..frame("ingest", source + 1, delta(vec![muted]))
    };
    console.frame(0, next);
    console.settle();
    let text = screen(&console, 120);
    assert!(text.lines().any(|line| line.contains("P3m AN-02") && line.contains("RUN W 62%")), "{text}");
}

#[test]
fn what_a_process_was_doing_is_not_shown_as_going_on_once_it_is_blind() {
    let mut console = scene::busy();
    let row = |text: &str| text.lines().find(|line| line.contains("AN-02  Consumer")).unwrap_or_default().to_owned();
    assert!(row(&screen(&console, 120)).contains("RUN W 62%"), "{}", screen(&console, 120));
    assert!(!screen(&console, 120).contains("░ BLIND"));
    console.pass(seconds(6.0));
    let text = screen(&console, 120);
    assert!(row(&text).contains("BLIND 00:0") && !row(&text).contains("RUN"), "{text}");
    assert!(text.lines().any(|line| line.contains("░ BLIND 6s, was RUNNING [X abort] W widen")), "{text}");
    assert!(text.lines().any(|line| line.contains("ingest    ░ BLIND") && line.contains("was ")), "{text}");
}

#[test]
fn what_was_well_and_cannot_be_seen_is_no_outage() {
    let mut console = Console::well();
    let mut answer = catalogue();
    answer.failure_modes.push(mode("AN-10", "Wrong account's data", &["query"], Wire::P1, false));
    console.hear(0, What::Catalogue(answer));
    let modes = vec![status("AN-10", WireState::Ok, Wire::P1), status("AN-06", WireState::Ok, Wire::P2)];
    console.frame(1, frame("query", 8, snapshot(modes)));
    console.now = console.now.after(seconds(4.0));
    for (endpoint, service) in [(0, "ingest"), (2, "rollup")] {
        console.frame(endpoint, frame(service, 8, heartbeat()));
    }
    console.pass(seconds(2.0));
    let text = screen(&console, 120);
    assert!(text.contains("WORST P2") && text.contains("P2  AN-10") && !text.contains("FULL OUTAGE"), "{text}");
    // One that was open when it was last seen stays what it was.
    let modes = vec![status("AN-10", WireState::Open, Wire::P1)];
    console.frame(1, frame("query", 9, delta(modes)));
    console.pass(seconds(6.0));
    assert!(screen(&console, 120).contains("P1 FULL OUTAGE  AN-10"), "{}", screen(&console, 120));
}

#[test]
fn what_was_copied_has_the_mute_and_who_has_it() {
    let mut console = Console::well();
    let mut muted = status("AN-02", WireState::Acknowledged, Wire::P3);
    (muted.muted_until, muted.acknowledged_by) = (Some(wire(fixture::WALL + 90)), "ana".to_owned());
    console.frame(0, frame("ingest", 8, delta(vec![muted])));
    console.settle();
    let copied = loadline_console::update::yank::json(&console.model).unwrap();
    assert!(copied.contains("\"muted_seconds\": 90") && copied.contains("\"acknowledged_by\": \"ana\""), "{copied}");
}

#[test]
fn nothing_is_said_to_be_none_before_anybody_was_asked() {
    let mut console = Console::well();
    for (key, lie, truth) in [("p", "nobody runs them", "not known yet"), ("e", "open: none", "open: not known yet")] {
        console.press(key);
        let text = screen(&console, 120);
        assert!(!text.contains(lie) && text.contains(truth), "{text}");
    }
    answers(&mut console);
    console.press("p");
    assert!(screen(&console, 120).contains("run by host-1"));
}

#[test]
fn a_filter_keeps_what_has_all_its_words_in_any_order_and_says_when_nothing_has() {
    let mut console = Console::well();
    answers(&mut console);
    console.press("/ l a g Space a n - 0 Enter");
    let rows: Vec<_> = console.model.rows().into_iter().map(|row| format!("{:?}", row.id)).collect();
    assert_eq!(rows, [r#"Mode("AN-02")"#]);
    console.press("Esc t / x x Enter");
    assert!(screen(&console, 120).contains("nothing passes the filter"));
    assert!(!screen(&console, 120).contains("no account used anything"));
    console.press("Esc f / x x Enter");
    assert!(screen(&console, 120).contains("nothing passes the filter"));
    assert!(!screen(&console, 120).contains("no process has said"));
}

/// All lines of an overlay as one text.
fn read(console: &mut Console, columns: u16) -> String {
    let mut all = Vec::new();
    for scroll in (0..400).step_by(20) {
        console.model.ui.scroll = scroll;
        let text = headless::frame(&console.model, columns, 24);
        let inner = text.lines().filter(|line| line.starts_with('│')).take(20);
        all.extend(inner.map(|line| line.trim_matches('│').trim().to_owned()));
    }
    all.join(" ").split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn help_says_in_full_why_a_key_is_off_however_narrow_it_is() {
    let mut console = Console::well();
    console.press("?");
    assert_eq!(console.model.ui.overlay, Some(Overlay::Help));
    for columns in [60, 80, 100] {
        let help = read(&mut console, columns);
        let mut off = 0;
        for entry in ACTIONS {
            let reason = disabled(&console.model, entry.action).map(|reason| format!(" (off: {reason})")).unwrap_or_default();
            off += usize::from(!reason.is_empty());
            assert!(help.contains(&format!("{}{reason}", entry.help)), "{columns}: {}{reason}\n{help}", entry.help);
        }
        assert!(off > 10, "{off}");
    }
}

#[test]
fn the_way_out_is_always_among_the_hints() {
    for keys in ["o", "t", "p", "e", "f", "v"] {
        let mut console = trouble();
        console.press(keys);
        for columns in (20..200).step_by(9) {
            let text = headless::frame(&console.model, columns, 24);
            let hints = text.lines().last().unwrap();
            assert!(hints.contains("q quit"), "{keys} {columns}: {hints}");
        }
    }
}

#[test]
fn ages_of_runs_are_told_by_the_clock_of_who_ran_them() {
    let mut console = Console::well();
    answers(&mut console);
    console.press("p");
    let age = |console: &Console| {
        let text = screen(console, 120);
        let row = text.lines().find(|line| line.contains("FAILED")).unwrap_or_default();
        row.split("FAILED").nth(1).unwrap_or_default().split_whitespace().next().unwrap_or_default().to_owned()
    };
    assert_eq!(age(&console), "10s");
    // Rollup's clock is an hour ahead of ours.
    let mut ahead = frame("rollup", 8, heartbeat());
    ahead.sent_at = Some(wire(fixture::WALL + 3_600));
    console.frame(2, ahead);
    console.settle();
    assert_eq!(age(&console), "1h");
}

#[test]
fn the_selected_row_is_marked_also_where_nothing_is_reversed() {
    for (keys, marked) in [("", "▶P2"), ("t", "▶aurora"), ("p", "▶daily"), ("e", "▶       1"), ("f", "▶AN-02"), (":", "▶help")]
    {
        let mut console = trouble();
        if keys == "f" {
            let list = work::drill("AN-02");
            let list = loadline_proto::health::ListDrillsResponse { drills: vec![list], build: "0.1.0".to_owned() };
            console.hear(0, What::Answer(Answer::Drills(list)));
        }
        if !keys.is_empty() {
            console.press(keys);
        }
        assert!(screen(&console, 120).contains(marked), "{keys}: {}", screen(&console, 120));
    }
}

#[test]
fn a_process_whose_service_is_not_known_is_named_by_its_address() {
    let mut console = Console::of(&[target("", "127.0.0.1:1")]);
    console.hear(0, What::Link(Link::Down { error: "refused".to_owned(), retry_at: seconds(9.0) }));
    console.pass(seconds(4.0));
    let report = plain::report(&console.model);
    assert!(
        report.contains("Service process crashed: OPEN") && report.contains("(127.0.0.1:1)") && !report.contains("( "),
        "{report}"
    );
}

#[test]
fn the_colour_of_a_word_in_the_header_ends_with_it() {
    let mut console = Console::well();
    console.frame(0, frame("ingest", 8, delta(vec![status("AN-09", WireState::Open, Wire::P1)])));
    console.settle();
    let mut terminal = Terminal::new(TestBackend::new(120, 40)).unwrap();
    terminal.draw(|frame| draw(&console.model, frame)).unwrap();
    let buffer = terminal.backend().buffer();
    let row: String = (0..120).map(|x| buffer[(x, 2)].symbol()).collect();
    let at = u16::try_from(row.find("WORST").unwrap()).unwrap();
    assert_ne!(buffer[(at, 2)].style(), buffer[(at - 1, 2)].style(), "{row}");
    assert_eq!(buffer[(at - 1, 2)].style(), buffer[(119, 2)].style(), "{row}");
}

#[test]
fn a_newcomer_is_led_to_the_first_drill() {
    let mut console = Console::well();
    let list = loadline_proto::health::ListDrillsResponse { drills: vec![work::drill("AN-02")], build: "0.1.0".to_owned() };
    console.hear(0, What::Answer(Answer::Drills(list)));
    let hints = |console: &Console| screen(console, 120).lines().last().unwrap().to_owned();
    let lead = "nothing proven yet: ";
    assert!(hints(&console).contains(&format!("{lead}o shows modes, Ctrl-o operates, T drills a row")), "{}", hints(&console));
    console.press("o");
    assert!(hints(&console).contains(&format!("{lead}Ctrl-o operates, T drills a row")), "{}", hints(&console));
    console.press("Ctrl-o");
    console.pass(seconds(9.0));
    assert!(hints(&console).contains(&format!("{lead}T drills a row")), "{}", hints(&console));
    console.press("i");
    assert!(!hints(&console).contains(lead), "no row here has a drill: {}", hints(&console));
    console.press("f");
    assert!(hints(&console).contains(lead), "{}", hints(&console));
}

#[test]
fn replicas_are_told_apart_and_one_that_was_never_heard_has_no_age() {
    let targets = [target("query", "10.0.0.5:7402"), target("query", "10.0.0.6:7402"), target("query", "10.0.0.7:7402")];
    let mut console = Console::of(&targets);
    for endpoint in 0..2 {
        console.up(endpoint);
        console.frame(endpoint, frame("query", 1, snapshot(fixture::well("query"))));
    }
    console.hear(2, What::Link(Link::Down { error: "refused".to_owned(), retry_at: seconds(9.0) }));
    console.pass(seconds(3.0));
    let row = |console: &Console, columns: u16, address: &str| {
        let text = screen(console, columns);
        text.lines().find(|line| line.contains(&format!("│ query {address}"))).unwrap_or_default().to_owned()
    };
    for columns in [120, 200] {
        assert!(row(&console, columns, "10.0.0.5:7402").contains("  3s "), "{}", screen(&console, columns));
        assert!(row(&console, columns, "10.0.0.6:7402").contains("  3s "), "{}", screen(&console, columns));
        assert!(row(&console, columns, "10.0.0.7:7402").contains("   - "), "{}", screen(&console, columns));
    }
    let named = screen(&Console::well(), 120);
    assert!(named.contains("│ query     ") && !named.contains("│ query 127"), "one of each needs no address: {named}");
    console.pass(seconds(3.0));
    console.press("g d");
    assert!(screen(&console, 120).contains("never heard"), "{}", screen(&console, 120));
}

#[test]
fn a_wide_timeline_has_two_columns_and_the_newest_at_the_lower_right() {
    let mut console = Console::well();
    for number in 0..30 {
        let now = console.now;
        console.model.world.timeline.push(now, "AN-01", format!("event {number:02}"));
    }
    console.settle();
    let shown = |columns| {
        let text = headless::frame(&console.model, columns, 40);
        text.lines().filter(|line| line.contains("event ")).map(str::to_owned).collect::<Vec<_>>()
    };
    let wide = shown(120);
    let numbers = |line: &str| line.split("event ").skip(1).map(|rest| rest[..2].parse::<u32>().unwrap()).collect::<Vec<_>>();
    assert_eq!(wide.iter().map(|line| numbers(line)).collect::<Vec<_>>(), [[22, 26], [23, 27], [24, 28], [25, 29]]);
    let narrow = shown(100);
    assert_eq!(narrow.iter().map(|line| numbers(line)).collect::<Vec<_>>(), [[26], [27], [28], [29]]);
}

#[test]
fn a_filter_that_looks_into_folded_bands_does_not_ask_to_unfold_them() {
    let mut console = Console::well();
    assert!(screen(&console, 120).contains("OK 8 (o to unfold)"), "{}", screen(&console, 120));
    console.press("/ A N - 0 6 Enter");
    console.settle();
    let text = screen(&console, 120);
    assert!(text.contains("▶-   AN-06") && !text.contains("to unfold"), "{text}");
}

#[test]
fn a_key_that_does_nothing_says_so() {
    let mut console = trouble();
    let told = |console: &mut Console, keys: &str| {
        console.press(keys);
        console.settle();
        screen(console, 120).lines().last().unwrap().trim().to_owned()
    };
    assert_eq!(told(&mut console, "J"), "J does nothing here: ? F1 shows every key");
    assert_eq!(told(&mut console, "Space"), "play: only while the past is shown");
    console.press("t / z z z Enter");
    assert_eq!(told(&mut console, "Enter"), "open: nothing is selected");
}

#[test]
fn the_next_row_that_is_not_as_it_should_be_is_found_on_each_screen() {
    let mut console = trouble();
    console.press("p n");
    assert_eq!(console.model.ui.job.id().map(String::as_str), Some("run r1"), "the one that failed");
    console.press("n");
    assert_eq!(console.model.ui.job.id().map(String::as_str), Some("run r1"), "it is the only one");
    let mut console = scene::busy();
    console.press("f n");
    let drill = |console: &Console| console.model.selected_drill().unwrap().mode.clone();
    assert_eq!(drill(&console), "AN-02", "of AN-01 the drill passed in this build");
    console.press("n");
    assert_eq!(drill(&console), "AN-03");
    console.press(", ,");
    assert_eq!(drill(&console), "AN-09", "and around the end");
    let mut console = Console::well();
    console.press("o n");
    assert!(screen(&console, 120).contains("nothing here is otherwise than it should be"));
}

#[test]
fn a_screen_without_rows_says_who_has_not_answered() {
    let mut console = Console::well();
    for (key, service, endpoint) in [("t", "query", 1), ("p", "rollup", 2), ("e", "ingest", 0)] {
        console.press(key);
        console.settle();
        let text = screen(&console, 120);
        assert!(text.contains(&format!("{service} has not answered yet")), "{text}");
        let down = Link::Down { error: "gone".to_owned(), retry_at: seconds(9.0) };
        console.hear(endpoint, What::Link(down));
        let text = screen(&console, 120);
        assert!(text.contains(&format!("no process of {service} is connected")), "{text}");
    }
}

#[test]
fn on_each_screen_what_a_blind_process_did_is_what_it_was() {
    let mut console = scene::busy();
    let running = work::drill_run("AN-03", Phase::Verify, Verdict::Running);
    console.frame(0, frame("ingest", 124, Body::Delta(Delta { drills: vec![running], ..Delta::default() })));
    console.press("f");
    console.settle();
    assert!(screen(&console, 120).contains("drilling"), "{}", screen(&console, 120));
    console.pass(seconds(6.0));
    let text = screen(&console, 120);
    assert!(text.contains("was busy") && text.contains("was verify") && !text.contains("drilling"), "{text}");
}

#[test]
fn a_card_says_which_of_its_counts_is_to_be_typed() {
    let console = scene::deciding();
    let card = console.model.ui.card.as_ref().unwrap();
    assert_eq!(card.confirm(), Some("1204"));
    let text = screen(&console, 120);
    assert!(text.contains("CONFIRM  type the count of `redrive dead letters`") && text.contains("then Enter: 12_"), "{text}");
}
