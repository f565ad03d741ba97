//! What the commands print: tables and plain lines for people, JSON for programs.
//!
//! Exit codes of every command:
//!
//! | code | meaning |
//! |---|---|
//! | 0 | done, and nothing is wrong |
//! | 1 | done, and the answer is bad news: some events were rejected, an explanation differs, nothing was there to resume |
//! | 2 | not done: wrong arguments, nobody answers, the call was refused |
//!
//! Nothing that came from outside reaches a terminal with its control characters: [`clean`] for text, [`Output::json`] for
//! JSON, and [`Output::table`] for every cell.

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use serde_json::Value;
use std::{
    env,
    io::{self, IsTerminal as _, Write as _},
    process::ExitCode,
};

/// Done, and the answer is bad news.
pub const BAD_NEWS: u8 = 1;
/// Not done.
pub const NOT_DONE: u8 = 2;

/// How to print.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    /// JSON instead of tables.
    pub json: bool,
    /// Somebody watches: lines may be drawn over.
    pub terminal: bool,
    colour: bool,
    width: Option<u16>,
}

/// What a colour says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// As it should be.
    Good,
    /// To be looked at.
    Warn,
    /// Wrong.
    Bad,
    /// Beside the point.
    Quiet,
}

/// Heading of a table's column.
#[derive(Debug, Clone, Copy)]
pub enum Column {
    /// Texts.
    Left(&'static str),
    /// Numbers.
    Right(&'static str),
}

impl Output {
    /// To standard output: colours only on a terminal and without `NO_COLOR`, tables no wider than it.
    pub fn stdout(json: bool) -> Self {
        let terminal = io::stdout().is_terminal();
        let refused = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || env::var_os("TERM").is_some_and(|term| term == "dumb");
        let width = terminal.then(|| console::Term::stdout().size_checked()).flatten().map(|(_, columns)| columns);
        Self { json, terminal, colour: terminal && !refused, width }
    }

    /// Prints a text as it is; see [`clean`].
    ///
    /// # Errors
    /// Those of standard output; a closed pipe is one.
    pub fn print(&self, text: &str) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(text.as_bytes())?;
        if !text.ends_with('\n') {
            stdout.write_all(b"\n")?;
        }
        stdout.flush()
    }

    /// Prints a document over several lines.
    ///
    /// # Errors
    /// As [`Output::print`].
    pub fn json(&self, value: &Value) -> io::Result<()> {
        self.print(&escape_controls(&format!("{value:#}")))
    }

    /// Prints a document in one line, for a stream of them.
    ///
    /// # Errors
    /// As [`Output::print`].
    pub fn json_line(&self, value: &Value) -> io::Result<()> {
        self.print(&escape_controls(&value.to_string()))
    }

    /// A table without frame; cells are cleaned.
    pub fn table(&self, columns: &[Column], rows: impl IntoIterator<Item = Vec<String>>) -> String {
        let mut table = Table::new();
        table.load_preset(presets::NOTHING).set_header(columns.iter().map(Column::title));
        if let Some(width) = self.width {
            table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
        }
        for row in rows {
            table.add_row(row.iter().map(|cell| clean(cell)));
        }
        for (column, spec) in table.column_iter_mut().zip(columns) {
            column.set_padding((0, 2));
            if matches!(spec, Column::Right(_)) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        let lines = table.lines().map(|line| line.trim_end().to_owned() + "\n");
        lines.collect()
    }

    /// The table of a listing, which goes on where it has a token of the next page.
    pub fn listing(&self, columns: &[Column], rows: impl IntoIterator<Item = Vec<String>>, next_page_token: &str) -> String {
        let mut text = self.table(columns, rows);
        if !next_page_token.is_empty() {
            text.push_str(&self.paint(Tone::Warn, "there are more; raise --limit"));
            text.push('\n');
        }
        text
    }

    /// Coloured, where colours are wanted.
    pub fn paint(&self, tone: Tone, text: &str) -> String {
        let style = console::style(text).force_styling(self.colour);
        match tone {
            Tone::Good => style.green(),
            Tone::Warn => style.yellow(),
            Tone::Bad => style.red().bold(),
            Tone::Quiet => style.dim(),
        }
        .to_string()
    }

    /// Clears the screen before a fresh drawing, on a terminal.
    ///
    /// # Errors
    /// As [`Output::print`].
    pub fn clear(&self) -> io::Result<()> {
        if self.terminal { console::Term::stdout().clear_screen() } else { Ok(()) }
    }
}

impl Column {
    fn title(&self) -> &'static str {
        match self {
            Self::Left(title) | Self::Right(title) => title,
        }
    }
}

/// The exit code of a command that ended so; an error is printed. A reader that closed the pipe has seen enough.
pub fn finish(result: anyhow::Result<ExitCode>) -> ExitCode {
    match result {
        Ok(code) => code,
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing is left to do when standard error is gone too.
            let _ = writeln!(io::stderr(), "error: {}", clean_lines(&format!("{error:#}")));
            ExitCode::from(NOT_DONE)
        }
    }
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>()).any(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}

