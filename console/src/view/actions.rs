//! All that can be done about the selected row, with the reason where something is off.

use super::pane::{lines, overlay, scrolled};
use crate::{
    action::Action,
    model::Model,
    text::{cut, fit, width},
    update::{
        aim,
        keys::{disabled, row_actions},
    },
};
use ratatui::{
    Frame,
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

/// One of them: its key, what it does, what becomes of a mistake; or why it is off.
pub fn line(model: &Model, action: Action, columns: usize) -> Line<'static> {
    let look = model.ui.look;
    let off = disabled(model, action);
    let offer = action.remedy().and_then(|key| aim::offer(model, key));
    let what = match offer {
        Some(offer) => format!("{} ({})", offer.title, offer.reversibility),
        None => action.entry().name.to_owned(),
    };
    let key = fit(&model.keys.written(action), if action.remedy().is_some() { 1 } else { 6 });
    let mut line = Line::from_iter([
        Span::styled(key, if off.is_some() { look.dim() } else { look.strong() }),
        Span::styled(format!(" {what}"), if off.is_some() { look.dim() } else { ratatui::style::Style::new() }),
    ]);
    let room = columns.saturating_sub(line.width());
    match off {
        Some(reason) => line.push_span(Span::styled(cut(&format!("  - {reason}"), room), look.dim())),
        None if offer.is_none() && width(action.entry().help) + 2 <= room => {
            line.push_span(Span::styled(format!("  {}", action.entry().help), look.dim()));
        }
        None => {}
    }
    line
}
