//! Whatever comes in whatever order: nothing is executed that was not planned, read and confirmed. The rules are told here a second
//! time, from what came and what went out alone.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod fixture;

use fixture::{
    Console, delta, frame, heartbeat, registry, seconds, status,
    work::{drill, offered, plan},
};
use loadline_console::{
    keys::Chord,
    model::{board::RowId, endpoint::Link, standing::Knowledge},
    msg::{Act, Answer, Done, Effect, Failure, Msg, Seen, Topic, What},
};
use loadline_proto::{
    health::{ListDrillsResponse, Reversibility, Severity as Wire, State as WireState},
    serving::ListModelsResponse,
};
use proptest::{prelude::*, test_runner::TestRunner};
use std::{cell::Cell, collections::BTreeMap, time::Duration};

#[derive(Debug, Clone)]
enum Step {
    Key(&'static str),
    Repeat(&'static str),
    Paste(&'static str),
    Focus(bool),
    Drawn,
    Wait(f64),
    Beat,
    /// A plan for one of the tickets given out, of this kind, for this mode or another.
    Plan {
        ticket: usize,
        kind: usize,
        astray: bool,
    },
    Failed {
        ticket: usize,
        refused: bool,
    },
    Mode {
        id: &'static str,
        open: bool,
        severity: usize,
    },
    /// What serving says of models and of an alias, or that it does not.
    Models(usize),
    Down,
    Up,
}

const KEYS: &[&str] = &[
    "C", "W", "D", "T", "y", "y", "y", "Enter", "1", "7", "Esc", "Ctrl-o", "j", "k", "x", "u", "X", "q", "z", "v", "f", "b", "i",
    "r",
];
const KINDS: [(Reversibility, &str); 5] = [
    (Reversibility::Safe, "y"),
    (Reversibility::Undoable, "y"),
    (Reversibility::LossPossible, "17"),
    (Reversibility::Irreversible, "71"),
    (Reversibility::Irreversible, "y"),
];

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = || prop::sample::select(KEYS.to_vec());
    let step = prop_oneof![
        8 => key().prop_map(Step::Key),
        1 => key().prop_map(Step::Repeat),
        1 => prop::sample::select(vec!["y", "17", "y\n", "71\n"]).prop_map(Step::Paste),
        1 => any::<bool>().prop_map(Step::Focus),
        4 => Just(Step::Drawn),
        3 => (0.0_f64..1.5).prop_map(Step::Wait),
        1 => (5.0_f64..40.0).prop_map(Step::Wait),
        3 => Just(Step::Beat),
        4 => (0_usize..3, 0_usize..5, prop::bool::weighted(0.1)).prop_map(|(ticket, kind, astray)| Step::Plan { ticket, kind, astray }),
        1 => (0_usize..3, any::<bool>()).prop_map(|(ticket, refused)| Step::Failed { ticket, refused }),
        2 => (prop::sample::select(vec!["AN-01", "AN-02", "AN-09"]), any::<bool>(), 0_usize..4)
            .prop_map(|(id, open, severity)| Step::Mode { id, open, severity }),
        1 => (0_usize..4).prop_map(Step::Models),
        1 => Just(Step::Down),
        2 => Just(Step::Up),
    ];
    // Often all the way, with something thrown in at any place, so that what must not happen comes close.
    let way =
        (0_usize..3, 0_usize..5, prop::option::weighted(0.6, (0_usize..9, step.clone()))).prop_map(|(key, kind, thrown)| {
            let confirm: &[&str] = match KINDS[kind].1 {
                "17" => &["1", "7", "Enter"],
                "71" => &["7", "1", "Enter"],
                _ => &["y"],
            };
            let begin =
                [Step::Wait(1.1), Step::Beat, Step::Key(["C", "W", "D"][key]), Step::Plan { ticket: 0, kind, astray: false }];
            let mut way: Vec<Step> = begin.into_iter().chain([Step::Drawn, Step::Wait(0.5), Step::Beat]).collect();
            way.extend(confirm.iter().map(|key| Step::Key(key)));
            if let Some((place, step)) = thrown {
                way.insert(place.min(way.len()), step);
            }
            way
        });
    let drilled = Just(vec![Step::Key("T"), Step::Drawn, Step::Wait(0.5), Step::Key("y")]);
    let piece = prop_oneof![3 => way, 1 => drilled, 3 => step.prop_map(|step| vec![step])];
    prop::collection::vec(piece, 1..20).prop_map(|pieces| pieces.concat())
}

/// What the rules know of a plan.
#[derive(Debug, Clone)]
struct Known {
    id: String,
    kind: usize,
    expires: Duration,
    row: Option<RowId>,
    drawn: Option<Duration>,
    spent: bool,
}

#[derive(Default)]
struct Rules {
    /// By ticket: of what row a plan was asked for, and when.
    asked: BTreeMap<u64, (Option<RowId>, Duration)>,
    known: Vec<Known>,
    /// The last that a key asked for.
    latest: Option<u64>,
    plan_of: BTreeMap<u64, usize>,
    executed_by: BTreeMap<u64, usize>,
    typed: String,
    last_key: Option<(Chord, Duration)>,
    operating: bool,
}

impl Rules {
    /// Why an execution that this step caused is against the rules.
    fn against(
        &self,
        request: &loadline_proto::health::ExecuteRemedyRequest,
        console: &Console,
        pressed: Option<(Chord, bool)>,
    ) -> Option<String> {
        let Some((chord, held)) = pressed else { return Some("no key press".to_owned()) };
        let Some(known) = self.known.iter().find(|known| known.id == request.plan_id) else {
            return Some("never planned".to_owned());
        };
        let (kind, confirm) = KINDS[known.kind];
        let now = console.now.elapsed;
        let key = if confirm == "y" { "y" } else { "Enter" };
        let rules = [
            (chord == key.parse().unwrap(), "another key"),
            (!held, "a key held down"),
            (request.confirm == confirm, "another confirmation than the plan has"),
            (confirm == "y" || self.typed.ends_with(confirm), "it was never typed"),
            (confirm != "y" || matches!(kind, Reversibility::Safe | Reversibility::Undoable), "a loss at a single key"),
            (known.expires > now, "expired"),
            (known.drawn.is_some_and(|drawn| now.saturating_sub(drawn) >= Duration::from_millis(400)), "not read"),
            (!known.spent, "lapsed or executed"),
            (self.operating, "read-only"),
            (console.model.selected_row().map(|row| row.id.clone()) == known.row, "another row"),
            (
                kind == Reversibility::Safe || console.model.world.endpoints[0].knowledge(console.now) != Knowledge::Blind,
                "blind and not safe",
            ),
        ];
        rules.into_iter().find(|(holds, _)| !holds).map(|(_, why)| why.to_owned())
    }
}

fn start() -> Console {
    let mut console = Console::well();
    let modes = ["AN-01", "AN-02"].map(|id| offered(status(id, WireState::Open, Wire::P2)));
    console.frame(0, frame("ingest", 8, delta(modes.into())));
    let list = ListDrillsResponse { drills: vec![drill("AN-01")], build: "0.1.0".to_owned() };
    console.hear(0, What::Answer(Answer::Drills(list)));
    console.settle();
    console.press("Ctrl-o");
    console
}

fn beat(console: &mut Console, body: loadline_proto::health::frame::Body) {
    let seq = console.model.world.endpoints[0].position.as_ref().unwrap().1 + 1;
    console.frame(0, frame("ingest", seq, body));
    console.settle();
}

/// Runs a script against the console and the rules; how much was executed, remedies and drills.
fn told(steps: Vec<Step>) -> Result<(u32, u32), TestCaseError> {
    let (mut console, mut rules) = (start(), Rules { operating: true, ..Rules::default() });
    let (mut executed, mut drilled) = (0, 0);
    let mut drill_read: Option<Duration> = None;
    for step in steps {
        let mut pressed = None;
        let effects = match step {
            Step::Key(key) => {
                let chord: Chord = key.parse().unwrap();
                let held = rules.last_key.is_some_and(|(last, at)| last == chord && console.now.since(at) < seconds(1.0));
                rules.last_key = Some((chord, console.now.elapsed));
                rules.operating = console.model.ui.operate.is_some();
                if key.chars().all(|char| char.is_ascii_digit()) {
                    rules.typed.push_str(key);
                }
                pressed = Some((chord, held));
                console.settle();
                console.tell(Msg::Key(chord))
            }
            Step::Repeat(key) => {
                let chord: Chord = key.parse().unwrap();
                rules.last_key = Some((chord, console.now.elapsed));
                console.tell(Msg::Repeat(chord))
            }
            Step::Paste(text) => console.tell(Msg::Paste(text.to_owned())),
            Step::Focus(there) => {
                if !there {
                    // Whatever is on a card then is over; what was asked for stays unanswered for it too.
                    rules.known.iter_mut().for_each(|known| known.spent = true);
                    rules.latest = None;
                    drill_read = None;
                }
                console.tell(Msg::Focus(there))
            }
            Step::Drawn => {
                let now = console.now.elapsed;
                rules.known.iter_mut().for_each(|known| known.drawn = known.drawn.or(Some(now)));
                if format!("{:?}", console.model.ui.card).contains("Drill {") {
                    drill_read.get_or_insert(now);
                }
                console.tell(Msg::Drawn { waited: None, seen: Seen::default() })
            }
            Step::Wait(time) => {
                console.now = console.now.after(seconds(time));
                if time > 4.0 { console.tell(Msg::Tick) } else { Vec::new() }
            }
            Step::Beat => {
                beat(&mut console, heartbeat());
                Vec::new()
            }
            Step::Plan { ticket, kind, astray } => {
                let Some((ticket, (row, asked))) =
                    rules.asked.iter().rev().nth(ticket).map(|(ticket, asked)| (*ticket, asked.clone()))
                else {
                    continue;
                };
                let Some(RowId::Mode(mode)) = row.clone() else { continue };
                let id = format!("p-{ticket}-{}", rules.known.len());
                let key = rules.last_asked_key(&console).unwrap_or_else(|| "C".to_owned());
                let mode = if astray { "AN-07".to_owned() } else { mode };
                let wire = plan(&id, &mode, &key, KINDS[kind].0, KINDS[kind].1);
                let stale = rules.latest != Some(ticket) || astray;
                let expires = asked + seconds(30.0);
                rules.plan_of.insert(ticket, rules.known.len());
                rules.known.push(Known { id, kind, expires, row, drawn: None, spent: stale });
                rules.latest = rules.latest.filter(|latest| *latest != ticket);
                if !stale {
                    rules.typed.clear();
                }
                console.hear(0, What::Done { ticket, done: Done::Plan(Box::new(wire)) })
            }
            Step::Failed { ticket, refused } => {
                let tickets =
                    rules.asked.keys().chain(rules.executed_by.keys()).copied().collect::<std::collections::BTreeSet<_>>();
                let Some(ticket) = tickets.into_iter().rev().nth(ticket) else { continue };
                let failure = if refused { Failure::refused("no") } else { Failure::unknown("?") };
                if let Some(place) = rules.executed_by.remove(&ticket) {
                    // Only where nobody knows it may be tried again, read once more.
                    rules.known[place].spent = refused;
                    rules.known[place].drawn = None;
                }
                console.hear(0, What::Failed { ticket, failure })
            }
            Step::Mode { id, open, severity } => {
                let state = if open { WireState::Open } else { WireState::Ok };
                let severity = [Wire::P1, Wire::P2, Wire::P3, Wire::P4][severity];
                beat(&mut console, delta(vec![offered(status(id, state, severity))]));
                Vec::new()
            }
            Step::Models(what) => {
                let what = match what {
                    0 => What::Answer(Answer::Models(registry::models())),
                    1 => What::Answer(Answer::Models(ListModelsResponse::default())),
                    2 => What::Answer(Answer::Alias(Box::new(registry::champion()))),
                    _ => What::Refused { topic: Topic::Models, error: "not offered there".to_owned() },
                };
                console.hear(0, what)
            }
            Step::Down => {
                let retry_at = console.now.elapsed;
                console.hear(0, What::Link(Link::Down { error: "reset".to_owned(), retry_at }))
            }
            Step::Up => {
                console.up(0);
                beat(&mut console, heartbeat());
                Vec::new()
            }
        };
        for effect in effects {
            let Effect::Act { ticket, act, .. } = effect else { continue };
            match act {
                Act::Plan(_) => {
                    let row = console.model.selected_row().map(|row| row.id.clone());
                    rules.asked.insert(ticket, (row, console.now.elapsed));
                    rules.latest = Some(ticket);
                }
                Act::Execute(request) => {
                    prop_assert_eq!(rules.against(&request, &console, pressed), None, "{:?}", request);
                    let place = rules.known.iter().position(|known| known.id == request.plan_id).unwrap();
                    rules.known[place].spent = true;
                    rules.executed_by.insert(ticket, place);
                    executed += 1;
                }
                Act::StartDrill(_) => {
                    let read = drill_read.take().is_some_and(|drawn| console.now.since(drawn) >= Duration::from_millis(400));
                    prop_assert!(read && pressed.is_some_and(|(chord, held)| chord == Chord::char('y') && !held));
                    drilled += 1;
                }
                _ => {}
            }
        }
        if !format!("{:?}", console.model.ui.card).contains("Drill {") {
            drill_read = None;
        }
    }
    Ok((executed, drilled))
}

impl Rules {
    /// The key of the remedy whose plan the card awaits.
    fn last_asked_key(&self, console: &Console) -> Option<String> {
        match &console.model.ui.card.as_ref()?.intent {
            loadline_console::model::hand::Intent::Remedy { key, .. } => Some(key.clone()),
            _ => None,
        }
    }
}

#[test]
fn nothing_is_executed_that_was_not_planned_read_and_confirmed() {
    let (executed, drilled) = (Cell::new(0), Cell::new(0));
    let mut runner = TestRunner::new(ProptestConfig::with_cases(600));
    runner
        .run(&steps(), |steps| {
            let (remedies, drills) = told(steps)?;
            executed.set(executed.get() + remedies);
            drilled.set(drilled.get() + drills);
            Ok(())
        })
        .unwrap();
    // A console that never did anything would keep every rule.
    assert!(executed.get() > 200 && drilled.get() > 10, "{} remedies, {} drills", executed.get(), drilled.get());
}
