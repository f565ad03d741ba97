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

fn header(model: &Model, width: u16) -> Line<'static> {
    let (look, world) = (model.ui.look, model.present());
    let mut pieces: Vec<(String, Style)> = vec![(" loadline".to_owned(), look.strong())];
    let mut say = |text: String, style: Style| {
        pieces.push(("  ".to_owned(), Style::new()));
        pieces.push((text, style));
    };
    match model.ui.operate {
        Some(until) => say(format!("OPERATE {}", clock(until.saturating_sub(model.now.elapsed))), look.severity(Severity::P3)),
        None => say("READ-ONLY".to_owned(), look.dim()),
    }
    // What is looked at comes before what is: nobody may take the past for the present.
    if let Some(replay) = &model.replay {
        let word = if replay.playing { "PLAYING" } else { "REPLAY" };
        let left = model.recorder.last().saturating_sub(replay.at);
        say(format!("{word} {} (-{})", time(replay.world.now.wall), clock(left)), look.blind());
    } else if let Some(frozen) = &model.frozen {
        let since = model.now.since(frozen.now.elapsed);
        say(format!("FROZEN {}", clock(since)), look.blind());
    }
    match world.board.worst() {
        Some(worst) => say(format!("WORST {} {}", worst.severity, clock(worst.lasts)), look.severity(worst.severity)),
        None if world.known(Knowledge::Live) == 0 => say("WORST not known".to_owned(), look.blind()),
        None => say("WORST none".to_owned(), look.good()),
    }
    let (live, all) = (world.known(Knowledge::Live), world.endpoints.len());
    say(format!("live {live}/{all}"), if live == all { look.good() } else { look.blind() });
    let late = world.known(Knowledge::Late);
    if late > 0 {
        say(format!("LATE {late}"), look.blind());
    }
    let waiting = world.known(Knowledge::Waiting);
    if waiting > 0 {
        say(format!("connecting {waiting}"), look.dim());
    }
    let blind = world.endpoints.iter().filter(|endpoint| endpoint.knowledge(world.now) == Knowledge::Blind);
    if let Some(longest) = blind.map(|endpoint| endpoint.silence(world.now)).max() {
        say(format!("BLIND {} ({}s)", world.known(Knowledge::Blind), longest.as_secs()), look.severity(Severity::P2));
    }
    let gaps: u64 = world.endpoints.iter().map(|endpoint| endpoint.gaps).sum();
    if gaps > 0 {
        say(format!("gaps {gaps}"), look.dim());
    }
    say(format!("lag {}ms", model.ui.lag.as_millis()), look.dim());
    if let Some(skew) = skew(model) {
        say(skew, look.blind());
    }
    let clock = format!("{}Z ", time(model.now.wall));
    fill(pieces, clock, width.into())
}

/// The clock furthest from ours, if it is further than a moment.
fn skew(model: &Model) -> Option<String> {
    let skews = model.present().endpoints.iter().map(|endpoint| (endpoint.skew, endpoint));
    let (skew, endpoint) = skews.max_by(|(a, _), (b, _)| a.abs().total_cmp(&b.abs()))?;
    let off = std::time::Duration::try_from_secs_f64(skew.abs()).ok()?;
    let word = if skew > 0.0 { "ahead" } else { "behind" };
    (off.as_secs() >= 2).then(|| format!("clock of {} {} {word}", endpoint.name(), clock(off)))
}

/// Time of day.
pub fn time(wall: jiff::Timestamp) -> String {
    wall.strftime("%H:%M:%S").to_string()
}

/// The pieces, cut to leave room for the last one at the right.
fn fill(pieces: Vec<(String, Style)>, last: String, width: usize) -> Line<'static> {
    let mut room = width.saturating_sub(crate::text::width(&last));
    let mut line = Line::default();
    for (text, style) in pieces {
        let text = cut(&text, room);
        room -= crate::text::width(&text);
        line.push_span(Span::styled(text, style));
    }
    line.push_span(Span::raw(" ".repeat(room)));
    line.push_span(Span::raw(cut(&last, width)));
    line
}
