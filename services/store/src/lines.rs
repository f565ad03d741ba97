//! Rows of hourly usage as lines of text, gathered by the database into one value.
//!
//! A month of hours is hundreds of rows. As rows of a driver each costs it more than finding it did; as text they cost a
//! pass over the bytes.

use crate::{
    StoreError,
    rows::{channel, code, damaged},
};
use loadline_domain::{
    Hour,
    question::{GroupBy, UsageRow, added_up},
    usage::Usage,
};

/// A row as a line: its key and its sums, apart by a space. Codes may be empty. Without receipts their six sums are left
/// out: writing a number costs the database as much as finding its row, and most rows have none.
macro_rules! line {
    () => {
        "CASE WHEN (delivered | undelivered | expired | rejected | failed | not_final) = 0
         THEN concat_ws(' ', hour, channel, country, currency, events, messages, segments, amount_micros)
         ELSE concat_ws(' ', hour, channel, country, currency, events, messages, segments, amount_micros,
                        delivered, undelivered, expired, rejected, failed, not_final) END"
    };
}
pub(crate) use line;

/// Sums of a line that has no receipts.
const WITHOUT_RECEIPTS: usize = 4;

/// Lines as rows of hours, in any order, with all their dimensions.
pub(crate) fn rows(lines: &str) -> Result<Vec<UsageRow>, StoreError> {
    lines.lines().map(row).collect()
}

/// Rows added up by hour, if so asked, and by the dimensions kept; in that order.
pub(crate) fn grouped(mut rows: Vec<UsageRow>, by: GroupBy, hourly: bool) -> Result<Vec<UsageRow>, StoreError> {
    for row in &mut rows {
        row.hour = row.hour.filter(|_| hourly);
        row.channel = row.channel.filter(|_| by.channel);
        row.country = row.country.filter(|_| by.country);
        row.currency = row.currency.filter(|_| by.currency);
    }
    added_up(rows).ok_or_else(|| StoreError::Broken("a sum of hours does not fit 64 bits".to_owned()))
}

fn row(line: &str) -> Result<UsageRow, StoreError> {
    #[expect(clippy::manual_pattern_char_comparison, reason = "a `char` is searched for, which is slower where fields are short")]
    let mut fields = line.split(|character| character == ' ');
    let mut next = || fields.next().ok_or_else(|| damaged("row of usage", line));
    let (hour, number, country, currency) = (next()?, next()?, next()?, next()?);
    let mut sums = [0_i64; 10];
    for sum in &mut sums[..WITHOUT_RECEIPTS] {
        *sum = parsed(next()?, line)?;
    }
    let mut receipts = fields.peekable();
    if receipts.peek().is_some() {
        for sum in &mut sums[WITHOUT_RECEIPTS..] {
            *sum = parsed(receipts.next().ok_or_else(|| damaged("row of usage", line))?, line)?;
        }
    }
    if receipts.next().is_some() {
        return Err(damaged("row of usage", line));
    }
    Ok(UsageRow {
        hour: Some(Hour::from_index(parsed(hour, line)?)),
        channel: Some(channel(parsed(number, line)?)?),
        country: Some(code(country)?),
        currency: Some(code(currency)?),
        usage: Usage::from_columns(sums),
    })
}

fn parsed<T: std::str::FromStr>(number: &str, line: &str) -> Result<T, StoreError> {
    number.parse().map_err(|_| damaged("row of usage", line))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: &str = "5 1 DE EUR 2 2 3 70\n4 1   1 0 0 0 1 0 0 0 0 0\n5 1 AT EUR 1 1 1 30 0 0 0 0 0 0";

    fn sums(by: GroupBy, hourly: bool) -> Vec<(Option<i32>, i64, i64)> {
        let rows = grouped(rows(LINES).unwrap(), by, hourly).unwrap();
        rows.iter().map(|row| (row.hour.map(Hour::index), row.usage.events, row.usage.amount_micros)).collect()
    }

    #[test]
    fn lines_of_one_group_are_added_up_in_the_order_of_the_key() {
        assert_eq!(sums(GroupBy::default(), true), [(Some(4), 1, 0), (Some(5), 3, 100)]);
        assert_eq!(
            sums(GroupBy { country: true, ..GroupBy::default() }, true),
            [(Some(4), 1, 0), (Some(5), 1, 30), (Some(5), 2, 70)]
        );
        assert_eq!(sums(GroupBy::default(), false), [(None, 4, 100)]);
        assert!(rows("").unwrap().is_empty());
    }

    #[test]
    fn a_line_that_does_not_read_back_is_damage() {
        for line in [
            "5 1 DE EUR 2 2 3 70 0 0 0 0 0",
            "5 1 DE EUR 2 2 3",
            "5 1 DE EUR 2 2 3 70 0 0 0 0 0 0 0",
            "x 1 DE EUR 2 2 3 70 0 0 0 0 0 0",
            "5 1 de EUR 2 2 3 70 0 0 0 0 0 0",
        ] {
            assert!(matches!(rows(line), Err(StoreError::Broken(_))), "{line}");
        }
    }

    #[test]
    fn a_sum_past_64_bits_is_refused() {
        let line = format!("5 1 DE EUR 2 2 3 {} 0 0 0 0 0 0", i64::MAX);
        let rows = rows(&format!("{line}\n{line}")).unwrap();
        assert!(grouped(rows, GroupBy::default(), true).is_err());
    }
}
