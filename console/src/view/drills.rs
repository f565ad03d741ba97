//! Drills: what each does to the system, the remedy that it presses, and what it has proven.

use super::{
    pane::{Hit, NOTHING_PASSES, hits, lines, mark, pane, scrolled},
    proof,
    title::title,
};
use crate::{
    action::Action,
    model::{
        DrillLine, Model,
        drill::{Drill, DrillRun, Proof},
        standing::Knowledge,
        ui::Screen,
    },
    text::{age, cut, fit},
};
use ratatui::{
    Frame,
    layout::Rect,
    style::Style,
    text::{Line, Span},
};

/// Columns of what the control found, and when.
const CONTROL: usize = 16;

/// Draws the screen; where its rows are.
pub fn draw(model: &Model, frame: &mut Frame<'_>, area: Rect) -> Vec<Hit> {
    let look = model.ui.look;
    let keys = [Action::Drill, Action::Control, Action::Abort].map(|action| model.keys.written(action));
    let keys = format!("{} runs one, {} without its fault, {} stops it", keys[0], keys[1], keys[2]);
    let title = title(model, "DRILLS", Span::raw(""), Span::styled(keys, look.dim()), area);
    let inner = pane(frame, look, area, title, true);
    let width = usize::from(inner.width);
    let listed = model.drill_lines();
    let ids: Vec<String> = listed.iter().map(DrillLine::id).collect();
    let cursor = model.ui.drill.place(ids.iter()).unwrap_or(0);
    let mut drawn = errors(model);
    let above = drawn.len() + 1;
    drawn.push(Line::styled(heading(width), look.dim()));
    for (place, listed) in listed.iter().enumerate() {
        let line = line(model, *listed, width, mark(place == cursor));
        drawn.push(if place == cursor { line.patch_style(look.selected()) } else { line });
    }
    if listed.is_empty() {
        let why =
            if model.ui.filter(Screen::Drills).is_empty() { " no process has said which drills it has" } else { NOTHING_PASSES };
        drawn.push(Line::styled(why, look.dim()));
    }
    let first = scrolled(above + cursor, drawn.len(), inner.height.into());
    lines(frame, inner, drawn.into_iter().skip(first));
    hits(inner, first, (above..).zip(0..listed.len()))
}

/// Why a process has not said which it has.
fn errors(model: &Model) -> Vec<Line<'static>> {
    let failing = model.shown().endpoints.iter().filter_map(|endpoint| Some((endpoint, endpoint.drills.error.as_ref()?)));
    failing.map(|(endpoint, error)| Line::styled(format!(" {}: {error}", endpoint.name()), model.ui.look.blind())).collect()
}

/// Columns of the fault, of the control, and of what the last run says; one of 0 is not shown.
fn columns(width: usize) -> (usize, usize, usize) {
    let control = if width < 100 { 0 } else { CONTROL };
    let free = width.saturating_sub(1 + 7 + 9 + 5 + 10 + control);
    match free {
        0..40 => (free, control, 0),
        _ => (free / 2, control, free - free / 2),
    }
}

fn heading(width: usize) -> String {
    let (fault, control, rest) = columns(width);
    let control = fit(if control > 0 { "CONTROL" } else { "" }, control);
    let last = if rest > 0 { "LAST RUN" } else { "" };
    format!(" {}{}{}KEY  {}{control}{last}", fit("ID", 7), fit("SERVICE", 9), fit("FAULT", fault), fit("PROOF", 10))
}

fn line(model: &Model, listed: DrillLine<'_>, width: usize, mark: &str) -> Line<'static> {
    let (look, world) = (model.ui.look, model.shown());
    let endpoint = &world.endpoints[listed.endpoint];
    let drill = endpoint.drills.drill(listed.mode);
    let (fault, control_width, rest) = columns(width);
    let proof = world.proof_at(listed.endpoint, listed.mode);
    let blind = endpoint.knowledge(world.now) == Knowledge::Blind;
    // Of what goes on in a process that cannot be seen nothing is known.
    let (short, style) = match proof {
        Proof::Running(_) if blind => ("was busy".to_owned(), look.blind()),
        proof => proof::short(proof, look, world.now),
    };
    let was = if blind { "was " } else { "" };
    let control = endpoint.drills.controls.get(listed.mode).or_else(|| drill.and_then(|drill| drill.control.as_ref()));
    let control = control.map_or("-".to_owned(), |run| format!("{} {}", age(run.age(world.now)), run.found()));
    let remedy = drill.map(|drill| drill.remedy.as_str()).filter(|key| !key.is_empty()).unwrap_or("-");
    let words = drill.map_or("", |drill| drill.fault.as_str());
    Line::from_iter([
        Span::raw(format!("{mark}{}", fit(listed.mode, 7))),
        Span::styled(fit(endpoint.name(), 9), if blind { look.blind() } else { Style::new() }),
        Span::raw(format!("{} ", fit(words, fault.saturating_sub(1)))),
        Span::styled(fit(remedy, 4), look.strong()),
        Span::styled(format!(" {}", fit(&short, 10)), style),
        Span::raw(fit(&control, control_width)),
        Span::styled(cut(&format!("{was}{}", last(proof, drill)), rest), look.dim()),
    ])
}

/// What the last run says, or why there can be none now.
fn last(proof: Proof<'_>, drill: Option<&Drill>) -> String {
    let unavailable = drill.and_then(|drill| drill.unavailable.as_ref());
    match (proof.run(), unavailable) {
        (Some(run), _) if run.is_under_way() => format!("{}: {}", run.phase, run.detail),
        (_, Some(why)) => format!("off: {why}"),
        (Some(run), None) => ended(run),
        (None, None) => "never run".to_owned(),
    }
}

fn ended(run: &DrillRun) -> String {
    let detail = if run.detail.is_empty() { String::new() } else { format!("  {}", run.detail) };
    format!("{} {}{detail}", run.found(), proof::times(run))
}
