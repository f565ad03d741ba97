//! The screen never lies: whatever comes, in whatever order, nothing is OK that is not known to be.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod fixture;

use fixture::{Console, catalogue, delta, frame, heartbeat, seconds, snapshot, start, status, target, well};
use loadline_console::{
    model::{
        board::{Row, RowId, Status},
        endpoint::Link,
        standing::{Band, Knowledge, Severity, State},
    },
    msg::{Effect, What},
    text::clean,
};
use loadline_proto::health::{Frame, ModeStatus, Severity as Wire, State as WireState, frame::Body};
use proptest::prelude::*;
use std::collections::BTreeMap;

fn row<'a>(console: &'a Console, id: &str) -> &'a Row {
    console.model.world.board.row(&RowId::Mode(id.to_owned())).unwrap()
}

fn ok(console: &Console) -> Vec<String> {
    let rows = console.model.world.board.rows.iter().filter(|row| row.is_ok());
    rows.filter_map(|row| if let RowId::Mode(id) = &row.id { Some(id.clone()) } else { None }).collect()
}

#[test]
fn a_service_that_falls_silent_is_late_then_blind_and_never_ok() {
    let mut console = Console::well();
    assert_eq!(ok(&console), ["AN-01", "AN-02", "AN-03", "AN-04", "AN-06", "AN-07", "AN-09", "PR-09"]);
    console.pass(seconds(2.6));
    assert_eq!(console.model.world.known(Knowledge::Late), 3);
    console.pass(seconds(2.4));
    assert_eq!((console.model.world.known(Knowledge::Blind), ok(&console)), (3, vec![]));
    assert_eq!(row(&console, "AN-06").status, Status::Blind(Some(State::Ok)));
    let worst = console.model.world.board.worst().unwrap();
    assert_eq!((worst.severity, worst.lasts), (Severity::P2, seconds(5.0)), "it answers users");
    console.beat(8);
    console.settle();
    assert_eq!((ok(&console).len(), console.model.world.board.worst()), (8, None));
}

#[test]
fn a_blind_service_without_users_weighs_less() {
    let mut console = Console::well();
    console.pass(seconds(4.0));
    for (endpoint, service) in [(0, "ingest"), (1, "query")] {
        console.frame(endpoint, frame(service, 8, heartbeat()));
    }
    console.pass(seconds(1.0));
    assert_eq!(console.model.world.board.worst().unwrap().severity, Severity::P3);
    assert_eq!(row(&console, "AN-04").status, Status::Blind(Some(State::Ok)));
    assert!(row(&console, "AN-01").is_ok());
}

#[test]
fn a_mode_is_unseen_until_every_owner_is_there() {
    let mut console = Console::new();
    console.up(0);
    console.frame(0, frame("ingest", 1, snapshot(well("ingest"))));
    console.hear(0, What::Catalogue(catalogue()));
    console.settle();
    assert_eq!(row(&console, "AN-01").status, Status::Unseen("query is not seen".to_owned()));
    assert_eq!(row(&console, "AN-04").status, Status::Unseen("rollup is not seen".to_owned()));
    assert_eq!(ok(&console), ["AN-02", "AN-03", "AN-09"]);
}

#[test]
fn a_mode_that_a_seen_owner_leaves_out_is_not_ok() {
    let mut console = Console::well();
    let without = well("query").into_iter().filter(|status| status.id != "AN-01").collect();
    console.frame(1, frame("query", 8, snapshot(without)));
    console.settle();
    assert_eq!(row(&console, "AN-01").status, Status::Unseen("query does not report it".to_owned()));
}

#[test]
fn planned_and_unknown_and_states_of_a_newer_server_are_not_ok() {
    let mut console = Console::well();
    assert_eq!((row(&console, "PR-11").band, row(&console, "PR-15").band), (Band::Planned, Band::Planned));
    let mut newer = status("AN-02", WireState::Ok, Wire::P3);
    newer.state = 17;
    let mut unset = status("AN-09", WireState::Ok, Wire::P3);
    unset.state = 0;
    console.frame(0, frame("ingest", 8, delta(vec![newer, unset, status("AN-03", WireState::Unknown, Wire::P3)])));
    console.settle();
    for id in ["AN-02", "AN-03", "AN-09"] {
        assert_eq!(row(&console, id).band, Band::Unknown, "{id}");
    }
    assert_eq!(row(&console, "AN-02").status, Status::Says(State::Foreign(17)));
}

