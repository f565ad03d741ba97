//! What happened, the newest at the bottom.

use super::{
    header::time,
    pane::{lines, pane},
};
use crate::{
    model::{Model, ui::Pane},
    text::{cut, fit},
};
use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
};

/// Draws the pane.
pub fn draw(model: &Model, frame: &mut Frame<'_>, area: Rect) {
    let look = model.ui.look;
    let title = Line::styled(" TIMELINE ", look.strong());
    let inner = pane(frame, look, area, title, model.ui.pane == Pane::Timeline);
    let events = model.shown().timeline.events();
    let end = events.len().saturating_sub(model.ui.back);
    let room = usize::from(inner.height);
    let shown: Vec<Line<'static>> = events
        .take(end)
        .skip(end.saturating_sub(room))
        .map(|event| {
            let again = if event.times > 1 { format!(" (×{})", event.times) } else { String::new() };
            let text = format!("{}{again}", event.text);
            Line::from_iter([
                Span::styled(format!(" {} ", time(event.at.wall)), look.dim()),
                Span::styled(fit(&event.subject, 8) + " ", look.strong()),
                Span::raw(cut(&text, usize::from(inner.width).saturating_sub(20))),
            ])
        })
        .collect();
    lines(frame, inner, shown);
}
