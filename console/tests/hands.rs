//! What an operator does: nothing is executed without a plan and a confirmation, whatever comes in whatever order.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod fixture;

use fixture::{
    Console, delta, frame, heartbeat, seconds, status,
    work::{drill, drill_run, offered, plan, run},
};
use loadline_console::{
    headless,
    model::{endpoint::Link, hand::Stage},
    msg::{Act, Answer, Done, Effect, Failure, Msg, Seen, What},
};
use loadline_proto::health::{
    ArmedPlans, Delta, ListDrillsResponse, RemedyPlan, Reversibility, Severity as Wire, State as WireState,
    drill_run::{Phase, Verdict},
    frame::Body,
    remedy_run::Outcome,
};
use std::time::Duration;

/// With AN-01 open in ingest, which offers C, W and D for it.
fn open() -> Console {
    let mut console = Console::well();
    console.frame(0, frame("ingest", 8, delta(vec![offered(status("AN-01", WireState::Open, Wire::P2))])));
    console.settle();
    console
}

fn acts(effects: &[Effect]) -> Vec<&Act> {
    effects.iter().filter_map(|effect| if let Effect::Act { act, .. } = effect { Some(act) } else { None }).collect()
}

fn screen(console: &mut Console) -> String {
    console.settle();
    headless::frame(&console.model, 120, 40)
}

/// Time passes without a tick, with heartbeats as promised.
fn wait(console: &mut Console, time: f64) {
    console.now = console.now.after(seconds(time));
}

fn beat(console: &mut Console) {
    let seq = console.model.world.endpoints[0].position.as_ref().unwrap().1 + 1;
    console.frame(0, frame("ingest", seq, heartbeat()));
    console.settle();
}

fn drawn(console: &mut Console) {
    console.tell(Msg::Drawn { waited: None, seen: Seen::default() });
}

/// Presses the key of a remedy, and answers with this plan.
fn planned(console: &mut Console, key: &str, answer: RemedyPlan) -> u64 {
    let effects = console.press(key);
    let Some(Effect::Act { ticket, act: Act::Plan(request), endpoint: 0 }) = effects.first() else {
        panic!("{effects:?} {:?}", console.model.ui.notice)
    };
    assert_eq!((request.failure_mode.as_str(), request.key.as_str()), ("AN-01", key));
    assert!(matches!(console.model.ui.card.as_ref().unwrap().stage, Stage::Planning { .. }));
    console.hear(0, What::Done { ticket: *ticket, done: Done::Plan(Box::new(answer)) });
    *ticket
}

fn stage(console: &Console) -> Option<&Stage> {
    console.model.ui.card.as_ref().map(|card| &card.stage)
}

fn over(console: &Console) -> &str {
    match stage(console) {
        Some(Stage::Over(why)) => why,
        other => panic!("{other:?}"),
    }
}

/// Operating, with a plan of this kind that was on screen for long enough.
fn read(key: &str, kind: Reversibility, confirm: &str) -> Console {
    let mut console = open();
    console.press("Ctrl-o");
    planned(&mut console, key, plan("p-1", "AN-01", key, kind, confirm));
    drawn(&mut console);
    wait(&mut console, 0.5);
    console
}

#[test]
fn a_key_plans_and_only_another_confirms_once_it_could_be_read() {
    let mut console = open();
    console.press("Ctrl-o");
    planned(&mut console, "C", plan("p-1", "AN-01", "C", Reversibility::Safe, "y"));
    assert_eq!(console.press("y"), [], "it was never drawn");
    drawn(&mut console);
    wait(&mut console, 0.399);
    console.press("Tab");
    assert_eq!(console.press("y"), [], "too early");
    wait(&mut console, 1.1);
    assert_eq!(console.press("C"), [], "the key that planned it confirms nothing");
    let effects = console.press("y");
    let Some(Act::Execute(request)) = acts(&effects).first().copied() else { panic!("{effects:?}") };
    assert_eq!((request.plan_id.as_str(), request.confirm.as_str()), ("p-1", "y"));
    assert!(!request.idempotency_key.is_empty());
    assert!(acts(&console.press("y")).is_empty(), "once");
    let text = screen(&mut console);
    assert!(text.contains("REQUESTED C reconnect store on AN-01") && text.contains("not confirmed it yet"), "{text}");
}

