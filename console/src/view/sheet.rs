//! Words at the left, text at the right of them.

use super::{pane::shortened, theme::Look};
use crate::text::wrap;
use ratatui::{
    style::Style,
    text::{Line, Span},
};

/// Width of the words at the left.
pub const LABEL: usize = 9;

/// Labelled, wrapped text.
pub struct Sheet {
    /// Colours.
    pub look: Look,
    /// Of the lines, in columns.
    pub width: usize,
    /// So far.
    pub lines: Vec<Line<'static>>,
}

impl Sheet {
    /// Without a line.
    pub fn new(look: Look, width: usize) -> Self {
        Self { look, width, lines: Vec::new() }
    }

    /// One line, at the right of its label; what there is no room for is left out.
    pub fn put(&mut self, label: &str, line: Line<'static>) {
        let label = Span::styled(format!(" {label:<width$} ", width = LABEL - 1), self.look.label());
        self.lines.push(shortened(Line::from_iter(std::iter::once(label).chain(line.spans)), self.width));
    }

    /// Text, broken where it has to be.
    pub fn say(&mut self, label: &str, text: &str, style: Style) {
        for (index, part) in wrap(text, self.width.saturating_sub(LABEL + 2)).into_iter().enumerate() {
            let label = if index == 0 { label } else { "" };
            let label = Span::styled(format!(" {label:<width$}", width = LABEL - 1), self.look.label());
            self.lines.push(Line::from_iter([label, Span::raw(" "), Span::styled(part, style)]));
        }
    }

    /// The same without a style.
    pub fn plain(&mut self, label: &str, text: &str) {
        self.say(label, text, Style::new());
    }

    /// An empty line.
    pub fn gap(&mut self) {
        self.lines.push(Line::default());
    }
}
