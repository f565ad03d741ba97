//! A frame from a model: `draw(&Model, &mut Frame)`. Pure; a file a region.

mod actions;
mod bands;
mod board;
mod card;
mod dead_letters;
mod describe;
mod detail;
mod doable;
mod drills;
mod header;
mod help;
mod hints;
mod jobs;
mod layout;
mod ledger;
mod models;
mod palette;
mod pane;
pub mod plot;
mod proof;
mod running;
mod services;
mod sheet;
pub mod theme;
mod timeline;
mod usage;

use crate::model::{
    Model,
    ui::{Overlay, Screen},
};
use ratatui::Frame;

/// Draws everything.
pub fn draw(model: &Model, frame: &mut Frame<'_>) {
    let places = layout::places(model, frame.area());
    header::draw(model, frame, &places);
    match model.ui.screen {
        Screen::Board => {
            bands::draw(model, frame, places.bands);
            board::draw(model, frame, places.board);
            if let Some(area) = places.detail {
                detail::draw(model, frame, area);
            }
            services::draw(model, frame, places.services);
            ledger::draw(model, frame, places.ledger);
        }
        Screen::Usage => usage::draw(model, frame, places.whole),
        Screen::Jobs => jobs::draw(model, frame, places.whole),
        Screen::Letters => dead_letters::draw(model, frame, places.whole),
        Screen::Drills => drills::draw(model, frame, places.whole),
        Screen::Models => models::draw(model, frame, places.whole),
    }
    if let Some(area) = places.running {
        running::draw(model, frame, area);
    }
    if let Some(area) = places.timeline {
        timeline::draw(model, frame, area);
    }
    hints::draw(model, frame, places.hints);
    match &model.ui.overlay {
        Some(Overlay::Help) => help::draw(model, frame),
        Some(Overlay::Palette { text, .. }) => palette::draw(model, frame, text),
        Some(Overlay::Describe) => describe::draw(model, frame),
        Some(Overlay::Detail) => detail::draw_over(model, frame),
        Some(Overlay::Actions { cursor }) => actions::draw(model, frame, *cursor),
        Some(Overlay::Filter { .. } | Overlay::Note { .. }) | None => {}
    }
    if let Some(card) = &model.ui.card {
        card::draw(model, frame, card);
    }
    model.ui.look.finish(frame.buffer_mut());
}