#[test]
fn a_severity_of_a_newer_server_falls_back_to_the_catalogue_and_unknown_modes_are_listed() {
    let mut console = Console::well();
    let mut odd = status("AN-07", WireState::Open, Wire::P4);
    odd.severity = 9;
    let mut stranger = status("XX-99", WireState::Open, Wire::P3);
    stranger.severity = 0;
    console.frame(2, frame("rollup", 8, delta(vec![odd, stranger])));
    console.settle();
    assert_eq!(row(&console, "AN-07").band, Band::Of(Severity::P4));
    assert_eq!(row(&console, "XX-99").band, Band::Of(Severity::P2), "not known to be harmless");
}

#[test]
fn a_gap_asks_for_a_snapshot_and_until_it_comes_nothing_holds() {
    let mut console = Console::well();
    let effects = console.frame(0, frame("ingest", 9, heartbeat()));
    assert_eq!(effects, [Effect::Resync { endpoint: 0, watch: 1 }]);
    console.settle();
    assert_eq!(row(&console, "AN-02").status, Status::Blind(Some(State::Ok)));
    // One of the watch that was given up is too late, even the missing one.
    let old = What::Frame { watch: 0, frame: Box::new(frame("ingest", 8, heartbeat())) };
    assert_eq!(console.hear(0, old), []);
    console.settle();
    assert!(!row(&console, "AN-02").is_ok());
    console.frame(0, frame("ingest", 9, snapshot(well("ingest"))));
    console.settle();
    assert!(row(&console, "AN-02").is_ok());
}

#[test]
fn a_frame_that_came_before_proves_nothing() {
    let mut console = Console::well();
    console.pass(seconds(4.9));
    console.beat(7);
    console.pass(seconds(0.1));
    assert_eq!(console.model.world.known(Knowledge::Blind), 3);
}

#[test]
fn a_frame_without_a_body_is_a_gap() {
    let mut console = Console::well();
    let empty = Frame { body: None, ..frame("ingest", 8, heartbeat()) };
    assert!(matches!(console.frame(0, empty)[..], [Effect::Resync { .. }]));
    console.settle();
    assert!(!row(&console, "AN-02").is_ok());
}

#[test]
fn a_clock_an_hour_off_changes_no_age() {
    for off in [-3_600, 3_600] {
        let mut console = Console::well();
        let mut open = status("AN-02", WireState::Open, Wire::P3);
        open.since = Some(fixture::wire(fixture::WALL + off - 40));
        let mut frame = frame("ingest", 8, delta(vec![open]));
        frame.sent_at = Some(fixture::wire(fixture::WALL + off));
        console.frame(0, frame);
        console.now = console.now.after(seconds(2.0));
        console.settle();
        assert_eq!(row(&console, "AN-02").lasts, Some(seconds(42.0)));
        assert_eq!(console.model.world.known(Knowledge::Live), 3);
        assert!((console.model.world.endpoints[0].skew - off as f64).abs() < 1.0);
    }
}

#[test]
fn within_a_band_what_is_lost_first_stands_first() {
    let mut console = Console::well();
    let losing = |id: &str, left: Option<i64>| {
        let mut status = status(id, WireState::Open, Wire::P3);
        status.time_to_loss = left.map(|seconds| prost_types::Duration { seconds, nanos: 0 });
        status
    };
    let modes = vec![losing("AN-02", None), losing("AN-03", Some(600)), losing("AN-09", Some(60))];
    console.frame(0, frame("ingest", 8, delta(modes)));
    console.settle();
    let first: Vec<_> = console.model.world.board.rows.iter().take(3).map(|row| row.id.clone()).collect();
    assert_eq!(first, ["AN-09", "AN-03", "AN-02"].map(|id| RowId::Mode(id.to_owned())));
}

