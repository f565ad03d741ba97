//! The bottom line: what can be pressed, or what the operator is told, or what is typed.

use crate::{
    action::{ACTIONS, Place},
    model::{Model, ui::Overlay},
    update::keys::disabled,
};
use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
};

/// Draws the line.
pub fn draw(model: &Model, frame: &mut Frame<'_>, area: Rect) {
    let look = model.ui.look;
    let line = match (&model.ui.overlay, &model.ui.notice) {
        (Some(Overlay::Filter { .. }), _) => {
            let typed = model.ui.filter(model.ui.screen);
            Line::from_iter([
                Span::styled(" filter /", look.label()),
                Span::raw(typed.to_owned()),
                Span::styled(" ", look.selected()),
                Span::styled("  Enter keeps it, Esc does not", look.dim()),
            ])
        }
        (_, Some((notice, _))) => Line::styled(format!(" {notice}"), look.strong()),
        _ => hints(model, area.width.into()),
    };
    frame.render_widget(line, area);
}

fn hints(model: &Model, width: usize) -> Line<'static> {
    let look = model.ui.look;
    let mut line = Line::raw(" ");
    let replaying = model.replay.is_some();
    let hinted = ACTIONS.iter().filter(|entry| !entry.hint.is_empty() && disabled(model, entry.action).is_none());
    // While the past is shown, its own keys come first.
    let (own, other): (Vec<_>, Vec<_>) = hinted.partition(|entry| replaying && entry.place == Place::Replay);
    for entry in own.into_iter().chain(other) {
        let key = model.keys.keys(entry.action).first().map(ToString::to_string).unwrap_or_default();
        let key = if entry.hint == "band" { format!("{key}-5") } else { key };
        if line.width() + key.len() + entry.hint.len() + 3 > width {
            break;
        }
        line.push_span(Span::styled(key, look.strong()));
        line.push_span(Span::styled(format!(" {}  ", entry.hint), look.dim()));
    }
    line
}
