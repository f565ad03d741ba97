//! All that is known of what is selected.

use super::{
    detail, facts, models,
    pane::{overlay, read},
    sheet::Sheet,
};
use crate::{
    model::{
        Model,
        letters::Opened,
        ui::{Pane, Screen},
    },
    text::{counted, grouped, width},
    update::yank,
};
use ratatui::{Frame, text::Line};

/// Draws it over the screen; how far it can be scrolled.
pub fn draw(model: &Model, frame: &mut Frame<'_>) -> usize {
    let look = model.ui.look;
    let screen = frame.area();
    let (columns, rows) = (screen.width.saturating_sub(8).max(40), screen.height.saturating_sub(4).max(10));
    let inner = overlay(frame, look, Line::styled(" DESCRIBE ", look.strong()), columns, rows);
    let columns = usize::from(inner.width);
    let drawn = match (model.ui.screen, model.ui.pane) {
        (Screen::Board, Pane::Services) => {
            let world = model.shown();
            let indices: Vec<usize> = (0..world.endpoints.len()).collect();
            let place = model.ui.service.place(indices.iter());
            place.map(|place| detail::endpoint_text(look, &world.endpoints[place], world.now, columns)).unwrap_or_default()
        }
        (Screen::Board, _) => {
            let mut drawn = detail::text(model, columns);
            drawn.push(Line::default());
            drawn.extend(json(model, columns));
            drawn
        }
        (Screen::Models, _) => {
            models::text(model, columns).into_iter().chain([Line::default()]).chain(json(model, columns)).collect()
        }
        (Screen::Usage | Screen::Jobs | Screen::Letters | Screen::Drills, _) => in_words(model, columns),
    };
    read(frame, model, inner, drawn)
}

/// In words, then as it is.
fn in_words(model: &Model, columns: usize) -> Vec<Line<'static>> {
    let mut sheet = Sheet::new(model.ui.look, columns);
    facts::of_selected(&mut sheet, model);
    if model.ui.screen == Screen::Letters {
        sheet.lines.extend(payload(model));
    }
    sheet.gap();
    sheet.lines.extend(json(model, columns));
    sheet.lines
}

/// What is wider than the room there is goes on in the next line.
fn json(model: &Model, columns: usize) -> Vec<Line<'static>> {
    let json = yank::json(model).unwrap_or_default();
    json.lines().flat_map(|line| broken(line, columns.saturating_sub(2))).map(|line| Line::raw(format!(" {line}"))).collect()
}

/// Without a regard to words: what is quoted stays as it is.
fn broken(text: &str, columns: usize) -> Vec<String> {
    let (mut lines, mut line) = (Vec::new(), String::new());
    for char in text.chars() {
        // A wide character needs two.
        if width(&line) + 2 > columns.max(2) {
            lines.push(std::mem::take(&mut line));
        }
        line.push(char);
    }
    lines.push(line);
    lines
}

/// The payload as bytes and as what is readable of it.
fn payload(model: &Model) -> Vec<Line<'static>> {
    let look = model.ui.look;
    let letters = &model.shown().letters;
    let opened =
        letters.opened.as_ref().filter(|opened| model.selected_letter().is_some_and(|letter| letter.id == opened.letter.id));
    let Some(Opened { payload, bytes, .. }) = opened else {
        let line = match &letters.unopened {
            Some(why) => Line::styled(format!(" payload: {why}"), look.blind()),
            None if model.replay.is_some() => Line::styled(" payload: not fetched by then", look.dim()),
            None => Line::styled(" payload is being fetched", look.dim()),
        };
        return vec![Line::default(), line];
    };
    let all = if payload.len() < *bytes { format!("the first {} of ", grouped(payload.len() as u64)) } else { String::new() };
    let title = Line::styled(format!(" payload, {all}{}", counted(*bytes as u64, "byte", "bytes")), look.label());
    let rows = payload.chunks(16).enumerate().map(|(row, bytes)| {
        let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let readable = |byte: &u8| if byte.is_ascii_graphic() { char::from(*byte) } else { '.' };
        let text: String = bytes.iter().map(readable).collect();
        Line::raw(format!(" {:04x}  {:<47}  {text}", row * 16, hex.join(" ")))
    });
    [Line::default(), title].into_iter().chain(rows).collect()
}
