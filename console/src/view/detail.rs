//! All that matters of the selected row: what it means, what it rests on, what would make it worse.

use super::{
    doable,
    pane::{lines, overlay, pane, read},
    plot::spark,
    proof,
    sheet::{LABEL, Sheet},
    theme::Look,
};
use crate::{
    action::Action,
    model::{
        Model,
        board::{Row, RowId, Status},
        endpoint::{Endpoint, Link},
        report::{Mode, Report},
        standing::{Band, State, serves_users},
        ui::Pane,
    },
    moment::Moment,
    text::{age, clock, cut, quantity, status, wrap},
};
use ratatui::{Frame, layout::Rect, text::Line};
use std::time::Duration;

/// Draws the pane; how far it can be scrolled.
pub fn draw(model: &Model, frame: &mut Frame<'_>, area: Rect) -> usize {
    let title = Line::styled(title(model, area.width), model.ui.look.strong());
    let inner = pane(frame, model.ui.look, area, title, model.ui.pane == Pane::Detail);
    let text = text(model, inner.width.into());
    let room = usize::from(inner.height);
    let deepest = text.len().saturating_sub(room);
    let focused = model.ui.overlay.is_none() && model.ui.pane == Pane::Detail;
    let first = if focused { model.ui.scroll.min(deepest) } else { 0 };
    // The last line there is room for says that it is not the last one there is.
    let (below, seen) = (deepest - first, if first < deepest { room.saturating_sub(1) } else { room });
    let key = model.keys.written(if focused { Action::Down } else { Action::Open });
    let hint = (below > 0).then(|| Line::styled(format!(" … {} more lines: {key}", below + 1), model.ui.look.label()));
    lines(frame, inner, text.into_iter().skip(first).take(seen).chain(hint));
    deepest
}

/// Draws it over the screen; how far it can be scrolled.
pub fn draw_over(model: &Model, frame: &mut Frame<'_>) -> usize {
    let title = Line::styled(title(model, 76), model.ui.look.strong());
    let inner = overlay(frame, model.ui.look, title, 76, 30);
    read(frame, model, inner, text(model, inner.width.into()))
}

fn title(model: &Model, width: u16) -> String {
    let world = model.shown();
    let text = match model.selected_row().map(|row| &row.id) {
        None => " DETAIL ".to_owned(),
        Some(RowId::Endpoint(index)) => format!(" {} ", world.endpoints[*index].name()),
        Some(RowId::Mode(id)) => format!(" {id} {} ", world.mode(id).map_or("", |mode| &mode.title)),
    };
    cut(&text, usize::from(width).saturating_sub(2))
}

/// The lines, `width` columns wide.
pub fn text(model: &Model, width: usize) -> Vec<Line<'static>> {
    let world = model.shown();
    let Some(row) = model.selected_row() else {
        return nothing(model, width);
    };
    let mut sheet = Sheet::new(model.ui.look, width);
    let source = row.source.map(|index| &world.endpoints[index]);
    match &row.id {
        RowId::Endpoint(_) => {
            if let Some(endpoint) = source {
                of_endpoint(&mut sheet, endpoint, world.now);
            }
        }
        RowId::Mode(id) => of_mode(&mut sheet, model, row, id),
    }
    sheet.lines
}

/// Where no row is selected, because none is listed.
fn nothing(model: &Model, width: usize) -> Vec<Line<'static>> {
    let board = &model.shown().board;
    let key = model.keys.keys(Action::Fold).first().map(ToString::to_string).unwrap_or_default();
    let text = match (board.rows.is_empty(), board.worst()) {
        (true, _) => "Nothing is known yet.".to_owned(),
        (false, Some(_)) => "Nothing passes the filter.".to_owned(),
        (false, None) => {
            let (ok, planned) = (board.size(Band::Ok), board.size(Band::Planned));
            format!(
                "Nothing is open, suspected or blind: {ok} modes are OK. Nothing detects {planned} others yet. {key} lists them."
            )
        }
    };
    let wrapped = wrap(&text, width.saturating_sub(2));
    wrapped.into_iter().map(|line| Line::styled(format!(" {line}"), model.ui.look.dim())).collect()
}

