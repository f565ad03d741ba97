//! Keys become actions, and actions change what the operator looks at. What changes something on a server begins with a card.

use super::{
    able::{disabled, row_actions},
    aim::{self, UnderWay},
    asking, attend, card, cursor, past, typing, yank,
};
use crate::{
    action::Action,
    keys::{Chord, Key, Named},
    model::{
        Model,
        endpoint::Link,
        hand::{LEAVING, OPERATING, READING, Sent},
        standing::Severity,
        ui::{Overlay, Pane, Screen},
    },
    moment::Moment,
    msg::{Act, Effect},
};
use loadline_proto::health::{AbortRemedyRequest, StopDrillRequest};
use std::time::Duration;

/// How far half a page moves.
const HALF_PAGE: isize = 10;
/// How far a step in the past goes, and a stride.
const STEP: Duration = Duration::from_secs(1);
const STRIDE: Duration = Duration::from_secs(30);

/// Takes a key press.
pub fn press(model: &mut Model, chord: Chord, now: Moment) -> Vec<Effect> {
    let held = card::held(model, chord, now);
    if let Some(until) = &mut model.ui.operate {
        *until = (*until).max(now.elapsed + OPERATING);
    }
    if leaves(chord) {
        return vec![Effect::Quit];
    }
    if model.ui.card.is_some() {
        return card::press(model, chord, held, now);
    }
    if matches!(model.ui.overlay, Some(Overlay::Palette { .. } | Overlay::Filter { .. } | Overlay::Note { .. })) {
        return typing::typed(model, chord, now);
    }
    if matches!(model.ui.overlay, Some(Overlay::Actions { .. })) && chord == Chord::named(Named::Enter) {
        let chosen = chosen(model);
        return chosen.map(|action| run(model, action, now)).unwrap_or_default();
    }
    match model.keys.action(chord, model.replay.is_some()) {
        Some(action) => run(model, action, now),
        None => unbound(model, chord, now),
    }
}

/// No key does nothing without a reason.
fn unbound(model: &mut Model, chord: Chord, now: Moment) -> Vec<Effect> {
    // One of the past says so itself.
    if let Some(action) = model.keys.action(chord, true) {
        return run(model, action, now);
    }
    notice(model, format!("{chord} does nothing here: {} shows every key", model.keys.written(Action::Help)), now);
    Vec::new()
}

/// Takes a key that is held down: it moves and types, and does nothing else.
pub fn repeat(model: &mut Model, chord: Chord, now: Moment) -> Vec<Effect> {
    let moves = |action| {
        matches!(action, Action::Down | Action::Up | Action::HalfDown | Action::HalfUp | Action::Earlier | Action::Later)
    };
    let typing = matches!(model.ui.overlay, Some(Overlay::Palette { .. } | Overlay::Filter { .. } | Overlay::Note { .. }));
    let harmless =
        model.keys.action(chord, model.replay.is_some()).is_some_and(moves) || (typing && matches!(chord.key, Key::Char(_)));
    if model.ui.card.is_some() || !harmless {
        card::held(model, chord, now);
        return Vec::new();
    }
    press(model, chord, now)
}

fn chosen(model: &mut Model) -> Option<Action> {
    let Some(Overlay::Actions { cursor }) = model.ui.overlay else { return None };
    model.ui.overlay = None;
    row_actions(model).get(cursor).copied()
}

/// Ends the console even while something is typed.
fn leaves(chord: Chord) -> bool {
    chord == Chord { ctrl: true, key: Key::Char('c') }
}