/// Text that cannot move the cursor, colour the screen or turn the direction of writing: each such character becomes `\u{fffd}`.
pub fn clean(text: &str) -> String {
    text.chars().map(|character| if is_active(character) { '\u{fffd}' } else { character }).collect()
}

/// As [`clean`], keeping line breaks.
pub fn clean_lines(text: &str) -> String {
    text.split('\n').map(clean).collect::<Vec<_>>().join("\n")
}

/// Characters that act on a terminal instead of being shown.
fn is_active(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{061c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// JSON text has active characters inside strings only, where an escape means the same.
fn escape_controls(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for character in json.chars() {
        if character != '\n' && is_active(character) {
            escaped.push_str(&format!("\\u{:04x}", u32::from(character)));
        } else {
            escaped.push(character);
        }
    }
    escaped
}

/// A count with its thousands apart: `1,234,567`.
pub fn count(number: impl Into<i128>) -> String {
    let number: i128 = number.into();
    let digits = number.unsigned_abs().to_string();
    let mut text = String::from(if number < 0 { "-" } else { "" });
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `one` or `several` of them, with the number.
pub fn plural(number: u64, one: &str, several: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { several })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Neither terminal nor colour.
    pub(crate) const PLAIN: Output = Output { json: false, terminal: false, colour: false, width: None };
    /// As on a terminal that shows colours.
    pub(crate) const COLOURED: Output = Output { colour: true, ..PLAIN };
    /// As on a terminal of 80 columns.
    pub(crate) const NARROW: Output = Output { width: Some(80), ..PLAIN };

    #[test]
    fn no_escape_sequence_survives_cleaning() {
        let hostile = "a\u{1b}[2J\u{9b}31mb\u{7f}\r\n\u{202e}c\u{0}é";
        let clean = clean(hostile);
        assert_eq!(clean, "a\u{fffd}[2J\u{fffd}31mb\u{fffd}\u{fffd}\u{fffd}\u{fffd}c\u{fffd}é");
        assert!(!clean.chars().any(char::is_control));
        assert_eq!(clean_lines("a\u{1b}\nb"), "a\u{fffd}\nb");
    }

    #[test]
    fn json_for_a_terminal_reads_back_the_same_without_active_characters() {
        let value = serde_json::json!({"account": "a\u{1b}[2J\u{9b}\u{7f}\u{202e}\n", "n": 1});
        let text = escape_controls(&format!("{value:#}"));
        assert!(text.chars().all(|character| character == '\n' || !is_active(character)));
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
    }

    #[test]
    fn a_cell_cannot_escape_its_table() {
        let text =
            PLAIN.table(&[Column::Left("ACCOUNT"), Column::Right("N")], [vec!["x\u{1b}[31m\ny".to_owned(), "7".to_owned()]]);
        assert_eq!(text, "ACCOUNT   N\nx\u{fffd}[31m\u{fffd}y  7\n");
    }

    #[test]
    fn colours_are_left_out_unless_wanted() {
        assert_eq!(PLAIN.paint(Tone::Bad, "lost"), "lost");
        assert_eq!(COLOURED.paint(Tone::Good, "fine"), "\u{1b}[32mfine\u{1b}[0m");
    }

    #[test]
    fn thousands_stand_apart() {
        assert_eq!(
            [0, 999, 1_000, 1_234_567, -1_000].map(|number: i64| count(number)),
            ["0", "999", "1,000", "1,234,567", "-1,000"]
        );
    }
}
