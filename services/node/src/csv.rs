//! Lines of CSV, one at a time. Fields may be quoted; a line break inside a field is not supported, so that a forgotten quote spoils
//! one line and not the rest of the file.

use csv_core::{ReadRecordResult, Reader};

/// Splits one line; keeps its buffers.
#[derive(Debug)]
pub struct Splitter {
    reader: Reader,
    text: Vec<u8>,
    ends: Vec<usize>,
}

impl Splitter {
    /// For lines of at most so many columns.
    pub fn new(columns: usize) -> Self {
        Self { reader: Reader::new(), text: Vec::new(), ends: vec![0; columns] }
    }

    /// The cells of a line.
    ///
    /// # Errors
    /// In words, when it has too many columns or a quote is left open.
    pub fn split(&mut self, line: &str) -> Result<Vec<&str>, String> {
        let Self { reader, text, ends } = self;
        text.resize(line.len() + 1, 0);
        reader.reset();
        let (first, _, written, columns) = reader.read_record(line.as_bytes(), text, ends);
        let (last, _, rest, more) = match first {
            // The line has no end of its own: an empty read is the end.
            ReadRecordResult::InputEmpty => reader.read_record(&[], &mut text[written..], &mut ends[columns..]),
            other => (other, 0, 0, 0),
        };
        if !matches!(last, ReadRecordResult::Record | ReadRecordResult::End) {
            return Err(format!("has more than {} columns", ends.len()));
        }
        let text = std::str::from_utf8(&text[..written + rest]).map_err(|_| "is no UTF-8".to_owned())?;
        let starts = std::iter::once(0).chain(ends.iter().copied());
        Ok(starts.zip(ends.iter().copied()).take(columns + more).map(|(start, end)| &text[start..end]).collect())
    }
}
