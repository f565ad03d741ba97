//! Stored rows against recounted ones, an account-hour at a time.

use crate::{
    count::{AccountHour, Rows},
    recounted::{Recounted, rows_of},
};
use std::collections::BTreeSet;

/// What comparing an account-hour shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The store agrees with the log.
    Equal,
    /// It does not, beyond doubt, and the log has all of the hour.
    Different,
    /// It has less than the log, which may not have all of the hour itself, for these reasons.
    Short(Vec<String>),
    /// Nobody can tell, for these reasons.
    Unknown(Vec<String>),
}

/// An account-hour on both sides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compared {
    /// Which.
    pub place: AccountHour,
    /// Its rows in the store.
    pub stored: Rows,
    /// Its rows by the log.
    pub recounted: Rows,
    /// What that shows.
    pub verdict: Verdict,
}

/// Every account-hour that either side has rows of, and those of `also`, in order. `stored` are all rows of the span that was
/// recounted, from the snapshot whose positions it was recounted up to.
pub fn compare<'a>(
    stored: &'a Rows,
    recounted: &'a Recounted,
    also: impl IntoIterator<Item = AccountHour>,
) -> impl Iterator<Item = Compared> {
    let keys = stored.keys().chain(recounted.rows.keys());
    let places: BTreeSet<AccountHour> = keys.map(|key| (key.account.clone(), key.hour)).chain(also).collect();
    places.into_iter().map(move |place| {
        let of = |rows: &Rows| -> Rows { rows_of(rows, &place.0, place.1).map(|(key, usage)| (key.clone(), *usage)).collect() };
        let (held, told) = (of(stored), of(&recounted.rows));
        let doubts = recounted.doubts(&place.0, place.1, &held);
        let lacking = recounted.may_lack(&place.0, place.1);
        let verdict = match held == told {
            _ if !doubts.is_empty() => Verdict::Unknown(doubts),
            true => Verdict::Equal,
            false if lacking.is_empty() => Verdict::Different,
            false => Verdict::Short(lacking),
        };
        Compared { place, stored: held, recounted: told, verdict }
    })
}