/// What the operator needs first comes first: how it stands, what users notice, what can be done about it.
fn of_mode(sheet: &mut Sheet, model: &Model, row: &Row, id: &str) {
    let world = model.shown();
    let mode = world.mode(id);
    let source = row.source.map(|index| &world.endpoints[index]);
    let report = source.and_then(|endpoint| endpoint.modes.get(id));
    stands(sheet, row, mode, report, source, world.now);
    doable::remedies(sheet, model);
    doable::proven(sheet, model, id);
    sheet.gap();
    explained(sheet, row, mode, report, source, world.now);
}

/// What it says on less evidence than in production.
fn test_times(sheet: &mut Sheet, longest: Duration) {
    let blind = sheet.look.blind();
    let times = format!("cut to {} for tests: its modes open and close on less than they should", age(longest));
    sheet.say("TIMES", &times, blind);
}

fn stands(sheet: &mut Sheet, row: &Row, mode: Option<&Mode>, report: Option<&Report>, source: Option<&Endpoint>, now: Moment) {
    let style = sheet.look.band(row.band);
    sheet.say("STATE", &standing(row), style);
    if let Some(longest) = source.and_then(|endpoint| endpoint.times_at_most) {
        test_times(sheet, longest);
    }
    if let Some(loss) = row.loss {
        let style = if row.counts() { sheet.look.bad() } else { sheet.look.dim() };
        sheet.say("LOSS IN", &clock(loss), style);
    }
    if let Some(found) = &row.found {
        sheet.plain("FOUND", found);
    }
    if let Some(report) = report {
        doable::looked_after(sheet, report, now);
    }
    if let Band::Of(severity) = row.band {
        // What the console has found is not what a report says.
        let said = report.filter(|_| row.found.is_none()).map(|report| report.rule.as_str());
        let raised =
            mode.filter(|_| row.found.is_some()).and_then(|mode| mode.raises.iter().find(|(to, _)| *to == Some(severity)));
        let rule = said.or(raised.map(|(_, when)| when.as_str())).filter(|rule| !rule.is_empty());
        let rule = rule.map_or("by its base", |rule| severity.without(rule));
        sheet.say("SEVERITY", &format!("{severity} {}: {rule}", severity.meaning()), style);
    }
    for (severity, when) in mode.map(|mode| mode.raises.as_slice()).unwrap_or_default() {
        let severity = severity.map_or("worse".to_owned(), |severity| severity.to_string());
        sheet.plain("RAISE", &format!("{severity} when {when}"));
    }
    if let Some(mode) = mode {
        sheet.plain("IMPACT", &mode.impact);
    }
}

fn explained(sheet: &mut Sheet, row: &Row, mode: Option<&Mode>, report: Option<&Report>, source: Option<&Endpoint>, now: Moment) {
    if let Some(mode) = mode {
        sheet.plain("SIGNAL", &mode.signal);
    }
    if let Some(report) = report {
        of_reading(sheet, report, now);
    }
    if let Some(endpoint) = source {
        let others = if row.voices > 1 { format!(", one of {} that report it", row.voices) } else { String::new() };
        let heard = endpoint.heard.map_or("never heard".to_owned(), |_| format!("heard {} ago", age(endpoint.silence(now))));
        sheet.plain("SOURCE", &format!("{} {}{others}; {heard}", endpoint.name(), endpoint.address));
    }
    if let Some(mode) = mode {
        sheet.gap();
        sheet.plain("HELD BY", &mode.containment);
        sheet.plain("OWNERS", &mode.owners.join(", "));
        sheet.plain("ALERT", &mode.alert);
    }
}

