//! In which order rows are listed, and that nothing but the order changes with it.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod fixture;
#[path = "fixture/scene.rs"]
mod scene;

use fixture::{Console, WALL, delta, frame, letter, registry, run, seconds, status, trouble, wire};
use loadline_console::{
    headless,
    model::{JobLine, board::RowId, order::Order, ui::Screen},
    msg::{Answer, What},
};
use loadline_proto::{
    health::{Severity as Wire, State as WireState},
    ingest::{DeadLetter, ListDeadLettersResponse},
    query::{DeliveryRow, GetDeliveryResponse, LatencyQuantiles},
    rollup::{ListRunsResponse, Run, run::State},
};

fn screen(console: &mut Console) -> String {
    console.settle();
    headless::frame(&console.model, 160, 40)
}

/// The words after `sort:` in the title.
fn order(console: &mut Console) -> String {
    let text = screen(console);
    let (_, after) = text.split_once("sort:").unwrap_or_else(|| panic!("{text}"));
    after.split_whitespace().next().unwrap().to_owned()
}

fn modes(console: &mut Console) -> Vec<String> {
    console.settle();
    let named = |id: &RowId| match id {
        RowId::Mode(id) => id.clone(),
        RowId::Endpoint(index) => format!("endpoint {index}"),
    };
    console.model.rows().into_iter().map(|row| named(&row.id)).collect()
}

#[test]
fn one_key_goes_through_the_orders_of_each_screen_and_its_title_says_in_which_it_is() {
    let screens =
        [("b", Screen::Board), ("t", Screen::Usage), ("p", Screen::Jobs), ("e", Screen::Letters), ("f", Screen::Drills)];
    let mut console = trouble();
    for (key, of) in screens {
        console.press(key);
        let orders = Order::of(of);
        assert!(orders.len() > 1, "{of:?}");
        for expected in orders {
            assert_eq!(order(&mut console), expected.name(), "{of:?}");
            console.press("s");
        }
        assert_eq!(order(&mut console), orders[0].name(), "after the last one the first");
        console.press("s b");
        assert_eq!(order(&mut console), if of == Screen::Board { "newest" } else { "sev" }, "each screen has its own");
        console.press(if of == Screen::Board { "s s s" } else { "g" });
    }
    let mut console = registry::console();
    assert!(!screen(&mut console).contains("sort:"));
    console.press("s");
    assert!(screen(&mut console).contains("sort: this screen has one order only"));
}

#[test]
fn the_board_is_listed_by_severity_by_change_by_id_and_by_proof() {
    let mut console = scene::busy();
    assert_eq!(modes(&mut console), ["AN-01", "AN-02", "AN-03"], "P2, then what is taken before what is open as long");
    console.press("s");
    assert!(screen(&mut console).contains("sort:newest"));
    console.press("s");
    assert_eq!(modes(&mut console), ["AN-01", "AN-02", "AN-03"]);
    console.press("s");
    // Of AN-03 there is no run; AN-02 passed in another build; AN-01 passed in this one.
    assert_eq!(modes(&mut console), ["AN-03", "AN-02", "AN-01"]);
    console.press("o");
    assert_eq!(modes(&mut console)[..2], ["AN-09", "AN-03"], "what failed comes first, whatever its band");
}

#[test]
fn what_changed_last_is_first_whatever_its_severity() {
    let mut console = trouble();
    console.pass(seconds(3.0));
    let mut fresh = status("AN-03", WireState::Open, Wire::P3);
    fresh.since = Some(wire(WALL));
    console.frame(0, frame("ingest", 10, delta(vec![fresh])));
    assert_ne!(modes(&mut console)[0], "AN-03", "P2 comes first by severity");
    console.press("s");
    let listed = modes(&mut console);
    assert_eq!(listed[0], "AN-03", "{listed:?}");
    let text = screen(&mut console);
    console.press("o");
    assert!(screen(&mut console).lines().any(|line| line.contains("AN-06") && line.contains("OK 00:4")), "since when it is OK");
    console.press("o");
    assert!(!text.contains("── P2") && text.contains("── OK") && text.contains("── PLANNED"), "no band stands apart: {text}");
}

#[test]
fn the_cursor_stays_on_its_row_in_whatever_order() {
    let mut console = scene::busy();
    console.press("o G k");
    let held = console.model.ui.row.id().cloned();
    for _ in 0..4 {
        console.press("s");
        console.settle();
        assert_eq!(console.model.ui.row.id().cloned(), held);
        assert_eq!(console.model.selected_row().map(|row| row.id.clone()), held);
        assert_eq!(modes(&mut console).len(), console.model.shown().board.rows.len());
    }
}

