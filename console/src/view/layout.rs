//! Where everything goes, by the size of the terminal.

use crate::model::{Model, standing::Severity};
use ratatui::layout::Rect;

/// Narrower than this the detail is an overlay.
const WIDE: u16 = 100;
/// Lower than this, services and ledger are a line each.
const HIGH: u16 = 24;

/// The regions of a screen. Panes overlap by one cell, where their borders join.
#[derive(Debug, Clone, Copy)]
pub struct Places {
    /// Two lines of what is worst, while that is P1.
    pub alarm: Option<Rect>,
    /// One line.
    pub header: Rect,
    /// One line.
    pub bands: Rect,
    /// The failure modes.
    pub board: Rect,
    /// Of the selected one.
    pub detail: Option<Rect>,
    /// A pane, or one line.
    pub services: Rect,
    /// A pane, or one line.
    pub ledger: Rect,
    /// What is being done: a pane, or one line; only while there is something.
    pub running: Option<Rect>,
    /// A pane.
    pub timeline: Option<Rect>,
    /// One line.
    pub hints: Rect,
    /// Of another screen than the board.
    pub whole: Rect,
}

/// For this model on this much room.
pub fn places(model: &Model, screen: Rect) -> Places {
    let mut top = screen;
    let alarmed = model.present().board.count(Severity::P1) > 0;
    let alarm = (alarmed && screen.height >= 4).then(|| take_top(&mut top, 2));
    let header = take_top(&mut top, 1);
    let hints = take_bottom(&mut top, 1);
    let timeline = match screen.height {
        0..HIGH => None,
        HIGH..34 => Some(take_bottom(&mut top, 4)),
        34..50 => Some(take_bottom(&mut top, 6)),
        50.. => Some(take_bottom(&mut top, 10)),
    };
    // Panes above share the timeline's upper edge.
    if timeline.is_some() {
        top.height += 1;
    }
    let running = under_way(model, &mut top, screen.height);
    let whole = top;
    let bands = take_top(&mut top, 1);
    let (board, detail, services, ledger) =
        if screen.height < HIGH { folded(top, screen.width) } else { paned(model, top, screen.width) };
    Places { alarm, header, bands, board, detail, services, ledger, running, timeline, hints, whole }
}

/// A box as high as what there is to say, or a line where there is no room for one.
fn under_way(model: &Model, room: &mut Rect, height: u16) -> Option<Rect> {
    let count = super::running::count(model);
    if count == 0 || room.height < 8 {
        return None;
    }
    if height < HIGH {
        return Some(take_bottom(room, 1));
    }
    let most = if height < 34 { 3 } else { 6 };
    let area = take_bottom(room, count.min(most) + 2);
    // It shares its upper edge too.
    room.height += 1;
    Some(area)
}

/// Services and ledger are lines under the board.
fn folded(mut room: Rect, width: u16) -> (Rect, Option<Rect>, Rect, Rect) {
    let ledger = take_bottom(&mut room, 1);
    let services = take_bottom(&mut room, 1);
    let (board, detail) = if width >= WIDE { split(room, left_of(width)) } else { (room, None) };
    (board, detail, services, ledger)
}

fn paned(model: &Model, room: Rect, width: u16) -> (Rect, Option<Rect>, Rect, Rect) {
    let endpoints = u16::try_from(model.shown().endpoints.len()).unwrap_or(u16::MAX);
    let services_rows = endpoints.saturating_add(3).clamp(5, (room.height / 3).max(5));
    let ledger_rows = services_rows.max(11).min(room.height / 2).max(services_rows);
    let left_columns = if width >= WIDE { left_of(width) } else { width.saturating_mul(3) / 5 };
    if width >= WIDE {
        let (left, right) = split(room, left_columns);
        let right = right.unwrap_or_default();
        let (board, services) = stacked(left, services_rows);
        let (detail, ledger) = stacked(right, ledger_rows);
        (board, Some(detail), services, ledger)
    } else {
        let (board, below) = stacked(room, services_rows.max(8).min(room.height / 2));
        let (services, ledger) = split(below, left_columns);
        (board, None, services, ledger.unwrap_or_default())
    }
}

fn left_of(width: u16) -> u16 {
    (u32::from(width) * 13 / 20).min(u32::from(width)) as u16
}

fn take_top(room: &mut Rect, rows: u16) -> Rect {
    let rows = rows.min(room.height);
    let taken = Rect { height: rows, ..*room };
    room.y += rows;
    room.height -= rows;
    taken
}

fn take_bottom(room: &mut Rect, rows: u16) -> Rect {
    let rows = rows.min(room.height);
    room.height -= rows;
    Rect { y: room.y + room.height, height: rows, ..*room }
}

/// Two panes side by side that share a border.
fn split(room: Rect, left: u16) -> (Rect, Option<Rect>) {
    let left = left.clamp(1, room.width.max(1)).min(room.width);
    let right = Rect { x: room.x + left.saturating_sub(1), width: room.width - left + 1, ..room };
    (Rect { width: left, ..room }, (left > 0).then_some(right))
}

/// Two panes one above the other that share a border; the lower one has so many rows.
fn stacked(room: Rect, lower: u16) -> (Rect, Rect) {
    let lower = lower.min(room.height);
    let upper = room.height - lower;
    let above = Rect { height: if lower > 0 { upper + 1 } else { upper }.min(room.height), ..room };
    (above, Rect { y: room.y + upper, height: lower, ..room })
}
