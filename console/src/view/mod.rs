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
mod facts;
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
mod title;
mod usage;

use crate::{
    action::Action,
    model::{
        Model,
        ui::{Overlay, Pane, Screen},
    },
    msg::Seen,
};
use layout::Places;
use pane::Hit;
use ratatui::{
    Frame, Terminal,
    backend::TestBackend,
    layout::{Position, Rect, Size},
};

/// What can be pointed at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pointed {
    /// A row of what is listed, by its place.
    Row(usize),
    /// A key in the bottom line.
    Hint(Action),
    /// A pane of the board.
    Pane(Pane),
}

/// What is at a place of a screen of this size: drawn once more, because only a frame knows where everything went.
pub fn pointed(model: &Model, screen: Size, at: Position) -> Option<Pointed> {
    let mut found = None;
    let Ok(mut terminal) = Terminal::new(TestBackend::new(screen.width, screen.height));
    let Ok(_) = terminal.draw(|frame| {
        let Regions { rows, hints, .. } = regions(model, frame);
        let places = layout::places(model, frame.area());
        let row = rows.into_iter().find(|(area, _)| area.contains(at)).map(|(_, place)| Pointed::Row(place));
        let hint = hints.into_iter().find(|(area, _)| area.contains(at)).map(|(_, action)| Pointed::Hint(action));
        found = row.or(hint).or_else(|| pane_at(model, &places, at).map(Pointed::Pane));
    });
    found
}

fn pane_at(model: &Model, places: &Places, at: Position) -> Option<Pane> {
    let panes = [
        (Some(places.board), Pane::Modes),
        (places.detail, Pane::Detail),
        (Some(places.services), Pane::Services),
        (places.timeline, Pane::Timeline),
    ];
    let found = panes.into_iter().find(|(area, _)| area.is_some_and(|area| area.contains(at))).map(|(_, pane)| pane);
    found.filter(|_| model.ui.screen == Screen::Board)
}

/// Draws everything.
pub fn draw(model: &Model, frame: &mut Frame<'_>) {
    regions(model, frame);
}

/// Draws everything, and says what only a frame knows.
pub fn draw_and_measure(model: &Model, frame: &mut Frame<'_>) -> Seen {
    let deepest = regions(model, frame).deepest;
    let places = layout::places(model, frame.area());
    let services = places.services.height > 1;
    Seen { deepest, hidden: [false, places.detail.is_none(), !services, places.timeline.is_none()] }
}

/// What a frame knows of itself.
struct Regions {
    rows: Vec<Hit>,
    hints: Vec<(Rect, Action)>,
    /// How far what lies on top can be scrolled.
    deepest: usize,
}

fn regions(model: &Model, frame: &mut Frame<'_>) -> Regions {
    let mut deepest = 0;
    let places = layout::places(model, frame.area());
    header::draw(model, frame, &places);
    let rows = match model.ui.screen {
        Screen::Board => {
            bands::draw(model, frame, places.bands);
            let rows = board::draw(model, frame, places.board);
            if let Some(area) = places.detail {
                deepest = detail::draw(model, frame, area);
            }
            services::draw(model, frame, places.services);
            ledger::draw(model, frame, places.ledger);
            rows
        }
        Screen::Usage => usage::draw(model, frame, places.whole),
        Screen::Jobs => jobs::draw(model, frame, places.whole),
        Screen::Letters => dead_letters::draw(model, frame, places.whole),
        Screen::Drills => drills::draw(model, frame, places.whole),
        Screen::Models => models::draw(model, frame, places.whole),
    };
    if let Some(area) = places.running {
        running::draw(model, frame, area);
    }
    if let Some(area) = places.timeline {
        timeline::draw(model, frame, area);
    }
    let hints = hints::draw(model, frame, places.hints);
    match &model.ui.overlay {
        Some(Overlay::Help) => deepest = help::draw(model, frame),
        Some(Overlay::Palette { text, .. }) => palette::draw(model, frame, text),
        Some(Overlay::Describe) => deepest = describe::draw(model, frame),
        Some(Overlay::Detail) => deepest = detail::draw_over(model, frame),
        Some(Overlay::Actions { cursor }) => actions::draw(model, frame, *cursor),
        Some(Overlay::Filter { .. } | Overlay::Note { .. }) | None => {}
    }
    if let Some(card) = &model.ui.card {
        card::draw(model, frame, card);
    }
    model.ui.look.finish(frame.buffer_mut());
    Regions { rows, hints, deepest }
}
