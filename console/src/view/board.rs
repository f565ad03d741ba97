//! The failure modes, grouped by what they are now.

use super::{
    pane::{Hit, hits, lines, mark, pane, scrolled},
    plot::spark,
    proof,
    title::title,
};
use crate::{
    action::Action,
    model::{
        Model,
        board::{Row, RowId, Status},
        drill::Proof,
        endpoint::Endpoint,
        order::Order,
        remedy::{Outcome, Run},
        report::Report,
        standing::{Band, Knowledge, State},
        ui::{Pane, Screen},
        world::World,
    },
    moment::Moment,
    text::{age, clock, fit, right, status, width},
};
use ratatui::{
    Frame,
    layout::Rect,
    style::Style,
    text::{Line, Span},
};

const TREND: usize = 8;
/// Where there is less room.
const SHORT_TREND: usize = 5;
const PROOF: usize = 8;

/// Widths of the columns; one of 0 is not shown.
#[derive(Debug, Clone, Copy)]
struct Columns {
    title: usize,
    signal: usize,
    state: usize,
    trend: usize,
    proof: usize,
}

impl Columns {
    fn of(width: usize) -> Self {
        // Mark, severity, id, age and the blanks between them.
        let fixed = 1 + 4 + 7 + 5;
        let trend = match width {
            0..72 => 0,
            72..100 => SHORT_TREND + 1,
            100.. => TREND + 1,
        };
        let state = 14;
        let proof = if width >= 64 { PROOF + 1 } else { 0 };
        let rest = width.saturating_sub(fixed + state + trend + proof);
        let signal = if rest >= 28 { (rest * 2 / 5).min(28) } else { 0 };
        Self { title: rest - signal, signal, state, trend, proof }
    }
}

/// Draws the pane; where its rows are.
pub fn draw(model: &Model, frame: &mut Frame<'_>, area: Rect) -> Vec<Hit> {
    let look = model.ui.look;
    let title = title(model, "FAILURE MODES", Span::styled(test_times(model), look.blind()), Span::raw(""), area);
    let inner = pane(frame, look, area, title, model.ui.pane == Pane::Modes);
    let width = usize::from(inner.width);
    let columns = Columns::of(width);
    let rows = model.rows();
    let cursor = model.cursor();
    let (head, body) = (Rect { height: inner.height.min(1), ..inner }, below(inner));
    // Where there is no room for all, that a band has none is what matters least.
    let empty = rows.len() + headings(model, None, None, width, true).len() <= body.height.into();
    let (mut listed, at) = list(model, &rows, cursor, width, empty);
    if model.shown().board.rows.is_empty() {
        listed.push(Listed::heading(Line::styled(" waiting for the catalogue of the first service", look.dim())));
    }
    lines(frame, head, [Line::styled(heading(columns), look.dim())]);
    let first = scrolled(at, listed.len(), body.height.into());
    let seen = listed.iter().enumerate().skip(first).take(body.height.into());
    let places = seen.filter_map(|(at, listed)| if let Listed::Row(place) = listed { Some((at, *place)) } else { None });
    let hits = hits(body, first, places);
    // Only what is seen is made into lines: there may be many rows.
    let seen = listed.into_iter().skip(first).take(body.height.into());
    let drawn = seen.map(|listed| match listed {
        Listed::Heading(line) => *line,
        Listed::Row(place) => line(model, rows[place], columns, cursor == Some(place)),
    });
    lines(frame, body, drawn);
    hits
}

/// Rows with the headings between them, those of empty bands only if that is asked for, and which of these the cursor is on.
fn list(model: &Model, rows: &[&Row], cursor: Option<usize>, width: usize, empty: bool) -> (Vec<Listed>, usize) {
    let (mut listed, mut at) = (Vec::new(), 0);
    let banded = model.ui.order(Screen::Board) == Some(Order::Severity);
    for (place, row) in rows.iter().enumerate() {
        if banded && (place == 0 || rows[place - 1].band != row.band) {
            let before = if place == 0 { None } else { Some(rows[place - 1].band) };
            listed.extend(headings(model, before, Some(row.band), width, empty).into_iter().map(Listed::heading));
        }
        if cursor == Some(place) {
            at = listed.len();
        }
        listed.push(Listed::Row(place));
    }
    // In another order bands stand apart no more; of what is folded it is said how much there is.
    let (last, folds) = (rows.last().map(|row| row.band), !model.ui.unfolded && model.ui.filter(Screen::Board).is_empty());
    let after = if banded { Some(last) } else { folds.then_some(Some(Band::Unknown)) };
    listed.extend(after.into_iter().flat_map(|after| headings(model, after, None, width, empty)).map(Listed::heading));
    (listed, at)
}

/// A test installation tells of less than the product does: nobody is to take it for that.
fn test_times(model: &Model) -> String {
    let world = model.shown();
    let Some((shortest, processes)) = world.test_times() else { return String::new() };
    let some =
        if processes < world.endpoints.len() { format!(" in {processes} of {}", world.endpoints.len()) } else { String::new() };
    format!("TEST TIMES{some}: waits {} at most", age(shortest))
}

