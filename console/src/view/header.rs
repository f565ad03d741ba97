//! The top line: where we are, what is worst, how much of it is seen. A P1 takes two lines above it.

use super::{layout::Places, pane::lines};
use crate::{
    model::{
        Model,
        board::{Row, RowId},
        standing::{Band, Knowledge, Severity},
    },
    text::{clock, cut, fit, status},
};
use ratatui::{
    Frame,
    style::Style,
    text::{Line, Span},
};
use std::collections::BTreeSet;

/// Draws alarm and header.
pub fn draw(model: &Model, frame: &mut Frame<'_>, places: &Places) {
    if let Some(area) = places.alarm {
        let style = model.ui.look.severity(Severity::P1);
        let texts = alarm(model).map(|text| Line::styled(fit(&text, area.width.into()), style));
        lines(frame, area, texts);
    }
    frame.render_widget(header(model, places.header.width), places.header);
}

/// What is P1, in words. Always of the present, whatever is on screen.
fn alarm(model: &Model) -> [String; 2] {
    let board = &model.present().board;
    let rows: Vec<&Row> = board.rows.iter().filter(|row| row.band == Band::Of(Severity::P1) && row.counts()).collect();
    let named = |row: &&Row| match &row.id {
        RowId::Mode(id) => {
            let title = model.present().mode(id).map_or("", |mode| &mode.title);
            format!("{id} {title} {} {}", status(&row.status), clock(row.lasts.unwrap_or_default()))
        }
        RowId::Endpoint(index) => format!("{} cannot be seen", model.present().endpoints[*index].name()),
    };
    let names: Vec<String> = rows.iter().map(named).collect();
    let impact = rows.first().and_then(|row| match &row.id {
        RowId::Mode(id) => model.present().mode(id).map(|mode| mode.impact.clone()),
        RowId::Endpoint(_) => None,
    });
    [format!(" P1 FULL OUTAGE  {}", names.join(" │ ")), format!(" {}", impact.unwrap_or_default())]
}

/// Between two words.
const GAP: &str = "  ";

/// Most of a name, in columns.
const NAME: usize = 24;

/// A word of the top line.
struct Piece {
    text: String,
    style: Style,
    /// Left out where there is no room, the highest first; `None`: never.
    spare: Option<u8>,
}

fn header(model: &Model, width: u16) -> Line<'static> {
    let look = model.ui.look;
    let mut pieces = vec![Piece { text: "loadline".to_owned(), style: look.strong(), spare: Some(1) }];
    let mut say = |spare: Option<u8>, (text, style): (String, Style)| pieces.push(Piece { text, style, spare });
    installation(model).into_iter().for_each(|words| say(None, words));
    say(None, mode(model));
    if model.present().test_times().is_some() {
        // The last to be left out: the board says it too.
        say(Some(0), ("TEST TIMES".to_owned(), look.blind()));
    }
    known_as(model).into_iter().for_each(|words| say(Some(5), words));
    past(model).into_iter().for_each(|words| say(None, words));
    std::iter::once(worst(model)).chain(seen(model)).for_each(|words| say(None, words));
    if !model.offline {
        say(Some(6), ("rec ON".to_owned(), look.dim()));
    }
    gaps(model).into_iter().for_each(|words| say(Some(3), words));
    say(Some(2), (format!("lag {}ms", model.ui.lag.as_millis()), look.dim()));
    skew(model).into_iter().for_each(|words| say(Some(4), (words, look.blind())));
    fill(pieces, format!("{}Z ", time(model.now.wall)), width.into())
}

/// What the processes call the installation. That they are of several is told as the danger that it is.
fn installation(model: &Model) -> Option<(String, Style)> {
    let (look, names) = (model.ui.look, model.present().installations());
    let words = names.iter().map(|name| cut(name, NAME)).collect::<Vec<_>>().join(" and ");
    match names.len() {
        0 => None,
        1 => Some((words, look.strong())),
        _ => Some((format!("MIXED {words}"), look.bad())),
    }
}

fn mode(model: &Model) -> (String, Style) {
    let look = model.ui.look;
    match model.ui.operate {
        Some(until) => (format!("OPERATE {}", clock(until.saturating_sub(model.now.elapsed))), look.severity(Severity::P3)),
        None => ("READ-ONLY".to_owned(), look.dim()),
    }
}

/// Whom the processes take this console for: under that name the audit has what is done here.
fn known_as(model: &Model) -> Option<(String, Style)> {
    let callers = model.present().endpoints.iter().filter_map(|endpoint| endpoint.caller.as_ref());
    let names: BTreeSet<String> = callers.map(|caller| format!("{} ({})", caller.name, caller.role)).collect();
    let names: Vec<String> = names.into_iter().collect();
    (!names.is_empty()).then(|| (names.join(", "), Style::new()))
}

