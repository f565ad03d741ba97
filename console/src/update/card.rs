//! Cards: one key asks for a plan, another confirms it. Nothing is executed from here but by [`press`], on a card that was on
//! screen for long enough to be read.

use super::aim;
use crate::{
    action::Action,
    keys::{Chord, Key, Named},
    model::{
        Model,
        hand::{ASKED, Card, HELD, Intent, READING, Sent, Stage, WAITING},
        remedy::Plan,
        standing::Knowledge,
    },
    moment::Moment,
    msg::{Act, Done, Effect, Failure},
};
use loadline_proto::health::{
    ExecuteRemedyRequest, PlanRemedyRequest, RemedyPlan, Reversibility, StartDrillRequest, UndoRemedyRequest,
};

/// Longest text typed on a card.
const TYPED: usize = 20;

/// Asks for the plan of a remedy of the selected mode.
///
/// # Errors
/// Why it cannot be planned.
pub fn plan(model: &mut Model, key: &str, now: Moment) -> Result<Effect, String> {
    let aim = aim::remedy(model, key)?;
    let (endpoint, mode, title) = (aim.endpoint, aim.mode.to_owned(), aim.offer.title.clone());
    let safe = aim.offer.reversibility == Reversibility::Safe;
    let act = Act::Plan(PlanRemedyRequest { failure_mode: mode.clone(), key: key.to_owned(), ..Default::default() });
    let ticket = ticket(model);
    let intent = Intent::Remedy { mode, key: key.to_owned(), title, plan: None };
    open(model, intent, endpoint, safe, Stage::Planning { ticket, since: now.elapsed });
    Ok(Effect::Act { endpoint, ticket, act })
}

/// Asks whether the last run of the selected mode is to be taken back.
///
/// # Errors
/// Why it cannot be.
pub fn undo(model: &mut Model, now: Moment) -> Result<(), String> {
    let (endpoint, run) = aim::undoable(model)?;
    let left = run.undo_within(now).unwrap_or_default().min(ASKED);
    let intent = Intent::Undo { run: run.id.clone(), plan: Box::new(run.plan.clone()) };
    open(model, intent, endpoint, false, Stage::Ready { expires: now.elapsed + left, seen: None });
    Ok(())
}

/// Asks whether the drill of the selected mode is to be started.
///
/// # Errors
/// Why it cannot be.
pub fn drill(model: &mut Model, control: bool, now: Moment) -> Result<(), String> {
    let (endpoint, drill) = aim::drill(model)?;
    let severity = model.world.mode(&drill.mode).and_then(|mode| mode.base);
    let intent =
        Intent::Drill { mode: drill.mode.clone(), control, fault: drill.fault.clone(), remedy: drill.remedy.clone(), severity };
    open(model, intent, endpoint, false, Stage::Ready { expires: now.elapsed + ASKED, seen: None });
    Ok(())
}

fn open(model: &mut Model, intent: Intent, endpoint: usize, safe: bool, stage: Stage) {
    let row = model.selected_row().map(|row| row.id.clone());
    model.ui.card = Some(Card { intent, row, endpoint, safe, stage, typed: String::new(), word: None });
    model.ui.overlay = None;
}

pub(super) fn ticket(model: &mut Model) -> u64 {
    model.ui.tickets += 1;
    model.ui.tickets
}

/// The plan came. One that nobody waits for any more stays where it is until it expires.
pub fn planned(model: &mut Model, ticket: u64, wire: RemedyPlan) {
    let Some(card) = model.ui.card.as_mut() else { return };
    let Stage::Planning { ticket: awaited, since } = card.stage else { return };
    let Intent::Remedy { mode, key, plan, .. } = &mut card.intent else { return };
    if awaited != ticket {
        return;
    }
    // Counted from when it was asked for, so that it is never confirmed too late.
    let came = Plan::from_wire(wire, None, since);
    let other = (came.mode != *mode || came.key != *key).then(|| format!("{} {}", came.key, came.mode));
    card.safe = came.reversibility == Reversibility::Safe;
    card.stage = Stage::Ready { expires: came.expires(), seen: None };
    *plan = Some(Box::new(came));
    if let Some(other) = other {
        card.end(format!("the server planned something else: {other}"));
    } else if card.confirm().is_none() {
        card.end("the plan does not say what has to be typed: it cannot be confirmed from here");
    }
}

