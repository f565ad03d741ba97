//! What is being done to the system, by whomever: requested, armed, under way, and what came of it, planned and actual side by side.

use super::{
    pane::{lines, pane, shortened},
    plot::gauge,
    proof::{kind, seconds},
    theme::Look,
};
use crate::{
    action::Action,
    model::{
        Model,
        drill::DrillRun,
        endpoint::Endpoint,
        remedy::{Change, Outcome, Plan, Run},
        standing::Knowledge,
    },
    moment::Moment,
    text::{age, clock, cut, grouped},
};
use ratatui::{
    Frame,
    layout::Rect,
    style::Style,
    text::{Line, Span},
};
use std::time::Duration;

/// What has ended is shown for so long.
const ENDED: Duration = Duration::from_secs(60);
const GAUGE: usize = 12;
/// Of what was planned, and of what was done, so that they stand side by side: at least, and where there is room for more.
const SIDE: usize = 44;
const WIDE_SIDE: usize = 80;
/// Most lines of it.
const MOST: usize = 6;

/// How many lines there are.
pub fn count(model: &Model) -> u16 {
    u16::try_from(all(model, SIDE).len().min(MOST)).unwrap_or(0)
}

/// Draws the pane, or lines where there is no room for a box.
pub fn draw(model: &Model, frame: &mut Frame<'_>, area: Rect) {
    let drawn = all(model, side(area.width));
    let more = drawn.len().saturating_sub(MOST);
    let more = if more > 0 { format!("({more} more lines) ") } else { String::new() };
    let inner = match area.height {
        0 => return,
        1 => area,
        _ => pane(frame, model.ui.look, area, Line::styled(format!(" REMEDY RUNNING {more}"), model.ui.look.strong()), false),
    };
    let width = usize::from(inner.width);
    lines(frame, inner, drawn.into_iter().map(|line| shortened(line, width)));
}

/// What waits for an answer comes first, then what is at work, what is armed, and what has ended.
fn all(model: &Model, side: usize) -> Vec<Line<'static>> {
    let (look, world, now) = (model.ui.look, model.shown(), model.shown().now);
    // What this console has sent is of the present, whatever is on screen.
    let mut drawn: Vec<Line<'static>> =
        model.ui.sent.values().map(|sent| requested(look, &sent.words, model.now.since(sent.since))).collect();
    let abort = model.keys.written(Action::Abort);
    for endpoint in &world.endpoints {
        let runs = endpoint.drills.runs.values().chain(endpoint.drills.controls.values());
        drawn
            .extend(runs.filter(|run| run.is_under_way()).map(|run| said(look, endpoint, drilling(look, run, &abort, now), now)));
    }
    for (index, run) in world.runs().filter(|(_, run)| run.is_under_way()) {
        drawn.extend([said(look, &world.endpoints[index], at_work(look, run, &abort, now), now), compared(look, run, side)]);
    }
    drawn.extend(world.armed().map(|(_, plan)| armed(look, plan, now)));
    let undo = model.keys.written(Action::Undo);
    let ended = world.runs().filter(|(_, run)| run.ended(now).is_some_and(|ago| ago < ENDED));
    for (_, run) in ended.collect::<Vec<_>>().into_iter().rev() {
        drawn.extend([over(look, run, &undo, now), compared(look, run, side)]);
    }
    drawn
}

/// What a process said of its work; whether it still does that is not known while it cannot be seen.
fn said(look: Look, endpoint: &Endpoint, mut line: Line<'static>, now: Moment) -> Line<'static> {
    if endpoint.knowledge(now) == Knowledge::Blind {
        let was = format!(" ░ BLIND {}, was", age(endpoint.silence(now)));
        line.spans.insert(0, Span::styled(was, look.blind()));
    }
    line
}

fn requested(look: Look, words: &str, since: Duration) -> Line<'static> {
    Line::from_iter([
        Span::styled(" REQUESTED ", look.blind()),
        Span::styled(format!("{words} "), look.strong()),
        Span::raw(format!(" {} ago; the server has not confirmed it yet", clock(since))),
    ])
}

