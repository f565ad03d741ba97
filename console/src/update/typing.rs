//! Keys while text is typed: a filter, the name of an action, a note.

use super::{asking, attend, keys};
use crate::{
    action::{ACTIONS, Entry},
    keys::{Chord, Key, Named},
    model::{
        Model,
        ui::{Overlay, Screen},
    },
    moment::Moment,
    msg::{Effect, Topic},
};

/// A key while text is typed.
pub fn typed(model: &mut Model, chord: Chord, now: Moment) -> Vec<Effect> {
    let filtering = matches!(model.ui.overlay, Some(Overlay::Filter { .. }));
    if matches!(model.ui.overlay, Some(Overlay::Note { .. })) && chord == Chord::named(Named::Enter) {
        return keys::tried(model, now, |model| attend::finish(model, now));
    }
    match chord {
        Chord { ctrl: false, key: Key::Named(Named::Esc) } => {
            if let Some(Overlay::Filter { before }) = model.ui.overlay.take() {
                *model.ui.filter_mut() = before;
            }
        }
        Chord { ctrl: false, key: Key::Named(Named::Enter) } if filtering => {
            model.ui.overlay = None;
            // What the server is to look for may have changed.
            if model.ui.screen == Screen::Letters {
                model.world.letters.letters.clear();
                model.ui.asked.remove(&Topic::Letters);
                return asking::due(model, now);
            }
        }
        Chord { ctrl: false, key: Key::Named(Named::Enter) } => {
            let chosen = found(model).first().map(|entry| entry.action);
            model.ui.overlay = None;
            if let Some(action) = chosen {
                return keys::run(model, action, now);
            }
        }
        Chord { ctrl: false, key: Key::Named(Named::Backspace) } => drop(text(model).and_then(String::pop)),
        Chord { ctrl: true, key: Key::Char('u') } => {
            if let Some(text) = text(model) {
                text.clear();
            }
        }
        Chord { ctrl: false, key: Key::Named(Named::Down | Named::Tab) } => choose(model, 1),
        Chord { ctrl: false, key: Key::Named(Named::Up | Named::BackTab) } => choose(model, -1),
        Chord { ctrl: false, key: Key::Named(Named::Space) } => type_in(model, ' '),
        Chord { ctrl: false, key: Key::Char(char) } => type_in(model, char),
        _ => {}
    }
    Vec::new()
}

fn type_in(model: &mut Model, char: char) {
    if let Some(text) = text(model) {
        text.push(char);
    }
    if let Some(Overlay::Palette { cursor, .. }) = &mut model.ui.overlay {
        *cursor = 0;
    }
}

fn text(model: &mut Model) -> Option<&mut String> {
    match model.ui.overlay {
        Some(Overlay::Palette { .. } | Overlay::Note { .. }) => match &mut model.ui.overlay {
            Some(Overlay::Palette { text, .. } | Overlay::Note { text, .. }) => Some(text),
            _ => None,
        },
        Some(Overlay::Filter { .. }) => Some(model.ui.filter_mut()),
        _ => None,
    }
}

fn choose(model: &mut Model, by: isize) {
    if let Some(Overlay::Palette { cursor, .. }) = &mut model.ui.overlay {
        *cursor = cursor.saturating_add_signed(by);
    }
}

/// Actions that the palette finds, the chosen one first.
pub fn found(model: &Model) -> Vec<&'static Entry> {
    let Some(Overlay::Palette { text, cursor }) = &model.ui.overlay else { return Vec::new() };
    let text = text.to_lowercase();
    let matches = |entry: &&Entry| entry.name.contains(&text) || entry.help.to_lowercase().contains(&text);
    let mut found: Vec<&'static Entry> = ACTIONS.iter().filter(matches).collect();
    found.sort_by_key(|entry| (!entry.name.starts_with(&text), !entry.name.contains(&text)));
    let turn = if found.is_empty() { 0 } else { cursor % found.len() };
    found.rotate_left(turn);
    found
}
