//! All that is known of what is selected.

use super::{
    detail::{endpoint_text, text},
    models,
    pane::{overlay, read},
    proof::{self, times},
    sheet::Sheet,
};
use crate::{
    model::{
        Model,
        letters::Opened,
        ui::{Pane, Screen},
    },
    text::{age, counted, grouped},
    update::yank,
};
use ratatui::{Frame, text::Line};

/// Draws it over the screen; how far it can be scrolled.
pub fn draw(model: &Model, frame: &mut Frame<'_>) -> usize {
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
        (Screen::Drills, _) => drill(model, width).into_iter().chain([Line::default()]).chain(json(model)).collect(),
        (Screen::Usage | Screen::Jobs, _) => json(model),
    };
    read(frame, model, inner, drawn)
}

/// What a drill does, and what it has proven, with its fault and without.
fn drill(model: &Model, width: usize) -> Vec<Line<'static>> {
    let (look, world) = (model.ui.look, model.shown());
    let Some(listed) = model.selected_drill() else { return Vec::new() };
    let endpoint = &world.endpoints[listed.endpoint];
    let drill = endpoint.drills.drill(listed.mode);
    let mut sheet = Sheet::new(look, width);
    sheet.plain("MODE", &format!("{} {}", listed.mode, world.mode(listed.mode).map_or("", |mode| &mode.title)));
    sheet.plain("BY", &format!("{} {}", endpoint.name(), endpoint.address));
    if let Some(drill) = drill {
        sheet.plain("FAULT", &drill.fault);
        sheet.plain("REMEDY", if drill.remedy.is_empty() { "none: it must close by itself" } else { &drill.remedy });
        if let Some(why) = &drill.unavailable {
            sheet.say("OFF", why, look.blind());
        }
    }
    let (words, style) = proof::long(world.proof_at(listed.endpoint, listed.mode), look, world.now);
    sheet.say("PROOF", &words, style);
    let control = endpoint.drills.controls.get(listed.mode).or_else(|| drill.and_then(|drill| drill.control.as_ref()));
    let control = control.map(|run| format!("{} {} ago: {} {}", run.found(), age(run.age(world.now)), times(run), run.detail));
    sheet.plain("CONTROL", control.as_deref().unwrap_or("never run without its fault"));
    sheet.lines
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