/// A line of the board; small, because there may be many.
enum Listed {
    /// Of bands.
    Heading(Box<Line<'static>>),
    /// By its place.
    Row(usize),
}

impl Listed {
    fn heading(line: Line<'static>) -> Self {
        Self::Heading(Box::new(line))
    }
}

fn below(area: Rect) -> Rect {
    Rect { y: area.y + area.height.min(1), height: area.height.saturating_sub(1), ..area }
}

fn heading(columns: Columns) -> String {
    let signal = if columns.signal > 0 { fit("SIGNAL", columns.signal) } else { String::new() };
    let trend = if columns.trend > 0 { fit(" TREND", columns.trend) } else { String::new() };
    let proof = if columns.proof > 0 { " PROOF" } else { "" };
    format!(
        " SEV ID     {}{signal}{} {}{trend}{proof}",
        fit("FAILURE MODE", columns.title),
        right("AGE", 4),
        fit("STATE", columns.state)
    )
}

/// Headings of the bands after one and up to another; empty ones, if they are asked for, say so, folded ones how to unfold them.
fn headings(model: &Model, after: Option<Band>, upto: Option<Band>, width: usize, empty: bool) -> Vec<Line<'static>> {
    let mut drawn = Vec::new();
    let passes = |band: &Band| {
        let chosen = model.ui.band.is_none_or(|severity| *band == Band::Of(severity));
        after.is_none_or(|after| *band > after) && upto.is_none_or(|upto| *band <= upto) && chosen
    };
    for band in Band::ALL.into_iter().filter(passes) {
        let count = model.shown().board.size(band);
        // A mode that nobody knows or has planned is worth a heading only when there is one.
        if count == 0 && (matches!(band, Band::Unknown | Band::Planned) || !empty) {
            continue;
        }
        let key = model.keys.keys(Action::Fold).first().map(ToString::to_string).unwrap_or_default();
        let text = match band {
            Band::Of(severity) if count == 0 => format!("── {severity} {} ── none ", severity.meaning()),
            Band::Of(severity) => format!("── {severity} {} ", severity.meaning()),
            Band::Unknown => format!("── NOT KNOWN {count} "),
            Band::Planned => format!("── PLANNED {count}, nothing detects them yet{} ", folded(model, &key)),
            Band::Ok => format!("── OK {count}{} ", folded(model, &key)),
        };
        let style = if count > 0 { model.ui.look.band(band) } else { model.ui.look.dim() };
        let dashes = "─".repeat(width.saturating_sub(crate::text::width(&text)));
        drawn.push(Line::from_iter([Span::styled(text, style), Span::styled(dashes, model.ui.look.dim())]));
    }
    drawn
}

fn folded(model: &Model, key: &str) -> String {
    // A filter looks into them anyway.
    let open = model.ui.unfolded || !model.ui.filter(Screen::Board).is_empty();
    if open { String::new() } else { format!(" ({key} to unfold)") }
}

fn line(model: &Model, row: &Row, columns: Columns, selected: bool) -> Line<'static> {
    let (look, world) = (model.ui.look, model.shown());
    let source = row.source.map(|index| &world.endpoints[index]);
    let (id, title, report) = match &row.id {
        RowId::Mode(id) => {
            let title = world.mode(id).map_or("not in the catalogue", |mode| &mode.title);
            (id.as_str(), title.to_owned(), source.and_then(|endpoint| endpoint.modes.get(id)))
        }
        RowId::Endpoint(_) => ("", format!("{} cannot be seen", source.map_or("", Endpoint::name)), None),
    };
    let severity = match row.band {
        Band::Of(severity) => severity.to_string(),
        _ => "-".to_owned(),
    };
    let muted = report.and_then(|report| report.muted_for(world.now)).is_some();
    let band = if muted { look.dim() } else { look.band(row.band) };
    let strong = if row.counts() { band } else { Style::new() };
    let severity = if muted { format!("{severity}m") } else { severity };
    let mut line = Line::from_iter([
        Span::raw(mark(selected)),
        Span::styled(format!("{severity:<3} "), strong),
        Span::raw(fit(id, 6) + " "),
        Span::raw(fit(&title, columns.title.saturating_sub(1)) + " "),
    ]);
    if columns.signal > 0 {
        line.push_span(Span::raw(fit(&signal(row, report, source, columns.signal - 1), columns.signal - 1) + " "));
    }
    let (text, style) = row_age(row, report, source, world, look);
    line.push_span(Span::styled(right(&text, 4) + " ", style));
    let state = state(row, report, running(world, &row.id), world.now, model.ui.order(Screen::Board) == Some(Order::Newest));
    line.push_span(Span::styled(fit(&state, columns.state), band));
    if columns.trend > 0 {
        line.push_span(Span::styled(format!(" {}", trend(row, report, columns.trend - 1)), look.bar()));
    }
    if columns.proof > 0
        && let RowId::Mode(id) = &row.id
    {
        let (text, style) = match (world.proof(id), &row.status) {
            (Proof::Running(_), Status::Blind(_)) => ("was busy".to_owned(), look.blind()),
            (proof, _) => proof::short(proof, look, world.now),
        };
        line.push_span(Span::styled(format!(" {text}"), style));
    }
    if selected {
        line = line.patch_style(look.selected());
    }
    line
}