fn armed(look: Look, plan: &Plan, now: Moment) -> Line<'static> {
    let left = plan.expires().saturating_sub(now.elapsed);
    Line::from_iter([
        Span::styled(" ARMED ", look.label()),
        Span::styled(format!("{} {} ", plan.key, plan.title), look.strong()),
        Span::raw(format!(" {}  planned by {}, not confirmed; expires in {}", plan.mode, who(&plan.by), clock(left))),
    ])
}

fn who(name: &str) -> &str {
    if name.is_empty() { "somebody" } else { name }
}

fn drilling(look: Look, run: &DrillRun, abort: &str, now: Moment) -> Line<'static> {
    Line::from_iter([
        Span::styled(format!(" {} ", kind(run).to_uppercase()), look.label()),
        Span::styled(format!("[{abort} stop] {} ", run.mode), look.strong()),
        Span::raw(format!(" {}  {}  {}  {}", who(&run.by), run.phase, clock(run.age(now)), run.detail)),
    ])
}

fn at_work(look: Look, run: &Run, abort: &str, now: Moment) -> Line<'static> {
    let share = run.share();
    let percent = share.map(|share| format!(" {:.0}%", (share.min(1.0) * 100.0).floor())).unwrap_or_default();
    let total = if run.total > 0 { format!("/{}", grouped(run.total)) } else { String::new() };
    let lasted = run.lasted(now).map(clock).unwrap_or_default();
    let mut line = heading(look, run, look.label(), &format!("[{abort} abort] "));
    line.push_span(Span::styled(share.map(|share| gauge(Some(share), GAUGE)).unwrap_or_default(), look.bar()));
    line.push_span(Span::raw(format!("{percent}  {}{total}  {lasted}", grouped(run.done))));
    line
}

fn over(look: Look, run: &Run, undo: &str, now: Moment) -> Line<'static> {
    let style = match run.outcome {
        Outcome::Verified => look.good(),
        Outcome::Failed => look.bad(),
        _ => look.blind(),
    };
    let lasted = run.lasted(now).map(|lasted| format!("after {}", seconds(lasted))).unwrap_or_default();
    let ago = run.ended(now).map(|ago| format!(", {} ago", age(ago))).unwrap_or_default();
    let undo = run.undo_within(now).map(|left| format!("[{undo} undo, for {} more] ", clock(left))).unwrap_or_default();
    let mut line = heading(look, run, style, &undo);
    line.push_span(Span::raw(format!("{lasted}{ago}")));
    line
}

/// What can be done about it stands before what may be too long for the line.
fn heading(look: Look, run: &Run, style: Style, key: &str) -> Line<'static> {
    Line::from_iter([
        Span::styled(format!(" {} ", run.outcome), style),
        Span::styled(format!("{key}{} {} ", run.plan.key, run.plan.title), look.strong()),
        Span::raw(format!(" {}  {}  ", run.plan.mode, who(&run.by))),
    ])
}

/// What it was to do beside what it has done.
fn compared(look: Look, run: &Run, side: usize) -> Line<'static> {
    let note = if run.note.is_empty() { String::new() } else { format!("   {}", run.note) };
    Line::from_iter([
        Span::styled("   planned ", look.dim()),
        Span::raw(listed(&run.plan.changes, side)),
        Span::styled("   actual ", look.dim()),
        Span::raw(listed(&run.actual, side)),
        Span::styled(note, look.dim()),
    ])
}

fn side(width: u16) -> usize {
    // The words before both, and the edges.
    (usize::from(width).saturating_sub(24) / 2).clamp(SIDE, WIDE_SIDE)
}

fn listed(changes: &[Change], side: usize) -> String {
    if changes.is_empty() {
        return "-".to_owned();
    }
    // Counts come first here: what is cut off a long text is told on its card.
    let each = changes.iter().map(|change| format!("{} {}", grouped(change.count), change.text));
    cut(&each.collect::<Vec<_>>().join(", "), side)
}