#[test]
fn what_may_lose_something_takes_the_count_of_its_plan() {
    for kind in [Reversibility::LossPossible, Reversibility::Irreversible, Reversibility::Unspecified] {
        let mut console = read("D", kind, "1204");
        for wrong in ["y", "Enter", "1 2 0 Enter", "1 2 0 4 5 Enter", "y Enter"] {
            assert_eq!(console.press(wrong), [], "{wrong}");
            wait(&mut console, 1.1);
            beat(&mut console);
        }
        console.press("1 2 0 4");
        let effects = console.press("Enter");
        assert!(matches!(acts(&effects)[..], [Act::Execute(request)] if request.confirm == "1204"), "{effects:?}");
        let console = read("D", kind, "y");
        assert!(over(&console).contains("cannot be confirmed"), "a server that takes y for a loss is not obeyed");
    }
}

#[test]
fn nothing_but_a_fresh_key_press_confirms() {
    let mut console = read("C", Reversibility::Safe, "y");
    console.tell(Msg::Paste("y".to_owned()));
    console.tell(Msg::Repeat("y".parse().unwrap()));
    assert_eq!(console.press("y"), [], "it may still be held down");
    wait(&mut console, 0.4);
    assert_eq!(console.press("y"), [], "terminals repeat a key slowly at first");
    wait(&mut console, 1.1);
    assert_eq!(acts(&console.press("y")).len(), 1);
}

#[test]
fn a_plan_lapses_when_the_terminal_is_left_the_row_moves_or_its_time_is_over() {
    let mut console = read("C", Reversibility::Safe, "y");
    console.tell(Msg::Focus(false));
    assert!(over(&console).contains("terminal was left") && console.press("y").is_empty());

    let mut console = read("C", Reversibility::Safe, "y");
    wait(&mut console, 30.0);
    assert_eq!(console.press("y"), [], "nobody ticked, and yet it is over");
    assert!(over(&console).contains("expired"));

    // The row is taken away under the card: another one is selected then.
    let mut console = read("C", Reversibility::Safe, "y");
    let seq = console.model.world.endpoints[0].position.as_ref().unwrap().1 + 1;
    let modes = vec![status("AN-01", WireState::Ok, Wire::P2), status("AN-09", WireState::Open, Wire::P2)];
    console.frame(0, frame("ingest", seq, delta(modes)));
    console.settle();
    assert_eq!(console.press("y"), []);
    assert!(over(&console).contains("another row"), "{}", over(&console));
}

#[test]
fn a_plan_follows_its_row_when_others_are_sorted_before_it() {
    let mut console = read("C", Reversibility::Safe, "y");
    let seq = console.model.world.endpoints[0].position.as_ref().unwrap().1 + 1;
    console.frame(0, frame("ingest", seq, delta(vec![status("AN-09", WireState::Open, Wire::P1)])));
    console.settle();
    assert_eq!(acts(&console.press("y")).len(), 1);
}

#[test]
fn only_what_is_safe_is_done_to_what_cannot_be_seen() {
    for (kind, confirm, key, sent) in
        [(Reversibility::Safe, "y", "C", 1), (Reversibility::Undoable, "y", "W", 0), (Reversibility::LossPossible, "7", "D", 0)]
    {
        let mut console = read(key, kind, confirm);
        wait(&mut console, 5.0);
        console.settle();
        let keys = if confirm == "y" { "y" } else { "7 Enter" };
        assert_eq!(acts(&console.press(keys)).len(), sent, "{kind:?}");
    }
    let mut console = open();
    console.press("Ctrl-o");
    wait(&mut console, 5.0);
    console.settle();
    assert_eq!(console.press("D"), [], "nor is it planned");
    assert!(console.model.ui.notice.as_ref().unwrap().0.contains("cannot be seen"));
}

#[test]
fn read_only_is_where_it_starts_and_where_it_ends() {
    let mut console = open();
    assert_eq!(console.press("C"), []);
    assert!(console.model.ui.notice.as_ref().unwrap().0.contains("read-only: Ctrl-o"));
    console.press("x");
    let text = screen(&mut console);
    assert!(text.contains("reconnect store (safe)  - read-only") && text.contains("READ-ONLY"), "off with the reason: {text}");
    console.press("Esc Ctrl-o");
    assert!(screen(&mut console).contains("OPERATE 05:00"));
    planned(&mut console, "C", plan("p-1", "AN-01", "C", Reversibility::Safe, "y"));
    drawn(&mut console);
    console.press("Esc");
    for _ in 0..301 {
        wait(&mut console, 1.0);
        beat(&mut console);
        console.tell(Msg::Tick);
    }
    assert!(screen(&mut console).contains("READ-ONLY"), "nobody has pressed a key for five minutes");
    assert_eq!(console.press("C"), []);
}

