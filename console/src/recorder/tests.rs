//! The past that is shown is the past that was.

use super::*;
use crate::{
    action::KeyMap,
    keys::Chord,
    model::{Model, endpoint::Link},
    msg::{AliasAnswer, Answer, Input, Mouse, MouseKind, Topic, What},
    update::{settle, update},
};
use jiff::Timestamp;
use loadline_proto::{
    grpc_health::health_check_response::ServingStatus,
    health::{
        ArmedPlans, Delta, DrillRun, Frame, Heartbeat, ListCatalogueResponse, ModeStatus, RemedyPlan, RemedyRun, ServiceLoad,
        Severity, Snapshot, State,
        drill_run::Verdict,
        frame::Body::{self, Delta as D, Heartbeat as H, Snapshot as S},
        remedy_run::Outcome,
    },
    ingest::{DeadLetter, ListDeadLettersResponse, ListStreamsResponse},
    query::{GetDeliveryResponse, ListTopAccountsResponse},
    rollup::{ListJobsResponse, ListRunsResponse},
    serving::{GetRouteResponse, ListAliasHistoryResponse, ListModelsResponse},
};
use ratatui::layout::{Position, Size};
use std::io::BufReader;

fn start() -> Moment {
    Moment::start(Timestamp::from_second(1_795_271_400).unwrap())
}

fn targets() -> Vec<Target> {
    vec![Target { address: "host:1".to_owned(), service: "ingest".to_owned() }]
}

fn frame(seq: u64, body: Body) -> Msg {
    let frame = Frame {
        boot_id: "boot".to_owned(),
        seq,
        service: "ingest".to_owned(),
        next_within: Some(prost_types::Duration { seconds: 1, nanos: 0 }),
        body: Some(body),
        ..Default::default()
    };
    Msg::Input(Input { endpoint: 0, what: What::Frame { watch: 0, frame: Box::new(frame) } })
}

fn mode(id: &str, state: State) -> ModeStatus {
    ModeStatus { id: id.to_owned(), state: state.into(), severity: Severity::P3.into(), ..Default::default() }
}

fn mouse(kind: MouseKind, x: u16, y: u16) -> Mouse {
    Mouse { kind, at: Position { x, y }, screen: Size { width: 120, height: 40 } }
}

/// What operators and drills did, and what there was to do.
fn done(outcome: Outcome, verdict: Verdict) -> Delta {
    let run = RemedyRun { id: "r-1".to_owned(), outcome: outcome.into(), ..Default::default() };
    let armed = ArmedPlans { plans: vec![RemedyPlan { id: "p-2".to_owned(), ..Default::default() }] };
    let drill = |control| DrillRun { failure_mode: "A".to_owned(), control, verdict: verdict.into(), ..Default::default() };
    let load = ServiceLoad { rate: 7.0, unit: "events".to_owned(), p99: None };
    Delta { runs: vec![run], armed: Some(armed), drills: vec![drill(false), drill(true)], load: Some(load), ..Default::default() }
}

/// A console that lives for a while: modes open and close, ticks pass, keys are pressed.
fn life(recorder: impl FnOnce(Recorder) -> Recorder, steps: u64, mut look: impl FnMut(&Model)) -> Model {
    let mut model = Model::new(&targets(), KeyMap::default(), start());
    model.recorder = recorder(model.recorder);
    let mut now = start();
    let mut tell = |model: &mut Model, msg: Msg, now: Moment| {
        update(model, msg, now);
        settle(model, now);
        look(model);
    };
    tell(&mut model, Msg::Input(Input { endpoint: 0, what: What::Link(Link::Up) }), now);
    let modes = vec![mode("A", State::Ok), mode("B", State::Ok), mode("C", State::Unknown)];
    tell(&mut model, frame(1, S(Snapshot { modes, ..Default::default() })), now);
    for seq in 2..steps {
        now = now.after(Duration::from_millis(500));
        let body = match seq % 5 {
            _ if seq == 3 => D(done(Outcome::Running, Verdict::Running)),
            _ if seq == 8 => D(done(Outcome::Verified, Verdict::Passed)),
            0 => D(Delta { modes: vec![mode("A", State::Open)], ..Default::default() }),
            1 => D(Delta { modes: vec![mode("A", State::Ok), mode("C", State::Suspect)], ..Default::default() }),
            _ => H(Heartbeat {}),
        };
        tell(&mut model, frame(seq, body), now);
        tell(&mut model, Msg::Tick, now);
        tell(&mut model, Msg::Key(Chord::char('j')), now);
    }
    model
}

#[test]
fn each_moment_of_the_past_is_shown_as_it_was() {
    let mut boards = Vec::new();
    let model = life(|recorder| recorder, 60, |model| boards.push((model.now, model.world.board.clone())));
    // Of several messages at one time the last one counts.
    boards.dedup_by(|later, earlier| {
        later.0 == earlier.0 && {
            earlier.1 = later.1.clone();
            true
        }
    });
    assert!(boards.len() > 50);
    for (at, board) in boards {
        assert_eq!(model.recorder.world_at(at.elapsed).0.board, board, "{:?}", at.elapsed);
    }
}