/// Does what is asked, or says why not.
pub fn run(model: &mut Model, action: Action, now: Moment) -> Vec<Effect> {
    if let Some(reason) = disabled(model, action) {
        notice(model, format!("{}: {reason}", action.entry().name), now);
        return Vec::new();
    }
    if let Some(key) = action.remedy() {
        return tried(model, now, |model| card::plan(model, key, now).map(|effect| vec![effect]));
    }
    match action {
        Action::Operate => card::toggle_operating(model, now),
        Action::Actions => lay_over(model, Overlay::Actions { cursor: 0 }),
        Action::Acknowledge => return tried(model, now, |model| attend::begin(model, false).map(|()| Vec::new())),
        Action::Mute => return tried(model, now, |model| attend::begin(model, true).map(|()| Vec::new())),
        Action::Undo => return tried(model, now, |model| card::undo(model, now).map(|()| Vec::new())),
        Action::Drill => return tried(model, now, |model| card::drill(model, false, now).map(|()| Vec::new())),
        Action::Control => return tried(model, now, |model| card::drill(model, true, now).map(|()| Vec::new())),
        Action::Abort => return tried(model, now, |model| abort(model, now)),
        Action::Quit => return quit(model, now),
        Action::Suspend => return vec![Effect::Suspend],
        Action::Redraw => return vec![Effect::Redraw],
        Action::Record => return vec![Effect::Save],
        Action::Refresh => return refresh(model, now),
        Action::Help => lay_over(model, Overlay::Help),
        Action::Describe => lay_over(model, Overlay::Describe),
        Action::Palette => lay_over(model, Overlay::Palette { text: String::new(), cursor: 0 }),
        Action::Filter => {
            let before = model.ui.filter_mut().clone();
            lay_over(model, Overlay::Filter { before });
        }
        Action::Sort => model.ui.turn_order(),
        Action::Down => return cursor::step(model, 1, now),
        Action::Up => return cursor::step(model, -1, now),
        Action::HalfDown => return cursor::step(model, HALF_PAGE, now),
        Action::HalfUp => return cursor::step(model, -HALF_PAGE, now),
        Action::Top => return cursor::step(model, isize::MIN, now),
        Action::Bottom => return cursor::step(model, isize::MAX, now),
        Action::NextMatch => return tried(model, now, |model| cursor::next_match(model, true).map(|()| Vec::new())),
        Action::PreviousMatch => return tried(model, now, |model| cursor::next_match(model, false).map(|()| Vec::new())),
        Action::BandAll => model.ui.band = None,
        Action::Band1 => model.ui.band = Some(Severity::P1),
        Action::Band2 => model.ui.band = Some(Severity::P2),
        Action::Band3 => model.ui.band = Some(Severity::P3),
        Action::Band4 => model.ui.band = Some(Severity::P4),
        Action::Band5 => model.ui.band = Some(Severity::P5),
        Action::NextPane => return tried(model, now, |model| turn(model, 1)),
        Action::PreviousPane => return tried(model, now, |model| turn(model, Pane::ALL.len() - 1)),
        Action::Open => return open(model, now),
        Action::Back => back(model),
        Action::Fold => model.ui.unfolded = !model.ui.unfolded,
        Action::Yank => return copy(model, yank::json(model), "JSON", now),
        Action::YankCommand => return copy(model, yank::command(model), "command", now),
        Action::Freeze => freeze(model),
        Action::Replay => past::replay(model),
        Action::Earlier => past::shift(model, STEP, false),
        Action::Later => past::shift(model, STEP, true),
        Action::MuchEarlier => past::shift(model, STRIDE, false),
        Action::MuchLater => past::shift(model, STRIDE, true),
        Action::Play => {
            if let Some(replay) = &mut model.replay {
                replay.playing = !replay.playing;
            }
        }
        Action::Board => show(model, Screen::Board),
        Action::Usage => show(model, Screen::Usage),
        Action::Jobs => show(model, Screen::Jobs),
        Action::DeadLetters => show(model, Screen::Letters),
        Action::Models => {
            show(model, Screen::Models);
            return asking::due(model, now);
        }
        Action::Drills => {
            show(model, Screen::Drills);
            return asking::drills(model, now);
        }
        // Of these each was handled as a remedy.
        Action::Reconnect | Action::Widen | Action::Redrive | Action::Resume | Action::Rerun | Action::Purge => {}
        Action::Statistics | Action::Verify | Action::Extend | Action::Probe | Action::Backfill | Action::Reparse => {}
        Action::NextHub | Action::Rollback | Action::Flush | Action::Restart | Action::Reload => {}
    }
    Vec::new()
}

/// Ends the console. Where that ends the services too, only when it is asked for again, and not by a key held down.
fn quit(model: &mut Model, now: Moment) -> Vec<Effect> {
    let before = model.ui.leaving.replace(now.elapsed).map(|before| now.since(before));
    if !model.hosting || before.is_some_and(|before| (READING..LEAVING).contains(&before)) {
        return vec![Effect::Quit];
    }
    let key = model.keys.keys(Action::Quit).first().map(ToString::to_string).unwrap_or_default();
    notice(model, format!("the services run in this process: {key} again within {} s ends them too", LEAVING.as_secs()), now);
    Vec::new()
}