#[test]
fn what_is_off_is_listed_with_the_reason_of_the_server() {
    let mut console = open();
    console.press("Ctrl-o");
    let mut unavailable = offered(status("AN-01", WireState::Open, Wire::P2));
    unavailable.remedies[0].unavailable = "the store answers, nothing to reconnect".to_owned();
    console.frame(0, frame("ingest", 9, delta(vec![unavailable])));
    console.settle();
    assert_eq!(console.press("C"), []);
    assert!(console.model.ui.notice.as_ref().unwrap().0.contains("nothing to reconnect"));
    let text = screen(&mut console);
    assert!(
        text.contains("C reconnect store (safe)") && text.contains("- the store answers, nothing") && text.contains("D redrive"),
        "{text}"
    );
}

#[test]
fn a_refusal_is_shown_and_silence_may_be_asked_again_as_the_same_run() {
    let mut console = read("C", Reversibility::Safe, "y");
    let effects = console.press("y");
    let [Effect::Act { ticket, act: Act::Execute(first), .. }] = &effects[..] else { panic!("{effects:?}") };
    console.hear(0, What::Failed { ticket: *ticket, failure: Failure::unknown("no answer within 30 s") });
    drawn(&mut console);
    wait(&mut console, 1.5);
    assert!(screen(&mut console).contains("It may have begun"));
    let effects = console.press("y");
    let [Effect::Act { ticket, act: Act::Execute(second), .. }] = &effects[..] else { panic!("{effects:?}") };
    assert_eq!(first, second, "the same plan under the same key");
    console.hear(0, What::Failed { ticket: *ticket, failure: Failure::refused("STALE_PLAN: the world has changed") });
    assert!(screen(&mut console).contains("refused: STALE_PLAN: the world has changed"));
    wait(&mut console, 1.5);
    assert_eq!(console.press("y"), []);
}

#[test]
fn a_plan_for_something_else_is_not_confirmed() {
    for (mode, key) in [("AN-02", "C"), ("AN-01", "D")] {
        let mut console = open();
        console.press("Ctrl-o");
        planned(&mut console, "C", plan("p-1", mode, key, Reversibility::Safe, "y"));
        drawn(&mut console);
        wait(&mut console, 1.0);
        assert!(over(&console).contains("something else") && console.press("y").is_empty());
    }
}

#[test]
fn a_late_plan_is_not_taken_for_the_one_that_is_awaited() {
    let mut console = open();
    console.press("Ctrl-o");
    let effects = console.press("C");
    let Some(Effect::Act { ticket, .. }) = effects.first() else { panic!() };
    console.press("Esc W");
    let late = plan("p-1", "AN-01", "C", Reversibility::Safe, "y");
    console.hear(0, What::Done { ticket: *ticket, done: Done::Plan(Box::new(late)) });
    assert!(matches!(stage(&console), Some(Stage::Planning { .. })));
}

fn report(console: &mut Console, body: Delta) {
    let seq = console.model.world.endpoints[0].position.as_ref().unwrap().1 + 1;
    console.frame(0, frame("ingest", seq, Body::Delta(body)));
    console.settle();
}

#[test]
fn planned_and_actual_stand_side_by_side_and_undo_has_an_end() {
    let mut console = open();
    let plan = plan("p-1", "AN-01", "W", Reversibility::Undoable, "y");
    let mut running = run("r-1", plan, Outcome::Running, 758, 1_204);
    report(&mut console, Delta { runs: vec![running.clone()], ..Delta::default() });
    let text = screen(&mut console);
    assert!(text.contains("RUNNING [X abort] W widen") && text.contains("758/1,204") && text.contains("RUN W 62%"), "{text}");
    assert!(text.contains("ben started W widen"), "another operator is seen in the timeline: {text}");
    running.outcome = Outcome::Verified.into();
    running.finished_at = Some(fixture::wire(fixture::WALL));
    running.undo_until = Some(fixture::wire(fixture::WALL + 40));
    running.actual = vec![loadline_proto::health::Effect { text: "readers widened".to_owned(), count: 1_199 }];
    report(&mut console, Delta { runs: vec![running.clone()], ..Delta::default() });
    let text = screen(&mut console);
    assert!(
        text.contains("VERIFIED [u undo, for 00:40 more] W")
            && text.contains("planned 1,204 widen   actual 1,199 readers widened"),
        "{text}"
    );
    assert!(text.contains("[u undo, for 00:40 more]"), "{text}");
    console.press("Ctrl-o u");
    drawn(&mut console);
    wait(&mut console, 0.5);
    let effects = console.press("y");
    assert!(matches!(acts(&effects)[..], [Act::Undo(request)] if request.run_id == "r-1"), "{effects:?}");
    wait(&mut console, 40.0);
    beat(&mut console);
    assert_eq!(console.press("u"), [], "its horizon has passed");
    assert!(console.model.ui.card.is_none());
}