#[test]
fn playing_on_comes_to_the_same_as_starting_there() {
    let recorder = life(|recorder| recorder, 60, |_| {}).recorder;
    let (mut world, mut applied) = recorder.world_at(recorder.first());
    for seconds in 0..40 {
        let at = recorder.first() + Duration::from_secs(seconds);
        applied = recorder.advance(&mut world, applied, at);
        assert_eq!(world.board, recorder.world_at(at).0.board);
    }
    assert_eq!(world.timeline.pushed(), recorder.world_at(recorder.last()).0.timeline.pushed());
}

#[test]
fn what_fell_out_of_the_ring_is_still_known() {
    let model = life(|recorder| recorder.with_limit(3_000), 300, |_| {});
    let recorder = &model.recorder;
    assert!(recorder.first() > Duration::from_secs(100), "the ring is bounded: {:?}", recorder.first());
    assert!(recorder.bytes <= 3_000);
    let (world, _) = recorder.world_at(recorder.last());
    assert_eq!(world.board, model.world.board);
    assert_eq!(world.endpoints[0].modes.keys().collect::<Vec<_>>(), ["A", "B", "C"], "B changed only before the ring");
    assert_eq!(world.endpoints[0].gaps, 0);
    let endpoint = &world.endpoints[0];
    let runs: Vec<_> = endpoint.runs.iter().map(|run| (run.id.as_str(), run.outcome.to_string())).collect();
    assert_eq!(runs, [("r-1", "VERIFIED".to_owned())]);
    assert_eq!((endpoint.armed.len(), endpoint.load.as_ref().unwrap().rate), (1, 7.0));
    let found = |runs: &std::collections::BTreeMap<String, crate::model::drill::DrillRun>| runs["A"].found();
    assert_eq!([found(&endpoint.drills.runs), found(&endpoint.drills.controls)], ["passed", "passed"]);
}

#[test]
fn a_ring_that_begins_after_a_gap_knows_what_came_before_it() {
    let mut model = Model::new(&targets(), KeyMap::default(), start());
    model.recorder = Recorder::new(targets(), start()).with_limit(2_000);
    let watched = |watch, seq, body| match frame(seq, body) {
        Msg::Input(Input { endpoint, what: What::Frame { frame, .. } }) => {
            Msg::Input(Input { endpoint, what: What::Frame { watch, frame } })
        }
        other => other,
    };
    let snapshot = || S(Snapshot { modes: vec![mode("A", State::Ok), mode("B", State::Open)], ..Default::default() });
    update(&mut model, Msg::Input(Input { endpoint: 0, what: What::Link(Link::Up) }), start());
    update(&mut model, watched(0, 1, snapshot()), start());
    update(&mut model, watched(0, 3, H(Heartbeat {})), start());
    update(&mut model, watched(1, 3, snapshot()), start());
    for seq in 4..200 {
        update(&mut model, watched(1, seq, H(Heartbeat {})), start());
    }
    settle(&mut model, start());
    assert_eq!(model.recorder.world_at(model.recorder.last()).0.board, model.world.board);
    let mut file = Vec::new();
    model.recorder.write(&mut file).unwrap();
    let read = Recorder::read(BufReader::new(&*file)).unwrap();
    assert_eq!(read.world_at(read.last()).0.board, model.world.board);
}

#[test]
fn a_file_holds_the_whole_recording() {
    for limit in [usize::MAX, 3_000] {
        let recorder = life(|recorder| recorder.with_limit(limit), 100, |_| {}).recorder;
        let mut file = Vec::new();
        recorder.write(&mut file).unwrap();
        let read = Recorder::read(BufReader::new(&*file)).unwrap();
        assert_eq!((read.targets(), read.begun(), read.last()), (recorder.targets(), recorder.begun(), recorder.last()));
        let (was, is) = (recorder.world_at(recorder.last()).0, read.world_at(read.last()).0);
        assert_eq!(was.board, is.board);
        assert!(read.messages().count() >= recorder.ring.len());
    }
}

#[test]
fn another_file_is_refused_by_the_line() {
    let mut file = Vec::new();
    life(|recorder| recorder, 5, |_| {}).recorder.write(&mut file).unwrap();
    let text = String::from_utf8(file).unwrap();
    let newer = text.replacen("\"loadline_recording\":2", "\"loadline_recording\":3", 1);
    let torn = &text[..text.len() - 20];
    let cases = [
        ("", "line 1"),
        ("{}", "line 1"),
        (newer.as_str(), "version 3"),
        (torn, "line "),
        (&text.replacen("\"frame\"", "\"fame\"", 1), "fame"),
        (&text.replacen("\"data\":\"C", "\"data\":\"/", 1), "line "),
    ];
    for (text, word) in cases {
        let error = Recorder::read(BufReader::new(text.as_bytes())).unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    }
}

