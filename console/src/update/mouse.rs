//! The mouse: it selects, scrolls and looks, and changes nothing on a server.

use super::{cursor, keys};
use crate::{
    action::Action,
    model::{
        Model,
        ui::{Overlay, Pane},
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
        MouseKind::Up => cursor::step(model, -NOTCH, now),
        MouseKind::Down => cursor::step(model, NOTCH, now),
        // What lies over the screen hides what would be pointed at.
        MouseKind::Click if model.ui.overlay.is_some() => Vec::new(),
        MouseKind::Click => match pointed(model, mouse.screen, mouse.at) {
            Some(Pointed::Row(place)) => {
                model.ui.pane = Pane::Modes;
                cursor::select(model, place);
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
