//! Which actions there are for the selected row, and why one is off.

use super::{aim, yank};
use crate::{
    action::{ACTIONS, Action, Place},
    model::{Model, order::Order, ui::Screen},
};
use std::borrow::Cow;

/// What can be done about the selected row, in the order of the catalogue, then of the table.
pub fn row_actions(model: &Model) -> Vec<Action> {
    let known = aim::mode(model).ok().and_then(|mode| model.shown().mode(mode));
    let listed = known.map(|mode| mode.remedies.clone()).unwrap_or_default();
    let of_key = |key: &String| Action::of_remedy(key);
    let mut actions: Vec<Action> = listed.iter().filter_map(of_key).collect();
    let offered = ACTIONS
        .iter()
        .map(|entry| entry.action)
        .filter(|action| action.remedy().is_some_and(|key| aim::offer(model, key).is_some()));
    for action in offered.chain([Action::Acknowledge, Action::Mute, Action::Undo, Action::Abort, Action::Drill, Action::Control])
    {
        if !actions.contains(&action) {
            actions.push(action);
        }
    }
    actions
}

/// Why an action is off now; `None`: it is not.
pub fn disabled(model: &Model, action: Action) -> Option<Cow<'static, str>> {
    match action.entry().place {
        Place::Board if model.ui.screen != Screen::Board => return Some("only on the board".into()),
        Place::Modes if !matches!(model.ui.screen, Screen::Board | Screen::Drills) => {
            return Some("only on the board and among the drills".into());
        }
        Place::Replay if model.replay.is_none() => return Some("only while the past is shown".into()),
        _ => {}
    }
    if let Some(key) = action.remedy() {
        return aim::remedy(model, key).err().map(Cow::Owned);
    }
    let why = match action {
        Action::Acknowledge => aim::untaken(model).err(),
        Action::Mute => aim::mutable(model).err(),
        Action::Undo => aim::undoable(model).err(),
        Action::Abort => aim::under_way(model).err(),
        Action::Drill | Action::Control => aim::drill(model).err(),
        Action::Actions => aim::mode(model).err(),
        _ => return off(model, action).map(Cow::Borrowed),
    };
    why.map(Cow::Owned)
}

/// Of what changes nothing on a server.
fn off(model: &Model, action: Action) -> Option<&'static str> {
    match action {
        Action::Operate if model.offline => Some("a recording is shown"),
        Action::Suspend if model.hosting => Some("it would stop the services, which run in this process"),
        Action::Record if model.offline => Some("a recording is shown already"),
        Action::Refresh if model.offline => Some("a recording is shown"),
        Action::Freeze if model.replay.is_some() => Some("the past stands still already"),
        Action::Replay if model.recorder.is_empty() => Some("nothing is recorded yet"),
        Action::Sort if Order::of(model.ui.screen).is_empty() => Some("this screen has one order only"),
        Action::Fold if !model.ui.filter(Screen::Board).is_empty() => Some("a filter looks into folded bands too"),
        Action::Open if model.ui.screen != Screen::Board && !is_selected(model) => Some("nothing is selected"),
        Action::Yank | Action::YankCommand | Action::Describe if !is_selected(model) => Some("nothing is selected"),
        _ => None,
    }
}

/// Whether there is something under the cursor. Of the board it is asked in every frame, for the bottom line.
fn is_selected(model: &Model) -> bool {
    match model.ui.screen {
        Screen::Board => model.selected_row().is_some(),
        _ => yank::json(model).is_some(),
    }
}
