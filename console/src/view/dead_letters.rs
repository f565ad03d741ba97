//! Dead letters: how many of which kind, and each with its reason.

use super::{
    pane::{Hit, hits, lines, mark, pane, scrolled},
    title::{old, title},
};
use crate::{
    model::Model,
    msg::Topic,
    text::{cut, fit, grouped, right},
};
use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
};

/// Draws the screen; where its rows are.
pub fn draw(model: &Model, frame: &mut Frame<'_>, area: Rect) -> Vec<Hit> {
    let (look, world) = (model.ui.look, model.shown());
    let all = &world.letters;
    let title = title(model, "DEAD LETTERS", old(model, Topic::Letters, all.at), Span::raw(""), area);
    let inner = pane(frame, look, area, title, true);
    let width = usize::from(inner.width);
    let totals: Vec<String> = all.totals.iter().map(|(reason, count)| format!("{reason} {}", grouped(*count))).collect();
    let totals = match (all.at, totals.is_empty()) {
        (None, _) => "not known yet".to_owned(),
        (Some(_), true) => "none".to_owned(),
        (Some(_), false) => totals.join("  "),
    };
    let mut drawn = vec![Line::from_iter([Span::styled(" open: ", look.label()), Span::raw(totals)])];
    if let Some(error) = &all.error {
        drawn.push(Line::styled(format!(" {error}"), look.blind()));
    }
    drawn.push(Line::styled(
        format!(
            " {} {} {} {} {} WHY",
            right("ID", 8),
            fit("STREAM", 10),
            right("SEQUENCE", 12),
            fit("REASON", 12),
            fit("ACCOUNT", 16)
        ),
        look.dim(),
    ));
    let letters = model.letters();
    let ids: Vec<u64> = letters.iter().map(|letter| letter.id).collect();
    let cursor = model.ui.letter.place(ids.iter()).unwrap_or(0);
    let room = usize::from(inner.height).saturating_sub(drawn.len());
    let (first, head) = (scrolled(cursor, letters.len(), room), drawn.len());
    for (place, letter) in letters.iter().enumerate().skip(first).take(room) {
        let line = Line::from_iter([
            Span::raw(mark(place == cursor)),
            Span::raw(format!(
                "{} {} {} ",
                right(&letter.id.to_string(), 8),
                fit(&letter.stream, 10),
                right(&letter.sequence.to_string(), 12)
            )),
            Span::styled(fit(&letter.reason, 12) + " ", look.label()),
            Span::raw(fit(if letter.account.is_empty() { "-" } else { &letter.account }, 16) + " "),
            Span::styled(cut(&letter.detail, width.saturating_sub(64)), look.dim()),
        ]);
        drawn.push(if place == cursor { line.patch_style(look.selected()) } else { line });
    }
    let hits = hits(inner, 0, (head..drawn.len()).zip(first..));
    lines(frame, inner, drawn);
    hits
}
