//! Every key, made from the table of actions, with the reason where one is off.

use super::pane::{overlay, read};
use crate::{
    action::ACTIONS,
    model::Model,
    text::{self, fit, wrap},
    update::able::disabled,
};
use ratatui::{
    Frame,
    style::Style,
    text::{Line, Span},
};

/// Widest column of keys.
const KEYS: usize = 20;
const NAME: usize = 15;

/// Draws it over the screen; how far it can be scrolled.
pub fn draw(model: &Model, frame: &mut Frame<'_>) -> usize {
    let look = model.ui.look;
    let columns = frame.area().width.min(110);
    let entries = entries(model, usize::from(columns.saturating_sub(2)));
    let legend = [
        Line::default(),
        Line::styled(" age ~: late.  BLIND: silent for 5 s or more, what it said may not hold.  UNSEEN: a part", look.dim()),
        Line::styled(" that is to detect it is not seen.  PLANNED: nothing detects it yet.  None of these is OK.", look.dim()),
        Line::styled(" P3m: muted, and for how long in STATE where there is room.", look.dim()),
        Line::styled(
            " PROOF: how long ago its drill passed.  old: in another build.  test: with times cut for tests.",
            look.dim(),
        ),
        Line::styled(
            " void: the drill says nothing of it.  FAIL: it was not seen, not repaired, or something was lost.",
            look.dim(),
        ),
    ];
    let text: Vec<Line<'static>> = entries.into_iter().chain(legend).collect();
    let rows = u16::try_from(text.len() + 2).unwrap_or(u16::MAX);
    let inner = overlay(frame, look, Line::styled(" KEYS ", look.strong()), columns, rows);
    read(frame, model, inner, text)
}

/// An action a line, or more where its help and why it is off do not fit into one.
fn entries(model: &Model, width: usize) -> Vec<Line<'static>> {
    let written = ACTIONS.iter().map(|entry| model.keys.written(entry.action));
    let keys = written.map(|keys| text::width(&keys)).max().unwrap_or(0).min(KEYS);
    let mut drawn = Vec::new();
    for entry in ACTIONS {
        let off = disabled(model, entry.action);
        let style = if off.is_some() { model.ui.look.dim() } else { Style::new() };
        let off = off.map(|reason| format!(" (off: {reason})")).unwrap_or_default();
        let help = wrap(&format!("{}{off}", entry.help), width.saturating_sub(keys + NAME + 4));
        for (place, part) in help.into_iter().enumerate() {
            let (key, name) = if place == 0 { (model.keys.written(entry.action), entry.name) } else { Default::default() };
            drawn.push(Line::from_iter([
                Span::styled(format!(" {} ", fit(&key, keys)), model.ui.look.strong()),
                Span::styled(fit(name, NAME), model.ui.look.label()),
                Span::styled(part, style),
            ]));
        }
    }
    drawn
}