#[test]
fn no_other_text_is_taken_for_the_mouse() {
    for text in ["", "click", "click 1 2 3", "click 1 2 3 4 5", "press 1 2 3 4", "up 1 -2 3 4", "down 1 2 3 70000"] {
        let data = text.as_bytes().into();
        assert_eq!(
            codec::decode(&Record { at: start(), kind: codec::Kind::Mouse, endpoint: 0, number: 0, data }),
            None,
            "{text}"
        );
    }
}

#[test]
fn what_was_done_with_keys_and_the_mouse_is_done_again_by_whoever_plays_the_recording() {
    let mut model = life(|recorder| recorder, 10, |_| {});
    let now = model.now;
    let (tab, click) = (Msg::Key("Tab".parse().unwrap()), |x, y| Msg::Mouse(mouse(MouseKind::Click, x, y)));
    // A row of the board; its detail; down in it; the services, and the second of the keys at the bottom.
    let done =
        [Msg::Key(Chord::char('o')), click(8, 12), click(100, 8), Msg::Mouse(mouse(MouseKind::Down, 1, 1)), tab, click(13, 39)];
    let seen = |model: &Model| format!("{:?} {:?} {:?} {}", model.ui.row, model.ui.pane, model.ui.overlay, model.ui.scroll);
    let told = |model: &mut Model, msg: Msg, at: Moment| {
        update(model, msg, at);
        settle(model, at);
        seen(model)
    };
    let was: Vec<String> = done.into_iter().map(|msg| told(&mut model, msg, now)).collect();
    assert!(was.windows(2).all(|pair| pair[0] != pair[1]), "each does something: {was:#?}");
    let mut file = Vec::new();
    model.recorder.write(&mut file).unwrap();
    let read = Recorder::read(BufReader::new(&*file)).unwrap();
    let mut again = Model::new(read.targets(), KeyMap::default(), read.begun());
    let is: Vec<String> = read.messages().map(|(at, msg)| told(&mut again, msg, at)).collect();
    assert!(is.ends_with(&was), "{is:#?}\n{was:#?}");
}

#[test]
fn every_message_is_decoded_as_it_was_encoded() {
    let input = |what| Msg::Input(Input { endpoint: 3, what });
    let answer = |answer| input(What::Answer(answer));
    let messages = [
        frame(7, S(Snapshot { modes: vec![mode("A", State::Open)], ..Default::default() })),
        input(What::Link(Link::Connecting)),
        input(What::Link(Link::Up)),
        input(What::Link(Link::Down { error: "gone".to_owned(), retry_at: Duration::from_millis(12_345) })),
        input(What::Catalogue(ListCatalogueResponse { failure_modes: vec![Default::default()] })),
        input(What::Serving(ServingStatus::NotServing.into())),
        input(What::Serving(-7)),
        input(What::Refused { topic: Topic::Letter, error: "why".to_owned() }),
        answer(Answer::Streams(ListStreamsResponse { streams: vec![Default::default()] })),
        answer(Answer::Top(ListTopAccountsResponse::default())),
        answer(Answer::Delivery(Box::new(GetDeliveryResponse { account: "a".to_owned(), ..Default::default() }))),
        answer(Answer::Jobs(ListJobsResponse { leader: "l".to_owned(), ..Default::default() })),
        answer(Answer::Runs(ListRunsResponse::default())),
        answer(Answer::Letters { more: false, answer: ListDeadLettersResponse::default() }),
        answer(Answer::Letters { more: true, answer: ListDeadLettersResponse::default() }),
        answer(Answer::Letter(Box::new(DeadLetter { id: 9, ..Default::default() }))),
        answer(Answer::Models(ListModelsResponse { registry_problem: "p".to_owned(), ..Default::default() })),
        answer(Answer::Alias(Box::new(AliasAnswer {
            model: "m".to_owned(),
            alias: "champion".to_owned(),
            route: GetRouteResponse { route: None, version: 3 },
            changes: ListAliasHistoryResponse { changes: vec![Default::default()], next_page_token: "2".to_owned() },
            evaluations: ListAliasHistoryResponse::default(),
            routes: ListAliasHistoryResponse { changes: vec![], next_page_token: "9".to_owned() },
        }))),
        Msg::Key("Ctrl-d".parse().unwrap()),
        Msg::Mouse(mouse(MouseKind::Click, 12, 5)),
        Msg::Mouse(mouse(MouseKind::Up, 0, u16::MAX)),
        Msg::Mouse(mouse(MouseKind::Down, 7, 7)),
        Msg::Paste("text".to_owned()),
        Msg::Tick,
    ];
    for msg in messages {
        let record = codec::encode(start(), &msg).unwrap();
        assert_eq!(codec::decode(&record), Some(msg));
    }
    assert_eq!(Topic::ALL.map(|topic| topic as usize), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
}
