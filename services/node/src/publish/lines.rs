//! The lines of a file, with where each starts and ends. A line that is too long is stepped over, not held in memory.

use std::io::{self, BufRead, BufReader, Read};

/// Longest line, in bytes; the largest event in text is far shorter.
pub const MAX_LINE_BYTES: u64 = 64 * 1024;

/// A place between two lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Position {
    /// Bytes before it.
    pub bytes: u64,
    /// Lines before it.
    pub lines: u64,
}

/// Reads lines on from a position.
#[derive(Debug)]
pub struct Lines<R> {
    reader: R,
    at: Position,
    buffer: Vec<u8>,
}

/// What a line holds.
#[derive(Debug, PartialEq, Eq)]
pub enum Content<'a> {
    /// Text without its line break, nor a byte order mark at the start of the file.
    Text(&'a str),
    /// Not UTF-8.
    Bytes,
    /// Longer than [`MAX_LINE_BYTES`].
    TooLong,
}

impl<R: BufRead> Lines<R> {
    /// Reads from `reader`, which stands at `at`.
    pub fn new(reader: R, at: Position) -> Self {
        Self { reader, at, buffer: Vec::new() }
    }

    /// Where the next line starts.
    pub fn position(&self) -> Position {
        self.at
    }

    /// The next line; `None` at the end.
    ///
    /// # Errors
    /// Those of the reader.
    pub fn next_line(&mut self) -> io::Result<Option<Content<'_>>> {
        self.buffer.clear();
        let first = self.at.bytes == 0;
        let read = self.reader.by_ref().take(MAX_LINE_BYTES + 1).read_until(b'\n', &mut self.buffer)? as u64;
        if read == 0 {
            return Ok(None);
        }
        self.at.bytes += read;
        self.at.lines += 1;
        if read > MAX_LINE_BYTES && !self.buffer.ends_with(b"\n") {
            self.at.bytes += self.reader.skip_until(b'\n')? as u64;
            return Ok(Some(Content::TooLong));
        }
        let line = self.buffer.strip_suffix(b"\n").unwrap_or(&self.buffer);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let line = if first { line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line) } else { line };
        Ok(Some(std::str::from_utf8(line).map_or(Content::Bytes, Content::Text)))
    }
}

impl<R: Read> Lines<BufReader<R>> {
    /// Whether the next line may have to be waited for.
    pub fn would_wait(&self) -> bool {
        !self.reader.buffer().contains(&b'\n')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_belongs_to_a_line() {
        let long = "x".repeat(MAX_LINE_BYTES as usize * 3);
        let file = format!("\u{feff}one\r\n\n{long}\nlast");
        let mut lines = Lines::new(file.as_bytes(), Position::default());
        assert_eq!(lines.next_line().unwrap(), Some(Content::Text("one")));
        assert_eq!(lines.position(), Position { bytes: 8, lines: 1 });
        assert_eq!(lines.next_line().unwrap(), Some(Content::Text("")));
        assert_eq!(lines.next_line().unwrap(), Some(Content::TooLong));
        assert_eq!(lines.next_line().unwrap(), Some(Content::Text("last")));
        assert_eq!(lines.next_line().unwrap(), None);
        assert_eq!(lines.position(), Position { bytes: file.len() as u64, lines: 4 });
    }

    #[test]
    fn bytes_that_are_no_text_do_not_end_the_file() {
        let mut lines = Lines::new(&b"\xff\xfe\nok"[..], Position::default());
        assert_eq!(lines.next_line().unwrap(), Some(Content::Bytes));
        assert_eq!(lines.next_line().unwrap(), Some(Content::Text("ok")));
    }
}