#[test]
fn a_plan_that_somebody_else_holds_is_seen() {
    let mut console = open();
    let armed = ArmedPlans { plans: vec![plan("p-7", "AN-01", "D", Reversibility::Irreversible, "1204")] };
    report(&mut console, Delta { armed: Some(armed), ..Delta::default() });
    let text = screen(&mut console);
    assert!(text.contains("ARMED D redrive dead letters") && text.contains("planned by ben, not confirmed"), "{text}");
    wait(&mut console, 31.0);
    beat(&mut console);
    assert!(!screen(&mut console).contains("ARMED"), "it has expired");
}

#[test]
fn a_run_is_aborted_by_its_key() {
    let mut console = open();
    let running = run("r-1", plan("p-1", "AN-01", "W", Reversibility::Undoable, "y"), Outcome::Running, 1, 2);
    report(&mut console, Delta { runs: vec![running], ..Delta::default() });
    assert_eq!(console.press("X"), [], "read-only");
    console.press("Ctrl-o");
    let effects = console.press("X");
    assert!(matches!(acts(&effects)[..], [Act::Abort(request)] if request.run_id == "r-1"), "{effects:?}");
}

#[test]
fn taking_and_muting_send_their_note_and_a_mute_has_an_end() {
    let mut console = open();
    console.press("Ctrl-o a b a c k");
    let effects = console.press("Enter");
    assert!(
        matches!(acts(&effects)[..], [Act::Acknowledge(request)] if request.note == "back" && request.failure_mode == "AN-01"),
        "{effects:?}"
    );
    console.press("m n o w");
    assert_eq!(console.press("Enter"), [], "for how long?");
    console.press("Esc m 3 0 m Space w h y");
    let effects = console.press("Enter");
    let acts = acts(&effects);
    assert_eq!(acts.len(), 2, "ingest and query both detect it");
    assert!(acts.iter().all(|act| matches!(act, Act::Mute(request)
        if request.duration.as_ref().unwrap().seconds == 1_800 && request.note == "why")));
}

#[test]
fn a_drill_is_started_after_a_confirmation_and_its_proof_ages() {
    let mut console = open();
    let list = ListDrillsResponse { drills: vec![drill("AN-01"), drill("AN-02")], build: "0.1.0".to_owned() };
    console.hear(0, What::Answer(Answer::Drills(list)));
    let text = screen(&mut console);
    assert!(text.contains("nothing proven yet: Ctrl-o operates, T drills a row"), "{text}");
    console.press("Ctrl-o T");
    drawn(&mut console);
    assert_eq!(console.press("y"), [], "too early");
    wait(&mut console, 1.2);
    let effects = console.press("y");
    assert!(
        matches!(acts(&effects)[..], [Act::StartDrill(request)] if request.failure_mode == "AN-01" && !request.control),
        "{effects:?}"
    );
    let running = drill_run("AN-01", Phase::Detect, Verdict::Running);
    report(&mut console, Delta { drills: vec![running], ..Delta::default() });
    let text = screen(&mut console);
    assert!(text.contains("drilling") && text.contains("DRILL [X stop] AN-01  ben  detect"), "{text}");
    let effects = console.press("X");
    assert!(matches!(acts(&effects)[..], [Act::StopDrill(request)] if request.run_id == "d-AN-01"), "{effects:?}");
    for (verdict, build, word) in [
        (Verdict::Passed, "0.1.0", "2m ok"),
        (Verdict::Passed, "0.0.9", "2m old"),
        (Verdict::Undetected, "0.1.0", "2m FAIL"),
        (Verdict::Aborted, "0.1.0", "2m void"),
    ] {
        let mut ended = drill_run("AN-01", Phase::Done, verdict);
        ended.build = build.to_owned();
        report(&mut console, Delta { drills: vec![ended], ..Delta::default() });
        let text = screen(&mut console);
        assert!(text.contains(word), "{word}: {text}");
    }
    console.press("f");
    let text = screen(&mut console);
    assert!(text.contains("store is cut off") && text.contains("AN-02") && text.contains("never"), "{text}");
}

