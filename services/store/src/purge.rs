//! Dedup tables made ahead, and dropped when their horizon is past.

use crate::{Leadership, StoreError, rows::damaged};
use async_trait::async_trait;
use loadline_domain::{
    Day, Rules, Timestamp,
    identity::{Kind, Partition},
};

/// A dedup table that may go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purgeable {
    /// Kind and day of its keys.
    pub partition: Partition,
    /// Its name, as [`crate::DedupTable::partitions`] tells it.
    pub name: String,
    /// Keys, estimated where counting is dear.
    pub rows: u64,
}

/// The life of dedup tables.
#[async_trait]
pub trait DedupPurge {
    /// Makes the tables of both kinds for the days `from..=to`, and those of their hours where each day has its own, so that no batch has
    /// to. Returns how many of the former were missing.
    async fn prepare_partitions(&self, from: Day, to: Day) -> Result<u64, StoreError>;

    /// Tables that no record still to come can need, oldest first: their day ended a horizon of their kind before
    /// `counted_through`, the log time up to which every stream is counted
    /// ([`loadline_domain::completeness::counted_through`], `fully`). The clock is not enough: a backlog is judged by the
    /// time its records were appended. A purge that was cut short is listed again.
    async fn purgeable(&self, rules: &Rules, counted_through: Timestamp) -> Result<Vec<Purgeable>, StoreError>;

    /// Drops one table: first it is looked into no more, then it goes when nobody is left who does, so that no batch waits.
    /// False when there is no such table, or a late event claimed it meanwhile.
    ///
    /// # Errors
    /// [`StoreError::Stale`] when the leadership was taken over. [`StoreError::Unavailable`] when batches kept using it;
    /// another call goes on.
    async fn purge(&self, leadership: &Leadership, partition: Partition) -> Result<bool, StoreError>;
}

/// Partitions of both kinds for the days `from..=to`.
pub(crate) fn days(from: Day, to: Day) -> impl Iterator<Item = Partition> {
    let days = (from.index()..=to.index()).map(Day::from_index);
    days.flat_map(|day| Kind::ALL.map(|kind| Partition { kind, day }))
}

/// Those of the listed tables that no record appended after `through` can need.
pub(crate) fn past(listed: Vec<(String, i32)>, rules: &Rules, through: Timestamp) -> Result<Vec<Partition>, StoreError> {
    let partition = |(kind, day): (String, i32)| {
        let kind = Kind::ALL.into_iter().find(|known| known.as_str() == kind).ok_or_else(|| damaged("kind of keys", kind))?;
        Ok(Partition { kind, day: Day::from_index(day) })
    };
    let partitions = listed.into_iter().map(partition).collect::<Result<Vec<_>, StoreError>>()?;
    let horizon = |kind| match kind {
        Kind::Billing => rules.billing_horizon,
        Kind::Receipt => rules.receipt_horizon,
    };
    let is_past = |partition: &Partition| partition.day.end().plus(horizon(partition.kind)) <= through;
    Ok(partitions.into_iter().filter(is_past).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_table_is_past_when_its_last_event_would_be_late() {
        let (rules, day) = (Rules::default(), Day::from_index(20_000));
        let listed = || vec![("billing".to_owned(), day.index()), ("receipt".to_owned(), day.index())];
        let past_at = |hours: u64, less: u64| {
            let through = day.end().plus(Duration::from_secs(3_600 * hours)).minus(Duration::from_micros(less));
            past(listed(), &rules, through).unwrap().into_iter().map(|partition| partition.kind).collect::<Vec<_>>()
        };
        assert_eq!(past_at(48, 1), []);
        assert_eq!(past_at(48, 0), [Kind::Billing]);
        assert_eq!(past_at(96, 1), [Kind::Billing]);
        assert_eq!(past_at(96, 0), Kind::ALL);
    }
}
