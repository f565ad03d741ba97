//! Which rows of the board are listed: those that pass band, filter and folds, and in which order. Found once when the board is drawn up, for all
//! that asks for them while a frame is drawn.

use super::{
    board::{Row, RowId},
    has_words,
    order::{self, Order},
    standing::{Band, Severity},
    ui::{Screen, Ui},
    world::World,
};

/// Places on one board, and what they were chosen by.
#[derive(Debug, Clone)]
pub struct Listing {
    band: Option<Severity>,
    unfolded: bool,
    filter: String,
    order: Option<Order>,
    /// In the order of the screen.
    pub places: Vec<usize>,
}

impl Listing {
    /// Of the board of this world, as the operator wants to see it.
    pub fn of(world: &World, ui: &Ui) -> Self {
        let filter = ui.filter(Screen::Board);
        let words = filter.to_lowercase();
        let passes = |row: &Row| {
            let band = ui.band.is_none_or(|severity| row.band == Band::Of(severity));
            let folded = row.band.folds() && !ui.unfolded && words.is_empty();
            band && !folded && has_words(|| text(world, row), &words)
        };
        let mut places: Vec<usize> =
            world.board.rows.iter().enumerate().filter(|(_, row)| passes(row)).map(|(place, _)| place).collect();
        let order = ui.order(Screen::Board);
        if let Some(order) = order {
            order::places(&mut places, order, world);
        }
        Self { band: ui.band, unfolded: ui.unfolded, filter: filter.to_owned(), order, places }
    }

    /// Whether the operator still wants to see the same.
    pub fn is_for(&self, ui: &Ui) -> bool {
        let asked = (ui.band, ui.unfolded, ui.filter(Screen::Board), ui.order(Screen::Board));
        (self.band, self.unfolded, self.filter.as_str(), self.order) == asked
    }
}

/// All that a filter may look for in a row.
fn text(world: &World, row: &Row) -> String {
    match &row.id {
        RowId::Endpoint(index) => {
            let endpoint = &world.endpoints[*index];
            format!("{} {} blind", endpoint.service, endpoint.address)
        }
        RowId::Mode(id) => {
            let mode = world.catalogue.get(id);
            let report = row.source.and_then(|source| world.endpoints[source].modes.get(id));
            let detail = report.and_then(|report| report.evidence.as_ref()).map_or("", |evidence| &evidence.detail);
            let title = mode.map_or("", |mode| &mode.title);
            let owners = mode.map(|mode| mode.owners.join(" ")).unwrap_or_default();
            format!("{id} {title} {owners} {detail} {:?}", row.status)
        }
    }
}
