//! The text format of COPY: a line a row, its fields apart by tabs. (PostgreSQL documentation, COPY, "Text Format"; the server sends
//! each row in a message of its own: "Message Formats", CopyData.) Most sums of usage are zero: a row has a third of the bytes that
//! it has in the binary format.

use crate::{StoreError, rows::damaged};
use std::{borrow::Cow, str::FromStr};

/// One row; its fields are taken in order.
pub(super) struct Line<'a> {
    /// What was not taken yet; `None` after the last field.
    left: Option<&'a str>,
}

impl<'a> Line<'a> {
    /// A row as it came.
    pub fn of(message: &'a [u8]) -> Result<Self, StoreError> {
        let line = message.strip_suffix(b"\n").ok_or_else(|| damaged("whole line", "a row of a copy"))?;
        let line = std::str::from_utf8(line).map_err(|_| damaged("text", "a row of a copy"))?;
        Ok(Self { left: Some(line) })
    }

    /// A text. Of what is escaped only the backslash is in any text of ours.
    pub fn text(&mut self) -> Result<Cow<'a, str>, StoreError> {
        let field = self.field()?;
        if !field.contains('\\') {
            return Ok(Cow::Borrowed(field));
        }
        let (mut text, mut left) = (String::with_capacity(field.len()), field.chars());
        while let Some(character) = left.next() {
            if character == '\\' && left.next() != Some('\\') {
                return Err(damaged("text", field));
            }
            text.push(character);
        }
        Ok(Cow::Owned(text))
    }

    pub fn number<T: FromStr>(&mut self) -> Result<T, StoreError> {
        let field = self.field()?;
        field.parse().map_err(|_| damaged("number", field))
    }

    /// All fields were taken.
    pub fn end(self) -> Result<(), StoreError> {
        self.left.map_or(Ok(()), |more| Err(damaged("end of a row", more)))
    }

    /// Byte by byte: most fields have one or two, and a search made for long texts has to begin anew for each.
    fn field(&mut self) -> Result<&'a str, StoreError> {
        let left = self.left.ok_or_else(|| damaged("field", "the end of a row"))?;
        let (field, more) = match left.bytes().position(|byte| byte == b'\t') {
            Some(at) => (&left[..at], Some(&left[at + 1..])),
            None => (left, None),
        };
        self.left = more;
        Ok(field)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_in_order() {
        let mut line = Line::of(b"acme\t-7\t\t9223372036854775807\n").unwrap();
        assert_eq!(line.text().unwrap(), "acme");
        assert_eq!(line.number::<i32>().unwrap(), -7);
        assert_eq!(line.text().unwrap(), "");
        assert_eq!(line.number::<i64>().unwrap(), i64::MAX);
        line.end().unwrap();
    }

    #[test]
    fn backslashes_are_those_of_the_account() {
        for (sent, account) in [(r"a\\b", r"a\b"), (r"\\\\", r"\\"), (r"\\N", r"\N")] {
            assert_eq!(Line::of(format!("{sent}\n").as_bytes()).unwrap().text().unwrap(), account);
        }
        for wrong in [r"\N", r"a\tb", r"\\\n", r"\"] {
            assert!(Line::of(format!("{wrong}\n").as_bytes()).unwrap().text().is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_cut_short_or_is_something_else_is_refused() {
        assert!(Line::of(b"acme\t7").is_err());
        assert!(Line::of(b"\xff\n").is_err());
        let mut line = Line::of(b"acme\tseven\t70000\n").unwrap();
        assert!(line.number::<i64>().is_err());
        assert!(line.number::<i64>().is_err());
        assert!(line.number::<i16>().is_err());
        assert!(line.text().is_err());
        assert!(Line::of(b"acme\tmore\n").unwrap().end().is_err());
    }
}
