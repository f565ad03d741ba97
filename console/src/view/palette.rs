//! Actions by name.

use super::pane::{lines, mark, overlay};
use crate::{
    model::Model,
    text::{cut, fit},
    update::{able::disabled, typing::found},
};
use ratatui::{
    Frame,
    text::{Line, Span},
};

/// Draws it over the screen.
pub fn draw(model: &Model, frame: &mut Frame<'_>, text: &str) {
    let look = model.ui.look;
    let inner = overlay(frame, look, Line::styled(" COMMAND ", look.strong()), 72, 14);
    let typed =
        Line::from_iter([Span::styled(" :", look.label()), Span::raw(text.to_owned()), Span::styled(" ", look.selected())]);
    let found = found(model).into_iter().enumerate().map(|(place, entry)| {
        let off = disabled(model, entry.action).map_or(entry.help.to_owned(), |reason| format!("off: {reason}"));
        let line = Line::from_iter([
            Span::raw(format!("{}{} {} ", mark(place == 0), fit(entry.name, 15), fit(&model.keys.written(entry.action), 12))),
            Span::styled(cut(&off, usize::from(inner.width).saturating_sub(31)), look.dim()),
        ]);
        if place == 0 { line.patch_style(look.selected()) } else { line }
    });
    lines(frame, inner, std::iter::once(typed).chain(found));
}
