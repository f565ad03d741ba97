//! What is found or counted once for a frame is what would be found and counted anew.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod fixture;

use fixture::{Console, delta, frame, seconds, snapshot, status};
use loadline_console::{
    model::{
        board::{Board, Row, RowId, Status, Worst},
        listing::Listing,
        order::Order,
        standing::{Band, Severity, State},
        timeline::KEPT,
        ui::Screen,
    },
    plain::Plain,
};
use loadline_proto::health::{ModeStatus, Severity as Wire, State as WireState};
use proptest::prelude::*;
use std::time::Duration;

const IDS: [&str; 6] = ["AN-01", "AN-02", "AN-03", "AN-09", "XX-01", "ZZ-99"];

#[derive(Debug, Clone)]
enum Step {
    /// A process says so of a mode.
    Said(usize, WireState, Wire),
    /// All that it has to say are these.
    All(Vec<usize>),
    Wait(f64),
    Key(&'static str),
    /// As before a frame is drawn.
    Settle,
}

fn states() -> impl Strategy<Value = WireState> {
    use WireState::*;
    prop::sample::select(vec![Ok, Suspect, Open, Acknowledged, Remediating, Verifying, Planned, Unknown])
}

fn severities() -> impl Strategy<Value = Wire> {
    prop::sample::select(vec![Wire::Unspecified, Wire::P1, Wire::P2, Wire::P3, Wire::P4, Wire::P5])
}

fn steps() -> impl Strategy<Value = Step> {
    let keys = vec![
        "o",
        "0",
        "1",
        "2",
        "3",
        "5",
        "/",
        "a",
        "n",
        "x",
        "Backspace",
        "Enter",
        "Esc",
        "j",
        "k",
        "G",
        ",",
        "z",
        "v",
        "h",
        "s",
    ];
    prop_oneof![
        4 => (0..IDS.len(), states(), severities()).prop_map(|(mode, state, severity)| Step::Said(mode, state, severity)),
        1 => prop::collection::vec(0..IDS.len(), 0..8).prop_map(Step::All),
        1 => (0.0..3.0).prop_map(Step::Wait),
        6 => prop::sample::select(keys).prop_map(Step::Key),
        2 => Just(Step::Settle),
    ]
}

/// Counted anew, by the rows alone.
fn check_counts(board: &Board) -> Result<(), TestCaseError> {
    let counting = |row: &&Row| row.counts() && matches!(row.band, Band::Of(_));
    for severity in Severity::ALL {
        let of = board.rows.iter().filter(counting).filter(|row| row.band == Band::Of(severity));
        prop_assert_eq!(board.count(severity), of.count());
    }
    for band in Band::ALL {
        prop_assert_eq!(board.size(band), board.rows.iter().filter(|row| row.band == band).count());
    }
    let suspects = board.rows.iter().filter(|row| row.status == Status::Says(State::Suspect));
    prop_assert_eq!(board.suspects(), suspects.count());
    let severity = board.rows.iter().filter(counting).map(|row| row.band).min();
    let lasts =
        board.rows.iter().filter(counting).filter(|row| Some(row.band) == severity).map(|row| row.lasts.unwrap_or_default());
    let worst = severity.map(|band| match band {
        Band::Of(severity) => Worst { severity, lasts: lasts.max().unwrap() },
        _ => unreachable!("none of these counts"),
    });
    prop_assert_eq!(board.worst(), worst);
    Ok(())
}

/// In order, each once, and found by what it stands for.
fn check_order(board: &Board) -> Result<(), TestCaseError> {
    let mut ids: Vec<&RowId> = board.rows.iter().map(|row| &row.id).collect();
    prop_assert!(board.rows.is_sorted_by_key(|row| row.band));
    for (place, id) in ids.iter().enumerate() {
        prop_assert_eq!(board.place(id), Some(place));
        prop_assert_eq!(board.row(id), Some(&board.rows[place]));
    }
    for absent in ["", "AN-011", "zz"] {
        prop_assert_eq!(board.place(&RowId::Mode(absent.to_owned())), None);
    }
    ids.sort_unstable();
    prop_assert!(ids.windows(2).all(|pair| pair[0] != pair[1]));
    Ok(())
}

/// What a filter looks for may have changed since the board was drawn up; then it is looked for again with the next board.
fn check_list(console: &Console, drawn_up: bool) -> Result<(), TestCaseError> {
    let model = &console.model;
    let board = &model.shown().board;
    let listed: Vec<&RowId> = model.rows().into_iter().map(|row| &row.id).collect();
    let anew: Vec<&RowId> = Listing::of(model.shown(), &model.ui).places.iter().map(|place| &board.rows[*place].id).collect();
    prop_assert!(listed == anew || !drawn_up, "{:?} {:?}", listed, anew);
    if model.ui.filter(Screen::Board).is_empty() {
        let passes = |row: &&Row| {
            model.ui.band.is_none_or(|severity| row.band == Band::Of(severity))
                && (model.ui.unfolded || !matches!(row.band, Band::Ok | Band::Planned))
        };
        let mut passing: Vec<&Row> = board.rows.iter().filter(passes).collect();
        match model.ui.order(Screen::Board) {
            Some(Order::Newest) => passing.sort_by_key(|row| row.lasts.unwrap_or(Duration::MAX)),
            Some(Order::Id) => passing.sort_by_key(|row| row.id.clone()),
            // Nothing is proven of any mode, so that they stay as they are; nothing can be of a process.
            Some(Order::Proof) => passing.sort_by_key(|row| matches!(row.id, RowId::Endpoint(_))),
            _ => {}
        }
        let passing: Vec<&RowId> = passing.into_iter().map(|row| &row.id).collect();
        prop_assert_eq!(&listed, &passing);
    }
    let held = model.ui.row.id().and_then(|held| listed.iter().position(|id| *id == held));
    prop_assert!(held.is_none() || model.cursor() == held);
    prop_assert_eq!(model.cursor().is_some(), !listed.is_empty());
    prop_assert_eq!(model.selected_row().map(|row| &row.id), model.cursor().map(|place| listed[place]));
    Ok(())
}

proptest! {
    #[test]
    fn whatever_comes_the_lists_and_counts_are_those_of_the_rows(steps in prop::collection::vec(steps(), 1..60)) {
        let mut console = Console::well();
        let mut seq = 7;
        for step in steps {
            let drawn_up = !matches!(step, Step::Said(..) | Step::All(_));
            match step {
                Step::Said(mode, state, severity) => {
                    seq += 1;
                    console.frame(0, frame("ingest", seq, delta(vec![status(IDS[mode], state, severity)])));
                }
                Step::All(modes) => {
                    seq += 1;
                    let modes = modes.into_iter().map(|mode| status(IDS[mode], WireState::Open, Wire::P2)).collect();
                    console.frame(0, frame("ingest", seq, snapshot(modes)));
                }
                Step::Wait(time) => console.pass(seconds(time)),
                Step::Key(key) => drop(console.press(key)),
                Step::Settle => console.settle(),
            }
            check_counts(&console.model.shown().board)?;
            check_order(&console.model.shown().board)?;
            check_list(&console, drawn_up)?;
        }
    }
}

/// Those of a snapshot, each in the state of its number.
fn many(count: usize, state: impl Fn(usize) -> WireState) -> Vec<ModeStatus> {
    (0..count).map(|number| status(&format!("XX-{number:05}"), state(number), Wire::P3)).collect()
}

#[test]
fn of_a_snapshot_of_thousands_the_timeline_has_the_last_and_none_of_what_has_not_changed() {
    let mut console = Console::well();
    let (mut plain, before) = (Plain::default(), console.model.world.timeline.pushed());
    plain.lines(&console.model);
    console.frame(0, frame("ingest", 8, snapshot(many(3_000, |_| WireState::Open))));
    let timeline = &console.model.world.timeline;
    assert_eq!((timeline.pushed() - before, timeline.events().len()), (3_000, KEPT));
    let subjects: Vec<_> = timeline.events().map(|event| event.subject.clone()).collect();
    assert_eq!(subjects, (2_500..3_000).map(|number| format!("XX-{number:05}")).collect::<Vec<_>>());
    assert_eq!(timeline.events().last().unwrap().text, "is OPEN P3 118>100 records (ingest)");
    console.settle();
    assert_eq!(plain.lines(&console.model).len(), KEPT + 1, "and the status");

    console.pass(seconds(4.0));
    let before = console.model.world.timeline.pushed();
    let every_tenth_closes = many(3_000, |number| if number % 10 == 0 { WireState::Ok } else { WireState::Open });
    console.frame(0, frame("ingest", 9, snapshot(every_tenth_closes)));
    let timeline = &console.model.world.timeline;
    assert_eq!(timeline.pushed() - before, 300);
    let last = timeline.events().last().unwrap();
    assert_eq!((last.subject.as_str(), last.text.as_str()), ("XX-02990", "closed after 00:44 (ingest)"));
}

#[test]
fn more_modes_than_are_kept_leave_no_fewer_lines_than_are_kept() {
    let mut console = Console::well();
    let state = |number| if number < 100_000 && number % 100 == 0 { WireState::Open } else { WireState::Ok };
    let mode = |number: usize| ModeStatus { id: number.to_string(), state: state(number).into(), ..ModeStatus::default() };
    console.frame(0, frame("ingest", 8, snapshot((0..100_700).map(mode).collect())));
    let events: Vec<_> = console.model.world.timeline.events().collect();
    assert_eq!((console.model.world.endpoints[0].modes.len(), events.len()), (100_000, KEPT));
    assert!(events.last().unwrap().text.contains("the rest is not shown"), "{:?}", events.last());
}
