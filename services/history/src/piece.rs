//! Which table answers which hours: days from daily rows, what a range cuts off them from hourly ones.

use crate::HistoryError;
use loadline_domain::{Hour, question::Grain};

/// A table of the history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Table {
    /// Usage by day.
    Daily,
    /// Usage by hour.
    Hourly,
    /// Latency counts by hour.
    Latency,
}

/// Hours of a table, `from` inclusive, `to` exclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Piece {
    pub table: Table,
    pub from: Hour,
    pub to: Hour,
}

impl Piece {
    /// What a question by `grain` reads.
    pub fn by(grain: Grain, from: Hour, to: Hour) -> Result<Self, HistoryError> {
        match grain {
            Grain::Hour => Ok(Self { table: Table::Hourly, from, to }),
            Grain::Day if starts_day(from) && starts_day(to) => Ok(Self { table: Table::Daily, from, to }),
            Grain::Day => Err(HistoryError::Refused(format!(
                "a question by days must begin and end with a UTC day, not at {} and {}; ask by hours",
                from.start(),
                to.start()
            ))),
        }
    }

    /// What a sum over a range reads: its whole days, and the hours before and after them.
    pub fn summed(from: Hour, to: Hour) -> Vec<Self> {
        let first = if starts_day(from) { from } else { from.day().end().hour() };
        let last = to.day().first_hour();
        let pieces = if first < last {
            vec![(Table::Hourly, from, first), (Table::Daily, first, last), (Table::Hourly, last, to)]
        } else {
            vec![(Table::Hourly, from, to)]
        };
        pieces.into_iter().filter(|(_, from, to)| from < to).map(|(table, from, to)| Self { table, from, to }).collect()
    }
}

fn starts_day(hour: Hour) -> bool {
    hour.day().first_hour() == hour
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(from: i32, to: i32) -> Vec<(Table, i32, i32)> {
        let pieces = Piece::summed(Hour::from_index(from), Hour::from_index(to));
        pieces.into_iter().map(|piece| (piece.table, piece.from.index(), piece.to.index())).collect()
    }

    #[test]
    fn whole_days_are_read_by_day_and_their_ends_by_hour() {
        use Table::{Daily, Hourly};
        assert_eq!(pieces(24, 72), [(Daily, 24, 72)]);
        assert_eq!(pieces(23, 73), [(Hourly, 23, 24), (Daily, 24, 72), (Hourly, 72, 73)]);
        assert_eq!(pieces(25, 47), [(Hourly, 25, 47)]);
        assert_eq!(pieces(25, 50), [(Hourly, 25, 50)]);
        assert_eq!(pieces(24, 24), []);
        assert_eq!(pieces(30, 25), []);
    }

    #[test]
    fn every_hour_is_read_once() {
        for from in 0..60 {
            for to in from..100 {
                let mut hours: Vec<i32> = pieces(from, to).into_iter().flat_map(|(_, from, to)| from..to).collect();
                hours.sort_unstable();
                assert_eq!(hours, (from..to).collect::<Vec<_>>());
            }
        }
    }
}