fn signal(row: &Row, report: Option<&Report>, source: Option<&Endpoint>, columns: usize) -> String {
    if let Some(found) = &row.found {
        return found.clone();
    }
    match (&row.status, report.and_then(|report| report.evidence.as_ref())) {
        (Status::Blind(Some(was)), _) => format!("was {was}"),
        (Status::Blind(None), _) => source.map_or(String::new(), |endpoint| endpoint.address.clone()),
        (Status::Unseen(why), _) => why.clone(),
        (Status::Says(State::Planned), _) => "not detected yet".to_owned(),
        (Status::Says(State::Unknown | State::Foreign(_)), None) => "no reading".to_owned(),
        (Status::Says(_), Some(evidence)) => {
            // What is being remedied may be back within its bounds already.
            let compared = evidence.compared(report.is_some_and(|report| report.state == State::Open));
            // What is lost soon comes before the reading; a unit is whole or not there.
            let loss = row.loss.filter(|_| row.counts()).map(|loss| format!("loss {}", clock(loss)));
            let whole = format!("{compared} {}", evidence.unit);
            let candidates = match loss {
                Some(loss) => [format!("{loss}  {whole}"), format!("{loss}  {compared}"), loss],
                None => [whole, compared, String::new()],
            };
            candidates.into_iter().find(|text| width(text) <= columns).unwrap_or_default()
        }
        (Status::Says(_), None) => "no reading".to_owned(),
    }
}

/// How old what is shown is: `~` says that its process is late.
fn row_age(
    row: &Row,
    report: Option<&Report>,
    source: Option<&Endpoint>,
    world: &World,
    look: super::theme::Look,
) -> (String, Style) {
    let Some(endpoint) = source else { return ("-".to_owned(), look.dim()) };
    let shown = match (&row.status, report) {
        (Status::Blind(_), _) | (_, None) => endpoint.silence(world.now),
        (_, Some(report)) if report.evidence.is_some() => report.age(world.now),
        // Without a reading, what counts is that the process still says so.
        (_, Some(_)) => endpoint.silence(world.now),
    };
    match endpoint.knowledge(world.now) {
        Knowledge::Live => (age(shown), look.dim()),
        Knowledge::Late => (format!("~{}", age(shown)), look.blind()),
        Knowledge::Waiting | Knowledge::Blind => (age(shown), look.blind()),
    }
}

/// What it is, and for how long, of what is as it should be only if that is `always` told.
fn state(row: &Row, report: Option<&Report>, running: Option<&Run>, now: Moment, always: bool) -> String {
    // Of what goes on in a process that cannot be seen nothing is known.
    if let Some(run) = running.filter(|_| !matches!(row.status, Status::Blind(_))) {
        if run.outcome != Outcome::Running {
            return format!("{} {}", run.outcome, run.plan.key);
        }
        let share = run.share().map_or(String::new(), |share| format!(" {:.0}%", (share * 100.0).floor()));
        return format!("RUN {}{share}", run.plan.key);
    }
    if report.is_some_and(|report| !report.drill.is_empty()) {
        return format!("{} DRILL", status(&row.status));
    }
    if let Some(left) = report.and_then(|report| report.muted_for(now)) {
        return format!("{} mute {}", status(&row.status), age(left));
    }
    match (&row.status, row.lasts) {
        (Status::Says(State::Acknowledged), _) if report.is_some_and(|report| !report.taken_by.is_empty()) => {
            format!("ACK {}", report.map_or("", |report| &report.taken_by))
        }
        (Status::Says(State::Ok | State::Planned), _) if !always => status(&row.status),
        (_, None) => status(&row.status),
        (_, Some(lasts)) => format!("{} {}", status(&row.status), clock(lasts)),
    }
}

/// The remedy that is at work on it.
fn running<'a>(world: &'a World, id: &RowId) -> Option<&'a Run> {
    let RowId::Mode(id) = id else { return None };
    world.runs().map(|(_, run)| run).find(|run| run.is_under_way() && run.plan.mode == *id)
}

fn trend(row: &Row, report: Option<&Report>, columns: usize) -> String {
    // What the console has found has no readings.
    if row.found.is_some() {
        return " ".repeat(columns);
    }
    match (&row.status, report.and_then(|report| report.evidence.as_ref())) {
        (Status::Blind(_) | Status::Unseen(_), _) => "░".repeat(columns),
        (_, Some(evidence)) => fit(&spark(evidence.history.iter().copied(), columns), columns),
        (_, None) => " ".repeat(columns),
    }
}