#[test]
fn the_worst_of_several_replicas_is_shown() {
    let replicas = [target("query", "a:1"), target("query", "b:1")];
    let mut console = Console::of(&replicas);
    for (endpoint, state) in [(0, WireState::Ok), (1, WireState::Open)] {
        console.up(endpoint);
        console.frame(endpoint, frame("query", 1, snapshot(vec![status("AN-06", state, Wire::P2)])));
    }
    console.settle();
    let row = row(&console, "AN-06");
    assert_eq!((row.source, row.voices, &row.status), (Some(1), 2, &Status::Says(State::Open)));
}

/// A step of a hostile connection.
#[derive(Debug, Clone)]
enum Step {
    /// The frame of this number as the server sent it.
    Frame(usize),
    /// A snapshot as of this number.
    Snapshot(usize),
    /// Something that no server sends.
    Garbage(Box<Frame>),
    Link(bool),
    Wait(f64),
    Key(char),
}

const IDS: [&str; 4] = ["AN-01", "AN-02", "AN-03", "AN-09"];

fn states() -> impl Strategy<Value = WireState> {
    prop::sample::select(vec![WireState::Ok, WireState::Suspect, WireState::Open, WireState::Unknown, WireState::Verifying])
}

fn garbage() -> impl Strategy<Value = Box<Frame>> {
    let status = (any::<String>(), any::<i32>(), any::<i32>(), any::<i64>(), any::<f64>()).prop_map(
        |(id, state, severity, seconds, value)| {
            // A state that could be OK is left to the true server.
            let state = if state == i32::from(WireState::Ok) { 99 } else { state };
            let mut status = ModeStatus { id, state, severity, ..status("", WireState::Ok, Wire::P1) };
            status.since = Some(prost_types::Timestamp { seconds, nanos: seconds as i32 });
            status.time_to_loss = Some(prost_types::Duration { seconds, nanos: seconds as i32 });
            if let Some(evidence) = &mut status.evidence {
                (evidence.value, evidence.history) = (value, vec![value; 200]);
            }
            status
        },
    );
    let body = prop_oneof![
        Just(None),
        Just(Some(heartbeat())),
        prop::collection::vec(status.clone(), 0..5).prop_map(|modes| Some(delta(modes))),
        prop::collection::vec(status, 0..5).prop_map(|modes| Some(snapshot(modes))),
    ];
    (any::<String>(), any::<u64>(), any::<i64>(), any::<String>(), body).prop_map(|(boot, seq, seconds, service, body)| {
        let time = Some(prost_types::Timestamp { seconds, nanos: 0 });
        let next_within = Some(prost_types::Duration { seconds, nanos: 7 });
        let (build, instance, configuration) = ("\u{1b}[2J".to_owned(), boot.clone(), service.clone());
        Box::new(Frame {
            boot_id: boot.clone(),
            seq,
            sent_at: time,
            next_within,
            service,
            build,
            instance,
            configuration,
            installation: boot,
            times_at_most: next_within,
            body,
        })
    })
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0_usize..30).prop_map(Step::Frame),
        2 => (0_usize..30).prop_map(Step::Snapshot),
        1 => garbage().prop_map(Step::Garbage),
        1 => any::<bool>().prop_map(Step::Link),
        2 => (0.0_f64..3.0).prop_map(Step::Wait),
        1 => prop::sample::select("jkgGnNo0123bzvtpeyd?/:xqhlfamuTXCD,".chars().collect::<Vec<_>>()).prop_map(Step::Key),
    ];
    // Mostly in order, so that the console gets far enough to be wrong.
    let run = (0_usize..25, 1_usize..8).prop_map(|(from, count)| {
        std::iter::once(Step::Snapshot(from)).chain((from..(from + count).min(30)).map(Step::Frame)).collect::<Vec<_>>()
    });
    prop::collection::vec(prop_oneof![run, step.prop_map(|step| vec![step])], 1..60).prop_map(|steps| steps.concat())
}

