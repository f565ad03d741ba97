//! What happened, the newest at the bottom, and at the right where there is room for two columns.

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

/// From here on lines have room beside each other.
const WIDE: u16 = 116;

/// Draws the pane.
pub fn draw(model: &Model, frame: &mut Frame<'_>, area: Rect) {
    let look = model.ui.look;
    let title = Line::styled(" TIMELINE ", look.strong());
    let inner = pane(frame, look, area, title, model.ui.pane == Pane::Timeline);
    let events = model.shown().timeline.events();
    let end = events.len().saturating_sub(model.ui.back);
    let columns = columns(inner);
    let room: usize = columns.iter().map(|column| usize::from(column.height)).sum();
    let width = columns.iter().map(|column| usize::from(column.width)).min().unwrap_or(0);
    let mut shown = events.take(end).skip(end.saturating_sub(room)).map(|event| {
        let again = if event.times > 1 { format!(" (×{})", event.times) } else { String::new() };
        let text = format!("{}{again}", event.text);
        Line::from_iter([
            Span::styled(format!(" {} ", time(event.at.wall)), look.dim()),
            Span::styled(fit(&event.subject, 8) + " ", look.strong()),
            Span::raw(cut(&text, width.saturating_sub(20))),
        ])
    });
    for column in columns {
        lines(frame, column, shown.by_ref().take(column.height.into()));
    }
}

/// Down the left one, then down the right one.
fn columns(area: Rect) -> Vec<Rect> {
    if area.width < WIDE {
        return vec![area];
    }
    let left = area.width / 2;
    vec![Rect { width: left, ..area }, Rect { x: area.x + left, width: area.width - left, ..area }]
}
