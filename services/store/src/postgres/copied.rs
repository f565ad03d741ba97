//! The binary format of COPY: a signature, then tuples of fields, each with its length; all in network order.
//! (PostgreSQL documentation, COPY, "Binary Format".)

use crate::{StoreError, rows::damaged};
use bytes::{Buf as _, BytesMut};

const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";
/// Signature, flags, length of an extension that no server has.
const HEADER: usize = SIGNATURE.len() + 8;
const END: i16 = -1;

/// What came, and how far it is read.
#[derive(Default)]
pub(super) struct Copied {
    bytes: BytesMut,
    began: bool,
    ended: bool,
    /// Length of the tuple given out last: its bytes go when the next one is asked for.
    given: usize,
}

/// One row; its fields are taken in order.
pub(super) struct Tuple<'a> {
    fields: &'a [u8],
}

impl Copied {
    /// Adds what came next.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.advance(std::mem::take(&mut self.given));
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole row; `None` until more has come.
    pub fn next(&mut self) -> Result<Option<Tuple<'_>>, StoreError> {
        self.bytes.advance(std::mem::take(&mut self.given));
        if !self.began && !self.begin()? {
            return Ok(None);
        }
        if self.ended || self.bytes.len() < 2 {
            return Ok(None);
        }
        let fields = i16::from_be_bytes([self.bytes[0], self.bytes[1]]);
        if fields == END {
            self.ended = true;
            return Ok(None);
        }
        let Some(length) = length(&self.bytes[2..], fields) else { return Ok(None) };
        self.given = 2 + length;
        Ok(Some(Tuple { fields: &self.bytes[2..2 + length] }))
    }

    /// Whether the copy was whole.
    pub fn end(&self) -> Result<(), StoreError> {
        if self.ended { Ok(()) } else { Err(damaged("whole copy", format!("{} bytes short of its end", self.bytes.len()))) }
    }

    fn begin(&mut self) -> Result<bool, StoreError> {
        if self.bytes.len() < HEADER {
            return Ok(false);
        }
        if !self.bytes.starts_with(SIGNATURE) {
            return Err(damaged("binary copy", "something else"));
        }
        self.bytes.advance(HEADER);
        self.began = true;
        Ok(true)
    }
}

/// Bytes of so many fields, lengths included; `None` when not all have come.
fn length(bytes: &[u8], fields: i16) -> Option<usize> {
    let mut at = 0;
    for _ in 0..fields {
        let length: [u8; 4] = bytes.get(at..at + 4)?.try_into().ok()?;
        at += 4 + usize::try_from(i32::from_be_bytes(length)).unwrap_or(0);
    }
    (at <= bytes.len()).then_some(at)
}

impl<'a> Tuple<'a> {
    pub fn text(&mut self) -> Result<&'a str, StoreError> {
        std::str::from_utf8(self.field()?).map_err(|_| damaged("text", "a field of a copy"))
    }

    pub fn int2(&mut self) -> Result<i16, StoreError> {
        self.number().map(i16::from_be_bytes)
    }

    pub fn int4(&mut self) -> Result<i32, StoreError> {
        self.number().map(i32::from_be_bytes)
    }

    pub fn int8(&mut self) -> Result<i64, StoreError> {
        self.number().map(i64::from_be_bytes)
    }

    fn number<const N: usize>(&mut self) -> Result<[u8; N], StoreError> {
        self.field()?.try_into().map_err(|_| damaged("number of its width", "a field of a copy"))
    }

    /// NULL, whose length is negative, is no field of any table copied.
    fn field(&mut self) -> Result<&'a [u8], StoreError> {
        let (length, rest) = self.fields.split_first_chunk().ok_or_else(|| damaged("field", "the end of a row"))?;
        let length = usize::try_from(i32::from_be_bytes(*length)).map_err(|_| damaged("value", "NULL"))?;
        let (field, rest) = rest.split_at_checked(length).ok_or_else(|| damaged("field", "the end of a row"))?;
        self.fields = rest;
        Ok(field)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two rows of a text and a number, and the end.
    fn copy() -> Vec<u8> {
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend([0; 8]);
        for (text, number) in [("acme", 7_i64), ("", -1)] {
            bytes.extend(2_i16.to_be_bytes());
            bytes.extend((text.len() as i32).to_be_bytes());
            bytes.extend(text.as_bytes());
            bytes.extend(8_i32.to_be_bytes());
            bytes.extend(number.to_be_bytes());
        }
        bytes.extend(END.to_be_bytes());
        bytes
    }

    fn rows(pieces: &[&[u8]]) -> Result<Vec<(String, i64)>, StoreError> {
        let (mut copied, mut rows) = (Copied::default(), Vec::new());
        for piece in pieces {
            copied.push(piece);
            while let Some(mut tuple) = copied.next()? {
                rows.push((tuple.text()?.to_owned(), tuple.int8()?));
            }
        }
        copied.end().map(|()| rows)
    }

    #[test]
    fn rows_read_the_same_however_they_come_in_pieces() {
        let copy = copy();
        let expected = [("acme".to_owned(), 7), (String::new(), -1)];
        for cut in 0..=copy.len() {
            let (first, second) = copy.split_at(cut);
            assert_eq!(rows(&[first, second]).unwrap(), expected, "cut at {cut}");
        }
        let bytes: Vec<_> = copy.chunks(1).collect();
        assert_eq!(rows(&bytes).unwrap(), expected);
    }

    #[test]
    fn a_copy_that_is_cut_short_or_is_something_else_is_refused() {
        let copy = copy();
        for cut in 0..copy.len() {
            assert!(rows(&[&copy[..cut]]).is_err(), "cut at {cut}");
        }
        assert!(rows(&[b"this is no copy, but long enough"]).is_err());
    }
}