fn standing(row: &Row) -> String {
    let lasts = row.lasts.map(|lasts| format!(" for {}", clock(lasts))).unwrap_or_default();
    match &row.status {
        Status::Blind(Some(was)) => format!("BLIND{lasts}: what is known is too old. It was {was}"),
        Status::Says(State::Planned) => "PLANNED: no part detects it yet, so nothing is known".to_owned(),
        Status::Says(State::Unknown) => format!("UNKNOWN: its process has no reading{lasts}"),
        Status::Says(State::Foreign(number)) => format!("state {number} of a newer service: not known here"),
        Status::Unseen(why) => format!("UNSEEN: {why}"),
        other => format!("{}{lasts}", status(other)),
    }
}

fn of_reading(sheet: &mut Sheet, report: &Report, now: Moment) {
    let Some(evidence) = &report.evidence else {
        sheet.plain("READING", "none");
        return;
    };
    let (value, threshold) = (quantity(evidence.value), quantity(evidence.threshold));
    sheet.plain("READING", &format!("{value} against {threshold} {}, {} old", evidence.unit, age(report.age(now))));
    if !evidence.detail.is_empty() {
        sheet.plain("", &evidence.detail);
    }
    let room = sheet.width.saturating_sub(LABEL + 2);
    let bars = sheet.look.bar();
    sheet.say("TREND", &spark(evidence.history.iter().copied(), room), bars);
    if !report.drill.is_empty() {
        sheet.plain("DRILL", &format!("{} causes it", report.drill));
    }
}

/// Of a process: also what `describe` shows of a service.
fn of_endpoint(sheet: &mut Sheet, endpoint: &Endpoint, now: Moment) {
    let blind = sheet.look.blind();
    sheet.plain("ADDRESS", &endpoint.address);
    sheet.plain("BUILD", if endpoint.build.is_empty() { "not known" } else { &endpoint.build });
    if !endpoint.installation.is_empty() {
        sheet.plain("OF", &endpoint.installation);
    }
    if let Some(longest) = endpoint.times_at_most {
        test_times(sheet, longest);
    }
    if let Some(load) = endpoint.load.as_ref().filter(|load| !load.unit.is_empty()) {
        let p99 = load.p99.map(|p99| format!(", 99 of 100 within {}", proof::seconds(p99))).unwrap_or_default();
        let every = if load.is_of_now() { "" } else { " a second" };
        sheet.plain("WORK", &format!("{} {}{every}{p99}", quantity(load.rate), load.unit));
    }
    sheet.say("SILENT", &format!("for {}; what it said last may not hold any more", clock(endpoint.silence(now))), blind);
    sheet.plain("LINK", &link(&endpoint.link, now));
    if serves_users(&endpoint.service) {
        sheet.plain("IMPACT", "It answers users: until it is seen again, this is taken for degraded serving.");
    } else {
        sheet.plain("IMPACT", "It answers no users: until it is seen again, its work is taken for blocked.");
    }
    sheet.plain("MODES", &format!("{} reported before", endpoint.modes.len()));
    sheet.plain("GAPS", &format!("{} in its frames, {} ignored", endpoint.gaps, endpoint.ignored));
}

/// The connection in words, with the countdown to the next try.
pub fn link(link: &Link, now: Moment) -> String {
    match link {
        Link::Connecting => "connecting".to_owned(),
        Link::Up => "up".to_owned(),
        Link::Down { error, retry_at } => {
            let left = retry_at.saturating_sub(now.elapsed).as_secs_f64().ceil();
            format!("again in {left:.0}s: {error}")
        }
    }
}

/// The lines of one process.
pub fn endpoint_text(look: Look, endpoint: &Endpoint, now: Moment, width: usize) -> Vec<Line<'static>> {
    let mut sheet = Sheet::new(look, width);
    sheet.plain("SERVICE", endpoint.name());
    of_endpoint(&mut sheet, endpoint, now);
    sheet.lines
}