/// An answer to what was sent.
pub fn done(model: &mut Model, ticket: u64, done: Done, now: Moment) {
    let sent = model.ui.sent.remove(&ticket);
    match (done, sent) {
        (Done::Plan(plan), _) => planned(model, ticket, *plan),
        (Done::Drill(run), Some(_)) => notice(model, crate::model::hand::drill_words(&run), now),
        (_, Some(sent)) => notice(model, format!("{}: confirmed by the server", sent.words), now),
        (_, None) => {}
    }
}

/// No answer, or none that helps.
pub fn failed(model: &mut Model, ticket: u64, failure: Failure, now: Moment) {
    if let Some(card) = model.ui.card.as_mut()
        && matches!(card.stage, Stage::Planning { ticket: awaited, .. } if awaited == ticket)
    {
        card.end(if failure.refused { format!("refused: {}", failure.text) } else { failure.text });
        return;
    }
    let Some(sent) = model.ui.sent.remove(&ticket) else { return };
    match sent.card {
        Some(card) if model.ui.card.is_none() => {
            let mut card = *card;
            if failure.refused {
                card.end(format!("refused: {}", failure.text));
            } else {
                // The same plan under the same key is the same run: asking again is safe.
                card.word = Some(format!("{}. It may have begun; confirmed again it is the same run", failure.text));
                card.typed.clear();
                if let Stage::Ready { seen, .. } = &mut card.stage {
                    *seen = None;
                }
            }
            model.ui.card = Some(card);
        }
        _ => notice(model, format!("{}: {}", sent.words, failure.text), now),
    }
}

/// The frame with the card was drawn: from now on it can be read.
pub fn drawn(model: &mut Model, now: Moment) {
    if let Some(Card { stage: Stage::Ready { seen: seen @ None, .. }, .. }) = &mut model.ui.card {
        *seen = Some(now.elapsed);
    }
}

/// What time does to a card, and to operate mode.
pub fn pass(model: &mut Model, now: Moment) {
    if model.ui.operate.is_some_and(|until| until <= now.elapsed) {
        model.ui.operate = None;
        lapse(model, "operate mode is over");
        notice(model, "read-only again: no key was pressed for a while".to_owned(), now);
    }
    let Some(card) = model.ui.card.as_mut() else { return };
    match card.stage {
        Stage::Ready { expires, .. } if expires <= now.elapsed => card.end("it has expired: plan again"),
        Stage::Planning { since, .. } if now.since(since) >= WAITING => card.end("no answer: plan again"),
        Stage::Ready { .. } | Stage::Planning { .. } | Stage::Over(_) => {}
    }
}

/// Ends what could still be confirmed.
pub fn lapse(model: &mut Model, why: &str) {
    if let Some(card) = model.ui.card.as_mut().filter(|card| !matches!(card.stage, Stage::Over(_))) {
        card.end(format!("{why}: plan again"));
    }
}

/// A key while a card is open. `held`: it may be a key held down.
pub fn press(model: &mut Model, chord: Chord, held: bool, now: Moment) -> Vec<Effect> {
    let Some(card) = model.ui.card.as_mut() else { return Vec::new() };
    let plain = |key: Key| chord == Chord { ctrl: false, key };
    if plain(Key::Named(Named::Esc)) || plain(Key::Char('q')) {
        model.ui.card = None;
        return Vec::new();
    }
    let confirm = card.confirm().unwrap_or_default().to_owned();
    match (&card.stage, chord) {
        (Stage::Over(_), Chord { ctrl: false, key: Key::Named(Named::Enter) }) => model.ui.card = None,
        (Stage::Ready { .. }, _) if confirm == "y" => {
            if plain(Key::Char('y')) {
                return settled(model, &confirm, held, now);
            }
            card.word = Some("y confirms, Esc gives up".to_owned());
        }
        (Stage::Ready { .. }, Chord { ctrl: false, key: Key::Named(Named::Enter) }) => {
            if card.typed == confirm {
                return settled(model, &confirm, held, now);
            }
            card.typed.clear();
            card.word = Some("that is not the count".to_owned());
        }
        (Stage::Ready { .. }, Chord { ctrl: false, key: Key::Named(Named::Backspace) }) => drop(card.typed.pop()),
        (Stage::Ready { .. }, Chord { ctrl: false, key: Key::Char(char) }) if char.is_ascii_digit() => {
            if card.typed.len() < TYPED {
                card.typed.push(char);
            }
            card.word = None;
        }
        (Stage::Planning { .. }, _) => card.word = Some("the plan is not here yet".to_owned()),
        (Stage::Ready { .. } | Stage::Over(_), _) => {}
    }
    Vec::new()
}

