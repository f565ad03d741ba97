//! The title of a list: what it is, how old, in which order its rows are, and what passes.

use super::pane::shortened;
use crate::{
    model::{Model, order::Order},
    msg::Topic,
    text::age,
    update::asking::late_after,
};
use ratatui::{
    layout::Rect,
    text::{Line, Span},
};
use std::time::Duration;

/// Of a list of the screen that is shown; `rest` is what may be cut where there is no room.
pub fn title(model: &Model, name: &str, old: Span<'static>, rest: Span<'static>, area: Rect) -> Line<'static> {
    let mut line = Line::from(Span::styled(format!(" {name}  "), model.ui.look.strong()));
    if !old.content.is_empty() {
        line.extend([old, Span::raw("  ")]);
    }
    line.extend(chosen(model));
    if !rest.content.is_empty() {
        line.extend([Span::raw("  "), rest]);
    }
    line.push_span(Span::raw(" "));
    // The corners stay.
    shortened(line, usize::from(area.width).saturating_sub(2))
}

/// How old an answer is, which stands out once it is older than the next one should let it become.
pub fn old(model: &Model, topic: Topic, at: Option<Duration>) -> Span<'static> {
    let look = model.ui.look;
    match at.map(|at| model.shown().now.since(at)) {
        None => Span::styled("not asked yet", look.dim()),
        Some(old) => {
            let style = if old > late_after(topic, model.ui.screen) { look.blind() } else { look.dim() };
            Span::styled(format!("{} old", age(old)), style)
        }
    }
}

/// What the operator chose, which stands out where it is not what the screen begins with.
fn chosen(model: &Model) -> Vec<Span<'static>> {
    let (look, screen) = (model.ui.look, model.ui.screen);
    let style = |usual: bool| if usual { look.dim() } else { look.blind() };
    let mut spans = Vec::new();
    if let Some(order) = model.ui.order(screen) {
        let usual = Order::of(screen).first() == Some(&order);
        spans.extend([Span::styled(format!("sort:{}", order.name()), style(usual)), Span::raw("  ")]);
    }
    let filter = model.ui.filter(screen);
    let words = if filter.is_empty() { "filter:-".to_owned() } else { format!("filter:{filter}") };
    spans.push(Span::styled(words, style(filter.is_empty())));
    spans
}