/// What the server's modes truly were after each of its frames.
fn truth(changes: &[(usize, WireState)]) -> Vec<BTreeMap<&'static str, WireState>> {
    let mut now: BTreeMap<_, _> = IDS.map(|id| (id, WireState::Open)).into();
    let mut all = vec![now.clone()];
    for (mode, state) in changes {
        now.insert(IDS[mode % IDS.len()], *state);
        all.push(now.clone());
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn nothing_is_ok_that_the_server_did_not_say_in_its_last_frame(
        changes in prop::collection::vec((0_usize..4, states()), 30),
        steps in steps(),
    ) {
        let truth = truth(&changes);
        let mut console = Console::of(&[target("ingest", "host:1")]);
        console.up(0);
        for step in steps {
            let mut garbled = false;
            match step {
                Step::Frame(number) => {
                    let (mode, state) = changes[number];
                    let change = status(IDS[mode % IDS.len()], state, Wire::P3);
                    console.frame(0, frame("ingest", number as u64 + 1, delta(vec![change])));
                }
                Step::Snapshot(number) => {
                    let modes = truth[number].iter().map(|(id, state)| status(id, *state, Wire::P3)).collect();
                    console.frame(0, frame("ingest", number as u64, snapshot(modes)));
                }
                Step::Garbage(frame) => {
                    console.frame(0, *frame);
                    garbled = true;
                }
                Step::Link(up) => {
                    let link = if up { Link::Up } else { Link::Down { error: "\u{1b}[31m".to_owned(), retry_at: seconds(9.0) } };
                    console.hear(0, What::Link(link));
                }
                Step::Wait(time) => console.pass(seconds(time)),
                Step::Key(key) => drop(console.press(&key.to_string())),
            }
            console.settle();
            let endpoint = &console.model.world.endpoints[0];
            let of_server = matches!(&endpoint.position, Some((boot, _)) if boot == "boot of ingest");
            let mut shown = ok(&console);
            prop_assert!(shown.is_empty() || endpoint.knowledge(console.now) <= Knowledge::Late);
            // That no process has crashed is the console's own finding.
            prop_assert!(endpoint.down.is_none() || !shown.contains(&"PR-09".to_owned()));
            shown.retain(|id| id != "PR-09");
            if of_server {
                let seq = endpoint.position.as_ref().unwrap().1 as usize;
                for id in &shown {
                    prop_assert_eq!(truth[seq].get(id.as_str()), Some(&WireState::Ok), "{} at {}", id, seq);
                }
            } else {
                prop_assert!(shown.is_empty() || garbled, "{:?}", shown);
            }
        }
    }

    #[test]
    fn the_selection_stays_on_its_row_while_the_rows_move(
        moves in prop::collection::vec((0_usize..4, states(), any::<bool>()), 1..40),
        place in 0_usize..9,
    ) {
        let mut console = Console::well();
        console.press("o");
        for _ in 0..place {
            console.press("j");
        }
        let held = console.model.ui.row.id().cloned();
        for (number, (mode, state, _)) in moves.into_iter().enumerate() {
            let severity = [Wire::P1, Wire::P2, Wire::P3, Wire::P4][number % 4];
            let change = status(IDS[mode], state, severity);
            console.frame(0, frame("ingest", number as u64 + 8, delta(vec![change])));
            console.settle();
            prop_assert_eq!(console.model.selected_row().map(|row| row.id.clone()), held.clone());
        }
    }

    #[test]
    fn names_from_a_server_reach_the_model_clean(name in any::<String>()) {
        let mut console = Console::well();
        let mut stranger = status(&name, WireState::Open, Wire::P1);
        stranger.rule = name.clone();
        console.frame(0, frame("ingest", 8, delta(vec![stranger])));
        console.settle();
        let report = &console.model.world.endpoints[0].modes[&clean(&name)];
        prop_assert!(!report.rule.chars().any(char::is_control));
    }
}

#[test]
fn a_body_this_test_relies_on_is_what_it_seems() {
    assert!(matches!(frame("ingest", 1, heartbeat()).body, Some(Body::Heartbeat(_))));
    assert_eq!(start().wall.as_second(), fixture::WALL);
}