#[test]
fn the_last_replica_that_goes_is_p1_and_another_one_makes_it_p2() {
    let mut console = Console::of(&[fixture::target("query", "a:1"), fixture::target("query", "b:1")]);
    for endpoint in [0, 1] {
        console.up(endpoint);
        console.frame(endpoint, frame("query", 1, fixture::snapshot(fixture::well("query"))));
    }
    console.hear(0, What::Catalogue(fixture::catalogue()));
    let down = || What::Link(Link::Down { error: "connection reset".to_owned(), retry_at: Duration::from_secs(90) });
    console.hear(0, down());
    console.settle();
    let crash = |console: &Console| {
        let row = console.model.world.board.rows.iter().find(|row| format!("{:?}", row.id).contains("PR-09")).unwrap().clone();
        (format!("{:?}", row.band), row.counts())
    };
    assert!(!crash(&console).1, "a restart may be quicker");
    console.pass(seconds(2.0));
    assert_eq!(crash(&console), ("Of(P2)".to_owned(), true));
    console.hear(1, What::Serving(2));
    console.pass(seconds(2.0));
    assert_eq!(crash(&console).0, "Of(P1)", "the other one does not serve");
    console.hear(1, What::Serving(1));
    console.frame(1, frame("query", 2, heartbeat()));
    console.up(0);
    console.frame(0, frame("query", 2, heartbeat()));
    console.pass(seconds(0.1));
    assert_eq!(crash(&console), ("Ok".to_owned(), false));
}

#[test]
fn a_crash_is_told_whether_or_not_services_watch_for_it() {
    for planned in [true, false] {
        let mut console = Console::well();
        let mut catalogue = fixture::catalogue();
        catalogue.failure_modes.push(fixture::mode("PR-09", "Process crashed", &["all"], Wire::P2, planned));
        console.hear(0, What::Catalogue(catalogue));
        let state = if planned { WireState::Planned } else { WireState::Ok };
        for (endpoint, service) in ["ingest", "query", "rollup"].into_iter().enumerate() {
            console.frame(endpoint, frame(service, 8, delta(vec![status("PR-09", state, Wire::P2)])));
        }
        let shown = |console: &mut Console| {
            console.press("o");
            let text = screen(console);
            console.press("o");
            text.lines().find(|line| line.contains("PR-09  Process")).unwrap_or_else(|| panic!("{text}")).to_owned()
        };
        assert!(shown(&mut console).contains(" OK "), "planned elsewhere: {planned}");
        let retry_at = Duration::from_secs(90);
        console.hear(2, What::Link(Link::Down { error: "connection reset".to_owned(), retry_at }));
        console.pass(seconds(2.1));
        let line = shown(&mut console);
        assert!(line.contains("P1 ") && line.contains("OPEN") && line.contains("rollup: co"), "planned: {planned}: {line}");
        // Long after, when what it said of itself is blind.
        for seq in 9..15 {
            console.pass(seconds(1.0));
            for (endpoint, service) in ["ingest", "query"].into_iter().enumerate() {
                console.frame(endpoint, frame(service, seq, heartbeat()));
            }
        }
        let line = shown(&mut console);
        assert!(line.contains("P1 ") && line.contains("OPEN"), "planned: {planned}: {line}");
    }
}

#[test]
fn who_leaves_a_console_that_hosts_the_services_is_asked_first() {
    let mut console = Console::well();
    assert_eq!(console.press("q"), [Effect::Quit], "of other processes nothing ends");
    let mut console = Console::well();
    console.model.hosting = true;
    assert_eq!(console.press("q"), []);
    assert!(screen(&mut console).contains("the services run in this process: q again within 5 s ends them too"));
    for _ in 0..50 {
        wait(&mut console, 0.03);
        assert_eq!(console.press("q"), [], "a key held down is no answer");
    }
    wait(&mut console, 0.5);
    assert_eq!(console.press("q"), [Effect::Quit]);
    let mut console = Console::well();
    console.model.hosting = true;
    console.press("q");
    wait(&mut console, 6.0);
    assert_eq!(console.press("q"), [], "that was another time");
    assert_eq!(console.press("Ctrl-z"), [], "it would stop them");
    assert_eq!(console.press("Ctrl-c"), [Effect::Quit], "as everywhere in a terminal");
}
