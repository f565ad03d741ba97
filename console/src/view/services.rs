//! The processes that are watched: whether they serve, how long ago they were heard, how they have been.

use super::{
    detail::link,
    pane::{lines, mark, pane, scrolled, shortened},
    plot,
};
use crate::{
    model::{
        Model,
        endpoint::{Endpoint, HISTORY_STEPS, Link, Load, Serving},
        standing::{Knowledge, Severity},
        ui::Pane,
    },
    text::{age, clock, cut, fit, quantity, right},
};
use ratatui::{
    Frame,
    layout::Rect,
    style::Style,
    text::{Line, Span},
};
use std::{collections::BTreeSet, time::Duration};

const RATE: usize = 9;
const P99: usize = 7;
const BUILD: usize = 8;

/// Of a name without an address.
const NAME: usize = 9;
/// Most of an address beside it.
const ADDRESS: usize = 16;

/// Widths that depend on what there is to show.
#[derive(Debug, Clone, Copy)]
struct Columns {
    name: usize,
    history: usize,
}

impl Columns {
    /// Replicas are told apart by their addresses, which take room from the history.
    fn of(endpoints: &[Endpoint], width: usize) -> Self {
        let free = if width >= 70 { width - 56 } else { 0 };
        let names: BTreeSet<&str> = endpoints.iter().map(Endpoint::name).collect();
        let address = if names.len() < endpoints.len() { free.saturating_sub(6).min(ADDRESS) } else { 0 };
        Self { name: NAME + address, history: HISTORY_STEPS.min(free - address) }
    }

    fn named(self, endpoint: &Endpoint) -> String {
        if self.name > NAME { format!("{} {}", endpoint.name(), endpoint.address) } else { endpoint.name().to_owned() }
    }
}

/// Draws the pane, or one line where there is room for no more.
pub fn draw(model: &Model, frame: &mut Frame<'_>, area: Rect) {
    if area.height <= 1 {
        frame.render_widget(folded(model, area.width.into()), area);
        return;
    }
    let title = Line::styled(" SERVICES ", model.ui.look.strong());
    let inner = pane(frame, model.ui.look, area, title, model.ui.pane == Pane::Services);
    let world = model.shown();
    let width = usize::from(inner.width);
    let Columns { name, history } = Columns::of(&world.endpoints, width);
    let build = if history > 0 { "BUILD    " } else { "" };
    let heading = format!(
        " {} {} {} {build}{} {}",
        fit("SERVICE", name),
        fit("HEALTH", 11),
        right("AGE", 4),
        right("RATE", RATE),
        right("P99", P99)
    );
    let heading = if history > 0 { format!("{}{}", fit(&heading, width - history - 1), "5 MIN") } else { heading };
    let room = usize::from(inner.height).saturating_sub(1);
    let indices: Vec<usize> = (0..world.endpoints.len()).collect();
    let cursor = model.ui.service.place(indices.iter()).unwrap_or(0);
    let first = if model.ui.pane == Pane::Services { scrolled(cursor, indices.len(), room) } else { 0 };
    let mut drawn = vec![Line::styled(heading, model.ui.look.dim())];
    let shown = if model.ui.pane == Pane::Services { indices } else { worst_first(model, room) };
    for index in shown.into_iter().skip(first) {
        let selected = model.ui.pane == Pane::Services && index == cursor;
        drawn.push(line(model, &world.endpoints[index], width, Columns { name, history }, selected));
    }
    lines(frame, inner, drawn);
}

/// In their order, unless there are too many: then what is not live comes first.
fn worst_first(model: &Model, room: usize) -> Vec<usize> {
    let world = model.shown();
    let mut indices: Vec<usize> = (0..world.endpoints.len()).collect();
    if indices.len() > room {
        let knowledge = |index: &usize| world.endpoints[*index].knowledge(world.now);
        indices.sort_by_key(|index| std::cmp::Reverse(knowledge(index)));
    }
    indices
}

fn line(model: &Model, endpoint: &Endpoint, width: usize, columns: Columns, selected: bool) -> Line<'static> {
    let (look, now) = (model.ui.look, model.shown().now);
    let (health, style) = health(endpoint, model);
    let heard = endpoint.heard.map_or("-".to_owned(), |_| age(endpoint.silence(now)));
    let late = match endpoint.knowledge(now) {
        Knowledge::Live | Knowledge::Waiting => look.dim(),
        Knowledge::Late | Knowledge::Blind => look.blind(),
    };
    let Columns { name, history } = columns;
    let left = name + 19;
    let build = fit(&short_build(&endpoint.build), BUILD) + " ";
    let (build, shown) = if history > 0 { (build, 9 + history + 1) } else { (String::new(), 0) };
    // What is not connected has no load to draw: why takes its room.
    let history = if endpoint.link == Link::Up { history } else { 0 };
    let shown = if endpoint.link == Link::Up { shown } else { build.len() };
    let room = width.saturating_sub(left + shown);
    let state = match &endpoint.link {
        Link::Up if endpoint.load.is_some() && endpoint.knowledge(now) == Knowledge::Blind => was(&load(endpoint.load.as_ref())),
        Link::Up => load(endpoint.load.as_ref()),
        other => format!("{} {}", link(other, now), endpoint.address),
    };
    let mut line = Line::from_iter([
        Span::raw(mark(selected)),
        Span::raw(fit(&columns.named(endpoint), name) + " "),
        Span::styled(fit(&health, 11) + " ", style),
        Span::styled(right(&heard, 4) + " ", late),
        Span::raw(build),
        Span::styled(fit(&state, room), if endpoint.link == Link::Up { Style::new() } else { look.dim() }),
    ]);
    if history > 0 {
        line.push_span(Span::styled(plot::load(endpoint.history.iter().copied(), history), look.bar()));
    }
    if selected { line.patch_style(look.selected()) } else { line }
}