/// What became of an account's messages: so many of a hundred delivered, and how long it took.
fn delivered(account: &str, rate: f64, seconds: i64) -> What {
    let p99 = Some(prost_types::Duration { seconds, nanos: 0 });
    let latency = LatencyQuantiles { count: 10, p99, ..Default::default() };
    let total = DeliveryRow { delivery_rate: Some(rate), latency: Some(latency), ..Default::default() };
    What::Answer(Answer::Delivery(Box::new(GetDeliveryResponse {
        account: account.to_owned(),
        total: Some(total),
        ..Default::default()
    })))
}

#[test]
fn accounts_are_listed_by_messages_by_what_was_delivered_by_how_long_it_took_and_by_name() {
    let mut console = trouble();
    console.press("t");
    console.hear(1, delivered("cobalt-003", 0.99, 90));
    console.hear(1, delivered("aurora-001", 0.95, 14));
    let listed = |console: &Console| console.model.accounts().iter().map(|account| account.account.clone()).collect::<Vec<_>>();
    let (aurora, beacon, cobalt) = ("aurora-001", "beacon-002", "cobalt-003");
    assert_eq!(listed(&console), [aurora, beacon, cobalt]);
    console.press("s");
    assert_eq!(listed(&console), [aurora, cobalt, beacon], "the worst first, and last what is not known");
    console.press("s");
    assert_eq!(listed(&console), [cobalt, aurora, beacon], "the slowest first");
    console.press("s");
    assert_eq!(listed(&console), [aurora, beacon, cobalt]);
}

#[test]
fn jobs_and_their_runs_are_listed_by_what_failed_by_how_long_they_took_and_by_name() {
    let mut console = trouble();
    console.press("p");
    let runs = vec![
        Run { finished_at: Some(wire(WALL - 70)), ..run("short", State::Succeeded, 8) },
        run("going", State::Running, 5),
        Run { started_at: Some(wire(WALL - 900)), ..run("long", State::Failed, 3) },
    ];
    console.hear(2, What::Answer(Answer::Runs(ListRunsResponse { runs, next_page_token: String::new() })));
    let listed = |console: &Console| {
        let id = |line: &JobLine<'_>| match line {
            JobLine::Job(job) => job.name.clone(),
            JobLine::Run(run) => run.id.clone(),
        };
        console.model.job_lines().iter().map(id).collect::<Vec<_>>()
    };
    assert_eq!(listed(&console), ["daily_rollup", "archive", "short", "going", "long"], "as the server lists them");
    console.press("s");
    assert_eq!(listed(&console)[2..], ["long", "going", "short"], "what failed comes first");
    console.press("s");
    assert_eq!(listed(&console)[2..], ["long", "going", "short"], "890 s, 75 s and more, 5 s");
    console.press("s");
    assert_eq!(listed(&console)[..2], ["archive", "daily_rollup"]);
}

#[test]
fn dead_letters_are_listed_by_age_by_reason_and_by_account() {
    let mut console = trouble();
    console.press("e");
    let of = |id, reason, account: &str, ago| DeadLetter {
        account: account.to_owned(),
        recorded_at: Some(wire(WALL - ago)),
        ..letter(id, reason)
    };
    let dead_letters = vec![of(1, 4, "b", 50), of(2, 1, "c", 10), of(3, 4, "a", 900)];
    let answer = ListDeadLettersResponse { dead_letters, ..Default::default() };
    console.hear(0, What::Answer(Answer::Letters { more: false, answer }));
    let listed = |console: &Console| console.model.letters().iter().map(|letter| letter.id).collect::<Vec<_>>();
    assert_eq!(listed(&console), [1, 2, 3]);
    console.press("s");
    assert_eq!(listed(&console), [2, 1, 3], "the newest first");
    console.press("s");
    assert_eq!(listed(&console), [1, 3, 2], "late before undecodable");
    console.press("s");
    assert_eq!(listed(&console), [3, 1, 2]);
}

#[test]
fn drills_are_listed_by_what_most_asks_for_one() {
    let mut console = scene::busy();
    console.press("f s");
    let listed: Vec<&str> = console.model.drill_lines().iter().map(|line| line.mode.as_str()).collect();
    assert_eq!(listed, ["AN-09", "AN-03", "AN-02", "AN-01"], "failed, never run, of another build, passed");
}
