//! Every key, made from the table of actions, with the reason where one is off.

use super::pane::{lines, overlay};
use crate::{
    action::ACTIONS,
    model::Model,
    text::{cut, fit},
    update::able::disabled,
};
use ratatui::{
    Frame,
    text::{Line, Span},
};

/// Draws it over the screen.
pub fn draw(model: &Model, frame: &mut Frame<'_>) {
    let look = model.ui.look;
    let title = Line::styled(" KEYS ", look.strong());
    let rows = u16::try_from(ACTIONS.len() + 4).unwrap_or(u16::MAX);
    let inner = overlay(frame, look, title, 96, rows);
    let width = usize::from(inner.width);
    let entries = ACTIONS.iter().map(|entry| {
        let off = disabled(model, entry.action);
        let style = if off.is_some() { look.dim() } else { ratatui::style::Style::new() };
        let off = off.map(|reason| format!("  (off: {reason})")).unwrap_or_default();
        Line::from_iter([
            Span::styled(format!(" {} ", fit(&model.keys.written(entry.action), 15)), look.strong()),
            Span::styled(fit(entry.name, 15), look.label()),
            Span::styled(cut(&format!("{}{off}", entry.help), width.saturating_sub(33)), style),
        ])
    });
    let legend = [
        Line::default(),
        Line::styled(" age ~: late.  BLIND: silent for 5 s or more, what it said may not hold.  UNSEEN: a part", look.dim()),
        Line::styled(" that is to detect it is not seen.  PLANNED: nothing detects it yet.  None of these is OK.", look.dim()),
    ];
    lines(frame, inner, entries.chain(legend).skip(model.ui.scroll));
}
