//! Pieces of statements. Values are quoted here and nowhere else.

use crate::{answer::Sums, piece::Piece};
use loadline_domain::{AccountId, archive::Part, question::UsageFilter};

/// Names of the columns of [`loadline_domain::usage::Usage::columns`].
pub(super) const SUMS: [&str; 10] =
    ["events", "messages", "segments", "amount_micros", "delivered", "undelivered", "expired", "rejected", "failed", "not_final"];

/// Sums of 64-bit columns are taken of two halves, as old servers have no wider number: upper half, lower half, …
const HALF: i128 = 1 << 32;

/// A text as a literal.
pub(super) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// `('a', 'b')`; nothing is in the empty one.
pub(super) fn list<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    let texts: Vec<_> = texts.into_iter().map(quoted).collect();
    // An empty list is no syntax; tokens are never empty.
    if texts.is_empty() { "('')".to_owned() } else { format!("({})", texts.join(", ")) }
}

/// The tokens of parts.
pub(super) fn tokens(parts: &[Part]) -> String {
    list(parts.iter().map(|part| part.token.as_str()))
}

/// An array of the halves of the sums of these columns.
pub(super) fn halves(columns: &[&str]) -> String {
    let halves =
        columns.iter().flat_map(|column| ["intDiv", "modulo"].map(|half| format!("sum({half}({column}, toInt64({HALF})))")));
    format!("[{}]", halves.collect::<Vec<_>>().join(", "))
}

/// Sums from their halves.
pub(super) fn whole<const N: usize>(halves: &[i64]) -> [i128; N] {
    let mut sums = [0; N];
    for (sum, halves) in sums.iter_mut().zip(halves.chunks_exact(2)) {
        *sum = i128::from(halves[0]) * HALF + i128::from(halves[1]);
    }
    sums
}

/// The ten sums.
pub(super) fn sums(halves: &[i64]) -> Sums {
    whole::<10>(halves)
}

/// Rows of the listed parts, the account, the hours and the filter.
pub(super) fn wanted(parts: &[Part], account: Option<&AccountId>, piece: Piece, filter: &UsageFilter) -> String {
    let (from, to) = (piece.from.index(), piece.to.index());
    let (first, last) = (piece.from.day().index(), piece.to.day().index());
    // Days are what pieces of tables are found by.
    let mut wanted =
        format!("day >= {first} AND day <= {last} AND hour >= {from} AND hour < {to} AND token IN {}", tokens(parts));
    if let Some(account) = account {
        wanted += &format!(" AND account = {}", quoted(account.as_str()));
    }
    if !filter.channels.is_empty() {
        let channels: Vec<_> = filter.channels.iter().map(|channel| channel.number().to_string()).collect();
        wanted += &format!(" AND channel IN ({})", channels.join(", "));
    }
    if !filter.countries.is_empty() {
        wanted += &format!(" AND country IN {}", list(filter.countries.iter().map(|country| country.as_str())));
    }
    if !filter.currencies.is_empty() {
        wanted += &format!(" AND currency IN {}", list(filter.currencies.iter().map(|currency| currency.as_str())));
    }
    wanted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_quoted() {
        assert_eq!(quoted(r"o'hara\"), r"'o\'hara\\'");
        assert_eq!(list(["a", "b'"]), r"('a', 'b\'')");
        assert_eq!(list([]), "('')");
    }

    #[test]
    fn halves_make_a_whole() {
        for number in [0_i64, 1, -1, i64::MAX, i64::MIN, -5_000_000_000_001, 1 << 32] {
            let half = HALF as i64;
            assert_eq!(whole::<1>(&[number / half, number % half]), [i128::from(number)]);
        }
    }
}
