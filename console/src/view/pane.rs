//! Boxes with titles, and lines in them.

use super::theme::Look;
use crate::{
    action::Action,
    model::Model,
    text::{cut, width},
};
use ratatui::{
    Frame,
    layout::Rect,
    symbols::merge::MergeStrategy,
    text::{Line, Span},
    widgets::{Block, Clear},
};

/// A box; what is inside it. Boxes that share an edge join up there.
pub fn pane(frame: &mut Frame<'_>, look: Look, area: Rect, title: Line<'static>, focused: bool) -> Rect {
    let block = Block::bordered().border_style(look.border(focused)).title(title).merge_borders(MergeStrategy::Exact);
    let inner = block.inner(area);
    frame.render_widget(block, area);
    inner
}

/// A box in the middle, over everything.
pub fn overlay(frame: &mut Frame<'_>, look: Look, title: Line<'static>, columns: u16, rows: u16) -> Rect {
    let screen = frame.area();
    let (width, height) = (columns.min(screen.width), rows.min(screen.height));
    let area = Rect { x: screen.x + (screen.width - width) / 2, y: screen.y + (screen.height - height) / 2, width, height };
    frame.render_widget(Clear, area);
    let block = Block::bordered().border_style(look.border(true)).title(title);
    let inner = block.inner(area);
    frame.render_widget(block, area);
    inner
}

/// Lines from the top of an area, as many as fit.
pub fn lines(frame: &mut Frame<'_>, area: Rect, lines: impl IntoIterator<Item = Line<'static>>) {
    for (row, line) in area.rows().zip(lines) {
        frame.render_widget(line, row);
    }
}

/// Text that is read by scrolling, and on its lower edge how much is below and which key shows it. How far it can be scrolled.
pub fn read(frame: &mut Frame<'_>, model: &Model, inner: Rect, text: Vec<Line<'static>>) -> usize {
    let deepest = text.len().saturating_sub(inner.height.into());
    let first = model.ui.scroll.min(deepest);
    lines(frame, inner, text.into_iter().skip(first));
    if first < deepest {
        let below = format!(" {} more below: {} ", deepest - first, model.keys.written(Action::Down));
        let width = u16::try_from(width(&below)).unwrap_or(u16::MAX).min(inner.width);
        let area = Rect { x: inner.right() - width, y: inner.bottom(), width, height: 1 }.intersection(frame.area());
        frame.render_widget(Line::styled(below, model.ui.look.strong()), area);
    }
    deepest
}

/// Where a row of a list is on screen, and its place in that list.
pub type Hit = (Rect, usize);

/// Of lines drawn from `first`, those that are rows: each as its line and its place.
pub fn hits(area: Rect, first: usize, rows: impl IntoIterator<Item = (usize, usize)>) -> Vec<Hit> {
    let seen = |line: usize| area.rows().nth(line.checked_sub(first)?);
    rows.into_iter().filter_map(|(line, place)| Some((seen(line)?, place))).collect()
}

/// Under the heading of a list that a filter has emptied.
pub const NOTHING_PASSES: &str = " nothing passes the filter";

/// Why nothing is listed yet: who has not answered, or is not there.
pub fn awaited(model: &Model, service: &str) -> Line<'static> {
    let text = match model.shown().endpoint_of(service) {
        Some(_) => format!(" {service} has not answered yet"),
        None => format!(" no process of {service} is connected"),
    };
    Line::styled(text, model.ui.look.dim())
}

/// Before a row: whether it is the selected one, also without colours.
pub fn mark(selected: bool) -> &'static str {
    if selected { "▶" } else { " " }
}

/// Cut at the right, with a sign that something is missing.
pub fn shortened(line: Line<'static>, columns: usize) -> Line<'static> {
    let (mut room, style) = (columns, line.style);
    let spans = line.spans.into_iter().map(|span| {
        let text = cut(&span.content, room);
        room -= width(&text);
        Span::styled(text, span.style)
    });
    Line::from_iter(spans).style(style)
}

/// The first line shown so that the one at `place` can be seen.
pub fn scrolled(place: usize, total: usize, rows: usize) -> usize {
    let half = rows / 2;
    place.saturating_sub(half).min(total.saturating_sub(rows))
}
