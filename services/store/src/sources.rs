//! What an answer was taken from, the same for both backends.

use crate::{Sources, StoreError, rows::loaded};
use loadline_domain::{Day, Hour, archive::Part};
use serde::de::DeserializeOwned;

/// Whether a range begins and ends with a day.
pub(crate) fn is_whole_days(from: Hour, to: Hour) -> bool {
    from.day().first_hour() == from && to.day().first_hour() == to
}

/// Refuses a question by days whose range does not begin and end with one.
pub(crate) fn whole_days(from: Hour, to: Hour) -> Result<(), StoreError> {
    if is_whole_days(from, to) {
        return Ok(());
    }
    Err(StoreError::Broken(format!("a question by days from {} to {} cuts one of them", from.start(), to.start())))
}

/// Of a number of days, dirty days as a JSON array, and parts as one of `[day, number, token]`, in order.
pub(crate) fn sources(daily_days: i64, dirty_days: &str, parts: &str) -> Result<Sources, StoreError> {
    let mut dirty: Vec<i32> = read("dirty days", dirty_days)?;
    dirty.sort_unstable();
    let parts: Vec<(i32, u32, String)> = read("archived parts", parts)?;
    let part = |(day, number, token)| Part { day: Day::from_index(day), number, token };
    Ok(Sources {
        daily_days: loaded(daily_days)?,
        dirty_days: dirty.into_iter().map(Day::from_index).collect(),
        parts: parts.into_iter().map(part).collect(),
    })
}

fn read<T: DeserializeOwned>(what: &str, json: &str) -> Result<T, StoreError> {
    serde_json::from_str(json).map_err(|error| StoreError::Broken(format!("{what}: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_not_cut_at_either_end() {
        let whole = |from, to| whole_days(Hour::from_index(from), Hour::from_index(to)).is_ok();
        assert!(whole(24, 48) && whole(48, 48) && whole(-24, 24));
        assert!(!whole(24, 47) && !whole(25, 48) && !whole(-1, 24));
    }
}