/// What is looked at comes before what is: nobody may take the past for the present.
fn past(model: &Model) -> Option<(String, Style)> {
    let look = model.ui.look;
    let words = match (&model.replay, &model.frozen) {
        (Some(replay), _) => {
            let word = if replay.playing { "PLAYING" } else { "REPLAY" };
            let left = model.recorder.last().saturating_sub(replay.at);
            format!("{word} {} (-{})", time(replay.world.now.wall), clock(left))
        }
        (None, Some(frozen)) => format!("FROZEN {}", clock(model.now.since(frozen.now.elapsed))),
        (None, None) => return None,
    };
    Some((words, look.blind()))
}

fn worst(model: &Model) -> (String, Style) {
    let (look, world) = (model.ui.look, model.present());
    match world.board.worst() {
        Some(worst) => (format!("WORST {} {}", worst.severity, clock(worst.lasts)), look.severity(worst.severity)),
        None if world.known(Knowledge::Live) == 0 => ("WORST not known".to_owned(), look.blind()),
        None => ("WORST none".to_owned(), look.good()),
    }
}

/// How much of the system is seen.
fn seen(model: &Model) -> Vec<(String, Style)> {
    let (look, world) = (model.ui.look, model.present());
    let (live, all) = (world.known(Knowledge::Live), world.endpoints.len());
    let mut words = vec![(format!("live {live}/{all}"), if live == all { look.good() } else { look.blind() })];
    let late = world.known(Knowledge::Late);
    if late > 0 {
        words.push((format!("LATE {late}"), look.blind()));
    }
    let waiting = world.known(Knowledge::Waiting);
    if waiting > 0 {
        words.push((format!("connecting {waiting}"), look.dim()));
    }
    let blind = world.endpoints.iter().filter(|endpoint| endpoint.knowledge(world.now) == Knowledge::Blind);
    if let Some(longest) = blind.map(|endpoint| endpoint.silence(world.now)).max() {
        let text = format!("BLIND {} ({}s)", world.known(Knowledge::Blind), longest.as_secs());
        words.push((text, look.severity(Severity::P2)));
    }
    words
}

/// Frames that did not follow the one before.
fn gaps(model: &Model) -> Option<(String, Style)> {
    let gaps: u64 = model.present().endpoints.iter().map(|endpoint| endpoint.gaps).sum();
    (gaps > 0).then(|| (format!("gaps {gaps}"), model.ui.look.dim()))
}

/// The clock furthest from ours, if it is further than a moment.
fn skew(model: &Model) -> Option<String> {
    let skews = model.present().endpoints.iter().map(|endpoint| (endpoint.skew, endpoint));
    let (skew, endpoint) = skews.max_by(|(a, _), (b, _)| a.abs().total_cmp(&b.abs()))?;
    let off = std::time::Duration::try_from_secs_f64(skew.abs()).ok()?;
    let sign = if skew > 0.0 { '+' } else { '-' };
    (off.as_secs() >= 2).then(|| format!("clock {} {sign}{}", endpoint.name(), clock(off)))
}

/// Time of day.
pub fn time(wall: jiff::Timestamp) -> String {
    wall.strftime("%H:%M:%S").to_string()
}

/// The pieces without those there is no room for, and the last one at the right if there is room for it.
fn fill(mut pieces: Vec<Piece>, last: String, width: usize) -> Line<'static> {
    let room = width.saturating_sub(crate::text::width(&last));
    // One blank at least stands before each of them, and before what is at the right.
    let fits = |pieces: &[Piece]| {
        let texts: usize = pieces.iter().map(|piece| crate::text::width(&piece.text)).sum();
        texts + GAP.len() * pieces.len().saturating_sub(1) + 2 <= room
    };
    while !fits(&pieces)
        && let Some(spare) = pieces.iter().filter_map(|piece| piece.spare).max()
    {
        pieces.retain(|piece| piece.spare != Some(spare));
    }
    // What is wrong is worth more than the time of day.
    let (mut room, last) = if fits(&pieces) { (room, last) } else { (width, String::new()) };
    let mut line = Line::default();
    for (place, Piece { text, style, .. }) in pieces.into_iter().enumerate() {
        // The colour of a word is not the colour of what is before it.
        for (text, style) in [(if place > 0 { GAP } else { " " }, Style::new()), (text.as_str(), style)] {
            let text = cut(text, room);
            room -= crate::text::width(&text);
            line.push_span(Span::styled(text, style));
        }
    }
    line.push_span(Span::raw(" ".repeat(room)));
    line.push_span(Span::raw(cut(&last, width)));
    line
}
