//! The books of the event log over all streams, and what they do not explain.

use super::{
    pane::{lines, pane, shortened},
    plot::spark,
};
use crate::{
    model::{Model, endpoint::BLIND_AFTER, ledger::Ledger},
    text::{age, counted, cut, grouped, quantity, right},
};
use ratatui::{
    Frame,
    layout::Rect,
    style::Style,
    text::{Line, Span},
};

/// Draws the pane, or one line where there is room for no more.
pub fn draw(model: &Model, frame: &mut Frame<'_>, area: Rect) {
    let (look, world) = (model.ui.look, model.shown());
    let ledger = &world.ledger;
    let old = ledger.at.map(|at| world.now.since(at));
    if area.height <= 1 {
        frame.render_widget(shortened(folded(model, ledger), area.width.into()), area);
        return;
    }
    let stale = if old.is_some_and(|old| old >= BLIND_AFTER) { look.blind() } else { look.dim() };
    let mut title = Line::from_iter([
        Span::styled(" LEDGER ", look.strong()),
        Span::styled(old.map(|old| format!("{} old ", age(old))).unwrap_or_default(), stale),
    ]);
    // What it says is in the numbers too: half of it would only be noise.
    let rule = Span::styled(" applied = the rest ", look.dim());
    if title.width() + rule.width() + 3 <= usize::from(area.width) {
        title.push_span(rule);
    }
    let inner = pane(frame, look, area, title, false);
    let width = usize::from(inner.width);
    let Some(old) = old else {
        let why = ledger.error.as_deref().unwrap_or("waiting for ingest");
        lines(frame, inner, [Line::styled(format!(" {}", cut(why, width.saturating_sub(2))), look.dim())]);
        return;
    };
    let number = |label: &str, value: u64, style: Style| {
        let room = width.saturating_sub(crate::text::width(label) + 2);
        Line::from_iter([Span::raw(format!(" {label}")), Span::styled(right(&grouped(value), room), style), Span::raw(" ")])
    };
    let bad = |value: u64| if value > 0 { look.bad() } else { Style::new() };
    let (dead, lost) = (ledger.sum(|account| account.dead_lettered), ledger.sum(|account| account.lost));
    let unaccounted = u64::try_from(ledger.unaccounted()).unwrap_or(u64::MAX);
    let rate = ledger.rates.back().map_or("-".to_owned(), |rate| format!("{}/s", quantity(*rate)));
    let plot = spark(ledger.rates.iter().copied(), width.saturating_sub(rate.len() + 3));
    // Nothing that is too old is good.
    let unexplained = match unaccounted {
        0 if old >= BLIND_AFTER => stale,
        0 => look.good(),
        _ => look.bad(),
    };
    let streams = counted(ledger.accounts.len() as u64, "stream", "streams");
    let why = ledger.error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
    let mut drawn = vec![
        number("applied", ledger.sum(|account| account.applied), look.strong()),
        number("counted", ledger.sum(|account| account.counted), Style::new()),
        number("duplicates", ledger.sum(|account| account.duplicates), Style::new()),
        number("dead letters", dead, Style::new()),
        number("lost", lost, bad(lost)),
        number("UNACCOUNTED", unaccounted, unexplained),
        number("behind", ledger.sum(|account| account.backlog), Style::new()),
        Line::from_iter([Span::styled(format!(" {rate} "), look.label()), Span::styled(plot, look.bar())]),
        Line::styled(cut(&format!(" {streams}{why}"), width), stale),
    ];
    // Where there is no room for all, what is wrong is not what is left out.
    if usize::from(inner.height) < WHOLE {
        drawn[..WHOLE].reverse();
    }
    lines(frame, inner, drawn);
}

/// Lines of the sum and its parts.
const WHOLE: usize = 6;

fn folded(model: &Model, ledger: &Ledger) -> Line<'static> {
    let (look, world) = (model.ui.look, model.shown());
    let label = Span::styled(" LEDGER", look.label());
    let Some(at) = ledger.at else {
        return Line::from_iter([label, Span::styled("  waiting for ingest", look.dim())]);
    };
    let lost = ledger.sum(|account| account.lost);
    let unaccounted = ledger.unaccounted();
    let old = world.now.since(at);
    let bad = |is: bool| if is { look.bad() } else { Style::new() };
    // What is cut where there is no room is what matters least.
    Line::from_iter([
        label,
        Span::styled(format!(" {} old", age(old)), if old >= BLIND_AFTER { look.blind() } else { look.dim() }),
        Span::styled(format!("  UNACCOUNTED {unaccounted}"), bad(unaccounted > 0)),
        Span::styled(format!("  lost {}", grouped(lost)), bad(lost > 0)),
        Span::raw(format!("  dead {}", grouped(ledger.sum(|account| account.dead_lettered)))),
        Span::raw(format!("  applied {}", grouped(ledger.sum(|account| account.applied)))),
    ])
}