/// What it has to do: how much of it, and the time that most of it takes less than.
fn load(load: Option<&Load>) -> String {
    let rate = load.filter(|load| !load.unit.is_empty()).map_or("-".to_owned(), |load| match load.is_of_now() {
        true => quantity(load.rate),
        false => format!("{}/s", quantity(load.rate)),
    });
    let p99 = load.and_then(|load| load.p99).map_or("-".to_owned(), latency);
    format!("{} {}", right(&rate, RATE), right(&p99, P99))
}

/// The same in its columns, where these leave room for the word.
fn was(load: &str) -> String {
    load.strip_prefix("    ").map_or_else(|| format!("was {}", load.trim_start()), |rest| format!("was {rest}"))
}

fn latency(time: Duration) -> String {
    let micros = time.as_secs_f64() * 1e6;
    match micros {
        ..1_000.0 => format!("{micros:.0}us"),
        ..10_000.0 => format!("{:.1}ms", micros / 1e3),
        ..1e6 => format!("{:.0}ms", micros / 1e3),
        _ => format!("{:.1}s", micros / 1e6),
    }
}

/// What a process is now, in a word: what it says of itself counts only while it is seen.
fn health(endpoint: &Endpoint, model: &Model) -> (String, Style) {
    let look = model.ui.look;
    match (endpoint.knowledge(model.shown().now), endpoint.serving, endpoint.worst_open()) {
        (Knowledge::Blind, ..) => ("░ BLIND".to_owned(), look.severity(endpoint.blind_severity())),
        (Knowledge::Waiting, ..) => ("connecting".to_owned(), look.dim()),
        (Knowledge::Late, ..) => ("late".to_owned(), look.blind()),
        (Knowledge::Live, Serving::No, _) => ("NOT SERVING".to_owned(), look.severity(Severity::P2)),
        (Knowledge::Live, _, Some(worst)) => (format!("degraded {worst}"), look.severity(worst)),
        (Knowledge::Live, Serving::Yes, None) => ("serving".to_owned(), look.good()),
        (Knowledge::Live, Serving::Unsaid, None) => ("seen".to_owned(), look.dim()),
    }
}

/// In one line. Where there is no room for all, those that serve are only counted.
fn folded(model: &Model, width: usize) -> Line<'static> {
    let world = model.shown();
    let line = |endpoints: &[&Endpoint], more: usize| {
        let mut line = Line::styled(" SERVICES", model.ui.look.label());
        endpoints.iter().for_each(|endpoint| line.extend(in_short(model, endpoint)));
        if more > 0 {
            line.extend([Span::raw(format!("  {more} ")), Span::styled("serving", model.ui.look.good())]);
        }
        line
    };
    let all: Vec<&Endpoint> = world.endpoints.iter().collect();
    let whole = line(&all, 0);
    if whole.width() <= width {
        return whole;
    }
    let serves = |endpoint: &&Endpoint| health(endpoint, model).0 == "serving";
    let (serving, mut other): (Vec<_>, Vec<_>) = all.into_iter().partition(serves);
    other.sort_by_key(|endpoint| std::cmp::Reverse(endpoint.knowledge(world.now)));
    shortened(line(&other, serving.len()), width)
}

fn in_short(model: &Model, endpoint: &Endpoint) -> Vec<Span<'static>> {
    let (now, (health, style)) = (model.shown().now, health(endpoint, model));
    let mut spans = vec![Span::raw(format!("  {} ", cut(endpoint.name(), 16))), Span::styled(health, style)];
    if endpoint.knowledge(now) != Knowledge::Live {
        spans.push(Span::raw(format!(" {}", clock(endpoint.silence(now)))));
    }
    spans
}

/// What tells two builds apart in so few columns: of `0.1.0+ba739347b0-dirty` the commit, with a mark for what is not in it.
fn short_build(build: &str) -> String {
    let (commit, dirty) = match build.split_once('+') {
        Some((_, commit)) => (commit.strip_suffix("-dirty").unwrap_or(commit), commit.ends_with("-dirty")),
        None => (build, false),
    };
    match (commit.is_empty(), dirty) {
        (true, _) => "-".to_owned(),
        (false, true) => commit.chars().take(BUILD - 1).chain(['*']).collect(),
        (false, false) if commit.len() < build.len() => commit.chars().take(BUILD).collect(),
        (false, false) => cut(commit, BUILD),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_is_told_by_its_commit() {
        let builds = ["0.1.0+ba739347b0-dirty", "0.1.0+ba739347b0", "0.1.0", "", "a.very.long.version"];
        assert_eq!(builds.map(short_build), ["ba73934*", "ba739347", "0.1.0", "-", "a.very.…"]);
    }
}