/// Confirms, unless something speaks against it.
fn settled(model: &mut Model, confirm: &str, held: bool, now: Moment) -> Vec<Effect> {
    match against(model, held, now) {
        Some(Objection::Wait(word)) => {
            if let Some(card) = model.ui.card.as_mut() {
                card.word = Some(word);
            }
            Vec::new()
        }
        Some(Objection::Over(why)) => {
            lapse(model, &why);
            Vec::new()
        }
        None => execute(model, confirm, now).into_iter().collect(),
    }
}

/// What speaks against a confirmation.
enum Objection {
    /// It may be given again.
    Wait(String),
    /// The card is over.
    Over(String),
}

fn against(model: &Model, held: bool, now: Moment) -> Option<Objection> {
    let card = model.ui.card.as_ref()?;
    let Stage::Ready { expires, seen } = card.stage else { return Some(Objection::Over("it is over".to_owned())) };
    let endpoint = model.world.endpoints.get(card.endpoint)?;
    let selected = model.selected_row().map(|row| &row.id);
    if expires <= now.elapsed {
        return Some(Objection::Over("it has expired".to_owned()));
    }
    if selected != card.row.as_ref() {
        return Some(Objection::Over("another row is selected than when the card opened".to_owned()));
    }
    if model.ui.operate.is_none() {
        return Some(Objection::Over("operate mode is over".to_owned()));
    }
    if seen.is_none_or(|seen| now.since(seen) < READING) {
        return Some(Objection::Wait("too early: read it first".to_owned()));
    }
    if held {
        return Some(Objection::Wait("a key held down confirms nothing: let go for a second".to_owned()));
    }
    if !card.safe && endpoint.knowledge(now) == Knowledge::Blind {
        return Some(Objection::Wait(format!("{} cannot be seen now, and it is not safe", endpoint.name())));
    }
    None
}

/// Sends what the card is about; the card goes, and what it is about is shown as requested.
fn execute(model: &mut Model, confirm: &str, now: Moment) -> Option<Effect> {
    let card = model.ui.card.take()?;
    let (endpoint, words) = (card.endpoint, card.words());
    let act = match &card.intent {
        Intent::Remedy { plan, .. } => Act::Execute(ExecuteRemedyRequest {
            plan_id: plan.as_ref()?.id.clone(),
            confirm: confirm.to_owned(),
            // A plan can be executed once: its id is the key under which that is tried again.
            idempotency_key: format!("console {}", plan.as_ref()?.id),
            reason: String::new(),
        }),
        Intent::Undo { run, .. } => Act::Undo(UndoRemedyRequest { run_id: run.clone(), reason: String::new() }),
        Intent::Drill { mode, control, .. } => {
            Act::StartDrill(StartDrillRequest { failure_mode: mode.clone(), control: *control })
        }
    };
    let repeatable = matches!(card.intent, Intent::Remedy { .. });
    let ticket = ticket(model);
    let mut card = Box::new(card);
    if !repeatable {
        // Nothing makes a second one the same as the first.
        card.stage = Stage::Over("no answer: it may have begun".to_owned());
    }
    model.ui.sent.insert(ticket, Sent { words, endpoint, since: now.elapsed, card: Some(card) });
    Some(Effect::Act { endpoint, ticket, act })
}

/// Remembers a key, and says whether it may be one held down: the same as the one before, too soon after it.
pub fn held(model: &mut Model, chord: Chord, now: Moment) -> bool {
    let before = model.ui.pressed.replace((chord, now.elapsed));
    before.is_some_and(|(before, at)| before == chord && now.since(at) < HELD)
}

/// Goes to operate mode, or back.
pub fn toggle_operating(model: &mut Model, now: Moment) {
    model.ui.operate = match model.ui.operate {
        Some(_) => None,
        None => Some(now.elapsed + crate::model::hand::OPERATING),
    };
    let word = match model.ui.operate {
        Some(_) => format!("operate mode: {} lists what can be done about a row", model.keys.written(Action::Actions)),
        None => "read-only".to_owned(),
    };
    notice(model, word, now);
}

fn notice(model: &mut Model, text: String, now: Moment) {
    model.ui.notice = Some((text, now.elapsed));
}
