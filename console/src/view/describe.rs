//! All that is known of what is selected.

use super::{
    detail::{endpoint_text, text},
    models,
    pane::{lines, more, overlay},
};
use crate::{
    model::{
        Model,
        letters::Opened,
        ui::{Pane, Screen},
    },
    text::{counted, grouped},
    update::yank,
};
use ratatui::{Frame, text::Line};

/// Draws it over the screen.
pub fn draw(model: &Model, frame: &mut Frame<'_>) {
    let look = model.ui.look;
    let screen = frame.area();
    let (columns, rows) = (screen.width.saturating_sub(8).max(40), screen.height.saturating_sub(4).max(10));
    let inner = overlay(frame, look, Line::styled(" DESCRIBE ", look.strong()), columns, rows);
    let width = usize::from(inner.width);
    let drawn = match (model.ui.screen, model.ui.pane) {
        (Screen::Board, Pane::Services) => {
            let world = model.shown();
            let indices: Vec<usize> = (0..world.endpoints.len()).collect();
            let place = model.ui.service.place(indices.iter());
            place.map(|place| endpoint_text(look, &world.endpoints[place], world.now, width)).unwrap_or_default()
        }
        (Screen::Board, _) => {
            let mut drawn = text(model, width);
            drawn.push(Line::default());
            drawn.extend(json(model));
            drawn
        }
        (Screen::Letters, _) => json(model).into_iter().chain(payload(model)).collect(),
        (Screen::Models, _) => models::text(model, width).into_iter().chain([Line::default()]).chain(json(model)).collect(),
        (Screen::Usage | Screen::Jobs | Screen::Drills, _) => json(model),
    };
    more(frame, model, inner, drawn.len());
    lines(frame, inner, drawn.into_iter().skip(model.ui.scroll));
}

fn json(model: &Model) -> Vec<Line<'static>> {
    let json = yank::json(model).unwrap_or_default();
    json.lines().map(|line| Line::raw(format!(" {line}"))).collect()
}

/// The payload as bytes and as what is readable of it.
fn payload(model: &Model) -> Vec<Line<'static>> {
    let look = model.ui.look;
    let letters = &model.shown().letters;
    let opened = letters.opened.as_ref().filter(|opened| model.ui.letter.id() == Some(&opened.letter.id));
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
