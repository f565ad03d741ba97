//! How many of each severity, and of what is not failing.

use crate::{
    action::Action,
    model::{
        Model,
        drill::Proof,
        standing::{Band, Severity},
    },
};
use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
};

const KEYS: [Action; 5] = [Action::Band1, Action::Band2, Action::Band3, Action::Band4, Action::Band5];

/// Draws the line.
pub fn draw(model: &Model, frame: &mut Frame<'_>, area: Rect) {
    let (look, board) = (model.ui.look, &model.shown().board);
    // Where there is little room, what there is none of is left out.
    let proven = drills(model);
    let narrow = usize::from(area.width) < 100 + proven.width();
    let mut line = Line::raw(" ");
    for (severity, action) in Severity::ALL.into_iter().zip(KEYS) {
        let count = board.count(severity);
        let chosen = model.ui.band == Some(severity);
        let style = if count > 0 { look.severity(severity) } else { look.dim() };
        let style = if chosen { style.patch(look.selected()) } else { style };
        let key = model.keys.keys(action).first().map(ToString::to_string).unwrap_or_default();
        line.push_span(Span::styled(format!("[{key}]{severity} {count}"), style));
        line.push_span(Span::raw(if narrow { " " } else { "  " }));
    }
    let all = model.keys.keys(Action::BandAll).first().map(ToString::to_string).unwrap_or_default();
    line.push_span(Span::raw(format!("[{all}]all {}", board.rows.len())));
    let rest = [
        ("suspect", board.suspects(), look.severity(Severity::P3)),
        ("unknown", board.size(Band::Unknown), look.blind()),
        ("ok", board.size(Band::Ok), look.good()),
        ("planned", board.size(Band::Planned), look.dim()),
    ];
    for (word, count, style) in rest.into_iter().filter(|(_, count, _)| *count > 0 || !narrow) {
        let style = if count > 0 { style } else { look.dim() };
        let text = format!("{}{word} {count}", if narrow { "  " } else { "   " });
        // A word that is cut is no count, and what is good is not told in place of what is not.
        if line.width() + text.len() > usize::from(area.width) {
            break;
        }
        line.push_span(Span::styled(text, style));
    }
    if line.width() + proven.width() <= usize::from(area.width) {
        line.spans.extend(proven.spans);
    }
    frame.render_widget(line, area);
}

/// How much is proven of what is in the catalogue.
fn drills(model: &Model) -> Line<'static> {
    let (look, world) = (model.ui.look, model.shown());
    if world.endpoints.iter().all(|endpoint| endpoint.drills.listed.is_none() && endpoint.drills.runs.is_empty()) {
        return Line::default();
    }
    let (mut proven, mut test, mut old, mut failed, mut never) = (0, 0, 0, 0, 0);
    for id in world.catalogue.keys() {
        match world.proof(id) {
            Proof::Passed(_) => proven += 1,
            Proof::Test(_) => test += 1,
            Proof::Old(_) => old += 1,
            Proof::Failed(_) => failed += 1,
            Proof::Running(_) | Proof::Void(_) | Proof::Never => never += 1,
        }
    }
    // Nothing is good that is not proven.
    let style = match failed {
        0 if proven > 0 && test + old + never == 0 => look.good(),
        0 => look.dim(),
        _ => look.bad(),
    };
    let failed = if failed > 0 { format!(" {failed} FAILED") } else { String::new() };
    let test = if test > 0 { format!(" {test} in test times") } else { String::new() };
    Line::from(Span::styled(format!("   drills: {proven} proven{test}{failed} {old} old {never} never"), style))
}
