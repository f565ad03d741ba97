//! The mouse: it selects, scrolls and looks, and changes nothing on a server.

use super::keys;
use crate::{
    action::Action,
    model::{
        Model,
        ui::{Overlay, Pane, Screen},
    },
    moment::Moment,
    msg::{Effect, Mouse, MouseKind},
    view::{Pointed, pointed},
};

/// How far a notch of the wheel moves.
const NOTCH: isize = 3;

/// Takes what was done with it. Nothing while a card asks something or text is typed: only keys answer.
pub fn used(model: &mut Model, mouse: Mouse, now: Moment) -> Vec<Effect> {
    let typing = matches!(model.ui.overlay, Some(Overlay::Palette { .. } | Overlay::Filter { .. } | Overlay::Note { .. }));
    if model.ui.card.is_some() || typing {
        return Vec::new();
    }
    match mouse.kind {
        MouseKind::Up => keys::step(model, -NOTCH, now),
        MouseKind::Down => keys::step(model, NOTCH, now),
        // What lies over the screen hides what would be pointed at.
        MouseKind::Click if model.ui.overlay.is_some() => Vec::new(),
        MouseKind::Click => match pointed(model, mouse.screen, mouse.at) {
            Some(Pointed::Row(place)) => {
                model.ui.pane = Pane::Modes;
                select(model, place);
                Vec::new()
            }
            Some(Pointed::Hint(action)) if is_harmless(action) => keys::run(model, action, now),
            Some(Pointed::Pane(pane)) => {
                model.ui.pane = pane;
                model.ui.scroll = 0;
                Vec::new()
            }
            Some(Pointed::Hint(_)) | None => Vec::new(),
        },
    }
}

/// Changes only what the operator looks at. Ending the console is not: it may end the product with it.
pub fn is_harmless(action: Action) -> bool {
    matches!(
        action,
        Action::Help
            | Action::Palette
            | Action::Filter
            | Action::Sort
            | Action::Band1
            | Action::Open
            | Action::Describe
            | Action::Freeze
            | Action::Replay
            | Action::Earlier
            | Action::Later
            | Action::Play
            | Action::Board
            | Action::Usage
            | Action::Jobs
            | Action::DeadLetters
            | Action::Drills
            | Action::Models
    )
}

/// The row at a place of what is listed.
fn select(model: &mut Model, place: usize) {
    match model.ui.screen {
        Screen::Board => {
            let mut row = model.ui.row.clone();
            row.hold(model.rows().iter().map(|row| &row.id), place);
            model.ui.row = row;
        }
        Screen::Usage => {
            let accounts: Vec<String> = model.accounts().into_iter().map(|account| account.account.clone()).collect();
            model.ui.account.hold(accounts.iter(), place);
        }
        Screen::Jobs => {
            let lines: Vec<String> = model.job_lines().iter().map(crate::model::JobLine::id).collect();
            model.ui.job.hold(lines.iter(), place);
        }
        Screen::Letters => {
            let letters: Vec<u64> = model.letters().into_iter().map(|letter| letter.id).collect();
            model.ui.letter.hold(letters.iter(), place);
        }
        Screen::Drills => {
            let drills: Vec<String> = model.drill_lines().iter().map(crate::model::DrillLine::id).collect();
            model.ui.drill.hold(drills.iter(), place);
        }
        Screen::Models => {
            let lines: Vec<_> = model.registered_lines().iter().map(|line| line.id()).collect();
            model.ui.registered.hold(lines.iter(), place);
        }
    }
}
