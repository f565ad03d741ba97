//! The picture in the README is of the console as it is.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod fixture;
#[path = "fixture/scene.rs"]
mod scene;
#[path = "fixture/svg.rs"]
mod svg;

use loadline_console::view::draw;
use ratatui::{Terminal, backend::TestBackend};
use std::fs;

/// On screen.
pub fn columns(text: &str) -> usize {
    loadline_console::text::width(text)
}

#[test]
fn the_picture_of_the_board_is_what_the_console_draws() {
    let console = scene::busy();
    let mut terminal = Terminal::new(TestBackend::new(132, 40)).unwrap();
    terminal.draw(|frame| draw(&console.model, frame)).unwrap();
    let due = svg::svg(terminal.backend().buffer());
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/board.svg");
    // As frames are: accepted on request.
    if std::env::var("INSTA_UPDATE").is_ok_and(|update| update == "always") {
        fs::write(path, due).unwrap();
        return;
    }
    assert!(fs::read_to_string(path).unwrap() == due, "INSTA_UPDATE=always draws it anew");
}
