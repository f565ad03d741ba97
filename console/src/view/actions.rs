//! All that can be done about the selected row, with the reason where something is off.

use super::pane::{lines, overlay, scrolled};
use crate::{
    action::Action,
    model::{Model, remedy::in_short},
    text::{cut, fit, width},
    update::{
        able::{disabled, row_actions},
        aim,
    },
};
use ratatui::{
    Frame,
    style::Style,
    text::{Line, Span},
};

/// Draws it over the screen.
pub fn draw(model: &Model, frame: &mut Frame<'_>, cursor: usize) {
    let look = model.ui.look;
    let actions = row_actions(model);
    let mode = aim::mode(model).unwrap_or_default();
    let rows = u16::try_from(actions.len() + 3).unwrap_or(u16::MAX);
    let title = Line::styled(format!(" ACTIONS on {} ", cut(mode, 20)), look.strong());
    let inner = overlay(frame, look, title, 92, rows);
    let columns = usize::from(inner.width).saturating_sub(2);
    let drawn: Vec<Line<'static>> = actions
        .iter()
        .enumerate()
        .map(|(place, action)| {
            let mark = if place == cursor { "▶ " } else { "  " };
            let line = Line::from_iter(std::iter::once(Span::raw(mark)).chain(line(model, *action, columns).spans));
            if place == cursor { line.patch_style(look.selected()) } else { line }
        })
        .collect();
    let room = usize::from(inner.height);
    let first = scrolled(cursor, drawn.len(), room);
    let hint = Line::styled(" Enter plans or asks first, Esc leaves; nothing is done yet", look.dim());
    lines(frame, inner, drawn.into_iter().skip(first).chain([hint]));
}

/// One of them with its help, or why it is off.
fn line(model: &Model, action: Action, columns: usize) -> Line<'static> {
    let look = model.ui.look;
    let off = disabled(model, action);
    let mut line = short(model, action, off.is_some(), 6);
    let room = columns.saturating_sub(line.width());
    match off {
        Some(reason) => line.push_span(Span::styled(cut(&format!("  - {reason}"), room), look.dim())),
        None if action.remedy().is_none() && width(action.entry().help) + 2 <= room => {
            line.push_span(Span::styled(format!("  {}", action.entry().help), look.dim()));
        }
        None => {}
    }
    line
}

/// Its key, in so many columns, what it does, and what becomes of a mistake.
pub fn short(model: &Model, action: Action, off: bool, columns: usize) -> Line<'static> {
    let look = model.ui.look;
    let offer = action.remedy().and_then(|key| aim::offer(model, key));
    let what =
        offer.map_or(action.entry().name.to_owned(), |offer| format!("{} ({})", offer.title, in_short(offer.reversibility)));
    let key = fit(&model.keys.written(action), columns);
    let (strong, plain) = if off { (look.dim(), look.dim()) } else { (look.strong(), Style::new()) };
    Line::from_iter([Span::styled(key, strong), Span::styled(format!(" {what}"), plain)])
}