/// Does it, or says why not.
pub(super) fn tried(model: &mut Model, now: Moment, act: impl FnOnce(&mut Model) -> Result<Vec<Effect>, String>) -> Vec<Effect> {
    act(model).unwrap_or_else(|why| {
        notice(model, why, now);
        Vec::new()
    })
}

/// Ends what is under way. At one key: it does nothing more, and undoes nothing.
fn abort(model: &mut Model, now: Moment) -> Result<Vec<Effect>, String> {
    let (endpoint, what) = aim::under_way(model)?;
    let (act, words) = match what {
        UnderWay::Run(run_id, words) => {
            (Act::Abort(AbortRemedyRequest { run_id, reason: String::new() }), format!("abort {words}"))
        }
        UnderWay::Drill(run_id, mode) => (Act::StopDrill(StopDrillRequest { run_id }), format!("stop the drill of {mode}")),
    };
    let ticket = card::ticket(model);
    notice(model, format!("{words}: requested"), now);
    model.ui.sent.insert(ticket, Sent { words, endpoint, since: now.elapsed, card: None });
    Ok(vec![Effect::Act { endpoint, ticket, act }])
}

fn notice(model: &mut Model, text: String, now: Moment) {
    model.ui.notice = Some((text, now.elapsed));
}

fn lay_over(model: &mut Model, overlay: Overlay) {
    model.ui.overlay = Some(overlay);
    model.ui.scroll = 0;
}

fn show(model: &mut Model, screen: Screen) {
    model.ui.screen = screen;
    model.ui.overlay = None;
    model.ui.scroll = 0;
}

/// To the next pane that there is room for, so many further.
fn turn(model: &mut Model, by: usize) -> Result<Vec<Effect>, String> {
    let here = model.ui.pane;
    let further = (1..Pane::ALL.len()).map(|turns| Pane::ALL[(here as usize + turns * by) % Pane::ALL.len()]);
    let next = further.into_iter().find(|pane| !model.ui.is_hidden(*pane));
    model.ui.pane = next.ok_or_else(|| "there is room for one pane only: Enter opens the detail".to_owned())?;
    model.ui.scroll = 0;
    Ok(Vec::new())
}

fn open(model: &mut Model, now: Moment) -> Vec<Effect> {
    match model.ui.screen {
        Screen::Board if model.ui.pane == Pane::Services => lay_over(model, Overlay::Describe),
        Screen::Board => lay_over(model, Overlay::Detail),
        Screen::Letters => {
            let Some(id) = model.selected_letter().map(|letter| letter.id) else { return Vec::new() };
            lay_over(model, Overlay::Describe);
            return asking::letter(model, id, now).into_iter().collect();
        }
        Screen::Usage | Screen::Jobs | Screen::Drills | Screen::Models => lay_over(model, Overlay::Describe),
    }
    Vec::new()
}

fn back(model: &mut Model) {
    let ui = &mut model.ui;
    if ui.overlay.take().is_some() {
        ui.scroll = 0;
    } else if model.replay.is_some() {
        past::leave_replay(model);
    } else if !ui.filter_mut().is_empty() {
        ui.filter_mut().clear();
    } else if ui.band.is_some() {
        ui.band = None;
    } else if ui.pane != Pane::Modes {
        ui.pane = Pane::Modes;
    } else {
        ui.screen = Screen::Board;
    }
}

fn copy(model: &mut Model, text: Option<String>, what: &str, now: Moment) -> Vec<Effect> {
    let Some(text) = text else { return Vec::new() };
    notice(model, format!("{what} sent to the terminal's clipboard"), now);
    vec![Effect::Copy(text)]
}

fn refresh(model: &mut Model, now: Moment) -> Vec<Effect> {
    model.ui.asked.clear();
    model.ui.aliases_asked.clear();
    let down = |endpoint: &crate::model::endpoint::Endpoint| matches!(endpoint.link, Link::Down { .. });
    let endpoints = model.world.endpoints.iter().enumerate();
    let mut effects: Vec<Effect> =
        endpoints.filter(|(_, endpoint)| down(endpoint)).map(|(index, _)| Effect::Reconnect(index)).collect();
    effects.extend(asking::due(model, now));
    effects
}

fn freeze(model: &mut Model) {
    model.frozen = match model.frozen.take() {
        Some(_) => None,
        None => Some(Box::new(model.world.clone())),
    };
}
