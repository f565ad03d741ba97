//! Colours, and what is left without them: weight and inversion carry every difference that colour carries.

use crate::model::standing::{Band, Severity};
use ratatui::{
    buffer::Buffer,
    style::{Color, Modifier, Style},
};
use std::env;

/// A set of colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Theme {
    /// For a dark background
    #[default]
    Dark,
    /// For a light background
    Light,
    /// Blue to orange, told apart without red and green
    ColourBlind,
    /// No colours
    Mono,
}

/// How a frame looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Look {
    /// Its colours.
    pub theme: Theme,
    /// Nothing but ASCII.
    pub ascii: bool,
}

impl Look {
    /// As asked, without colours where `NO_COLOR` is set, and in ASCII where the locale is not UTF-8.
    pub fn of_environment(theme: Theme, ascii: bool) -> Self {
        let set = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
        let locale = set("LC_ALL").or_else(|| set("LC_CTYPE")).or_else(|| set("LANG")).unwrap_or_default().to_lowercase();
        let utf8 = locale.contains("utf-8") || locale.contains("utf8");
        Self { theme: if set("NO_COLOR").is_some() { Theme::Mono } else { theme }, ascii: ascii || !utf8 }
    }

    /// Of a severity.
    pub fn severity(self, severity: Severity) -> Style {
        let colour = |colour: Color| Style::new().fg(colour);
        let (p1, p2, p3, p4, p5) = match self.theme {
            // What terminals call magenta is too dark for black.
            Theme::Dark => (Color::LightRed, Color::LightRed, Color::Yellow, Color::LightBlue, Color::LightMagenta),
            // By number: what a terminal calls green or grey is often too pale for white.
            Theme::Light => {
                (Color::Indexed(160), Color::Indexed(160), Color::Indexed(90), Color::Indexed(25), Color::Indexed(240))
            }
            // Of the palette of Okabe and Ito.
            Theme::ColourBlind => {
                (Color::Indexed(208), Color::Indexed(214), Color::Indexed(220), Color::Indexed(75), Color::Indexed(176))
            }
            Theme::Mono => (Color::Reset, Color::Reset, Color::Reset, Color::Reset, Color::Reset),
        };
        match severity {
            Severity::P1 => colour(p1).add_modifier(Modifier::BOLD | Modifier::REVERSED),
            Severity::P2 => colour(p2).add_modifier(Modifier::BOLD),
            Severity::P3 => colour(p3).add_modifier(Modifier::BOLD),
            Severity::P4 => colour(p4),
            Severity::P5 => colour(p5),
        }
    }

    /// Of a band.
    pub fn band(self, band: Band) -> Style {
        match band {
            Band::Of(severity) => self.severity(severity),
            Band::Unknown => self.blind(),
            Band::Planned => self.dim(),
            Band::Ok => self.good(),
        }
    }

    /// As it should be.
    pub fn good(self) -> Style {
        self.coloured(Color::Green, Color::Indexed(28), Color::Indexed(37))
    }

    /// Wrong, whatever it is.
    pub fn bad(self) -> Style {
        self.severity(Severity::P2)
    }

    /// Not known, or known too long ago.
    pub fn blind(self) -> Style {
        self.coloured(Color::Yellow, Color::Indexed(90), Color::Indexed(214)).add_modifier(Modifier::UNDERLINED)
    }

    /// Of less interest.
    pub fn dim(self) -> Style {
        match self.theme {
            Theme::Mono => Style::new().add_modifier(Modifier::DIM),
            Theme::Light => Style::new().fg(Color::Indexed(240)),
            _ => Style::new().fg(Color::Indexed(245)),
        }
    }

    /// Words that name what follows.
    pub fn label(self) -> Style {
        self.coloured(Color::Cyan, Color::Indexed(25), Color::Indexed(75))
    }

    /// Bars and plots.
    pub fn bar(self) -> Style {
        self.coloured(Color::Cyan, Color::Indexed(25), Color::Indexed(75))
    }

    /// Titles and keys.
    pub fn strong(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    /// What is selected.
    pub fn selected(self) -> Style {
        match self.theme {
            // Dark enough that what is drawn in grey can still be read on it.
            Theme::Dark | Theme::ColourBlind => Style::new().bg(Color::Indexed(236)).add_modifier(Modifier::BOLD),
            Theme::Light => Style::new().bg(Color::Indexed(252)).add_modifier(Modifier::BOLD),
            Theme::Mono => Style::new().add_modifier(Modifier::REVERSED),
        }
    }

    /// Lines around panes.
    pub fn border(self, focused: bool) -> Style {
        if focused { self.coloured(Color::Cyan, Color::Indexed(25), Color::Indexed(75)) } else { self.dim() }
    }

    fn coloured(self, dark: Color, light: Color, blind: Color) -> Style {
        match self.theme {
            Theme::Dark => Style::new().fg(dark),
            Theme::Light => Style::new().fg(light),
            Theme::ColourBlind => Style::new().fg(blind),
            Theme::Mono => Style::new(),
        }
    }

    /// The last touch on a frame: no colour where there is none to be, no sign that the terminal does not have. It holds for
    /// everything drawn, wherever it came from.
    pub fn finish(self, buffer: &mut Buffer) {
        for cell in &mut buffer.content {
            // What fills a column is nothing to look at.
            if cell.symbol() == " " {
                cell.modifier.remove(Modifier::UNDERLINED);
            }
            if self.theme == Theme::Mono {
                (cell.fg, cell.bg) = (Color::Reset, Color::Reset);
            }
            if self.ascii && !cell.symbol().is_ascii() {
                let plain = plain(cell.symbol());
                cell.set_char(plain);
            }
        }
    }
}

/// The nearest sign of ASCII.
fn plain(symbol: &str) -> char {
    match symbol.chars().next().unwrap_or(' ') {
        '─' | '━' => '-',
        '│' | '┃' => '|',
        '┌' | '┐' | '└' | '┘' | '├' | '┤' | '┬' | '┴' | '┼' | '╭' | '╮' | '╰' | '╯' => '+',
        '▁' => '_',
        '▂' => '.',
        '▃' => ':',
        '▄' => '-',
        '▅' => '=',
        '▆' => '+',
        '▇' => '*',
        '█' => '#',
        '░' => '%',
        '▶' => '>',
        '…' => '~',
        '→' => '>',
        '·' => '.',
        '×' => 'x',
        '●' => '*',
        '↑' => '^',
        '↓' => 'v',
        _ => '?',
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui::layout::Rect;

    #[test]
    fn the_last_touch_takes_colours_and_signs_from_whatever_was_drawn() {
        let mut buffer = Buffer::empty(Rect::new(0, 0, 8, 1));
        buffer.set_string(0, 0, "a│█…é停", Style::new().fg(Color::Red).bg(Color::Blue));
        Look { theme: Theme::Dark, ascii: false }.finish(&mut buffer);
        assert_eq!((buffer[(1, 0)].symbol(), buffer[(1, 0)].fg), ("│", Color::Red));
        Look { theme: Theme::Mono, ascii: true }.finish(&mut buffer);
        let text: String = buffer.content.iter().map(|cell| cell.symbol()).collect();
        assert_eq!(text, "a|#~??  ");
        assert!(buffer.content.iter().all(|cell| (cell.fg, cell.bg) == (Color::Reset, Color::Reset)));
        buffer.set_string(0, 0, "old  ", Look::default().blind());
        Look::default().finish(&mut buffer);
        let underlined = |x: u16| buffer[(x, 0)].modifier.contains(Modifier::UNDERLINED);
        assert_eq!([0, 2, 3, 4].map(underlined), [true, true, false, false], "what fills a column is not underlined");
    }

    /// Of the palette of 256 colours from 16 on, by its definition in xterm: the cube, then the greys; 0 to 1.
    fn luminance(index: u8) -> f64 {
        let level = |step: u8| if step == 0 { 0.0 } else { f64::from(55 + 40 * step) };
        let rgb = match index {
            232.. => [f64::from(8 + 10 * (index - 232)); 3],
            _ => [(index - 16) / 36, (index - 16) / 6 % 6, (index - 16) % 6].map(level),
        };
        let linear = |value: f64| {
            let value = value / 255.0;
            if value <= 0.040_45 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        };
        let [red, green, blue] = rgb.map(linear);
        0.2126 * red + 0.7152 * green + 0.0722 * blue
    }

    /// As WCAG has it; 4.5 is legible.
    fn contrast(one: f64, other: f64) -> f64 {
        (one.max(other) + 0.05) / (one.min(other) + 0.05)
    }

    #[test]
    fn what_is_drawn_in_a_colour_of_the_palette_can_be_read_on_its_background() {
        for (theme, ground) in [(Theme::Light, 1.0), (Theme::Dark, 0.0), (Theme::ColourBlind, 0.0)] {
            let look = Look { theme, ascii: false };
            let severities = Severity::ALL.map(|severity| look.severity(severity));
            let words = [look.good(), look.blind(), look.dim(), look.label(), look.bar()];
            let selected = match look.selected().bg {
                Some(Color::Indexed(index)) => luminance(index),
                other => panic!("{other:?}"),
            };
            for style in severities.into_iter().chain(words) {
                // The first sixteen are the terminal's own.
                let Some(Color::Indexed(index)) = style.fg else { continue };
                assert!(contrast(luminance(index), ground) >= 4.5, "{theme:?} {index}");
                assert!(contrast(luminance(index), selected) >= 3.0, "{theme:?} {index} where it is selected");
            }
        }
    }
}
